"""Real processes, cgroups and pods, for engine discovery and workload names."""
