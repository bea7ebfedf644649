"""Answers from the history: a value for each step, and figures of windows longer than what is in memory."""
