"""Path to one value of a JSON document, such as `data.outlets[2].power`."""

import re
from typing import Any

Steps = tuple[str | int, ...]

_STEP = r"\[(-?\d{1,6})\]|(?:(?<=.)\.|^)([^.\[\]]+)"


def steps_of(path: str) -> Steps:
    """Split *path* into keys and indices; -1 is the last element of a list. Raises ValueError."""
    steps: list[str | int] = []
    step, end = re.compile(_STEP), 0
    while match := step.match(path, end):
        index, key = match.groups()
        steps.append(key if index is None else int(index))
        end = match.end()
    if not steps or end != len(path):
        raise ValueError("a path such as `data.outlets[2].power`")
    return tuple(steps)


def value_at(document: Any, steps: Steps) -> Any:
    """Return the value at a path. Raises LookupError that names the missing step."""
    for step in steps:
        fits = isinstance(document, list if isinstance(step, int) else dict)
        try:
            if not fits:
                raise LookupError
            document = document[step]
        except LookupError:
            raise LookupError(f"the document has nothing at {step!r}") from None
    return document
