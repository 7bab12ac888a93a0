"""Background work: applying the outbox, and the upkeep that nobody waits for."""
