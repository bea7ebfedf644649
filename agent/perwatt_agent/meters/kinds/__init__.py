"""Kinds of meters: one file with one row for each, and the table of all rows."""
