"""GPUs, as published: identity, state, energy, and the latest readings; None is a value that is not known."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.gpu_reading import EnergySource, GpuReading, GpuSlowReading
from perwatt_agent.facts.health import GpuHealth, XidCount

GpuState = Literal["ok", "lost", "hung", "error"]
GPU_STATES: tuple[GpuState, ...] = ("ok", "lost", "hung", "error")


class GpuInfo(Struct, frozen=True):
    """
    Identity of a GPU, read once per driver generation. Texts that the driver does not have are empty.

    `numa_node` is set if the operating system manages the GPU's memory, as a NUMA node of its own.
    `claim_index` is the index by which the configuration means this GPU, if it differs from the driver's
    `index`: indices change when a GPU before this one is missing. `minor_number` is N of its device node
    `/dev/nvidiaN`; it may differ from both. None where the driver does not give it, and in older recordings.
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
    minor_number: int | None = None

    @property
    def device_number(self) -> int:
        """The number by which Slurm and device plugins mean this GPU: that of its device node."""
        return self.index if self.minor_number is None else self.minor_number

    @property
    def claimed_as(self) -> int:
        """The index by which configuration means this GPU."""
        return self.index if self.claim_index is None else self.claim_index


class GpuEnergy(Struct, frozen=True):
    """
    The accounted energy of one GPU.

    `joules` is the value of `perwatt_gpu_energy_joules_total` for `source`. `accepted_joules` is the sum of
    all accepted increments since the agent's account of this GPU began, without resets.
    """

    source: EnergySource
    joules: float
    accepted_joules: float
    covered_seconds: float
    busy_seconds: float | None
    divergence_ratio: float | None


class GpuSnapshot(Struct, frozen=True):
    """
    One GPU at one collection cycle. If `state` is not "ok", every measured value is None.

    `health` and `xids` do not depend on the state; they are None and empty before the first evaluation.
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
