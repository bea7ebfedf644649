"""Simulated machine: GPUs and an engine that follow one seeded load, exactly."""
