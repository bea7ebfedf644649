"""Answers: the content of each endpoint, computed from sums over the fleet. No HTTP."""
