"""State of the agent that survives its restarts."""
