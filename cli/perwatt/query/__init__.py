"""`perwatt query` and `perwatt record`: answers of an aggregator or of a recording."""
