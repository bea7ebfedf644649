"""From peak to useful: how much of the compute that was bought works together."""
