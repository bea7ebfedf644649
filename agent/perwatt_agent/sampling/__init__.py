"""Sampling: the loop from this machine's GPUs to the newest Snapshot."""
