"""Routes of the agent beside `/metrics`: the landing page, events, reported work."""
