"""A path to one value of a JSON document: `data.outlets[2].power`."""

import re
from typing import Any

Steps = tuple[str | int, ...]

_STEP = re.compile(r"\[(-?\d{1,6})\]|(?:(?<=.)\.|^)([^.\[\]]+)")


def steps_of(path: str) -> Steps:
    """Take *path* apart into keys and indices; -1 is the last of a list. Raises ValueError."""
    steps: list[str | int] = []
    end = 0
    while match := _STEP.match(path, end):
        index, key = match.groups()
        steps.append(key if index is None else int(index))
        end = match.end()
    if not steps or end != len(path):
        raise ValueError("a path such as `data.outlets[2].power`")
    return tuple(steps)


def value_at(document: Any, steps: Steps) -> Any:
    """The value there. Raises LookupError naming the step that leads nowhere."""
    for step in steps:
        fits = isinstance(document, list if isinstance(step, int) else dict)
        try:
            if not fits:
                raise LookupError
            document = document[step]
        except LookupError:
            raise LookupError(f"the document has nothing at {step!r}") from None
    return document
