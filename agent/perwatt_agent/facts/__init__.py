"""Facts: frozen structs, in base units, that backends read, the agent publishes and everybody else shows."""
