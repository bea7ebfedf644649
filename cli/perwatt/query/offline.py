"""Efficiency of a recording, by the agent's account and the aggregator's arithmetic, without a daemon."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from perwatt.errors import CommandError
from perwatt.run.bootstrap import open_recording
from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import SystemClock
from perwatt_agent.recording.recording import Recording
from perwatt_aggregator.answers.efficiency import efficiency
from perwatt_aggregator.facility.config import FacilityConfig, PueConfig
from perwatt_aggregator.facility.facility import Facility
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.readings.facts import WorkloadFacts
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.readings.sample import OUTPUT_TOKENS, WORKLOAD_COVERED, Counter, NodeSample
from perwatt_aggregator.schema.common import BOUNDARIES
from perwatt_aggregator.targets.target import Target

GIVEN = "given"
"""Workload and model of the tokens of `--tokens-per-second`."""


def efficiency_of_recording(
    path: Path,
    *,
    start_unix: float | None = None,
    end_unix: float | None = None,
    pue: float | None = None,
    tokens_per_second: float | None = None,
) -> list[dict[str, Any]]:
    """
    One item of `/v1/efficiency` per boundary, over the readings from one instant to another, both included.

    `tokens_per_second` gives tokens to a recording that has none. Raises CommandError.
    """
    recording = open_recording(path)
    facility = Facility(FacilityConfig(pue=None if pue is None else PueConfig(pue)), SystemClock())
    samples = list(_samples(recording, start_unix, end_unix))
    if len(samples) < 2:
        raise CommandError(f"{path}: fewer than two readings in the window; widen --from and --to")
    if tokens_per_second is not None:
        if any(sample.workloads for sample in samples):
            raise CommandError(f"{path} has its own tokens; leave --tokens-per-second out")
        samples = [_with_tokens(sample, samples[0].unix_seconds, tokens_per_second) for sample in samples]
    seconds = samples[-1].unix_seconds - samples[0].unix_seconds
    # A reading may come slightly early, so the ring is sized by their number, not by the time.
    ring = NodeRing(len(samples) * recording.header.interval_seconds, recording.header.interval_seconds)
    node = Node(Target(recording.header.node, ""), ring, facility.config)
    for sample in samples:
        node.add(sample, sample.unix_seconds)
    state = facility.state(samples[0].unix_seconds, samples[-1].unix_seconds)
    view = node.view(seconds, samples[-1].monotonic_seconds, state)
    views = [view] if view is not None else []
    items = efficiency(views, (), BOUNDARIES)
    return [msgspec.to_builtins(msgspec.structs.replace(item, source="recording")) for item in items]


def _samples(recording: Recording, start_unix: float | None, end_unix: float | None) -> Iterator[NodeSample]:
    account = Account(recording.header.interval_seconds)
    for readings in recording.readings():
        snapshot = account.advance(readings)
        is_after_start = start_unix is None or snapshot.unix_seconds >= start_unix
        is_before_end = end_unix is None or snapshot.unix_seconds <= end_unix
        if is_after_start and is_before_end:
            yield sample_of_snapshot(snapshot)


def _with_tokens(sample: NodeSample, start_unix: float, tokens_per_second: float) -> NodeSample:
    seconds = sample.unix_seconds - start_unix
    given = {
        Counter(OUTPUT_TOKENS, workload=GIVEN, model=GIVEN): tokens_per_second * seconds,
        Counter(WORKLOAD_COVERED, workload=GIVEN): seconds,
    }
    return msgspec.structs.replace(
        sample,
        counters=sample.counters | given,
        workloads={GIVEN: WorkloadFacts(GIVEN, up=True)},
    )
