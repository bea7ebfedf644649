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
        "XID errors that the GPU told of since the agent started, by NVIDIA's number; earlier ones are "
        "not told. `unknown` is an error that the driver cannot name, `other` any beyond 32 different ones. "
        "A number is absent until it comes, and all stay while the GPU does not answer.",
        ("gpu", "xid"),
        _errors,
    ),
    Family(
        "perwatt_gpu_xid_last_timestamp_seconds",
        "gauge",
        "When the agent heard of the XID error last, in Unix time; the driver gives no time of its own.",
        ("gpu", "xid"),
        _last,
    ),
)
