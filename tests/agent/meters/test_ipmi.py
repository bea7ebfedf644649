"""The output of ipmitool on servers of several vendors is the node's power, or a failure with a reason."""

import asyncio
import os
from pathlib import Path

import pytest
from support.meters.ipmitool import Ipmitool

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.kinds.ipmi import IpmiMeter
from perwatt_agent.meters.meter import MeterFailure

NO_DEVICE = (
    "Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: No such file or directory\n"
)
OLDER_FORM = """
    Instantaneous power reading:                   220 Watts
    Minimum during sampling period:                192 Watts
    Maximum during sampling period:                421 Watts
    Average power reading over sample period:      223 Watts
    IPMI timestamp:                           Unspecified    Sampling period:                          00000010 Seconds.
    Power reading state is:                   activated
"""  # noqa: E501 - older versions print two facts on one line


@pytest.fixture
def tool(tmp_path: Path) -> Ipmitool:
    return Ipmitool(tmp_path)


def meter(tool: Ipmitool, clock: ManualClock, deadline_seconds: float = 60.0) -> IpmiMeter:
    return IpmiMeter(clock, program=str(tool.path), deadline_seconds=deadline_seconds)


async def failure(meter: IpmiMeter) -> MeterFailure:
    with pytest.raises(MeterFailure) as caught:
        await meter.read()
    return caught.value


@pytest.mark.parametrize(
    ("text", "watts", "seconds"),
    [
        pytest.param(Ipmitool.reading(413), 413.0, 5.0, id="every-second"),
        pytest.param(Ipmitool.reading(6152, "00001000 Milliseconds."), 6152.0, 5.0, id="milliseconds"),
        pytest.param(Ipmitool.reading(388, "00000020 Seconds."), 388.0, 20.0, id="every-20-seconds"),
        pytest.param(Ipmitool.reading(388, "00000300 Seconds."), 388.0, 5.0, id="statistics-of-minutes"),
        pytest.param(OLDER_FORM, 220.0, 10.0, id="two-facts-on-a-line"),
        pytest.param("Get SEL Info failed\n" + Ipmitool.reading(97), 97.0, 5.0, id="warnings-before"),
    ],
)
async def test_reading(tool: Ipmitool, clock: ManualClock, text: str, watts: float, seconds: float) -> None:
    """The power of this instant is read, and the BMC asked no more often than it measures."""
    tool.print(text)
    ipmi = meter(tool, clock)
    [sample] = await ipmi.read()

    assert ("ipmi", "node", 1000.0, watts) == (
        sample.source,
        sample.scope,
        sample.monotonic_seconds,
        sample.power_watts,
    )
    assert (seconds, seconds, False) == (sample.period_seconds, ipmi.interval_seconds, sample.power_is_mean)
    assert "C dcmi power reading\n" == tool.calls.read_text()


@pytest.mark.parametrize(
    ("text", "status", "reason", "message"),
    [
        pytest.param(NO_DEVICE, 1, "absent", "ipmi_devintf", id="no-device"),
        pytest.param(
            NO_DEVICE.replace("No such file or directory", "Permission denied"),
            1,
            "permission_denied",
            "docs/meters.md",
            id="device-of-root",
        ),
        pytest.param(
            NO_DEVICE.replace("No such file or directory", "Operation not permitted"),
            1,
            "permission_denied",
            "docs/meters.md",
            id="device-behind-systemd",
        ),
        pytest.param(
            "DCMI request failed because: Invalid command (c1)\n", 1, "absent", "no DCMI", id="no-dcmi"
        ),
        pytest.param(
            "DCMI request failed because: Insufficient privilege level (d4)\n",
            1,
            "permission_denied",
            "does not permit",
            id="privilege",
        ),
        pytest.param(Ipmitool.reading(0, state="deactivated"), 0, "absent", "deactivated", id="deactivated"),
        pytest.param(Ipmitool.reading(0), 0, "implausible", "0 W", id="does-not-measure"),
        pytest.param(Ipmitool.reading(65535), 0, "implausible", "does not have", id="all-bits-set"),
        pytest.param(Ipmitool.reading(-7), 0, "implausible", "-7 W", id="negative"),
        pytest.param(Ipmitool.reading("N/A"), 0, "malformed", "no power reading", id="not-available"),
        pytest.param("", 0, "malformed", "begins with 'nothing'", id="nothing"),
        pytest.param("Segmentation fault\n", 139, "malformed", "exited with 139", id="crash"),
        pytest.param(Ipmitool.reading(413), 1, "malformed", "exited with 1", id="number-and-failure"),
        pytest.param("x" * 100_000, 0, "malformed", "more than", id="flood"),
    ],
)
async def test_failures(
    tool: Ipmitool, clock: ManualClock, text: str, status: int, reason: str, message: str
) -> None:
    """What cannot be read is told by one reason, in words that say what to do."""
    tool.print(text, status=status)
    found = await failure(meter(tool, clock))

    assert reason == found.reason
    assert message in str(found)


async def test_no_program(tool: Ipmitool, clock: ManualClock) -> None:
    """A machine without ipmitool is told to install it; a file that may not be run is something else."""
    ipmi = meter(tool, clock)
    without = await failure(ipmi)
    tool.path.write_text("not a program")

    assert ("absent", "permission_denied") == (without.reason, (await failure(ipmi)).reason)
    assert "install ipmitool" in str(without)


@pytest.mark.slow
async def test_late(tool: Ipmitool, clock: ManualClock, tmp_path: Path) -> None:
    """A BMC that does not answer costs its deadline; the program is killed, and asked again next time."""
    pid = tmp_path / "pid"
    tool.print(Ipmitool.reading(413), before=f"echo $$ > {pid}; exec sleep 3600")
    ipmi = meter(tool, clock, deadline_seconds=2.0)
    late = await failure(ipmi)
    process = int(pid.read_text())
    tool.print(Ipmitool.reading(413))
    [sample] = await ipmi.read()

    assert "timeout" == late.reason
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert 413.0 == sample.power_watts


async def test_cancelled(tool: Ipmitool, clock: ManualClock, tmp_path: Path) -> None:
    """An agent that stops in the middle of a reading leaves no program behind."""
    pid = tmp_path / "pid"
    tool.print("", before=f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 3600")
    reading = asyncio.ensure_future(meter(tool, clock).read())
    while not pid.exists():  # noqa: ASYNC110 - the program is not of this loop
        await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
