"""What everything rests on: settings, errors, ids, clock, log, database, access."""
