"""Where a command runs: one plan of processes, and one file for each kind of place that can start them."""
