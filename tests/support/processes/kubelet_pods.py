"""A kubelet's list of pods, over real HTTPS and for who has its token."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CERTIFICATE = Path(__file__).parents[2] / "data" / "tls" / "localhost.pem"
TOKEN = "let-me-in"


def pod(
    namespace: str, name: str, port: int | None, *, uid: str = "u1", address: str = "127.0.0.1", **spec: Any
) -> dict[str, Any]:
    """One pod, with a little of what real ones have besides; without *port* it does not ask to be scraped."""
    annotations = {} if port is None else {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "annotations": annotations,
            "labels": {},
        },
        "spec": {"containers": [{"name": "vllm", "image": "vllm"}], **spec},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


class FakePodList:
    """Where the kubelet lists its pods, and which it lists from now on; `body` is its whole answer."""

    def __init__(self, port: int) -> None:
        self.url = f"https://localhost:{port}"
        self.status = 200
        self.body = b""
        self.answer()

    def answer(self, *pods: dict[str, Any]) -> None:
        self.body = json.dumps({"kind": "PodList", "apiVersion": "v1", "items": pods}).encode()


@contextmanager
def listing() -> Iterator[FakePodList]:
    """Serve a list of pods to whoever brings the token."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            may = self.headers["Authorization"] == f"Bearer {TOKEN}" and self.path == "/pods"
            self.send_response(pods.status if may else 401)
            self.end_headers()
            self.wfile.write((pods.body if may else b"Unauthorized") + b"\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        pods = FakePodList(server.server_port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield pods
        finally:
            server.shutdown()
            thread.join()
