"""Metrics pages: families rendered to bytes, once for each snapshot and format."""
