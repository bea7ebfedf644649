"""Answers: what each endpoint says, computed from sums over the fleet. No HTTP."""
