"""What was given for each key, by whom, and what was refused."""

from collections.abc import Sequence

from msgspec import Struct


class ConfigError(Exception):
    """
    A configuration that cannot be used: one line for each error, `FILE:LINE: key: what was expected`.

    `usage` is True when only flags are to blame.
    """

    def __init__(self, lines: Sequence[str], usage: bool = False) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)
        self.usage = usage


class Origin(Struct, frozen=True, order=True):
    """Where a value came from: `rank` is 0 for the file, 1 for a variable, 2 for a flag."""

    rank: int
    line: int
    name: str


class Given(Struct, frozen=True):
    """A text and where it stood; a section or a list that is there has no text of its own."""

    text: str | None
    origin: Origin


class Layers:
    """
    All three layers in one form: a text for each dotted path, such as `engines.endpoints[0].url`.

    Values stay texts until the end, so that YAML's own guesses (`no`, `1:30`) never matter and file,
    variable and flag are read alike. What is given later wins.
    """

    def __init__(self) -> None:
        self._given: dict[str, Given] = {}
        self._refused: list[tuple[Origin, str, str]] = []

    def give(self, path: str, text: str | None, origin: Origin) -> None:
        self._given[path] = Given(text, origin)

    def refuse(self, path: str, message: str, origin: Origin | None = None) -> None:
        """Note an error; without an origin it stands where the path, or what is around it, was given."""
        self._refused.append((origin or self._nearest(path), path, message))

    def forget(self, path: str) -> None:
        """A list is replaced as a whole, never extended by a later layer."""
        self._given = {key: given for key, given in self._given.items() if not _within(key, path)}

    def get(self, path: str) -> Given | None:
        return self._given.get(path)

    def holds(self, path: str) -> bool:
        return any(_within(key, path) for key in self._given)

    def names_under(self, path: str) -> list[str]:
        """The keys of a map."""
        return [key[len(path) + 1 :] for key in self._given if key.startswith(f"{path}.")]

    def sound(self, path: str) -> bool:
        """Whether nothing at or under a path was refused."""
        return not any(_within(refused, path) for _, refused, _ in self._refused)

    def raise_if_refused(self) -> None:
        if self._refused:
            lines = [f"{origin.name}: {path}: {message}" for origin, path, message in sorted(self._refused)]
            raise ConfigError(lines, usage=all(origin.rank == 2 for origin, _, _ in self._refused))

    def _nearest(self, path: str) -> Origin:
        """The origin of what stands at the path or next to it, else of what is around it."""
        while path and not self.holds(path):
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        given = self._given.get(path) or next(
            (g for key, g in self._given.items() if _within(key, path)), None
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
