"""Row of a meter kind: all that perwatt knows about one kind of meter."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.meters.config import MeterConfig, PlaceConfig
from perwatt_agent.meters.meter import Meter
from perwatt_agent.meters.reading.figure import FigureReader

UnitRule = Literal["fixed", "required", "optional"]
"""
Whether `unit` must be configured: the meter reports it ("fixed"), a bare number has none ("required"), or
watts are assumed ("optional").
"""


class MeterKind(Struct, frozen=True, kw_only=True):
    """
    One kind of meter, or one value of the `source` label that several kinds can have.

    A kind that is configured has `build` or `read_figure`; a kind that is found on a machine has `find`; a
    kind with none of them is a `source` label only, which an operator may give where `is_label` is set.

    `rank` orders sources by trust, the lowest first, where several measure the same thing:
    10-19 somebody chose this meter and put it before the node; 20-29 the node's management controller, the
    better protocol first; 30-39 the kernel, counters before power that must be integrated; 90 an estimate.
    """

    name: str
    rank: int
    measures: str
    boundary: str
    limits: str
    """For docs/meters.md: what it measures, at which boundary, and what it cannot do."""
    uncertainty_ratio: float
    """Relative standard uncertainty of its energy."""
    uncertainty_basis: str
    scopes: tuple[MeterScope, ...] = ("node", "sensor")
    interval_seconds: float = 0.0
    """How often it is read unless `interval` says otherwise."""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    """Keys of PlaceConfig that it requires, and further ones that have a meaning for it."""
    unit: UnitRule = "fixed"
    is_https_only: bool = False
    is_label: bool = False
    check_path: Callable[[str], object] | None = None
    """Raises ValueError where `path` has the wrong form, with an example of the right one."""
    build: Callable[[MeterConfig, Clock, float], Meter] | None = None
    read_figure: Callable[[PlaceConfig, Clock, float], FigureReader] | None = None
    """Reader of a bare number, which can also be a price. The last argument is the interval in seconds."""
    find: Callable[[Clock], Meter] | None = None

    @property
    def is_configured(self) -> bool:
        """Whether `kind:` can name it."""
        return self.build is not None or self.read_figure is not None
