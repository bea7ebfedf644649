"""State: what the agent remembers over its own restarts."""
