"""Metric families of the aggregator's page, a table for each subject."""
