"""Servers and clients on loopback: HTTP, HTTPS, ASGI, a real Prometheus."""
