"""Recordings of a node's readings: written as JSON lines, and replayed."""
