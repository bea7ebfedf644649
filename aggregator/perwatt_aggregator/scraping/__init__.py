"""Scraping: samples and events fetched from the agents over HTTP."""
