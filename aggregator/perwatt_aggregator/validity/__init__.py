"""Reasons why a figure is not valid, or what a reader must know about one that is."""
