"""What should be remembered, and how does it change? Decisions are pure; SQL is in `memory.store`."""
