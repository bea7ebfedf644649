"""The daemons: their assembly from the configuration, and their event loop."""
