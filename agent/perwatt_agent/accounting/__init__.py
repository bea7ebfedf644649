"""What the readings mean: energy believed or doubted, and whose joules they are. No input or output."""
