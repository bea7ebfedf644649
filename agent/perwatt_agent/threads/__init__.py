"""Threads for calls that may hang: daemon threads, which never keep a process from exiting."""
