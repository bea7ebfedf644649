"""Which container holds which GPU, as the kubelet tells; asked by a helper process that is kept alive."""

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
from perwatt_agent.identity.identity import PATIENCE_SECONDS
from perwatt_agent.identity.pod_resources import Container, PodsFailed, PodsLine, PodsRead, gpu_of

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
# Three answers may be missed; then what was heard is too old to be trusted, and the helper hangs.
SILENCE_SECONDS = 3.0 * INTERVAL_SECONDS
FIRST_WAIT_SECONDS = 1.0
MOST_WAIT_SECONDS = 300.0

# A helper that was told to end may take this long.
_GRACE_SECONDS = 0.5
# After these there is no helper to listen to.
_LAST_WORDS = ("no_grpcio", "ended", "silent", "garbled")
_MOST_LINE_BYTES = 4 * 1024 * 1024
_DECODER = msgspec.json.Decoder(PodsLine)


class PodResourcesClient:
    """
    Keep the helper running and remember its newest answer: a feed that tells whose GPUs are, not of work.

    A helper that ends, says what is no line of its own, or is silent for *silence_seconds* is killed and
    started again, at first after a second, then ever more slowly. *command* is for tests.
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
        self._heard_at = float("-inf")
        self._holders: dict[str, tuple[Container, ...]] = {}
        self._has_answered = False
        self._failure = ""
        self._health = Health("kubernetes")

    @property
    def pending(self) -> bool:
        """Whether the first answer may yet come."""
        if self._has_answered:
            return False
        return self._started_at is None or self._clock.monotonic() - self._started_at < PATIENCE_SECONDS

    def holders(self, gpu: GpuInfo, migs: Sequence[str] = ()) -> tuple[Container, ...]:
        """
        Return the containers that hold the GPU, or *migs* of its instances; none when that is not known any
        more.
        """
        if self._clock.monotonic() - self._heard_at > SILENCE_SECONDS:
            return ()
        names = dict.fromkeys((gpu.uuid, f"nvidia{gpu.index}", *migs))
        return tuple(dict.fromkeys(one for name in names for one in self._holders.get(name, ())))

    async def run(self) -> None:
        """Keep the helper alive until cancelled; return when there can be none."""
        self._started_at = self._clock.monotonic()
        wait_seconds = FIRST_WAIT_SECONDS
        while self._failure != "no_grpcio":
            before = self._heard_at
            await self._follow_helper()
            if self._heard_at > before:
                wait_seconds = FIRST_WAIT_SECONDS
            await self._clock.sleep_until(self._clock.monotonic() + wait_seconds)
            wait_seconds = min(2.0 * wait_seconds, MOST_WAIT_SECONDS)

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        return []

    def health(self) -> CollectorHealth:
        return self._health.snapshot()

    async def _follow_helper(self) -> None:
        """Start a helper and listen to it until it ends, which it never does without being told."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_MOST_LINE_BYTES,
                start_new_session=True,  # Ctrl-C at a terminal is for the agent, which then ends its helper
            )
        except OSError as error:
            self._hear(PodsFailed("ended", f"the helper process cannot be started: {error}"))
            return
        try:
            assert process.stdout is not None
            await self._listen(process.stdout)
        finally:
            await _end(process)

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        """Hear one line after another, until there will be no more that mean anything."""
        while True:
            answer = await self._next_answer(lines)
            self._hear(answer)
            if isinstance(answer, PodsFailed) and answer.reason in _LAST_WORDS:
                return

    async def _next_answer(self, lines: asyncio.StreamReader) -> PodsLine:
        reading = asyncio.ensure_future(lines.readline())
        try:
            # Not `wait_for`, which before Python 3.12 may lose that it was cancelled.
            done, _ = await asyncio.wait([reading], timeout=self._silence_seconds)
            if not done:
                return PodsFailed("silent", f"the helper said nothing for {self._silence_seconds:g} s")
            line = reading.result()
            return _DECODER.decode(line) if line else PodsFailed("ended", "the helper process ended")
        except (ValueError, msgspec.MsgspecError) as error:
            return PodsFailed("garbled", f"the helper said what is no answer: {error}")
        finally:
            reading.cancel()

    def _hear(self, answer: PodsLine) -> None:
        self._has_answered = True
        if isinstance(answer, PodsRead):
            self._remember(answer.containers)
        else:
            self._health.failed(answer.reason)
            if answer.reason != self._failure:
                logger.warning("no names of pods (%s): %s", answer.reason, answer.message)
            self._failure = answer.reason
        self._health.attempted(self._clock.unix(), answer.seconds)

    def _remember(self, containers: Sequence[Container]) -> None:
        if self._failure:
            logger.info("names of pods are known again")
        self._failure = ""
        self._heard_at = self._clock.monotonic()
        holders: dict[str, dict[Container, None]] = {}
        for container in containers:
            for device in container.devices:
                holders.setdefault(gpu_of(device), {})[container] = None
        self._holders = {gpu: tuple(found) for gpu, found in holders.items()}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it end with its input, kill it if it does not, and see it dead even when cancelled meanwhile."""
    if process.stdin is not None:
        process.stdin.close()
    dying = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait([dying], timeout=_GRACE_SECONDS)
    finally:
        if not dying.done():
            process.kill()
        await dying
