"""Layers of a configuration: the text of each key, its origin, and the errors."""

from collections.abc import Sequence

from msgspec import Struct


class ConfigError(Exception):
    """
    An invalid configuration: one line for each error, `FILE:LINE: key: what was expected`.

    `usage` is True if all errors come from flags.
    """

    def __init__(self, lines: Sequence[str], usage: bool = False) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
        self.usage = usage


class Origin(Struct, frozen=True, order=True):
    """Origin of a value: `rank` is 0 for the file, 1 for a variable, 2 for a flag."""

    rank: int
    line: int
    name: str


class Value(Struct, frozen=True):
    """A text and its origin. A section or a list has an origin but no text."""

    text: str | None
    origin: Origin


class Layers:
    """
    All layers in one form: a text for each dotted path, such as `engines.endpoints[0].url`.

    Values stay texts until the end, so that YAML's type guesses (`no`, `1:30`) have no effect, and file,
    variable and flag are read in the same way. A later value replaces an earlier one.
    """

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._errors: list[tuple[Origin, str, str]] = []

    def set(self, path: str, text: str | None, origin: Origin) -> None:
        self._values[path] = Value(text, origin)

    def add_error(self, path: str, message: str, origin: Origin | None = None) -> None:
        """Record an error. By default its origin is that of the path, or of the nearest key around it."""
        self._errors.append((origin or self._nearest(path), path, message))

    def remove(self, path: str) -> None:
        """Remove a list: a later layer replaces it as a whole and never extends it."""
        self._values = {key: given for key, given in self._values.items() if not _within(key, path)}

    def get(self, path: str) -> Value | None:
        return self._values.get(path)

    def contains(self, path: str) -> bool:
        return any(_within(key, path) for key in self._values)

    def names_under(self, path: str) -> list[str]:
        """Return the keys of a map."""
        return [key[len(path) + 1 :] for key in self._values if key.startswith(f"{path}.")]

    def is_valid(self, path: str) -> bool:
        """Return whether there is no error at or below a path."""
        return not any(_within(refused, path) for _, refused, _ in self._errors)

    def raise_errors(self) -> None:
        if self._errors:
            lines = [f"{origin.name}: {path}: {message}" for origin, path, message in sorted(self._errors)]
            raise ConfigError(lines, usage=all(origin.rank == 2 for origin, _, _ in self._errors))

    def _nearest(self, path: str) -> Origin:
        """Return the origin of the path or of a key below it, else of the nearest section around it."""
        while path and not self.contains(path):
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        given = self._values.get(path) or next(
            (g for key, g in self._values.items() if _within(key, path)), None
        )
        return given.origin if given else Origin(0, 0, "configuration")


def _within(path: str, ancestor: str) -> bool:
    return path == ancestor or path.startswith((f"{ancestor}.", f"{ancestor}["))


def unknown_key(name: str, known: Sequence[str]) -> str:
    """Error message of a key that does not exist."""
    from difflib import (
        get_close_matches,  # only for a mistake: an agent that starts loads no more than it needs
    )

    near = get_close_matches(name, known, 1)
    return f"unknown key, expected {near[0] if near else 'one of ' + ', '.join(known)}"
