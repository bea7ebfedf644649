"""Compute: the chain from the peak of the GPUs to the useful FLOPs of the models."""
