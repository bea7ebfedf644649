"""An engine that makes tokens at a constant rate, behind a real HTTP page with vLLM's names."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.engines.engine_pages import engine_page

MODEL = "tiny-llama"
# A request of this many tokens ends as soon as its last one is made.
TOKENS_PER_REQUEST = 100

# What of the real page is read; the rest would only make it slow to write, on a machine that is busy.
NEEDED = (
    b"vllm:generation_tokens_total",
    b"vllm:prompt_tokens",
    b"vllm:request_",
    b"vllm:time_to_first_token_seconds_count",
    b"vllm:e2e_request_latency_seconds_count",
    b"vllm:num_",
    b"process_start_time_seconds",
    b"http_requests_total",
)


class SteadyEngine:
    """
    Makes `tokens_per_second` from its birth on; its page is vLLM's own with these counts.

    `restart` is a new process with all counts at 0; while `reachable` is False, the page is refused.
    """

    def __init__(self, tokens_per_second: float) -> None:
        self._rate = tokens_per_second
        page = engine_page("vllm-0.32.0-4-after")
        self._template = b"\n".join(line for line in page.split(b"\n") if line.startswith(NEEDED)) + b"\n"
        self.reachable = True
        self.url = ""
        self.restart()

    def restart(self) -> None:
        self._born = time.time()

    def page(self) -> bytes:
        tokens = int((time.time() - self._born) * self._rate)
        requests = tokens // TOKENS_PER_REQUEST
        page = self._template
        for series, value in {
            "vllm:generation_tokens_total": tokens,
            "vllm:request_generation_tokens_sum": requests * TOKENS_PER_REQUEST,
            'vllm:request_success_total{engine="0",finished_reason="stop"': requests,
            'vllm:request_success_total{engine="0",finished_reason="length"': 0,
            "vllm:time_to_first_token_seconds_count": requests + 1,
            "vllm:e2e_request_latency_seconds_count": requests,
            "vllm:num_requests_running": 1,
            "process_start_time_seconds": self._born,
        }.items():
            page = _with(page, series, float(value))
        return page


def _with(page: bytes, prefix: str, value: float) -> bytes:
    """The page with *value* in the one line that begins with *prefix*."""
    line = rb"^(" + re.escape(prefix.encode()) + rb"[^ ]* ).*$"
    page, times = re.subn(line, rb"\g<1>" + repr(value).encode(), page, flags=re.MULTILINE)
    assert times == 1, f"{prefix} is there {times} times"
    return page


@contextmanager
def steady_engine(tokens_per_second: float) -> Iterator[SteadyEngine]:
    """Serve a SteadyEngine on a free loopback port."""
    engine = SteadyEngine(tokens_per_second)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not engine.reachable:
                self.close_connection = True
                self.connection.close()
                return
            page = engine.page()
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    engine.url = f"http://127.0.0.1:{server.server_port}/metrics"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
