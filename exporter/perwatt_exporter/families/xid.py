"""Families of XID errors, which the driver reports by itself."""

from collections.abc import Iterator

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.page.family import Family, Sample


def _errors(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in snapshot.gpus:
        for xid in gpu.xids:
            yield (gpu.info.uuid, xid.xid), xid.count


def _last(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in snapshot.gpus:
        for xid in gpu.xids:
            yield (gpu.info.uuid, xid.xid), xid.last_unix_seconds


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_gpu_xid_errors_total",
        "counter",
        "XID errors that the GPU reported since the agent started, by NVIDIA's number. `unknown` is an "
        "error that the driver cannot name; `other` counts all beyond 32 different numbers. A number is "
        "absent until it occurs, and stays while the GPU does not answer.",
        ("gpu", "xid"),
        _errors,
    ),
    Family(
        "perwatt_gpu_xid_last_timestamp_seconds",
        "gauge",
        "When the agent last received this XID error, in Unix time; the driver reports no time.",
        ("gpu", "xid"),
        _last,
    ),
)
