"""
One configuration struct from a YAML file, the environment and flags, every error with its place.

The struct is the table: its fields, their annotations and defaults drive file, variables, flags and the
reference page alike.
"""

from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.configfile.loading import Flags, Sound, load
from perwatt_agent.configfile.settings import Key, Setting, flag_name, settings_of, variable_name, walk

__all__ = [
    "ConfigError",
    "Flags",
    "Key",
    "Setting",
    "Sound",
    "flag_name",
    "load",
    "settings_of",
    "variable_name",
    "walk",
]
