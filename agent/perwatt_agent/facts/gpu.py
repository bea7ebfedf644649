"""GPUs, as published: identity, state, energy, and the latest readings; None is a value that is not known."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.gpu_reading import EnergySource, GpuReading, GpuSlowReading
from perwatt_agent.facts.health import GpuHealth, XidCount

GpuState = Literal["ok", "lost", "hung", "error"]
GPU_STATES: tuple[GpuState, ...] = ("ok", "lost", "hung", "error")


class GpuInfo(Struct, frozen=True):
    """
    What a GPU is; read once a driver generation. Strings a driver does not give are empty.

    `numa_node` is set where the operating system owns the GPU's memory, as that of a node of its own.
    `claim_index` is the index by which configuration means this GPU, where that is not the driver's `index`:
    GPUs move up when one before them is missing.
    """

    uuid: str
    index: int
    name: str
    pci_bus_id: str = ""
    architecture: str = ""
    serial: str = ""
    vbios_version: str = ""
    numa_node: int | None = None
    claim_index: int | None = None

    @property
    def claimed_as(self) -> int:
        """The index by which configuration means this GPU."""
        return self.index if self.claim_index is None else self.claim_index


class GpuEnergy(Struct, frozen=True):
    """
    The accounted energy of one GPU.

    `joules` is what `perwatt_gpu_energy_joules_total` shows for `source`; `accepted_joules` is the
    sum of all believed increments since the agent's account of this GPU began, free of resets.
    """

    source: EnergySource
    joules: float
    accepted_joules: float
    covered_seconds: float
    busy_seconds: float | None
    divergence_ratio: float | None


class GpuSnapshot(Struct, frozen=True):
    """
    One GPU at one sweep. When `state` is not "ok", all that was measured is None.

    `health` and `xids` stay whatever the state is; None and empty before anyone has looked at them.
    """

    info: GpuInfo
    state: GpuState
    reading: GpuReading | None = None
    slow: GpuSlowReading | None = None
    energy: GpuEnergy | None = None
    calibration_ratio: float | None = None
    unallocated_joules: float | None = None
    unknown_joules: float | None = None
    idle_power_watts: float | None = None
    health: GpuHealth | None = None
    xids: tuple[XidCount, ...] = ()
