"""Show a Snapshot to Prometheus: metric families, the page, health."""
