"""One engine's page as sums by role, with its labels resolved and its bad values told apart."""

import math
from collections.abc import Iterable

from perwatt_agent.engine.endpoints import EngineFailure
from perwatt_agent.engine.kinds import EngineKind, Pick, Role
from perwatt_agent.promparse import Series

# Whose gauge it is. Labels beyond these, such as the `pid` that servers of many processes add, tell
# several views of one gauge apart, not several gauges.
_GAUGE_OWNER_LABELS = ("engine",)


class EnginePage:
    """
    The samples of *kind* on one page, for one model.

    *model* chooses among several on a page, and names the one of a page that does not say.
    Raises EngineFailure("several_models") when the page has several and *model* is none of them.
    """

    def __init__(self, kind: EngineKind, samples: Iterable[tuple[Series, float]], model: str | None) -> None:
        own = dict(samples)  # a series that is there twice still counts once
        found = {series.label(kind.model_label) for series in own if series.name in kind.recognised_by} - {""}
        if len(found) > 1 and model not in found:
            raise EngineFailure(
                "several_models",
                f"the page has {len(found)} models; name one of {', '.join(sorted(found)[:8])}",
            )
        self.model = model or next(iter(found), "")
        self._samples: dict[str, list[tuple[Series, float]]] = {}
        for series, value in own.items():
            if len(found) <= 1 or series.label(kind.model_label) in (model, ""):
                self._samples.setdefault(series.name, []).append((series, value))

    def tokens(self, role: Role) -> float | None:
        """Return the sum of a counter, None where the page lacks it; EngineFailure for a bad value."""
        value = self._sum(role)
        if value is not None and not _is_count(value):
            raise EngineFailure("bad_value", f"{role[0].name} is not a finite count")
        return value

    def count(self, role: Role) -> float | None:
        """Return the sum of a counter, None where the page lacks it or has a bad value."""
        value = self._sum(role)
        return value if value is not None and _is_count(value) else None

    def gauge(self, role: Role) -> float | None:
        """Return the sum of a gauge over its owners, None where the page lacks it or has a bad value."""
        by_owner: dict[tuple[str, ...], float] = {}
        for series, value in self._matching(role) or ():
            owner = tuple(series.label(label) for label in _GAUGE_OWNER_LABELS)
            by_owner[owner] = max(value, by_owner.get(owner, value))
        return sum(by_owner.values()) if by_owner and all(map(_is_count, by_owner.values())) else None

    def _sum(self, role: Role) -> float | None:
        matching = self._matching(role)
        if matching is None:
            return None
        values = [value for _, value in matching]
        return sum(values) if all(map(_is_count, values)) else math.nan

    def _matching(self, role: Role) -> list[tuple[Series, float]] | None:
        for pick in role:
            if pick.name in self._samples:
                return [sample for sample in self._samples[pick.name] if _allowed(pick, sample[0])]
        return None


def _allowed(pick: Pick, series: Series) -> bool:
    return all(series.label(label) in values for label, values in pick.where)


def _is_count(value: float) -> bool:
    return math.isfinite(value) and value >= 0
