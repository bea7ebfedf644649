"""Benches of remote meters, as in support.meters.meter_benches: a BMC, a service, a file."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.meters.build import build_meter
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.kinds.ipmi import IpmiMeter
from perwatt_agent.meters.meter import Meter
from support.meters.ipmitool import Ipmitool
from support.meters.sysfs_trees import nobody, open_folder
from support.servers.documents import CERTIFICATE, Content, DocumentServer, showing


class _NodePowerBench:
    """Base of these benches: each measures the power of the whole node, and none has a counter."""

    scope: MeterScope = "node"
    counts = False
    reasons: Mapping[str, str] = {}

    def __init__(self, label: str, meter: Meter) -> None:
        self.label = label
        self.meter = meter


class IpmiBench(_NodePowerBench):
    def __init__(self, clock: ManualClock, folder: Path) -> None:
        self._tool = Ipmitool(folder)
        super().__init__("ipmi", IpmiMeter(clock, program=str(self._tool.path), interval_seconds=2.0))

    def show(self, watts: float, joules: float) -> None:
        self._tool.print(self._tool.reading(round(watts)))

    def take_away(self) -> None:
        self._tool.path.unlink()

    @contextmanager
    def deny(self) -> Iterator[None]:
        self._tool.print("Could not open device at /dev/ipmi0: Permission denied\n", status=1)
        yield

    def garble(self) -> None:
        self._tool.print("\x00\xff watts?\n")


class ServiceBench(_NodePowerBench):
    """A service that shows, at *path*, the document that *document* makes of a power."""

    def __init__(
        self,
        label: str,
        meter: Meter,
        server: DocumentServer,
        path: str,
        document: Callable[[float], Content],
    ) -> None:
        super().__init__(label, meter)
        self._server, self._path, self._document = server, path, document
        self._others = dict(server.documents)

    def show(self, watts: float, joules: float) -> None:
        self._server.documents = {**self._others, self._path: self._document(watts)}

    def take_away(self) -> None:
        self._server.documents = {}

    @contextmanager
    def deny(self) -> Iterator[None]:
        self._server.documents[self._path] = 403
        yield

    def garble(self) -> None:
        self._server.documents[self._path] = b'{"data":'


class CsvBench(_NodePowerBench):
    # A file that was there is looked for again at once: between two files of a rotation there is none.
    reasons: Mapping[str, str] = {"absent": "stale"}

    def __init__(self, clock: ManualClock, file: Path) -> None:
        super().__init__("csv", build_meter(MeterConfig(kind="csv", file=file), clock))
        self._clock = clock
        self._file = file

    def show(self, watts: float, joules: float) -> None:
        self._append(f"{self._clock.unix()},{watts}")

    def take_away(self) -> None:
        self._file.unlink()

    def deny(self) -> AbstractContextManager[None]:
        self._file.chmod(0o400)
        return nobody()

    def garble(self) -> None:
        self._append(f"{self._clock.unix()},N/A")

    def _append(self, row: str) -> None:
        is_new = not self._file.exists()
        with self._file.open("a") as file:
            file.write("t_unix_s,watts\n" * is_new + row + "\n")


@asynccontextmanager
async def ipmi(clock: ManualClock) -> AsyncIterator[IpmiBench]:
    with open_folder() as folder:
        yield IpmiBench(clock, folder)


REDFISH_POWER = "/redfish/v1/Chassis/1/Power"


@asynccontextmanager
async def redfish(clock: ManualClock) -> AsyncIterator[ServiceBench]:
    def document(watts: float) -> Content:
        return {"@odata.type": "#Power.v1_5_0.Power", "PowerControl": [{"PowerConsumedWatts": watts}]}

    async with showing({}, tls=True) as server:
        config = _config("redfish", server, path=REDFISH_POWER, ca_file=CERTIFICATE)
        yield ServiceBench("redfish", build_meter(config, clock), server, REDFISH_POWER, document)


@asynccontextmanager
async def prometheus(clock: ManualClock) -> AsyncIterator[ServiceBench]:
    def document(watts: float) -> Content:
        result = {"resultType": "scalar", "result": [clock.unix(), str(watts)]}
        return {"status": "success", "data": result}

    async with showing({}) as server:
        config = _config("prometheus", server, query="scalar(power)", unit="watts")
        yield ServiceBench("prometheus", build_meter(config, clock), server, "/api/v1/query", document)


@asynccontextmanager
async def json(clock: ManualClock) -> AsyncIterator[ServiceBench]:
    async with showing({}) as server:
        config = _config("json", server, path="meter[0].kw", unit="kilowatts")
        yield ServiceBench(
            "json", build_meter(config, clock), server, "/", lambda watts: {"meter": [{"kw": watts / 1e3}]}
        )


@asynccontextmanager
async def csv(clock: ManualClock) -> AsyncIterator[CsvBench]:
    with open_folder() as folder:
        yield CsvBench(clock, folder / "power.csv")


def _config(kind: str, server: DocumentServer, **more: Any) -> MeterConfig:
    # As often as the readings that a wrong one is told by need it.
    return MeterConfig(**{"kind": kind, "url": server.url, "interval": 2.0, **more})
