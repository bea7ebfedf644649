"""
A kubelet's PodResources service, on a real socket and in a process of its own.

    python kubelet.py SOCKET ANSWER_FILE

Each call reads the file anew: JSON pods, or `hang`, `garbage`, `deny`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNLIMITED_SECONDS = 600.0
_METHOD = "/v1.PodResourcesLister/List"


def pod(
    namespace: str, name: str, container: str, *devices: str, resource: str = "nvidia.com/gpu"
) -> list[Any]:
    """One pod of one container that holds these devices."""
    return [namespace, name, container, resource, list(devices)]


def list_response(pods: Sequence[Sequence[Any]]) -> bytes:
    """The ListPodResourcesResponse of *pods*, with the further fields that real ones have."""
    return b"".join(_field(1, _pod(*pod)) for pod in pods)


def claiming_pod(
    namespace: str, name: str, container: str, *devices: str, claim: str = "c", driver: str = "gpu.nvidia.com"
) -> bytes:
    """As `list_response`, for one pod whose devices come from a resource claim (DRA)."""
    resources = b"".join(
        _field(
            4,
            _field(1, _field(1, b"k8s.gpu.nvidia.com/claim=x"))
            + _field(2, driver.encode())
            + _field(3, b"node-1")
            + _field(4, device.encode()),
        )
        for device in devices
    )
    given = _field(5, _field(2, claim.encode()) + _field(3, namespace.encode()) + resources)
    held = _field(1, container.encode()) + given
    return _field(1, _field(1, name.encode()) + _field(2, namespace.encode()) + _field(3, held))


class FakeKubelet:
    """Where the service listens, and what it answers from now on."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "kubelet.sock"
        self._answer = folder / "answer"

    def answer(self, answer: str | Sequence[Sequence[Any]]) -> None:
        partial = self._answer.with_suffix(".part")
        partial.write_text(answer if isinstance(answer, str) else json.dumps(answer))
        partial.replace(self._answer)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let it listen; the socket is there when this begins."""
        process = subprocess.Popen(
            [sys.executable, __file__, str(self.socket), str(self._answer)], stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert b"listening\n" == process.stdout.readline()
            yield
        finally:
            process.kill()
            process.communicate()


def _pod(namespace: str, name: str, container: str, resource: str, devices: Sequence[str]) -> bytes:
    topology = _field(3, _field(1, _number(1, 1)))  # TopologyInfo of one NUMA node
    given = (
        _field(1, resource.encode()) + b"".join(_field(2, device.encode()) for device in devices) + topology
    )
    nic = _field(1, b"rdma/hca") + _field(2, b"mlx5_0")
    cpus = _field(3, bytes([0, 1, 2]))  # packed cpu_ids
    held = _field(1, container.encode()) + _field(2, nic) + _field(2, given) + cpus
    return _field(1, name.encode()) + _field(2, namespace.encode()) + _field(3, held) + _number(4, 300)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _serve(socket_path: str, answer_path: Path) -> None:
    import grpc  # here, as the tests themselves must not need it

    def answer(request: bytes, context: Any) -> bytes:
        text = answer_path.read_text()
        if text == "hang":
            time.sleep(UNLIMITED_SECONDS)
        if text == "garbage":
            return b"\x0f no message"
        if text == "deny" or request:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
        return list_response(json.loads(text))

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer) if call.method == _METHOD else None

    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handler()])
    server.add_insecure_port(f"unix:{socket_path}")
    server.start()
    print("listening", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
