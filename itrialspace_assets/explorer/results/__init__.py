"""What was found: reports as they are, numbers with the cases behind them, flips, and SQL over the catalog."""
