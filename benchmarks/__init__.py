"""Measures perwatt, and beside it what one would install instead."""
