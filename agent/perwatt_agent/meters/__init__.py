"""Meters of the host: processors, memory, and the whole node at the wall."""
