"""Client of the kubelet's PodResources API, through a helper process that is kept running."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.identity.device_holders import DeviceHolders
from perwatt_agent.identity.identity import LOOKUP_SECONDS
from perwatt_agent.identity.pod_resources import Container, PodsFailed, PodsLine, PodsRead

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
# After three missing answers, the last one is too old, and the helper counts as hung.
SILENCE_SECONDS = 3.0 * INTERVAL_SECONDS
FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 300.0

# Time for the helper to exit after its standard input closes.
_GRACE_SECONDS = 0.5
# After these failures the helper is gone or useless, and is started again.
_FINAL_REASONS = ("no_grpcio", "ended", "silent", "garbled")
_MAX_LINE_BYTES = 4 * 1024 * 1024
_DECODER = msgspec.json.Decoder(PodsLine)


class PodResourcesClient:
    """
    Keeps the helper running and holds its newest answer. It collects no samples of workloads.

    A helper that exits, writes an invalid line, or writes nothing for *silence_seconds* is killed and started
    again: first after one second, then with growing delays. *command* is for tests.
    """

    def __init__(
        self,
        socket_path: Path,
        clock: Clock,
        *,
        command: Sequence[str] = (),
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        module = "perwatt_agent.identity.pod_resources_helper"
        self._command = command or (sys.executable, "-m", module, str(socket_path), f"{INTERVAL_SECONDS:g}")
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._started_at: float | None = None
        self._received_at = float("-inf")
        self._holders = DeviceHolders()
        self._has_answered = False
        self._failure = ""
        self._health = Health("kubernetes")

    @property
    def pending(self) -> bool:
        """Whether the first answer is still expected."""
        if self._has_answered:
            return False
        return self._started_at is None or self._clock.monotonic() - self._started_at < LOOKUP_SECONDS

    def holders(self, gpu: GpuInfo, migs: Sequence[str] = ()) -> tuple[Container, ...]:
        """
        Return the containers that hold the GPU, or *migs* of its instances; none if the answer is too old.
        """
        if self._clock.monotonic() - self._received_at > SILENCE_SECONDS:
            return ()
        names = dict.fromkeys((gpu.uuid, f"nvidia{gpu.device_number}", *migs))
        return tuple(dict.fromkeys(one for name in names for one in self._holders.of(name)))

    async def run(self) -> None:
        """Keep the helper running until cancelled. Return if it cannot run at all."""
        self._started_at = self._clock.monotonic()
        wait_seconds = FIRST_WAIT_SECONDS
        while self._failure != "no_grpcio":
            before = self._received_at
            await self._run_helper()
            if self._received_at > before:
                wait_seconds = FIRST_WAIT_SECONDS
            await self._clock.sleep_until(self._clock.monotonic() + wait_seconds)
            wait_seconds = min(2.0 * wait_seconds, MAX_WAIT_SECONDS)

    def receive(self, answer: PodsLine) -> None:
        """Keep an answer of the helper, or log why there is none."""
        self._has_answered = True
        if isinstance(answer, PodsRead):
            self._store(answer.containers)
        else:
            self._health.failed(answer.reason)
            if answer.reason != self._failure:
                logger.warning(
                    "cannot identify pods (%s): %s; check identity.pod_resources_socket",
                    answer.reason,
                    answer.message,
                )
            self._failure = answer.reason
        self._health.attempted(self._clock.unix(), answer.seconds)

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        return []

    def health(self) -> CollectorHealth:
        return self._health.snapshot()

    async def _run_helper(self) -> None:
        """Start a helper and receive its answers until one is final."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_MAX_LINE_BYTES,
                start_new_session=True,  # Ctrl-C at a terminal stops the agent, which then stops its helper
            )
        except OSError as error:
            self.receive(PodsFailed("ended", f"cannot start the helper process: {error}"))
            return
        try:
            assert process.stdout is not None
            await self._receive_all(process.stdout)
        finally:
            await _end(process)

    async def _receive_all(self, lines: asyncio.StreamReader) -> None:
        """Receive one line after another, until a final failure."""
        while True:
            answer = await self._next_answer(lines)
            self.receive(answer)
            if isinstance(answer, PodsFailed) and answer.reason in _FINAL_REASONS:
                return

    async def _next_answer(self, lines: asyncio.StreamReader) -> PodsLine:
        reading = asyncio.ensure_future(lines.readline())
        try:
            # Not `wait_for`: before Python 3.12 it may lose a cancellation.
            done, _ = await asyncio.wait([reading], timeout=self._silence_seconds)
            if not done:
                return PodsFailed(
                    "silent", f"the helper process wrote nothing for {self._silence_seconds:g} s"
                )
            line = reading.result()
            return _DECODER.decode(line) if line else PodsFailed("ended", "the helper process ended")
        except (ValueError, msgspec.MsgspecError) as error:
            return PodsFailed("garbled", f"the helper process wrote an invalid answer: {error}")
        finally:
            reading.cancel()

    def _store(self, containers: Sequence[Container]) -> None:
        if self._failure:
            logger.info("pods can be identified again")
        self._failure = ""
        self._received_at = self._clock.monotonic()
        self._holders.update(containers)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, kill it if it does not exit, and wait for its end even if cancelled meanwhile."""
    if process.stdin is not None:
        process.stdin.close()
    dying = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait([dying], timeout=_GRACE_SECONDS)
    finally:
        if not dying.done():
            process.kill()
        await dying
