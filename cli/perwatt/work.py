"""
Tell the agent on this machine what a job did.

    from perwatt.work import Meter

    with Meter("train-7b", unit="tokens", gpus=[0, 1]) as meter:
        for batch in batches:
            step(batch)
            meter.add(batch.tokens)

Nothing here waits for the agent, raises while the job runs, or needs anything but Python's own library.
"""

import http.client
import json
import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

__all__ = ["Meter", "visible_gpu"]

logger = logging.getLogger(__name__)

URL = "http://127.0.0.1:9836"
# A job that stands still says that it lives, well before the agent takes it for ended.
STILL_SECONDS = 60.0
MOST_WAIT_SECONDS = 30.0
TIMEOUT_SECONDS = 2.0


class Meter:
    """
    Count one job's work in one unit, and report the total from a thread of its own.

    `gpus` are the indices or UUIDs that the driver knows the job's GPUs by, as in `nvidia-smi`; without
    them work is counted, but no joules. With `rank`, the process counts what it did itself, and the
    agent adds up the ranks of its node. `start` is the total from which `set` counts on, such as that of
    a checkpoint: what was done before is not reported.

    Totals are reported every `interval_seconds`, and only the newest: none is queued, so an agent that
    is away costs neither time nor memory, and the next report holds what the lost ones held.
    Raises ValueError for a meter that cannot be; after that, nothing.
    """

    def __init__(
        self,
        job: str,
        unit: str = "tokens",
        *,
        gpus: Sequence[int | str] | Literal["all"] | None = None,
        model: str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        start: float = 0.0,
        url: str = URL,
        interval_seconds: float = 1.0,
    ) -> None:
        if not job or not unit:
            raise ValueError("a meter needs a job and a unit")
        if world_size is not None and not 0 <= (rank or 0) < world_size:
            raise ValueError(f"rank {rank} is not one of {world_size}")
        self._host, self._port = _host_and_port(url)
        self._name = f"work of {job!r}"
        self._facts: dict[str, object] = {"job": job, "unit": unit}
        if gpus:
            self._facts["gpus"] = gpus if isinstance(gpus, str) else list(gpus)
        if model:
            self._facts["model"] = model
        if rank is not None:
            self._facts |= {"scope": "rank", "rank": rank}
        self._interval_seconds = max(0.01, interval_seconds)
        self._lock = threading.Lock()
        self._start = start
        self._total = 0.0
        self._dropped = 0
        self._has_complained = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="perwatt-work", daemon=True)
        self._thread.start()

    @property
    def total(self) -> float:
        """The work so far."""
        return self._total

    @property
    def dropped(self) -> int:
        """How many reports did not reach the agent, and how many amounts were no amounts."""
        return self._dropped

    def add(self, amount: float) -> None:
        """Count some more work; what is no amount is dropped."""
        with self._lock:
            self._set(_number(amount, at_least=0.0) + self._total)

    def set(self, total: float) -> None:
        """Say how much work the job did in all; less than before is a restart of the count."""
        with self._lock:
            self._set(_number(total, at_least=self._start) - self._start)

    def close(self, timeout: float = 2.0) -> None:
        """Report the last total and that the job is done; wait for that at most *timeout* seconds."""
        self._closing.set()
        self._thread.join(timeout)

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, total: float) -> None:
        if math.isfinite(total):
            self._total = total
        else:
            self._dropped += 1

    def _run(self) -> None:
        """Report at once, so that the job's joules are its own from here on; then what is new."""
        reported: float | None = None
        wait_seconds = still_seconds = 0.0
        while not self._closing.wait(wait_seconds):
            total = self._total
            still_seconds += wait_seconds
            wait_seconds = self._interval_seconds
            if total == reported and still_seconds < STILL_SECONDS:
                continue
            if self._report(total):
                reported, still_seconds = total, 0.0
            else:
                wait_seconds = min(MOST_WAIT_SECONDS, max(10.0 * self._interval_seconds, 1.0))
        self._report(self._total, done=True)

    def _report(self, total: float, *, done: bool = False) -> bool:
        """Report once; False where it was lost."""
        body = self._facts | {"total": total} | ({"done": True} if done else {})
        try:
            status, answer = self._post(json.dumps(body, allow_nan=False).encode())
        except Exception as error:  # noqa: BLE001 - whatever ails the agent, the job goes on
            self._lose(f"the agent at {self._host}:{self._port} does not take it: {error!r}")
            return False
        if status != http.client.OK:
            self._lose(f"the agent refused it: {status} {answer[:300].decode(errors='replace')}")
            return False
        return True

    def _post(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/v1/work", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read(65_536)
        finally:
            connection.close()

    def _lose(self, message: str) -> None:
        """Count a lost report; the first is logged, the rest is silence."""
        with self._lock:
            self._dropped += 1
        if not self._has_complained:
            self._has_complained = True
            logger.warning("%s is not measured for now: %s", self._name, message)


def visible_gpu(index: int, environ: Mapping[str, str] = os.environ) -> int | str:
    """
    Return what the driver calls the GPU that CUDA calls *index*: CUDA_VISIBLE_DEVICES renumbers them.

    Between different models of GPU, CUDA_DEVICE_ORDER=PCI_BUS_ID must be set, or CUDA numbers the fastest
    first. Raises ValueError for a GPU that is not visible.
    """
    visible = [part.strip() for part in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    if not visible:
        return index
    if not 0 <= index < len(visible):
        raise ValueError(f"CUDA_VISIBLE_DEVICES has no GPU {index}")
    return int(visible[index]) if visible[index].isdigit() else visible[index]


def _number(amount: object, *, at_least: float) -> float:
    """A finite float, or NaN: a training loop is no place to raise over a count."""
    try:
        number = float(amount)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - whatever it is, it is no number
        return math.nan
    return number if at_least <= number < math.inf else math.nan


def _host_and_port(url: str) -> tuple[str, int]:
    parts: Any = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"expected a URL such as {URL}, not {url!r}")
    return parts.hostname, parts.port or 80
