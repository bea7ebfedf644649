"""Readings of agents: samples, and a ring buffer of the recent samples of each node."""
