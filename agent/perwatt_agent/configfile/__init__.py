"""
Configuration: one struct, read from a YAML file, the environment and flags; every error has its place.

The fields of the struct, with their annotations and defaults, define the file, the variables, the flags
and the reference page.
"""
