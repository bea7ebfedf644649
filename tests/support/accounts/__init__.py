"""Readings of a node whose every joule is known, and the accounts made of them."""
