"""Energy account of one GPU: the driver's counter while it is plausible, else integrated power."""

from msgspec import Struct

from perwatt_agent.accounting.gpu_counter import (
    FALLBACK_LIMIT_WATTS,
    LEAP_FACTOR,
    CounterState,
    Judgement,
    has_restarted,
    judge,
    miss,
    resume,
)
from perwatt_agent.accounting.integrator import NOTHING, Increment, Integrator
from perwatt_agent.facts.gpu import GpuEnergy
from perwatt_agent.facts.gpu_reading import EnergySource, GpuReading

# With less common time, the granularity of the two meters dominates their difference, unless that is larger
# than what both of them together may lag behind.
DIVERGENCE_SECONDS = 60.0
MIN_DIVERGENCE_SECONDS = 10.0
LAG_SECONDS = 3.0
# After this much common time, half of it is forgotten, so that a meter that goes wrong later shows.
DIVERGENCE_MEMORY_SECONDS = 1200.0


class EnergyState(Struct, frozen=True):
    """
    Account that survives a restart of the agent, so that no joule is lost, repeated or invented.

    `accounted_until` is the monotonic instant up to which its energy is known: that of the last reading that
    gave energy, but for those of a counter that stands still or is held.
    """

    counter: CounterState | None = None
    accounted_until: float = 0.0
    integrated_joules: float = 0.0
    accepted_joules: float = 0.0
    covered_seconds: float = 0.0
    busy_seconds: float | None = None


class EnergyAccount:
    """
    Published energy of one GPU, from its readings.

    `accepted_joules` grows by exactly the growth of the published series: a change of source starts a new
    series at its own baseline and adds nothing. What was drawn since the last good reading of a counter that
    breaks is added with the next reading of the integrated series.
    """

    def __init__(self, max_gap_seconds: float, state: EnergyState | None = None) -> None:
        self._integrator = Integrator(max_gap_seconds)
        self._max_gap_seconds = max_gap_seconds
        self._state = state or EnergyState()
        self._source: EnergySource | None = None
        self._generation: int | None = None
        self._last_seconds: float | None = None
        self._drawn = NOTHING
        self._owed = NOTHING
        self._common_counter_joules = 0.0
        self._common_integrated = NOTHING

    @property
    def state(self) -> EnergyState:
        return self._state

    def add(self, reading: GpuReading, limit_watts: float | None, generation: int) -> GpuEnergy | None:
        """Account for one reading; return None if it contains no energy."""
        old = self._state
        integrated = self._integrate(reading, limit_watts)
        self._drawn = integrated if self._drawn is NOTHING else _sum(self._drawn, integrated)
        judgement = self._judge(reading, limit_watts, generation)
        counted = NOTHING if judgement is None else judgement.increment
        self._compare(counted, self._drawn)
        if judgement is not None and judgement.is_accepted:
            self._drawn = NOTHING
        believed = judgement is not None and not judgement.is_broken
        source: EnergySource = reading.energy_source if believed else "integrated"
        used = counted if believed else self._drawn_since_good(judgement, reading) or integrated
        has_energy = (reading.energy_joules if believed else reading.power_watts) is not None
        increment = self._published_increment(source, used, is_shown=has_energy)
        is_pending = (judgement is not None and judgement.is_pending) or self._owed is not NOTHING
        is_known = has_energy and not is_pending
        self._state = EnergyState(
            counter=None if judgement is None else judgement.state,
            accounted_until=reading.monotonic_seconds if is_known else old.accounted_until,
            integrated_joules=old.integrated_joules + (0.0 if believed else increment.joules),
            accepted_joules=old.accepted_joules + increment.joules,
            covered_seconds=old.covered_seconds + increment.seconds,
            busy_seconds=self._busy_seconds(reading),
        )
        if not has_energy:
            return None
        self._source = source
        return self._published(source)

    def _published_increment(
        self, source: EnergySource, increment: Increment, *, is_shown: bool
    ) -> Increment:
        """Return what the series of *source* shows of an increment; a broken counter may continue later."""
        goes_on = self._source in (None, source) or (self._source == "integrated" and source != "integrated")
        owed, self._owed = self._owed, NOTHING
        if source != "integrated":
            return increment if goes_on else NOTHING
        increment = increment if owed is NOTHING else _sum(owed, increment)
        if goes_on and is_shown:
            return increment
        self._owed = increment
        return NOTHING

    def _drawn_since_good(self, judgement: Judgement | None, reading: GpuReading) -> Increment | None:
        """Return what was drawn since the last good reading of a counter that breaks now; None otherwise."""
        before, drawn = self._state.counter, self._drawn
        if before is None or before.broken_since is not None or not drawn.seconds:
            return None
        if judgement is None or not judgement.is_broken:
            return None
        # A reading without power before the last good one leaves its time to the next power.
        part = min(1.0, (reading.monotonic_seconds - before.monotonic_seconds) / drawn.seconds)
        return Increment(drawn.joules * part, drawn.seconds * part)

    def _integrate(self, reading: GpuReading, limit_watts: float | None) -> Increment:
        most = LEAP_FACTOR * (limit_watts or FALLBACK_LIMIT_WATTS)
        if reading.power_watts is None or not 0.0 <= reading.power_watts <= most:
            return NOTHING
        return self._integrator.add(
            reading.monotonic_seconds, reading.power_watts, is_mean=reading.power_is_mean
        )

    def _judge(self, reading: GpuReading, limit_watts: float | None, generation: int) -> Judgement | None:
        """Return the judgement on the counter of a reading; None if there has never been one."""
        remembered, joules, now = self._state.counter, reading.energy_joules, reading.monotonic_seconds
        if joules is None:
            return None if remembered is None else miss(remembered, now)
        if (
            remembered is not None
            and remembered.broken_since is not None
            and self._may_resume(remembered, joules, generation)
        ):
            judgement = resume(remembered, joules, now, limit_watts, self._state.accounted_until)
        else:
            judgement = judge(remembered, joules, now, limit_watts, self._drawn)
        self._generation = generation
        return judgement

    def _may_resume(self, remembered: CounterState, joules: float, generation: int) -> bool:
        if self._generation is None:  # each run of the agent counts generations from 0
            return has_restarted(remembered, joules)
        return generation != self._generation

    def _busy_seconds(self, reading: GpuReading) -> float | None:
        last, self._last_seconds = self._last_seconds, reading.monotonic_seconds
        busy = self._state.busy_seconds
        if reading.utilization_ratio is None:
            return busy
        if last is None or not 0.0 < reading.monotonic_seconds - last <= self._max_gap_seconds:
            return busy or 0.0
        return (busy or 0.0) + reading.utilization_ratio * (reading.monotonic_seconds - last)

    def _compare(self, counted: Increment, integrated: Increment) -> None:
        # Only intervals that both meters cover completely are comparable; gaps and resets are not.
        if counted.seconds > 0.0 and abs(counted.seconds - integrated.seconds) < 1e-6:
            self._common_counter_joules += counted.joules
            self._common_integrated = _sum(self._common_integrated, integrated)
        if self._common_integrated.seconds > DIVERGENCE_MEMORY_SECONDS:
            self._common_counter_joules /= 2.0
            common = self._common_integrated
            self._common_integrated = Increment(common.joules / 2.0, common.seconds / 2.0)

    def _divergence_ratio(self) -> float | None:
        """Return how much more the counter counted than the power adds up to; None while not known."""
        common = self._common_integrated
        if common.joules <= 0.0 or common.seconds < MIN_DIVERGENCE_SECONDS:
            return None
        difference = self._common_counter_joules - common.joules
        lag_joules = LAG_SECONDS * max(common.joules, self._common_counter_joules) / common.seconds
        if common.seconds < DIVERGENCE_SECONDS and abs(difference) <= lag_joules:
            return None
        return difference / common.joules

    def _published(self, source: EnergySource) -> GpuEnergy:
        state = self._state
        if source == "integrated":
            joules = state.integrated_joules
        else:
            assert state.counter is not None  # a source other than integration exists only with a counter
            joules = state.counter.joules
        return GpuEnergy(
            source=source,
            joules=joules,
            accepted_joules=state.accepted_joules,
            covered_seconds=state.covered_seconds,
            busy_seconds=state.busy_seconds,
            divergence_ratio=None if source == "integrated" else self._divergence_ratio(),
        )


def _sum(one: Increment, other: Increment) -> Increment:
    return Increment(one.joules + other.joules, one.seconds + other.seconds)
