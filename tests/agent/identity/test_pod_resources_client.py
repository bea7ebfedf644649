"""PodResources client: a real helper, a fake kubelet on a real socket, and restarts of failing helpers."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import info
from support.processes.kubelet import FakeKubelet, claiming_pod, list_response, pod

from perwatt_agent.clock import ManualClock, SystemClock
from perwatt_agent.identity.pod_resources import Container, containers_in, gpu_of
from perwatt_agent.identity.pod_resources_client import PodResourcesClient

UUID = "GPU-8f6d2a10-1c2b-4d3e-8a9b-0123456789ab"
CHAT = pod("prod", "chat-0", "vllm", "GPU-0", "GPU-1")
LOCALHOST_IN_HPACK = bytes.fromhex("a0e41d139d09")  # RFC 7541, appendix B


@asynccontextmanager
async def watching(watch: PodResourcesClient) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if happened():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within a minute")


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def saying(*lines: str, then: str = "sys.stdin.read()") -> tuple[str, ...]:
    """A helper that writes these lines."""
    said = "".join(f"{line}\n" for line in lines)
    return (sys.executable, "-c", f"import sys, time; print({said!r}, end='', flush=True); {then}")


HELPER = (sys.executable, "-m", "perwatt_agent.identity.pod_resources_helper")


def ask_once(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The one line of a real helper whose input was closed before it started."""
    done = subprocess.run(
        [*HELPER, str(path), "600"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60.0,
        check=True,
        env={**os.environ, **(environment or {})},
    )
    return said(done.stdout)


def said(line: bytes) -> dict[str, Any]:
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer


READ = '{"type":"read","containers":[{"namespace":"n","pod":"p","container":"c","devices":["GPU-0"]}]}'
HELD = (Container("n", "p", "c", ("GPU-0",)),)


class TestAnswer:
    def test_containers(self) -> None:
        """Containers with NVIDIA devices are read, whatever else they and the answer hold."""
        nic = pod("prod", "web", "nginx", "eth0", resource="intel.com/sriov")
        shared = pod("prod", "small", "b", "GPU-2::3", resource="nvidia.com/gpu.shared")
        slice_ = pod("dev", "café", "c", "MIG-7", resource="nvidia.com/mig-1g.10gb")

        assert (
            Container("prod", "chat-0", "vllm", ("GPU-0", "GPU-1")),
            Container("prod", "small", "b", ("GPU-2::3",)),
            Container("dev", "café", "c", ("MIG-7",)),
        ) == containers_in(list_response([CHAT, nic, shared, slice_]))

    @pytest.mark.parametrize(
        ("resource", "device", "is_gpu"),
        [
            ("nvidia.com/a100", "GPU-0", True),
            ("nvidia.com/a100.shared", "GPU-0::1", True),
            ("nvidia.com/mig-1g.10gb", "MIG-7", True),
            ("nvidia.com/gpu", "nvidia0/gi1", True),
            ("nvidia.com/hostdev", "0000:3b:00.0", False),
            ("nvidia.com/GA102GL_A10", "17", False),
            ("aliyun.com/gpu-mem", f"{UUID}-_-3", True),
            ("example.com/vgpu", f"{UUID}-3", True),
            ("example.com/gpu", "GPU-0", False),
            ("amd.com/gpu", "nvidia0", False),
        ],
    )
    def test_resources(self, resource: str, device: str, is_gpu: bool) -> None:
        """NVIDIA's resources under any name, and others whose devices are NVIDIA's UUIDs."""
        found = containers_in(list_response([pod("n", "p", "c", device, resource=resource)]))

        assert ((Container("n", "p", "c", (device,)),) if is_gpu else ()) == found

    def test_claims(self) -> None:
        """Devices of resource claims (DRA), by the number of the device node; other drivers have none."""
        slices = claiming_pod("n", "p", "c", "gpu-0-mig-1g10gb-19-0", "gpu-11", claim="two")
        others = claiming_pod("n", "q", "c", "gpu-0", driver="gpu.example.com")
        machine = claiming_pod("n", "v", "c", "gpu-vfio-0")

        assert (
            Container("prod", "chat-0", "vllm", ("GPU-0", "GPU-1")),
            Container("n", "p", "c", ("nvidia0/claim/n/two", "nvidia11/claim/n/two")),
        ) == containers_in(list_response([CHAT]) + slices + others + machine)

    def test_no_pods(self) -> None:
        """A node without pods answers nothing at all."""
        assert () == containers_in(b"")

    @given(st.binary())
    def test_any_bytes(self, content: bytes) -> None:
        """Bytes are containers, or no message."""
        try:
            containers = containers_in(content)
        except ValueError:
            return
        assert all(container.devices for container in containers)

    @given(st.integers(min_value=1))
    def test_cut(self, at: int) -> None:
        """A message that was cut short within its first pod is none."""
        whole = list_response([CHAT])

        with pytest.raises(ValueError):
            containers_in(whole[: 1 + at % (len(whole) - 1)])

    @pytest.mark.parametrize(
        ("device", "gpu"),
        [
            ("GPU-8f6d", "GPU-8f6d"),
            ("GPU-8f6d::2", "GPU-8f6d"),
            ("MIG-4e1c", "MIG-4e1c"),
            ("MIG-GPU-8f6d/7/0", "GPU-8f6d"),
            ("nvidia3", "nvidia3"),
            ("nvidia3/gi1", "nvidia3"),
            ("nvidia3/vgpu0", "nvidia3"),
            ("/dev/nvidia3", "nvidia3"),
            (f"{UUID}::2", UUID),
            (f"{UUID}-2", UUID),
            (f"{UUID}-_-2", UUID),
            (f"MIG-{UUID}/7/0", UUID),
            ("nvidia3/claim/prod/c", "nvidia3"),
        ],
    )
    def test_devices(self, device: str, gpu: str) -> None:
        """A device's id names a GPU by its UUID or number, without replicas and parts."""
        assert gpu == gpu_of(device)


@pytest.mark.slow
class TestKubelet:
    """The real helper against a kubelet in another process."""

    async def test_holders(self, tmp_path: Path) -> None:
        """The kubelet's answer maps GPUs, by UUID and by number, and MIG instances to containers."""
        kubelet = FakeKubelet(tmp_path)
        part = pod("dev", "part", "c", "MIG-7", resource="nvidia.com/mig-1g.10gb")
        kubelet.answer([CHAT, pod("dev", "n", "c", "nvidia2/gi1"), part])
        watch = PodResourcesClient(kubelet.socket, SystemClock())
        assert watch.pending
        with kubelet.serving():
            async with watching(watch):
                await until(lambda: not watch.pending)

        chat = Container("prod", "chat-0", "vllm", ("GPU-0", "GPU-1"))
        named = Container("dev", "n", "c", ("nvidia2/gi1",))
        assert [(chat,), (chat,), (named,), ()] == [watch.holders(info(index)) for index in range(4)]
        in_part = Container("dev", "part", "c", ("MIG-7",))
        assert (chat, in_part) == watch.holders(info(0), ["MIG-7", "MIG-8"])
        assert (in_part,) == watch.holders(info(3), ["MIG-7"])
        assert watch.health().success
        assert [] == watch.drain((), ())

    def test_asked_again(self, tmp_path: Path) -> None:
        """The helper queries each interval, also a restarted kubelet; it exits when its input closes."""
        kubelet = FakeKubelet(tmp_path)
        command = [*HELPER, str(kubelet.socket), "0.1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for containers in ([CHAT], []):
                kubelet.answer(containers)
                with kubelet.serving():
                    while len(said(process.stdout.readline()).get("containers", "none yet")) != len(
                        containers
                    ):
                        pass
            process.stdin.close()
            assert 0 == process.wait(60.0)

    @pytest.mark.parametrize(
        ("answer", "reason"), [("garbage", "garbage"), ("deny", "error"), ("hang", "timeout")]
    )
    def test_no_answer(self, tmp_path: Path, answer: str, reason: str) -> None:
        """A kubelet that refuses, hangs or talks nonsense is a failure with its reason."""
        kubelet = FakeKubelet(tmp_path)
        kubelet.answer(answer)
        with kubelet.serving():
            assert reason == ask_once(kubelet.socket)["reason"]

    def test_no_socket(self, tmp_path: Path) -> None:
        """A socket that is not there is named as that, with the cure."""
        failure = ask_once(tmp_path / "none.sock")

        assert "no_socket" == failure["reason"]
        assert "mount the kubelet's pod-resources folder" in failure["message"]

    def test_nobody_listens(self, tmp_path: Path) -> None:
        """A socket that its kubelet left behind refuses."""
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(tmp_path / "s"))
        assert "refused" == ask_once(tmp_path / "s")["reason"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
    def test_forbidden(self, tmp_path: Path) -> None:
        """A socket that may not be opened is named as that."""
        with socket.create_server(str(tmp_path / "s"), family=socket.AF_UNIX):
            (tmp_path / "s").chmod(0o000)
            assert "permission" == ask_once(tmp_path / "s")["reason"]

    def test_authority(self, tmp_path: Path) -> None:
        """The call is for "localhost": a kubelet refuses a path with escapes, which gRPC would say."""
        heard = bytearray()

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))  # SETTINGS, and not a word more
                while part := connection.recv(4096):
                    heard.extend(part)

        with socket.create_server(str(tmp_path / "s"), family=socket.AF_UNIX) as server:
            listener = threading.Thread(target=listen)
            listener.start()
            assert "timeout" == ask_once(tmp_path / "s")["reason"]
            listener.join(60.0)
        assert LOCALHOST_IN_HPACK in heard or b"localhost" in heard
        assert b"%2F" not in heard

    def test_without_grpcio(self, tmp_path: Path) -> None:
        """Without grpcio, the failure and its fix are logged once."""
        (tmp_path / "grpc.py").write_text("raise ImportError('as if not installed')\n")
        failure = ask_once(tmp_path / "s", {"PYTHONPATH": str(tmp_path)})

        assert "no_grpcio" == failure["reason"]
        assert "pip install 'perwatt[kubernetes]'" in failure["message"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines of perwatt; asyncio also logs about processes that end early."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("perwatt")]


class TestHelper:
    """Helpers that misbehave."""

    async def test_without_grpcio(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """No helper is started again where there can be none."""
        line = '{"type":"failed","reason":"no_grpcio","message":"install it"}'
        watch = PodResourcesClient(tmp_path, SystemClock(), command=saying(line))

        await asyncio.wait_for(watch.run(), 60.0)
        assert not watch.pending
        assert (("no_grpcio", 1),) == watch.health().failures
        assert ["cannot identify pods (no_grpcio): install it; check identity.pod_resources_socket"] == told(
            caplog
        )

    @pytest.mark.parametrize(
        ("command", "reason"),
        [
            pytest.param(saying(then="pass"), "ended", id="ends"),
            pytest.param(saying("no JSON"), "garbled", id="no JSON"),
            pytest.param(saying('{"type":"read"}'), "garbled", id="no answer"),
            pytest.param(saying(then="print('x' * 5_000_000)"), "garbled", id="endless line"),
            pytest.param(saying(), "silent", id="silent"),
            pytest.param(("/nonexistent/python",), "ended", id="cannot be started"),
        ],
    )
    async def test_replaced(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, command: Sequence[str], reason: str
    ) -> None:
        """A helper that fails is replaced, with growing delays, and logged once."""
        clock = ManualClock()
        silence_seconds = 0.2 if reason == "silent" else 60.0
        watch = PodResourcesClient(tmp_path, clock, command=command, silence_seconds=silence_seconds)
        async with watching(watch):
            await until(lambda: dict(watch.health().failures).get(reason, 0) >= 3)

        assert 1_000.0 + 1.0 + 2.0 <= clock.monotonic()
        assert {reason} == set(dict(watch.health().failures))
        assert 1 == len(told(caplog))
        assert not watch.health().success

    async def test_killed(self, tmp_path: Path) -> None:
        """A hanging helper is dead before the next one starts, and none outlives the watch."""
        pids = tmp_path / "pids"
        then = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
        watch = PodResourcesClient(tmp_path, ManualClock(), command=saying(then=then), silence_seconds=1.0)
        async with watching(watch):
            await until(lambda: pids.exists() and len(pids.read_text().splitlines()) >= 2)

        started = [int(pid) for pid in pids.read_text().split()]
        assert [] == [pid for pid in started if is_there(pid)]

    async def test_failures_keep_what_was_heard(self, tmp_path: Path) -> None:
        """An answer outlives a failure or two, and not its age; patience ends as well."""
        failed = '{"type":"failed","reason":"timeout","message":"slow"}'
        clock = ManualClock()
        watch = PodResourcesClient(tmp_path, clock, command=saying(READ, failed))
        async with watching(watch):
            await until(lambda: bool(watch.health().failures))
            assert HELD == watch.holders(info(0))
            clock.advance(31.0)
            assert () == watch.holders(info(0))

    async def test_patience(self, tmp_path: Path) -> None:
        """The first answer is waited for, but not for ever."""
        clock = ManualClock()
        watch = PodResourcesClient(tmp_path, clock, command=saying())
        async with watching(watch):
            await asyncio.sleep(0)
            assert watch.pending
            clock.advance(15.0)
            assert not watch.pending

    async def test_recovery(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """An answer after a failure is logged once too."""
        caplog.set_level(logging.INFO)
        failed = '{"type":"failed","reason":"timeout","message":"slow"}'
        watch = PodResourcesClient(tmp_path, ManualClock(), command=saying(failed, failed, READ, READ))
        async with watching(watch):
            await until(lambda: bool(watch.holders(info(0))))

        assert [
            "cannot identify pods (timeout): slow; check identity.pod_resources_socket",
            "pods can be identified again",
        ] == told(caplog)[:2]
