"""The benchmarks: one question each, one section of RESULTS.md each."""
