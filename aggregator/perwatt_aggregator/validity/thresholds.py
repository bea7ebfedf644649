"""Thresholds below which a figure is not valid."""

MIN_COVERAGE_RATIO = 0.95
MIN_EXPLAINED_RATIO = 0.95
