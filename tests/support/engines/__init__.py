"""Metrics pages and process trees of inference engines."""
