"""
Meter for jobs: reports a job's work to the agent on this machine.

    from perwatt.work import Meter

    with Meter("train-7b", unit="tokens", gpus=[0, 1]) as meter:
        for batch in batches:
            step(batch)
            meter.add(batch.tokens)

It never waits for the agent, never raises while the job runs, and needs only Python's standard library.
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
# A job without new work reports this often, well before the agent considers it ended.
KEEPALIVE_SECONDS = 60.0
MAX_WAIT_SECONDS = 30.0
TIMEOUT_SECONDS = 2.0


class Meter:
    """
    Counter of one job's work in one unit; a thread of its own reports the total.

    `gpus` are the job's GPUs: indices or UUIDs as in `nvidia-smi`. Without them work is counted, joules
    are not. With `rank`, the process counts its own work, and the agent adds up the ranks of its node.
    `start` is the total from which `set` counts on, such as that of a checkpoint; earlier work is not
    reported.

    The newest total is reported every `interval_seconds`. Reports are not queued: an absent agent costs
    neither time nor memory, and the next report includes the work of the lost ones.
    Raises ValueError for wrong arguments, and nothing later.
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
            raise ValueError("a meter needs a `job` and a `unit`")
        if world_size is not None and not 0 <= (rank or 0) < world_size:
            raise ValueError(f"expected a `rank` below `world_size` {world_size}, not {rank}")
        self._host, self._port = _host_and_port(url)
        self._name = f"work of job {job!r}"
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
        self._has_warned = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="perwatt-work", daemon=True)
        self._thread.start()

    @property
    def total(self) -> float:
        """The work so far."""
        return self._total

    @property
    def dropped(self) -> int:
        """Number of reports that did not reach the agent, plus amounts that were not valid numbers."""
        return self._dropped

    def add(self, amount: float) -> None:
        """Add work; an amount that is negative or not a number is dropped."""
        with self._lock:
            self._set(_number(amount, at_least=0.0) + self._total)

    def set(self, total: float) -> None:
        """Set the total work of the job. A lower total than before restarts the count."""
        with self._lock:
            self._set(_number(total, at_least=self._start) - self._start)

    def close(self, timeout: float = 2.0) -> None:
        """Report the last total and the end of the job; wait at most *timeout* seconds."""
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
        """Report at once, so that the joules are the job's from here on; then report each new total."""
        reported: float | None = None
        wait_seconds = silent_seconds = 0.0
        while not self._closing.wait(wait_seconds):
            total = self._total
            silent_seconds += wait_seconds
            wait_seconds = self._interval_seconds
            if total == reported and silent_seconds < KEEPALIVE_SECONDS:
                continue
            if self._report(total):
                reported, silent_seconds = total, 0.0
            else:
                wait_seconds = min(MAX_WAIT_SECONDS, max(10.0 * self._interval_seconds, 1.0))
        self._report(self._total, done=True)

    def _report(self, total: float, *, done: bool = False) -> bool:
        """Send one report; False when it was lost."""
        body = self._facts | {"total": total, "pid": os.getpid()} | ({"done": True} if done else {})
        try:
            status, answer = self._post(json.dumps(body, allow_nan=False).encode())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the agent, the job goes on
            self._lose(
                f"cannot reach the agent at {self._host}:{self._port}: {error!r}; "
                "start `perwatt agent`, or correct `url`"
            )
            return False
        if status != http.client.OK:
            self._lose(f"the agent refused the report: {status} {answer[:300].decode(errors='replace')}")
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
        """Count a lost report; only the first is logged."""
        with self._lock:
            self._dropped += 1
        if not self._has_warned:
            self._has_warned = True
            logger.warning("%s is not measured at present: %s", self._name, message)


def visible_gpu(index: int, environ: Mapping[str, str] = os.environ) -> int | str:
    """
    The driver's index or UUID of the GPU that CUDA calls *index*: CUDA_VISIBLE_DEVICES renumbers them.

    With GPUs of different models, set CUDA_DEVICE_ORDER=PCI_BUS_ID; otherwise CUDA numbers the fastest
    first. Raises ValueError for a GPU that is not visible.
    """
    visible = [part.strip() for part in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    if not visible:
        return index
    if not 0 <= index < len(visible):
        raise ValueError(f"CUDA_VISIBLE_DEVICES has no GPU {index}")
    return int(visible[index]) if visible[index].isdigit() else visible[index]


def _number(amount: object, *, at_least: float) -> float:
    """A finite float, or NaN: a wrong count must not stop a training loop."""
    try:
        number = float(amount)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - whatever it is, it is not a number
        return math.nan
    return number if at_least <= number < math.inf else math.nan


def _host_and_port(url: str) -> tuple[str, int]:
    parts: Any = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"expected a URL such as {URL}, not {url!r}")
    return parts.hostname, parts.port or 80
