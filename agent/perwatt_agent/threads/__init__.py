"""Threads for calls that may hang: daemon threads, which never keep the process from exiting."""
