"""What is derived from what was said: each deriver a pure function from memories to what it proposes. Nothing here writes."""
