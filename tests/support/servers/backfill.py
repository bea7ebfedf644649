"""The past of a simulated fleet in the storage of a Prometheus that has not started yet."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from perwatt.simulate.fleet import Fleet

_SERIES = re.compile(rb"(\w+)(?:\{(.*)\})? (\S+)")


def backfill(storage: Path, fleet: Fleet, begin: float, end: float, interval: float, names: set[str]) -> None:
    """
    Write what scrapes of all nodes at each *interval* from *begin* to *end* would have stored of the metrics
    of these names, and `up`. No scrape writes the mark of a series that ended.
    """
    storage.mkdir(parents=True, exist_ok=True)
    exposition = storage.parent / "past.om"
    with exposition.open("wb") as file:
        for step in range(int((end - begin) / interval) + 1):
            for number in range(len(fleet.nodes)):
                at = begin + step * interval + number * interval / len(fleet.nodes)
                file.writelines(_scraped(fleet, number, min(at, end), {name.encode() for name in names}))
        file.write(b"# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(exposition), str(storage)]
    subprocess.run(command, check=True, capture_output=True)


def _scraped(fleet: Fleet, number: int, unix: float, names: set[bytes]) -> Iterator[bytes]:
    identity = fleet.nodes[number].identity
    own = {
        "job": "gpus",
        "instance": identity.name,
        "rack": identity.rack,
        "cluster": identity.cluster,
        "facility": identity.site.facility,
    }
    target = ",".join(f'{label}="{value}"' for label, value in own.items()).encode()
    page = fleet.page(number, unix)
    yield b"up{%s} %d %.3f\n" % (target, page is not None, unix)
    for line in (page or b"").splitlines():
        found = _SERIES.fullmatch(line)
        if found and found[1] in names:
            labels = target + b"," + found[2] if found[2] else target
            yield b"%s{%s} %s %.3f\n" % (found[1], labels, found[3], unix)
