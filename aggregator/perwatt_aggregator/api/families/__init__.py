"""Metric families of the aggregator's own page: a table of rows a subject."""
