"""Windows: the increase of each counter of one node between two of its readings."""
