"""Metric families of the agent's page: a table of rows a subject."""
