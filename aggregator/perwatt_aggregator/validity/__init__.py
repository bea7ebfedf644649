"""Validity: reasons why a figure is not valid, notes on valid ones, thresholds and uncertainty."""
