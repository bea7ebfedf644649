"""Sample snapshots, and how prometheus_client would render them."""
