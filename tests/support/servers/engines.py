"""Real engines with prepared samples: Prometheus from blocks, VictoriaMetrics by import."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from support.fleet.scraped import Scraped
from support.servers import prometheus

START_SECONDS = 60.0
POLL_SECONDS = 0.1
_open = build_opener(ProxyHandler({})).open


@contextmanager
def prometheus_with(directory: Path, scraped: Scraped) -> Iterator[str]:
    """A Prometheus that has *scraped*; gives its URL."""
    data = directory / "prometheus" / "data"
    data.mkdir(parents=True)
    text = directory / "samples.om"
    text.write_text(scraped.open_metrics())
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    with prometheus.run(directory, ()) as running:
        yield running.url


@contextmanager
def victoria_metrics_with(directory: Path, scraped: Scraped) -> Iterator[str]:
    """A VictoriaMetrics that has *scraped*; gives its URL."""
    with victoria_metrics(directory) as url:
        body = "".join(scraped.json_lines()).encode()
        with _open(Request(f"{url}/api/v1/import", data=body), timeout=60) as response:
            assert response.status == 204
        with _open(f"{url}/internal/force_flush", timeout=60):
            pass
        yield url


@contextmanager
def victoria_metrics(directory: Path, *flags: str) -> Iterator[str]:
    """A VictoriaMetrics with *flags*; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = directory / "victoria-metrics.log"
    command = [
        "victoria-metrics",
        f"-storageDataPath={directory / 'victoria-metrics'}",
        f"-httpListenAddr={address}",
        *flags,
    ]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait(process, f"http://{address}", log)
            yield f"http://{address}"
        finally:
            process.terminate()
            try:
                process.wait(prometheus.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with _open(f"{url}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(POLL_SECONDS)
    raise RuntimeError(f"victoria-metrics did not become ready:\n{log.read_text()}")
