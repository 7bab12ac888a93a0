"""All SQL on memories, full text included, and the in-memory twin it is compared with."""
