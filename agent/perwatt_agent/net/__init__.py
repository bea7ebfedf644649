"""Network: a bounded HTTP client, and the parser of Prometheus text."""
