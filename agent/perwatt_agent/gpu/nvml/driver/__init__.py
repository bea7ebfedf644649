"""Driver calls: return codes, numbered fields, units, and what decides how a GPU is read."""
