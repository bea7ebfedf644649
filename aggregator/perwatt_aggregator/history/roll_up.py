"""Roll-up of a tick: sums of all owners by facility and model, from which most answers are read."""

from functools import lru_cache

import msgspec

from perwatt_aggregator.history.values import CARBON, CURRENCY, UNIT, Kept, Tick

ROLL_UP_DIMENSIONS = frozenset(("facility", "model"))
_KEPT_LABELS = (*sorted(ROLL_UP_DIMENSIONS), CURRENCY, CARBON, UNIT)
SHARED_GROUP = "shared_group"
HAS_WORKLOAD = "+workload"


def rolled_up(tick: Tick) -> Tick:
    """The sums of *tick* by facility and model."""
    found: dict[str, Kept] = {}
    places: dict[str, set[str]] = {}
    for owner, kept in tick.owners.items():
        key, group, has_workload = _place(owner)
        if group:
            places.setdefault(group, set()).add(key)
        flags = kept.flags | {HAS_WORKLOAD} if has_workload else kept.flags
        if key in found:
            found[key].add(Kept(kept.values, flags))
        else:
            found[key] = Kept(kept.values, flags)
    for keys in places.values():
        if len(keys) > 1:
            for key in keys:
                found[key].flags |= {SHARED_GROUP}
    return Tick(tick.start, tick.seconds, found)


def labels_of(owner: str) -> dict[str, str]:
    """The labels of an owner."""
    return msgspec.json.decode(owner.encode(), type=dict[str, str])


def owner_of(labels: dict[str, str]) -> str:
    """An owner by its labels; empty ones are left out."""
    return msgspec.json.encode({name: labels[name] for name in sorted(labels) if labels[name]}).decode()


@lru_cache(maxsize=200_000)
def _place(owner: str) -> tuple[str, str, bool]:
    """The owner in the roll-up, the group of its engine, and whether it is a workload's."""
    labels = labels_of(owner)
    kept = {name: labels[name] for name in _KEPT_LABELS if name in labels}
    return owner_of(kept), labels.get("group", ""), "workload" in labels
