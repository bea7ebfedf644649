"""Daemons: the bootstrap, the one place that names concrete classes, and what runs beside what."""
