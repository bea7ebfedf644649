"""Meters that an operator names, from the command line of a real agent to its page."""

import asyncio
import json
from pathlib import Path

from support.agent.process import PerwattProcess, perwatt
from support.gpus.fakenvml import Constant, FakeDriver
from support.servers.documents import CERTIFICATE, showing

SERVICE = Path(__file__).parent.parent / "data" / "redfish" / "power.json"


async def test_redfish_at_the_wall(tmp_path: Path) -> None:
    """A BMC's power is the node's energy on the page, and a meter that is not there says so beside it."""

    def run(url: str) -> None:
        with FakeDriver.create(tmp_path, gpus=1, real_time=True) as driver:
            driver.set_waveform(0, Constant(250.0))
            flags = ["--meters.discover", "false"]
            flags += ["--meter", f"kind=redfish,url={url},ca_file={CERTIFICATE},interval=1s"]
            flags += ["--meter", f"kind=csv,file={tmp_path / 'none.csv'}"]
            with perwatt(tmp_path, "agent", *flags, environment=driver.environment()) as agent:
                check(agent)

    def check(agent: PerwattProcess) -> None:
        page = agent.wait_for(lambda page: page.value("perwatt_node_energy_joules_total", source="redfish"))
        covered = page.value("perwatt_node_energy_covered_seconds_total", source="redfish")

        assert covered is not None
        assert abs(413.0 * covered - page.values("perwatt_node_energy_joules_total")[0]) < 1e-3
        assert 1.0 == page.value("perwatt_collector_success", collector="meter_redfish")
        assert 0.0 == page.value("perwatt_collector_success", collector="meter_csv")
        assert 1.0 <= (
            page.value("perwatt_collector_failures_total", collector="meter_csv", reason="absent") or 0.0
        )

    async with showing(json.loads(SERVICE.read_text()), tls=True) as server:
        await asyncio.to_thread(run, server.url)
