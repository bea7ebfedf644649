"""Machines whose counters a test moves by hand, and an aggregator over them."""
