"""
codecarbon's or zeus's own measurement, on demand: "begin" and "end" in, "answer" and a JSON list out.

Runs under the tools' interpreter, not under perwatt's: `energy_peer.py TOOL GPUS`. To "begin" it answers
with the instants (monotonic seconds) at which each GPU's measurement began, to "end" with pairs of the
instants at which each ended and joules. Both are used as their documents show, with one measurement a GPU.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

JOULES_PER_KWH = 3.6e6
Measurement = tuple[Callable[[], list[float]], Callable[[], list[tuple[float, float]]]]


def codecarbon(gpus: int) -> Measurement:
    """A tracker a GPU, since a tracker tells only the sum of its GPUs; offline, as it needs no network."""
    from codecarbon import OfflineEmissionsTracker

    trackers = [
        OfflineEmissionsTracker(
            country_iso_code="USA", gpu_ids=[gpu], save_to_file=False, log_level="critical"
        )
        for gpu in range(gpus)
    ]

    def end(tracker: Any) -> tuple[float, float]:
        instant, emissions = timed(lambda: tracker.stop_task("bench"))
        return instant, emissions.gpu_energy * JOULES_PER_KWH

    return (
        lambda: [timed(partial(tracker.start_task, "bench"))[0] for tracker in trackers],
        lambda: [end(tracker) for tracker in trackers],
    )


def zeus(gpus: int) -> Measurement:
    """One monitor for all; nothing runs on the GPUs, so there is nothing to wait for (`sync_execution`)."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=list(range(gpus)))

    def begin() -> list[float]:
        instant, _ = timed(lambda: monitor.begin_window("bench", sync_execution=False))
        return [instant] * gpus

    def end() -> list[tuple[float, float]]:
        instant, measured = timed(lambda: monitor.end_window("bench", sync_execution=False))
        return [(instant, measured.gpu_energy[gpu]) for gpu in range(gpus)]

    return begin, end


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """The middle of a call in monotonic seconds, and what it returned."""
    before = time.monotonic()
    result = call()
    return (before + time.monotonic()) / 2, result


def main() -> None:
    begin, end = {"codecarbon": codecarbon, "zeus": zeus}[sys.argv[1]](int(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        print("answer", json.dumps(begin() if line.strip() == "begin" else end()), flush=True)


if __name__ == "__main__":
    main()
