"""Helpers that several tests share, in folders by subject."""
