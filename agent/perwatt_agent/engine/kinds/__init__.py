"""Engines: a file each, whose ROWS say how an engine is recognised and read."""
