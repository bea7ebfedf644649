"""Windows: what each counter of one node increased by between two of its readings."""
