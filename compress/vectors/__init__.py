"""Codes of vectors: how few bytes can one be, and what does that cost? `registry.CODECS` is the table."""
