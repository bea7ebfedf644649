"""A replay is what happened, dated now, labelled, and over when it is over."""

import math
from pathlib import Path

import msgspec
import pytest
from support.accounts.node import Engine, Node

from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import ManualClock
from perwatt_agent.diagnosis.diagnosis import Diagnosis
from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.readings import MeterSample, Readings
from perwatt_agent.facts.snapshot import BackendStatus, Snapshot
from perwatt_agent.recording.recording import Recording, RecordingWriter
from perwatt_agent.recording.replay import ENDED, ReplaySource
from perwatt_agent.sampling.sampler import Sampler

UNIX_SECONDS = 1_900_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(unix_seconds=UNIX_SECONDS)


def swept(seconds: int, *, backend: str = "nvml") -> list[Readings]:
    """Sweeps of two engines on two GPUs, with an outage of each kind."""
    first, second = Engine("a", gpus=(0, 1)), Engine("b", gpus=(1,))
    node = Node(2, [first, second])
    taken = []
    for second_number in range(seconds):
        node.present[0] = not 20 <= second_number < 30
        first.reachable = not 15 <= second_number < 25
        status = BackendStatus(backend, up=True, driver_version="570.00")
        taken.append(msgspec.structs.replace(node.sweep(), backend=status))
    return taken


def record(path: Path, taken: list[Readings]) -> Recording:
    with path.open("wb") as file:
        writer = RecordingWriter(file, "node-7", 1.0)
        for readings in taken:
            writer.write(readings)
        writer.close()
    return Recording(path)


async def play(source: ReplaySource) -> list[Readings]:
    played = []
    while (readings := await source.next()) is not None:
        played.append(readings)
    return played


async def snapshots(recording: Recording, clock: ManualClock) -> list[Snapshot]:
    shown: list[Snapshot] = []
    source = ReplaySource(recording, clock, math.inf)
    sampler = Sampler(source, Account(1.0), clock, (lambda readings, snapshot: shown.append(snapshot),))
    await sampler.run()
    return shown


async def test_same_snapshots(tmp_path: Path, clock: ManualClock) -> None:
    """The snapshots of a replay are those of the live run, apart from their date and the backend's name."""
    taken = swept(60)
    account, diagnosis = Account(1.0), Diagnosis(EventRing("live"))
    live = [diagnosis.examine(account.advance(readings), readings.xids) for readings in taken]
    played = await snapshots(record(tmp_path / "node.jsonl", taken), clock)

    assert len(live) + 1 == len(played)
    offset = UNIX_SECONDS - taken[0].unix_seconds
    for then, now in zip(live, played, strict=False):
        status = msgspec.structs.replace(then.backend, name="replay")
        dated = msgspec.structs.replace(then, backend=status, unix_seconds=now.unix_seconds)
        assert dated == now
        assert pytest.approx(then.unix_seconds + offset) == now.unix_seconds


@pytest.mark.parametrize(("speed", "took"), [(1.0, 29.0), (10.0, 2.9), (math.inf, 0.0)])
async def test_speed(tmp_path: Path, clock: ManualClock, speed: float, took: float) -> None:
    """Readings come at the pace they were taken, at a multiple of it, or without waiting."""
    await play(ReplaySource(record(tmp_path / "node.jsonl", swept(30)), clock, speed))

    assert pytest.approx(1_000.0 + took) == clock.monotonic()


@pytest.mark.parametrize(
    ("recorded", "shown"), [("nvml", "replay"), ("simulated", "simulated"), ("replay", "replay")]
)
async def test_label(tmp_path: Path, clock: ManualClock, recorded: str, shown: str) -> None:
    """What is played is labelled as a replay, and what was simulated stays labelled so."""
    source = ReplaySource(record(tmp_path / "node.jsonl", swept(3, backend=recorded)), clock, math.inf)

    assert {(shown, "570.00")} == {
        (readings.backend.name, readings.backend.driver_version) for readings in await play(source)
    }


async def test_ended(tmp_path: Path, clock: ManualClock) -> None:
    """After the end the backend is down for that reason, and no reading, page or meter is shown any more."""
    recording = record(tmp_path / "node.jsonl", swept(12))
    *before, last = await snapshots(recording, clock)

    assert (True, [True, True]) == (before[-1].backend.up, [shown.up for shown in before[-1].workloads])
    assert (False, ENDED) == (last.backend.up, last.backend.reason)
    assert [("lost", None, None, None)] * 2 == [
        (gpu.state, gpu.reading, gpu.slow, gpu.energy) for gpu in last.gpus
    ]
    assert [False, False] == [shown.up for shown in last.workloads]
    assert () == last.node_meters


async def test_meter_ended(tmp_path: Path, clock: ManualClock) -> None:
    """A CSV plays as a meter, and shows none after its end."""
    path = tmp_path / "wall.csv"
    path.write_text("t_unix_s,watts\n100,500\n101,600\n102,700\n")
    first, second, third, last = await snapshots(Recording(path), clock)

    assert [0.0, 550.0, 1_200.0] == [shown.node_meters[0].energy_joules for shown in (first, second, third)]
    assert ((), ENDED) == (last.node_meters, last.backend.reason)
    assert UNIX_SECONDS + 2.0 == third.unix_seconds


async def test_host_and_meters(tmp_path: Path, clock: ManualClock) -> None:
    """The host's load and its meters are played as they were, and neither stays after the end."""
    meters = (
        MeterSample("ipmi", 100.0, 800.0, period_seconds=5.0),
        MeterSample(
            "rapl", 100.0, energy_joules=5.0, energy_range_joules=65_000.0, scope="package", zone="0"
        ),
    )
    host = HostReading(0.25, 4_000, 16_000)
    taken = [msgspec.structs.replace(readings, meters=meters, host=host) for readings in swept(3)]
    first, *_, last = await play(ReplaySource(record(tmp_path / "node.jsonl", taken), clock, math.inf))

    assert (meters, host) == (first.meters, first.host)
    assert ((), None) == (last.meters, last.host)
