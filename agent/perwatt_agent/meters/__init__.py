"""Meters of the host around the GPUs: its processors, its memory, and the whole node at the wall."""
