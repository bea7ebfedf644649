"""Read what inference engines say about their tokens and requests."""
