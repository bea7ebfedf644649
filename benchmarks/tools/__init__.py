"""What the benchmarks measure with: scrapers, clocks, statistics, reports."""
