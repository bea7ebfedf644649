"""Targets: the agents to scrape, from the configuration, files, HTTP and DNS, and how to reach them."""
