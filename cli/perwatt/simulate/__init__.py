"""Fleet simulator: agents' pages of nodes that do not exist, and the truth behind them."""
