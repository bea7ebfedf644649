"""Facts: frozen structs in base units, which backends read, the agent publishes and the exporter shows."""
