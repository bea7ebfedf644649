"""Command line: the program that it runs, and the values of its options."""

import re
from collections.abc import Sequence

_PYTHON = re.compile(r"python[\d.]*t?")  # compared with each process of a node
_PYTHON_OPTIONS_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")


def program(command: Sequence[str]) -> str:
    """
    Return the program of a command line, without folders and without the interpreter before it.

    "/usr/bin/python /usr/bin/vllm serve m" and "python -m vllm.entrypoints.openai.api_server" give
    "vllm serve m" and "vllm.entrypoints.openai.api_server".
    """
    rest = list(command)
    if rest and _PYTHON.fullmatch(_name(rest[0])):
        rest = _after_interpreter(rest[1:])
    return " ".join([_name(rest[0]), *rest[1:]]) if rest else ""


def number(command: Sequence[str], options: tuple[str, ...]) -> int | None:
    """Return the last value of *options*, written as `--a-b 1`, `--a_b 1` or `--a-b=1`; None if absent."""
    found = None
    for place, argument in enumerate(command):
        name, has_value, value = argument.partition("=")
        if name.replace("_", "-") in options:
            value = value if has_value else next(iter(command[place + 1 : place + 2]), "")
            found = int(value) if value.isdecimal() else found
    return found


def has_option(command: Sequence[str], options: tuple[str, ...]) -> bool:
    """Return whether one of *options* is given, with or without a value."""
    return any(argument.partition("=")[0].replace("_", "-") in options for argument in command)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _after_interpreter(options: Sequence[str]) -> list[str]:
    rest = list(options)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-m":
            return rest
        if option == "-c":
            return []
        if option in _PYTHON_OPTIONS_WITH_VALUE and rest:
            rest.pop(0)
    return rest
