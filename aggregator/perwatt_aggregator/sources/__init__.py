"""Sources of readings: where samples come from."""
