"""Readers: the facts of one GPU, from driver calls to readings."""
