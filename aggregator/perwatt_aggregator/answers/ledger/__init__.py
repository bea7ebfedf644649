"""Ledger: where every joule of a facility went, as a tree whose leaves add up to the total."""
