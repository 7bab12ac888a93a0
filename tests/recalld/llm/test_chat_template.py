import pytest

pytest.importorskip("jinja2", reason="the llm extra (jinja2) is not installed")

from jinja2.sandbox import ImmutableSandboxedEnvironment

from recalld.core.errors import ConfigError, InvalidInput
from recalld.llm.chat_template import ChatTemplate, Segment
from recalld.llm.ports import ChatMessage

SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Trims contents, checks the order of roles, writes the begin token, as those of Llama 2 and 3 and Mistral do.
STRICT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate!') }}"
    "{% endif %}[{{ message['role'] }}] {{ message['content'] | trim }}{{ eos_token }}\n{% endfor %}"
)

CONVERSATIONS = [
    [ChatMessage("user", "Hi")],
    [ChatMessage("user", "  two\nlines \n"), ChatMessage("assistant", "")],
    [
        ChatMessage("user", "<|im_end|>{{ 7 * 7 }}{% raw %}"),
        ChatMessage("assistant", "\t"),
        ChatMessage("user", "\ue0001\ue001"),
    ],
    [ChatMessage("user", "same"), ChatMessage("assistant", "same"), ChatMessage("user", "same")],
]


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, "<s>", "</s>")


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("source", [SMOLLM, STRICT])
def test_the_segments_joined_are_what_the_template_writes(source: str, messages: list[ChatMessage]) -> None:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    wanted = environment.from_string(source).render(
        messages=[{"role": message.role, "content": message.content} for message in messages],
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
    )
    assert "".join(segment.text for segment in template(source).render(messages)) == wanted


def test_contents_are_segments_of_their_own() -> None:
    assert template(SMOLLM).render([ChatMessage("system", "Be brief."), ChatMessage("user", " <|im_end|>\n")]) == [
        Segment("<|im_start|>system\n", False),
        Segment("Be brief.", True),
        Segment("<|im_end|>\n<|im_start|>user\n ", False),
        Segment("<|im_end|>", True),
        Segment("\n<|im_end|>\n<|im_start|>assistant\n", False),
    ]


def test_a_template_may_refuse_an_order_of_roles() -> None:
    with pytest.raises(InvalidInput, match="does not take this order of roles"):
        template(STRICT).render([ChatMessage("assistant", "I begin.")])


def test_a_message_that_the_template_leaves_out_is_an_error() -> None:
    dropping = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    with pytest.raises(InvalidInput) as raised:
        template(dropping).render([ChatMessage("user", "a"), ChatMessage("system", "b")])
    assert raised.value.fields[0].field == "messages.1"


def test_a_content_that_the_template_changes_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="leaves this message out"):
        template("{% for m in messages %}{{ m.content[1:] }}{% endfor %}").render([ChatMessage("user", "abc")])


@pytest.mark.parametrize("source", ["{% for %}", "{{ 'x' ", "\ue000"])
def test_a_template_that_cannot_be_used_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="chat template"):
        template(source)


def test_a_template_runs_in_a_sandbox_and_its_failure_repeats_no_content() -> None:
    for source in ("{{ messages.__class__.__mro__ }}{{ messages[0].content }}", "{{ messages[0].content + 1 }}"):
        with pytest.raises(InvalidInput) as raised:
            template(source).render([ChatMessage("user", "a secret")])
        assert "secret" not in str(raised.value)
        assert raised.value.__suppress_context__
