"""Facility: the building around the nodes, with its PUE, price and carbon intensity."""
