"""The language-model layer: one small port, and behind it a local engine, an OpenAI-compatible server or a script.

`ports`, `remote` and `scripted` need nothing but the base install. `gguf_file`, `model`, `tokenizer`, `sampling` and
`engine` need the `llm` extra (torch, gguf, jinja2), so nothing is imported here: the composition root imports the
engine only where one is configured.
"""
