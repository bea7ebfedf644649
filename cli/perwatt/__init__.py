"""The `perwatt` command: the one place that names concrete classes."""
