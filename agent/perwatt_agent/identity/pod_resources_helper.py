"""
Helper process that asks the kubelet which container holds which GPU.

    python -m perwatt_agent.identity.pod_resources_helper SOCKET INTERVAL_SECONDS

It is a process of its own, so that gRPC's memory and hangs do not affect the agent. It writes one JSON line
(PodsLine) for each answer, and exits when its standard input closes, which happens when the agent exits.
"""

import os
import select
import socket
import sys
import time

import msgspec

from perwatt_agent.identity.pod_resources import PodsFailed, PodsLine, PodsRead, containers_in

try:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # failures are reported once, as a line
    import grpc
except ImportError:
    grpc = None

NO_GRPCIO = PodsFailed("no_grpcio", "grpcio is not installed: pip install 'perwatt[kubernetes]'")
_METHOD = "/v1.PodResourcesLister/List"
_CALL_SECONDS = 5.0
_OPTIONS = (
    # grpcio would send the socket's path, percent-encoded, which a kubelet refuses (grpc issue 38142).
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


def main(socket_path: str, interval_seconds: float) -> None:
    """Query the kubelet every *interval_seconds* until standard input closes; only once without grpcio."""
    if grpc is None:
        _write(NO_GRPCIO)
        return
    agent_is_gone = False
    while not agent_is_gone:
        started = time.monotonic()
        answer = query(socket_path)
        _write(msgspec.structs.replace(answer, seconds=time.monotonic() - started))
        agent_is_gone = bool(select.select([sys.stdin], [], [], interval_seconds)[0])


def query(socket_path: str) -> PodsLine:
    """Query once, over a new connection, so that a restarted kubelet is reached at once."""
    with grpc.insecure_channel(f"unix:{socket_path}", _OPTIONS) as channel:
        try:
            return PodsRead(containers_in(channel.unary_unary(_METHOD)(b"", timeout=_CALL_SECONDS)))
        except grpc.RpcError as error:
            return _refusal(socket_path, error.code().name, error.details())
        except ValueError as error:
            return PodsFailed("garbage", f"the answer from {socket_path} is not one of a kubelet: {error}")


def _refusal(socket_path: str, code: str, details: str) -> PodsFailed:
    if code == "DEADLINE_EXCEEDED":
        return PodsFailed("timeout", f"{socket_path} did not answer within {_CALL_SECONDS:g} s")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(socket_path)
    except FileNotFoundError:
        return PodsFailed(
            "no_socket", f"{socket_path} does not exist: mount the kubelet's pod-resources folder"
        )
    except PermissionError:
        return PodsFailed("permission", f"{socket_path} may not be opened: run the agent as root")
    except OSError as error:
        return PodsFailed("refused", f"{socket_path}: {error.strerror or error}")
    return PodsFailed("error", f"{socket_path}: {code.lower()}: {details}")


def _write(line: PodsLine) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1], float(sys.argv[2]))
    except (BrokenPipeError, KeyboardInterrupt):
        # The agent has exited, so nobody reads standard output.
        os._exit(0)
