"""Events of a node: something that happened, with a closed list of kinds."""

from typing import Literal, get_args

from msgspec import Struct

EventKind = Literal["xid", "gpu_state", "health", "driver", "energy_source", "node_meter", "engine_restart"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
Severity = Literal["info", "warning", "critical"]


class Event(Struct, frozen=True, omit_defaults=True):
    """
    Something that happened, in one sentence and in parts. `number` counts an agent's events from 1.

    `before` and `after` are states; which of the other parts there are depends on `kind`.
    """

    number: int
    unix_seconds: float
    kind: EventKind
    severity: Severity
    message: str
    gpu: str = ""
    workload: str = ""
    before: str = ""
    after: str = ""
    reasons: tuple[str, ...] = ()
    xid: int | None = None
