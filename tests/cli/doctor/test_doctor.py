"""`perwatt doctor`: each finding states what is there or missing, and the smallest fix."""

import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.accounts.readings import mig
from support.servers.canned import Canned, canned_server, redirecting

from perwatt.doctor import doctor
from perwatt.doctor.endpoints import check_endpoint, check_token
from perwatt.doctor.finding import Finding
from perwatt.doctor.gpus import NO_PROCESSES, PROCESSES_FIX, SEE_XIDS, check_gpus
from perwatt.doctor.host import check_address, check_folder
from perwatt.doctor.meters import check_meters
from perwatt.run.meters import build_meters
from perwatt_agent.clock import ManualClock
from perwatt_agent.config import AgentConfig, AgentWebConfig, EndpointConfig, EnginesConfig
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.gpu.backend import BackendUnavailable, Generation, GpuFailure
from perwatt_agent.meters.config import MetersConfig
from perwatt_agent.meters.meter import MeterFailure

FREE_ADDRESS = AgentWebConfig("127.0.0.1:0")


class FakeGpu:
    """A GPU that gives one reading, or fails."""

    processes: tuple[GpuProcess, ...] | None = ()

    def __init__(self, index: int, reading: GpuReading | None, *migs: MigReading) -> None:
        self.info = GpuInfo(f"GPU-{index}", index, "H200")
        self._reading = reading
        self._migs = migs or None

    def read(self) -> GpuReading:
        if self._reading is None:
            raise GpuFailure("lost", "lost", "it fell off the bus")
        return self._reading

    def read_slow(self) -> GpuSlowReading:
        return GpuSlowReading(0.0, mig=self._migs, processes=self.processes)


class FakeBackend:
    """A driver with these GPUs, or one that does not answer."""

    name = "nvml"

    def __init__(self, *gpus: FakeGpu, failure: Exception | None = None) -> None:
        self._gpus = gpus
        self._failure = failure

    def open(self) -> Generation:
        if self._failure:
            raise self._failure
        return Generation("580.1", "13", self._gpus, unidentified=1 if self._gpus else 0)

    def close(self) -> None:
        """Nothing to close."""


def test_foreign_text_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """What processes and engines are called moves no cursor, adds no line, and tells no password."""
    doctor.report([Finding("ok", "GPU\r0", "\x1b[2Jvllm\nok fake", "see http://u:t0p@a/?token=t0p")])

    printed = capsys.readouterr().out
    assert 3 == len(printed.splitlines())
    assert printed.replace("\n", "").isprintable()
    assert "t0p" not in printed


def test_a_driver_that_lists_no_processes() -> None:
    """Not known is not nobody: it is a finding for these GPUs, with what to do."""
    whole = GpuReading(1.0, energy_joules=1.0)
    gpus = [FakeGpu(index, whole) for index in range(3)]
    gpus[0].processes = gpus[2].processes = None

    assert (
        Finding("missing", "GPU 0+2", NO_PROCESSES, PROCESSES_FIX) in check_gpus(FakeBackend(*gpus)).findings
    )


def test_what_each_gpu_gives() -> None:
    """Each GPU has a finding with its readings; a failed GPU does not hide the others."""
    whole = GpuReading(1.0, energy_joules=1.0, power_watts=2.0, utilization_ratio=0.5)
    gpus = (FakeGpu(0, None), FakeGpu(1, whole))

    findings = list(check_gpus(FakeBackend(*gpus)).findings)

    assert [
        Finding("ok", "nvidia", "driver 580.1, GPUs: 2"),
        Finding("missing", "nvidia", "GPUs without an identity: 1", SEE_XIDS),
        Finding("missing", "GPU 0", "H200 GPU-0: it fell off the bus", SEE_XIDS),
        Finding(
            "ok",
            "GPU 1",
            "H200 GPU-1 reports energy counter, power, utilization; not memory, temperature, clocks",
        ),
    ] == findings


@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (BackendUnavailable("library", "no driver: install it"), "no driver: install it"),
        (RuntimeError("boom"), "RuntimeError: boom"),
    ],
)
def test_no_driver_does_not_block(failure: Exception, detail: str) -> None:
    """The agent waits for a driver, so a missing driver is reported and blocks nothing."""
    (finding,) = check_gpus(FakeBackend(failure=failure)).findings

    assert ("missing", detail, False) == (finding.status, finding.detail, finding.blocks)
    assert finding.fix


def test_a_driver_that_hangs() -> None:
    """A driver that never answers is reported after a deadline; the other checks go on."""
    release = threading.Event()

    class Hanging(FakeBackend):
        def open(self) -> Generation:
            release.wait()
            return super().open()

    try:
        (finding,) = check_gpus(Hanging(), deadline_seconds=0.05).findings
    finally:
        release.set()

    assert Finding("missing", "nvidia", "the driver did not answer within 0.05 s", SEE_XIDS) == finding


class TestAddress:
    def test_free(self) -> None:
        """A free address is ok, and stays free."""
        assert "ok" == check_address("127.0.0.1:0").status

    @pytest.mark.slow
    def test_held(self) -> None:
        """A port in use blocks; the finding names its process and the flag to change."""
        with socket.create_server(("127.0.0.1", 0)) as holder:
            finding = check_address(f"127.0.0.1:{holder.getsockname()[1]}")

        assert ("missing", True) == (finding.status, finding.blocks)
        assert f"process {os.getpid()})" in finding.detail
        assert "choose another port (--web.listen-address)" in finding.fix

    def test_an_agent_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An agent of ours on the port is no obstacle: it runs."""
        page = Canned(b"# TYPE a gauge\nperwatt_snapshot_timestamp_seconds 1.0\n")
        with canned_server({"/metrics": page}) as server:
            finding = check_address(server.url.removeprefix("http://"))

        assert ("ok", True, False) == (finding.status, finding.runs, finding.blocks)
        assert 0 == doctor.report([finding])
        assert capsys.readouterr().out.endswith("perwatt agent runs here\n")


class TestEndpoint:
    def test_answers(self, tmp_path: Path) -> None:
        """A page that answers is ok; the request carries the token."""
        token = tmp_path / "token"
        token.write_text("secret\n")
        with canned_server({"/metrics": Canned(b"")}) as server:
            endpoint = EndpointConfig(f"{server.url}/metrics", workload="chat", bearer_token_file=token)
            finding = check_endpoint(endpoint)

        assert Finding("ok", "chat", f"{endpoint.url} answers 200") == finding
        assert "Bearer secret" == server.headers[0]["authorization"]

    def test_redirect(self, tmp_path: Path) -> None:
        """A redirect is not followed: the token would go to a host that nobody configured."""
        token = tmp_path / "token"
        token.write_text("secret\n")
        with canned_server({"/metrics": Canned(b"")}) as other, redirecting(f"{other.url}/metrics") as url:
            finding = check_endpoint(EndpointConfig(url, bearer_token_file=token))

        assert ("missing", []) == (finding.status, other.headers)
        assert "302" in finding.detail

    @pytest.mark.parametrize(
        ("url", "found"),
        [
            ("http://gpu1:8000/metrics", 1),
            ("https://gpu1:8000/metrics", 0),
            ("http://127.0.0.1:8000/metrics", 0),
            ("http://localhost:8000/metrics", 0),
        ],
    )
    def test_token_over_plain_http(self, url: str, found: int, tmp_path: Path) -> None:
        """A token that travels unencrypted to another host is a hint."""
        assert found == len(list(check_token(EndpointConfig(url, bearer_token_file=tmp_path / "t"))))
        assert found == len(list(check_token(EndpointConfig(url, credentials_file=tmp_path / "t"))))
        assert [] == list(check_token(EndpointConfig(url)))

    def test_credentials(self, tmp_path: Path) -> None:
        """The request carries user and password as the agent's does."""
        file = tmp_path / "credentials"
        file.write_text("monitor:secret\n")
        file.chmod(0o600)
        with canned_server({"/metrics": Canned(b"")}) as server:
            finding = check_endpoint(EndpointConfig(f"{server.url}/metrics", credentials_file=file))

        assert "ok" == finding.status
        assert "Basic bW9uaXRvcjpzZWNyZXQ=" == server.headers[0]["authorization"]

    @pytest.mark.parametrize(("status", "fix"), [(401, "bearer_token_file"), (404, "correct the path")])
    def test_refuses(self, status: int, fix: str) -> None:
        """A page that refuses is missing, with the key to change."""
        with canned_server({"/metrics": Canned(b"", status)}) as server:
            finding = check_endpoint(EndpointConfig(f"{server.url}/metrics"))

        assert ("missing", "engine", False) == (finding.status, finding.subject, finding.blocks)
        assert fix in finding.fix

    def test_is_not_there(self) -> None:
        """An engine that does not run yet is missing, and blocks nothing."""
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
            finding = check_endpoint(EndpointConfig(url))

        assert ("missing", False) == (finding.status, finding.blocks)
        assert "Connection refused" in finding.detail

    def test_a_follower_has_no_page(self) -> None:
        """A follower gets no request."""
        assert "ok" == check_endpoint(EndpointConfig(group="big")).status


class GivenMeter:
    """A meter with one answer."""

    interval_seconds = 1.0

    def __init__(self, name: str, answer: Sequence[MeterSample] | MeterFailure) -> None:
        self.name = name
        self._answer = answer

    async def read(self) -> Sequence[MeterSample]:
        if isinstance(self._answer, MeterFailure):
            raise self._answer
        return self._answer


class TestMeters:
    def test_what_each_meter_shows(self) -> None:
        """A meter's finding lists what it measures, and the part that does not answer."""
        package = MeterSample("rapl", 1.0, energy_joules=5.0, scope="package", zone="0")
        memory = MeterSample("rapl", 1.0, scope="dram", zone="0")
        wall = MeterSample("ipmi", 1.0, 812.0)

        assert [
            Finding("ok", "rapl", "package 0, dram 0 (no answer)"),
            Finding("ok", "ipmi", "node 812 W"),
        ] == list(check_meters([GivenMeter("rapl", (package, memory)), GivenMeter("ipmi", (wall,))], False))

    def test_why_not(self) -> None:
        """An absent meter is a hint; one without permission is missing, with its fix."""
        absent = GivenMeter("grace", MeterFailure("absent", "no such meters"))
        denied = GivenMeter("rapl", MeterFailure("permission_denied", "it may not be read; be root"))

        assert [
            Finding("hint", "grace", "no such meters"),
            Finding("missing", "rapl", "it may not be read", "be root"),
        ] == list(check_meters([absent, denied], True))

    def test_no_node(self) -> None:
        """Without a wall meter and a model, a hint names the smallest fix."""
        (hint,) = check_meters([], False)

        assert ("hint", "node") == (hint.status, hint.subject)
        assert "meters.model.rest_watts" in hint.fix

    def test_of_this_machine(self) -> None:
        """With real GPUs every meter of the host is tried; with simulated GPUs none is."""
        clock = ManualClock()

        assert ["ipmi", "rapl", "grace", "hwmon"] == [
            meter.name for meter in build_meters(AgentConfig(), clock)
        ]
        assert [] == build_meters(AgentConfig(backend="simulated"), clock)
        assert [] == build_meters(AgentConfig(meters=MetersConfig(discover=False)), clock)


class TestStateDir:
    def test_can_be_made(self, tmp_path: Path) -> None:
        """A folder that can be created is ok; the check itself creates nothing."""
        assert "ok" == check_folder("state_dir", tmp_path / "a" / "b").status
        assert [] == list(tmp_path.iterdir())

    def test_cannot_be_made(self, tmp_path: Path) -> None:
        """A folder below a file can never be created."""
        (tmp_path / "file").write_text("")

        assert "missing" == check_folder("state_dir", tmp_path / "file" / "state").status


class TestReport:
    def test_all_together(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """On a machine without a driver and without engines the agent can start: exit code 0."""
        config = AgentConfig(state_dir=tmp_path, data_dir=tmp_path, web=FREE_ADDRESS)
        backend = FakeBackend(failure=BackendUnavailable("library", "no driver"))

        assert 0 == doctor.report(doctor.examine(config, backend, ()))

        lines = capsys.readouterr().out.splitlines()
        assert {"ok", "missing", "hint"} == {line.split()[0] for line in lines if line[0] not in " p"}
        assert "perwatt agent can start here" == lines[-1]

    def test_endpoints_are_asked(self, tmp_path: Path) -> None:
        """Each configured endpoint has its finding."""
        engines = EnginesConfig(endpoints=(EndpointConfig(group="big", workload="a"),))
        config = AgentConfig(state_dir=tmp_path, data_dir=tmp_path, web=FREE_ADDRESS, engines=engines)

        subjects = [finding.subject for finding in doctor.examine(config, FakeBackend(), ())]

        assert ["node", "state_dir", "data_dir", "port", "a", "discovery"] == subjects[4:]
        assert ["python", "libraries", "host", "nvidia"] == subjects[:4]

    def test_two_names_of_one_gpu(self, tmp_path: Path) -> None:
        """A GPU that two endpoints claim without sharing it has a finding that names the loser."""
        endpoints = (
            EndpointConfig(group="big", workload="a", gpus=(1,)),
            EndpointConfig(group="big", workload="b", gpus=("GPU-1",)),
        )
        config = AgentConfig(
            state_dir=tmp_path,
            data_dir=tmp_path,
            web=FREE_ADDRESS,
            engines=EnginesConfig(endpoints=endpoints),
        )
        gpus = FakeBackend(FakeGpu(0, None), FakeGpu(1, None))

        found = [one for one in doctor.examine(config, gpus, ()) if "both claim" in one.detail]
        assert [("missing", "GPU 1")] == [(one.status, one.subject) for one in found]
        assert "a and b both claim: b does not get" in found[0].detail

    def test_instances(self, tmp_path: Path) -> None:
        """A claimed MIG instance that is on no GPU has a finding; one that exists has none."""
        endpoints = (
            EndpointConfig(group="big", workload="a", gpus=("MIG-a",)),
            EndpointConfig(group="big", workload="b", gpus=("MIG-b", "MIG-z")),
            EndpointConfig(group="big", workload="c", gpus=(1,)),
        )
        config = AgentConfig(
            state_dir=tmp_path,
            data_dir=tmp_path,
            web=FREE_ADDRESS,
            engines=EnginesConfig(endpoints=endpoints),
        )
        divided = FakeGpu(0, None, mig("a", 1), mig("b", 1)), FakeGpu(1, None, mig("c", 1))

        def claim_details(*gpus: FakeGpu) -> list[str]:
            found = doctor.examine(config, FakeBackend(*gpus), ())
            return [one.detail for one in found if "claim" in one.detail]

        assert ["b claims MIG-z, which does not exist"] == claim_details(*divided)
        assert [] == claim_details()

    def test_what_blocks_is_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        """One finding that blocks makes the exit code 1, and its fix is printed."""
        assert 1 == doctor.report([Finding("missing", "port", "held", "stop it", blocks=True)])

        assert (
            "missing  port       held\n                    fix: stop it\nperwatt agent cannot start here\n"
            == capsys.readouterr().out
        )
