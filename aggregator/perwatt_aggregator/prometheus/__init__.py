"""Readings from a server with the HTTP API of Prometheus."""
