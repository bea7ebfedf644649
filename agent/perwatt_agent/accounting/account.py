"""Account of one node: readings of a collection cycle in, the Snapshot to publish out. No input or output."""

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from perwatt_agent.accounting.attribution import Attribution, AttributionState
from perwatt_agent.accounting.gpu_bounds import within_bounds
from perwatt_agent.accounting.gpu_energy import EnergyAccount, EnergyState
from perwatt_agent.accounting.host_meters import HostMeters, HostMetersState
from perwatt_agent.accounting.idle_power import IdlePower
from perwatt_agent.facts.gpu import GpuInfo, GpuSnapshot
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.host_meter import NodeModel
from perwatt_agent.facts.readings import GpuSample, Readings
from perwatt_agent.facts.snapshot import AgentInfo, Snapshot

# Integrated power bridges gaps of up to this many sampling periods.
MAX_GAP_PERIODS = 3.0
# A slow reading is valid for two of its tier's periods of 15 s, plus a second for the collection cycle.
SLOW_VALID_SECONDS = 31.0


class AccountState(Struct):
    """Accounts that survive a restart of the agent."""

    energy: dict[str, EnergyState]
    attribution: AttributionState
    idle_watts: dict[str, float] = {}
    meters: HostMetersState = field(default_factory=HostMetersState)


class Account:
    """
    Accounts of one node's GPUs, workloads and meters; collection cycles are `interval_seconds` apart.

    `calibration` has factors by UUID that are published beside the counters and never applied to them.
    `idle_watts` is the idle power of GPUs by model name, which replaces the learnt one. *model* has the
    assumptions about a node without a wall meter, *agent* is who keeps this account.
    """

    def __init__(
        self,
        interval_seconds: float,
        *,
        calibration: Mapping[str, float] | None = None,
        idle_watts: Mapping[str, float] | None = None,
        model: NodeModel | None = None,
        state: AccountState | None = None,
        agent: AgentInfo | None = None,
    ) -> None:
        self._agent = agent
        self._max_gap_seconds = MAX_GAP_PERIODS * interval_seconds
        self._calibration = calibration or {}
        self._idle_watts = idle_watts or {}
        remembered = state.energy if state else {}
        self._energy = defaultdict(
            lambda: EnergyAccount(self._max_gap_seconds),
            {uuid: EnergyAccount(self._max_gap_seconds, energy) for uuid, energy in remembered.items()},
        )
        learnt = state.idle_watts if state else {}
        self._idle = defaultdict(IdlePower, {uuid: IdlePower(watts) for uuid, watts in learnt.items()})
        self._attribution = Attribution(state.attribution if state else None)
        self._slow: dict[str, tuple[GpuSlowReading, float | None]] = {}
        self._meters = HostMeters(interval_seconds, model, state.meters if state else None)

    def advance(self, readings: Readings) -> Snapshot:
        """Account for one collection cycle and return what to publish."""
        samples = {sample.uuid: sample for sample in readings.gpus}
        pairs = [(info, samples[info.uuid]) for info in readings.known]
        gpus = [self._gpu(info, sample, readings) for info, sample in pairs]
        self._attribution.receive(readings.engines)
        self._attribution.attribute(readings.monotonic_seconds)
        meters = self._meters.advance(readings, gpus)
        return Snapshot(
            unix_seconds=readings.unix_seconds,
            monotonic_seconds=readings.monotonic_seconds,
            backend=readings.backend,
            gpus=tuple(self._with_rest(gpu) for gpu in gpus),
            collectors=readings.collectors,
            workloads=self._attribution.workloads(),
            node_meters=meters.node_meters,
            unidentified_gpus=readings.unidentified_gpus,
            meters=meters.meters,
            host=readings.host,
            node_model=self._meters.model,
            agent=self._agent,
        )

    def waiting_joules(self, gpu: str) -> float:
        """Return the GPU's joules that wait for the next page of the workloads that hold it."""
        return self._attribution.waiting_joules(gpu)

    def state(self) -> AccountState:
        return AccountState(
            {uuid: account.state for uuid, account in self._energy.items()},
            self._attribution.state(),
            {uuid: idle.watts for uuid, idle in self._idle.items() if idle.watts is not None},
            self._meters.state(),
        )

    def _gpu(self, info: GpuInfo, sample: GpuSample, readings: Readings) -> GpuSnapshot:
        calibration = self._calibration.get(info.uuid)
        reading = sample.reading
        if sample.slow is not None:
            self._slow[info.uuid] = sample.slow, _max_watts(sample.slow)
        if reading is not None:
            slow, max_watts = self._fresh_slow(info.uuid, reading.monotonic_seconds)
            reading = within_bounds(reading, max_watts)
        has_no_sensor = reading is not None and reading.energy_joules is None and reading.power_watts is None
        self._attribution.set_sensor(info.uuid, has_no_sensor=has_no_sensor and sample.state == "ok")
        if sample.state != "ok" or reading is None:
            return GpuSnapshot(info, sample.state, calibration_ratio=calibration)
        account = self._energy[info.uuid]
        energy = account.add(reading, max_watts, readings.generation)
        idle_watts = self._idle_power(info, reading, slow)
        # Joules that are not known yet must not count for the seconds in which they become known.
        if energy is not None and account.state.accounted_until == reading.monotonic_seconds:
            accepted, covered = energy.accepted_joules, energy.covered_seconds
            self._attribution.add_reading(info.uuid, accepted, covered, reading, slow, idle_watts)
        return GpuSnapshot(
            info, "ok", reading, slow, energy, calibration_ratio=calibration, idle_power_watts=idle_watts
        )

    def _idle_power(self, info: GpuInfo, reading: GpuReading, slow: GpuSlowReading | None) -> float | None:
        """Return the GPU's idle power in watts: configured, else learnt, else None."""
        idle = self._idle[info.uuid]
        idle.add(reading, slow, held=self._attribution.is_held(info.uuid))
        return self._idle_watts.get(info.name, idle.watts)

    def _fresh_slow(self, uuid: str, now: float) -> tuple[GpuSlowReading | None, float | None]:
        """Return the newest slow reading that is still valid, and the highest power limit in it."""
        slow, max_watts = self._slow.get(uuid, (None, None))
        if slow is None or now - slow.monotonic_seconds > SLOW_VALID_SECONDS:
            return None, None
        return slow, max_watts

    def _with_rest(self, gpu: GpuSnapshot) -> GpuSnapshot:
        if gpu.energy is None:
            return gpu
        unallocated, unknown = self._attribution.unattributed(gpu.info.uuid)
        return replace(gpu, unallocated_joules=unallocated, unknown_joules=unknown)


def _max_watts(slow: GpuSlowReading) -> float | None:
    # The highest limit that may have applied since the last reading, so that joules used before a limit was
    # lowered stay plausible.
    limits = (slow.power_limit_watts, slow.power_limit_max_watts, slow.power_limit_default_watts)
    return max((limit for limit in limits if limit is not None), default=None)
