"""Documents of Redfish services under test, and how the meter reads them."""

import json
from pathlib import Path
from typing import Any

import pytest

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.build import build_meter
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.meter import MeterFailure
from support.servers.documents import CERTIFICATE, Content, showing

DATA = Path(__file__).parents[2] / "data" / "redfish"
CHASSIS = "/redfish/v1/Chassis"
NODE = f"{CHASSIS}/Node"
POWER = f"{CHASSIS}/System.Embedded.1/Power"


def documents(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return found


def config(url: str, **more: Any) -> MeterConfig:
    return MeterConfig(**{"kind": "redfish", "url": url, "ca_file": CERTIFICATE, **more})


async def read(content: dict[str, Content], clock: ManualClock, **more: Any) -> MeterSample:
    async with showing(content, tls=True) as server:
        [sample] = await build_meter(config(server.url, **more), clock).read()
    return sample


async def failure(content: dict[str, Content], clock: ManualClock, **more: Any) -> MeterFailure:
    with pytest.raises(MeterFailure) as caught:
        await read(content, clock, **more)
    return caught.value


def control(**members: Any) -> dict[str, Any]:
    return {"@odata.type": "#Power.v1_5_0.Power", "PowerControl": [members]}


def chassis(path: str, machine: bool, **links: str) -> dict[str, Any]:
    return {
        "@odata.id": path,
        "@odata.type": "#Chassis.v1_21_0.Chassis",
        "ChassisType": "RackMount" if machine else "Component",
        **{name: {"@odata.id": there} for name, there in links.items()},
    }
