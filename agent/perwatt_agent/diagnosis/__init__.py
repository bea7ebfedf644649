"""What a snapshot means: the health of each GPU, by rules that can be explained, and what happened."""
