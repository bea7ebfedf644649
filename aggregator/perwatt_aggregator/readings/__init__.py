"""Readings of agents: samples, and the ring of recent samples of one node."""
