"""Inference engines: their metrics pages, the counts on them, and the GPUs that they claim."""
