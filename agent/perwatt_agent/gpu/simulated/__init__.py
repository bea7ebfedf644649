"""A machine that does not exist: GPUs and an engine that follow one seeded load, exactly."""
