"""Engines: one row each, which says what series plays what role on its page."""
