"""A history by hand: ticks of a fleet whose clock a test moves."""
