"""
Configuration: one struct from a YAML file, the environment and flags, every error with its place.

The struct is the table: its fields, their annotations and defaults drive file, variables, flags and the
reference page alike.
"""
