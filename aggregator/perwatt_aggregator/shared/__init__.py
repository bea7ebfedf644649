"""Meters that several nodes hang on: asked by the aggregator, and split by the nodes' board joules."""
