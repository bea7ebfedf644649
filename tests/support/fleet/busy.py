"""GPUs whose own monitor and links a test drives, and fleets of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_aggregator.answers.compute.config import ComputeConfig, ModelConfig
from perwatt_aggregator.answers.compute.sizes import flops_per_token
from perwatt_aggregator.schema.common import Dimension
from perwatt_aggregator.schema.compute import ComputeItem, LinkUse, Step, StepName
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import Followed

CYCLES_PER_SECOND = 1.98e9 * 132
H100 = "NVIDIA H100 80GB HBM3"
H100_BF16 = 989.5e12
LLAMA = ModelConfig(model="llama", parameters_active=70e9, layers=80, hidden=8192, context=2048)
PER_TOKEN = flops_per_token(LLAMA) or 0.0


@dataclass
class BusyGpu(Gpu):
    """
    A GPU that tells what its SMs and links do: the shares may be changed at any time.

    It `counts` cycles as drivers since 595 do, or shows the shares alone, or has no monitor at all.
    """

    name: str = H100
    sm: float = 0.5
    tensor: float = 0.25
    counts: bool = True
    monitors: bool = True
    nvlink_bytes_per_second: float = 45e9
    pcie_bytes_per_second: float = 5e9
    elapsed_seconds: float = 1e6
    active_seconds: float = 1e5
    tensor_seconds: float = 1e4
    nvlink_bytes: float = 1e15
    pcie_bytes: float = 1e15

    def work(self, seconds: float) -> None:
        self.elapsed_seconds += seconds
        self.active_seconds += self.sm * seconds
        self.tensor_seconds += self.tensor * seconds
        self.nvlink_bytes += self.nvlink_bytes_per_second * seconds
        self.pcie_bytes += self.pcie_bytes_per_second * seconds

    def snapshot(self, index: int, monotonic: float) -> GpuSnapshot:
        plain = super().snapshot(index, monotonic)
        named = replace(plain, info=replace(plain.info, name=self.name))
        if plain.reading is None:
            return named
        slow = GpuSlowReading(monotonic, pcie_generation_max=5, pcie_width_max=16)
        return replace(named, reading=self._reading(plain.reading), slow=slow)

    def _reading(self, plain: GpuReading) -> GpuReading:
        cycles = {
            "elapsed": self.elapsed_seconds * CYCLES_PER_SECOND,
            "active": self.active_seconds * CYCLES_PER_SECOND,
            "tensor": self.tensor_seconds * CYCLES_PER_SECOND,
        }
        seen = GpmReading(
            plain.monotonic_seconds,
            1.0,
            sm_active_ratio=self.sm,
            tensor_active_ratio=self.tensor,
            cycles=cycles if self.counts else {},
        )
        return replace(
            plain,
            gpm=seen if self.monitors else None,
            pcie_transmitted_bytes=self.pcie_bytes,
            pcie_received_bytes=2.0 * self.pcie_bytes,
            nvlink_transmitted_bytes=self.nvlink_bytes,
            nvlink_received_bytes=self.nvlink_bytes,
        )


class Busy:
    """A followed fleet of nodes with busy GPUs; `run` moves GPUs and workloads on together."""

    def __init__(self, machines: Sequence[Machine], compute: ComputeConfig | None = None) -> None:
        self.fleet = Followed(machines, compute=compute or ComputeConfig(models=(LLAMA,)))
        self.fleet.look()

    def run(self, seconds: float, **steady: float) -> None:
        for _ in range(round(seconds / self.fleet.interval_seconds)):
            for machine in self.fleet.machines:
                for gpu in machine.gpus:
                    if isinstance(gpu, BusyGpu) and gpu.state == "ok":
                        gpu.work(self.fleet.interval_seconds)
            self.fleet.run(self.fleet.interval_seconds, **steady)

    def items(self, *by: Dimension, seconds: float = 60.0) -> tuple[ComputeItem, ...]:
        return self.fleet.aggregator.compute(seconds, by).items

    def item(self, *by: Dimension, seconds: float = 60.0) -> ComputeItem:
        """The one item that there is."""
        (item,) = self.items(*by, seconds=seconds)
        return item


def node(*gpus: Gpu, held: int | None = None, **workload: object) -> Machine:
    """A node on which one workload holds the first GPUs, or all of them."""
    holder = Workload("chat", **workload)  # type: ignore[arg-type]  # the keys are Workload's own
    for gpu in gpus[:held]:
        holder.take(gpu.uuid, active=100.0)
    return Machine(list(gpus), [holder])


def step(item: ComputeItem, name: StepName) -> Step:
    return next(one for one in item.steps if one.name == name)


def link(item: ComputeItem, name: str) -> LinkUse:
    return next(one for one in item.links if one.name == name)


def ran(*gpus: Gpu, compute: ComputeConfig | None = None, **workload: Any) -> ComputeItem:
    """A minute of one workload on these GPUs, at 100 output and 200 computed prompt tokens a second."""
    busy = Busy([node(*gpus, **workload)], compute)
    busy.run(60.0)
    return busy.item("workload")
