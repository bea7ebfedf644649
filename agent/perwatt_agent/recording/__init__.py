"""Recordings: a node's readings as JSON lines, written and replayed."""
