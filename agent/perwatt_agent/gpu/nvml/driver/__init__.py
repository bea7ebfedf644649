"""Driver calls: error codes, numbered fields, and what decides how a GPU is read."""
