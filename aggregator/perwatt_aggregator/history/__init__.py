"""History: sums of every tick in a database of its own, kept at several resolutions."""
