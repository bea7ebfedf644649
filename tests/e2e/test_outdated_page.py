"""The page at `/` in a real browser: old figures never pass for current ones."""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.servers.browser import CHROMIUM

from perwatt_aggregator.api.page import page_response

ANSWER = b'{"items": []}'
BANNER = re.compile(r'<div id="outdated"[^>]*?(hidden[^>]*)?>([^<]*)</div>')


@contextmanager
def aggregator(answers: int) -> Iterator[str]:
    """Serve the page, and as many answers; after them every connection is closed without a word."""
    left = [answers]
    page = page_response()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self._send(bytes(page.body), "text/html; charset=utf-8")
            elif left[0] > 0:
                left[0] -= 1
                self._send(ANSWER, "application/json")
            else:
                self.close_connection = True

        def _send(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("answers", "is_outdated"),
    [pytest.param(1_000, False, id="answers go on"), pytest.param(4, True, id="answers end")],
)
def test_since_when(answers: int, is_outdated: bool, tmp_path: Path) -> None:
    """After two missed updates the figures are grey, and the top of the page says since when."""
    with aggregator(answers) as url:
        command = [*CHROMIUM, f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", url]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    found = BANNER.search(result.stdout)
    assert found is not None, result.stdout[:2_000]
    assert is_outdated == ('<body class="outdated"' in result.stdout)
    assert is_outdated == (found[1] is None)
    assert is_outdated == found[2].startswith("Not current: no answer from the aggregator since ")
