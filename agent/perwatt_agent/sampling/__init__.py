"""From this machine to its newest Snapshot: calls, sweeps, the loop."""
