"""Error that ends a command."""


class CommandError(Exception):
    """One line for standard error, with what to do about it. The command then exits with 1."""
