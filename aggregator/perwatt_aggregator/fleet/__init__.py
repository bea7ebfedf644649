"""Fleet: all nodes side by side, their parts grouped and summed."""
