"""IPMI meter: the node's power as its BMC measures it, through `ipmitool dcmi power reading`."""

import asyncio
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Sequence
from contextlib import suppress

from perwatt_agent.clock import Clock
from perwatt_agent.facts.host_meter import MeterScope
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import measured, plausible_watts, shown

PROGRAM = "ipmitool"
INTERVAL_SECONDS = 5.0
DEADLINE_SECONDS = 10.0
MAX_REFRESH_SECONDS = 60.0
"""A longer sampling period is that of the BMC's statistics, not of a reading."""

_MAX_OUTPUT_BYTES = 16 * 1024
_KILL_SECONDS = 1.0
_WATTS = r"(?i)Instantaneous power reading\s*:\s*(-?\d+(?:\.\d+)?)\s*Watts"
_PERIOD = r"(?i)Sampling period\s*:\s*(\d+(?:\.\d+)?)\s*(Milliseconds|Seconds)"
_STATE = r"(?i)Power reading state is\s*:\s*(\w+)"

_NO_ACCESS = "the agent may not open the BMC's device; give its group access, see docs/meters.md"

# Texts of ipmitool and the BMC with the reason and the message; the first match counts.
_KNOWN_ERRORS: Sequence[tuple[str, str, str]] = (
    ("permission denied", "permission_denied", _NO_ACCESS),
    ("operation not permitted", "permission_denied", _NO_ACCESS),
    (
        "no such file or directory",
        "absent",
        "there is no IPMI device; load the kernel module ipmi_devintf if the node has a BMC",
    ),
    ("could not open device", "unreachable", "the IPMI device cannot be opened"),
    ("invalid command", "absent", "this BMC has no DCMI power reading"),
    ("not supported", "absent", "this BMC has no DCMI power reading"),
    ("insufficient privilege", "permission_denied", "the BMC does not permit this user to read its power"),
)


class IpmiMeter:
    """
    Meter that runs *program* for each reading, never more often than the BMC refreshes its value.

    The program is killed if it takes longer than *deadline_seconds*.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "ipmi",
        scope: MeterScope = "node",
        program: str = PROGRAM,
        interval_seconds: float = INTERVAL_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.name = name
        self._clock = clock
        self._scope = scope
        self._program = program
        self._configured_seconds = interval_seconds
        self._refresh_seconds = 0.0
        self._deadline_seconds = deadline_seconds
        self._process: Process | None = None

    @property
    def interval_seconds(self) -> float:
        return max(self._configured_seconds, self._refresh_seconds)

    async def read(self) -> Sequence[MeterSample]:
        text = await self._answer()
        watts = _watts(text)
        self._refresh_seconds = _refresh_seconds(text)
        at = self._clock.monotonic()
        return (MeterSample("ipmi", at, watts, scope=self._scope, period_seconds=self.interval_seconds),)

    async def _answer(self) -> str:
        """Run the program and return its output. Raises MeterFailure."""
        if self._process is not None and self._process.returncode is None:
            raise MeterFailure(
                "hung", f"{self._program} hangs in the kernel and cannot be killed; reset the BMC"
            )
        self._process = process = await self._start()
        try:
            text = await asyncio.wait_for(_output(process), self._deadline_seconds)
        except asyncio.TimeoutError:
            message = f"no answer from {self._program} within {self._deadline_seconds:g} s"
            raise MeterFailure("timeout", message) from None
        finally:
            await _end(process)
        if process.returncode != 0:
            raise _failure_of(text, f"{self._program} exited with {process.returncode}")
        return text

    async def _start(self) -> Process:
        try:
            if shutil.which(self._program, os.F_OK) is None:
                raise FileNotFoundError  # no fork: many nodes never have the program
            return await asyncio.create_subprocess_exec(
                self._program,
                *("dcmi", "power", "reading"),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise MeterFailure(
                "absent", f"{self._program} is not installed; install ipmitool if the node has a BMC"
            ) from None
        except OSError as error:
            reason = "permission_denied" if isinstance(error, PermissionError) else "refused"
            raise MeterFailure(reason, f"{self._program} cannot be started: {error.strerror}") from None


async def _output(process: Process) -> str:
    """Return the output of a process. Raises MeterFailure if it is too long."""
    assert process.stdout is not None, "it was started with a pipe"
    try:
        await process.stdout.readexactly(_MAX_OUTPUT_BYTES)
    except asyncio.IncompleteReadError as error:
        await process.wait()
        return error.partial.decode("utf-8", "replace")
    raise MeterFailure("malformed", f"more than {_MAX_OUTPUT_BYTES} bytes of output are not a power reading")


async def _end(process: Process) -> None:
    """Kill a running process. One that is blocked in the kernel cannot be killed, and is not waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), _KILL_SECONDS)


def _watts(text: str) -> float:
    state = re.search(_STATE, text)
    if state and state[1].lower() != "activated":
        raise MeterFailure("absent", f"the BMC's power reading is {state[1].lower()}; activate it on the BMC")
    match = re.search(_WATTS, text)
    if match is None:
        raise _failure_of(text, "no power reading in the answer")
    watts = plausible_watts(measured(float(match[1])))
    if watts == 0.0:
        # The node runs, so it draws power: a BMC that does not measure reports 0.
        raise MeterFailure(
            "implausible", "the BMC reports 0 W, so it does not measure the power of this node"
        )
    return watts


def _refresh_seconds(text: str) -> float:
    """Return how often the BMC refreshes its value, 0 if it does not report that."""
    match = re.search(_PERIOD, text)
    if match is None:
        return 0.0
    seconds = float(match[1]) * (0.001 if match[2].lower() == "milliseconds" else 1.0)
    return seconds if seconds <= MAX_REFRESH_SECONDS else 0.0


def _failure_of(text: str, otherwise: str) -> MeterFailure:
    """Return the failure that a text describes."""
    for phrase, reason, message in _KNOWN_ERRORS:
        if phrase in text.lower():
            return MeterFailure(reason, message)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
    return MeterFailure("malformed", f"{otherwise}; the output begins with {shown(first)}")


ROW = MeterKind(
    name="ipmi",
    rank=22,
    measures="the input of the power supplies, as the BMC reports it",
    boundary="the wall (AC)",
    limits="averages over an unknown time; whole watts; some count one of two supplies only",
    uncertainty_ratio=0.05,
    uncertainty_basis="a BMC, by IPMI DCMI",
    interval_seconds=INTERVAL_SECONDS,
    build=lambda config, clock, interval_seconds: IpmiMeter(
        clock, name=config.label, scope=config.scope, interval_seconds=interval_seconds
    ),
    find=IpmiMeter,
)
