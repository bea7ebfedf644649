"""Checks: `perwatt doctor` of this machine, `perwatt check-config` of a configuration file."""
