"""Measure one GPU server: GPUs, engines and meters in, one immutable Snapshot out."""

__version__ = "0.1.0"
