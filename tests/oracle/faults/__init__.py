"""Faults of the oracle, one row each: what spoils a fleet at a random moment, and what heals it."""
