"""How a command says that it cannot go on."""


class CommandError(Exception):
    """One line for standard error, saying what to do about it; the command then exits with 1."""
