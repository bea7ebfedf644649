"""A fleet of machines by hand: rings that are fed without a network, and the answers over them."""

from collections.abc import Sequence

from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import HISTORY_SECONDS, Aggregator
from perwatt_aggregator.answers.compute.config import ComputeConfig
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.facility.config import (
    CarbonConfig,
    FacilityConfig,
    NodeOverheadConfig,
    PriceConfig,
    PueConfig,
)
from perwatt_aggregator.readings.node_memory import NodeMemory
from perwatt_aggregator.readings.objectives import SloConfig
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.schema.common import Boundary, Dimension
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.schema.ledger import LedgerItem
from perwatt_aggregator.targets.config import agents_at
from perwatt_aggregator.validity.uncertainty import UncertaintyConfig
from support.fleet.agents import Machine

FACILITY = FacilityConfig(
    pue=PueConfig(1.25),
    node_overhead=NodeOverheadConfig(1.8),
    price=PriceConfig("USD", 0.10),
    carbon=CarbonConfig(400.0),
)
BARE = FacilityConfig()

__all__ = ["BARE", "FACILITY", "HISTORY_SECONDS", "Followed"]


class Followed:
    """An aggregator over *machines*, which reads them when the test calls `look`."""

    def __init__(
        self,
        machines: Sequence[Machine],
        facility: FacilityConfig = FACILITY,
        interval_seconds: float = 5.0,
        slo: Sequence[SloConfig] = (),
        facilities: Sequence[FacilityConfig] = (),
        uncertainty: UncertaintyConfig = UncertaintyConfig(),  # noqa: B008 - frozen
        compute: ComputeConfig = ComputeConfig(),  # noqa: B008 - frozen
        memory: NodeMemory | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        self.machines = list(machines)
        self.clock = ManualClock()
        urls = tuple(f"http://node{index}:9836/metrics" for index in range(len(machines)))
        config = AggregatorConfig(
            agents_at(*urls),
            interval_seconds,
            facility,
            tuple(facilities),
            uncertainty=uncertainty,
            slo=tuple(slo),
            compute=compute,
            labels=tuple(labels),
        )
        self.aggregator = Aggregator(config, self.clock, memory)
        self.interval_seconds = interval_seconds
        self.answering: Sequence[int] | None = None

    def look(self, *, at: Sequence[int] | None = None) -> None:
        """Read the machines numbered in *at*, or in `answering`, or all."""
        at = self.answering if at is None else at
        for index in range(len(self.machines)) if at is None else at:
            machine = self.machines[index]
            machine.monotonic = self.clock.monotonic()
            node = self.aggregator.nodes[index]
            node.add(sample_of_snapshot(machine.snapshot(), node.objectives), self.clock.unix())

    def run(self, seconds: float, **steady: float) -> None:
        """Let all machines run steadily, looking at them every interval."""
        for _ in range(round(seconds / self.interval_seconds)):
            for machine in self.machines:
                machine.run(self.interval_seconds, **steady)
            self.clock.advance(self.interval_seconds)
            self.look()

    def trees(self, *by: Dimension, seconds: float = 60.0) -> tuple[LedgerItem, ...]:
        return self.aggregator.ledger(seconds, by).items

    def tree(self, *by: Dimension, seconds: float = 60.0) -> LedgerItem:
        """The one tree that there is."""
        (item,) = self.trees(*by, seconds=seconds)
        return item

    def items(
        self, *by: Dimension, boundary: Boundary = "gpu_board", seconds: float = 60.0
    ) -> tuple[EfficiencyItem, ...]:
        return self.aggregator.efficiency(seconds, by, (boundary,)).items

    def item(self, *by: Dimension, boundary: Boundary = "gpu_board", seconds: float = 60.0) -> EfficiencyItem:
        """The one item that there is."""
        (item,) = self.items(*by, boundary=boundary, seconds=seconds)
        return item
