"""Where every joule of a facility went: one tree whose leaves sum to the whole."""
