"""From this machine to its newest Snapshot: lanes, sweeps, the loop."""
