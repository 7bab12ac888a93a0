"""What is derived from memories, without a language model: one deriver a file."""
