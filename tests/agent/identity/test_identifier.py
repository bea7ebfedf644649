"""Identity of a process: its cgroup, combined with the owners of its GPUs."""

from pathlib import Path

import pytest
from support.accounts.readings import info
from support.processes.cgroup_trees import CONTAINER, POD, SLUID, add_process
from support.processes.pods import FixedPods

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import UNKNOWN, Identity, described, workload_name
from perwatt_agent.identity.pod_resources import Container
from perwatt_agent.identity.slurm import SlurmJobMap
from perwatt_agent.identity.workload_names import WorkloadNames

GPUS = (info(0), info(1), info(2), info(3))
IN_POD = f"0::/kubepods/burstable/pod{POD}/{CONTAINER}\n"


@pytest.fixture
def identifier(tmp_path: Path) -> Identifier:
    """GPUs 0 and 1 are of one pod, 2 is shared by two pods, 3 has none; job 7 has 0 and 3, 8 has 3 too."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "0").write_text("7\n")
    (folder / "1").write_text("9\n")
    (folder / "3").write_text("7\n8\n")
    chat = Container("prod", "chat-0", "vllm", ("GPU-0", "GPU-1"))
    shared = (Container("dev", "a", "x", ("GPU-2::0",)), Container("dev", "b", "x", ("GPU-2::1",)))
    pods = FixedPods({"GPU-0": (chat,), "GPU-1": (chat,), "GPU-2": shared})
    return Identifier(tmp_path / "proc", jobs=SlurmJobMap(folder), pods=pods)


@pytest.fixture
def jobs_only(tmp_path: Path, identifier: Identifier) -> Identifier:
    return Identifier(tmp_path / "proc", jobs=SlurmJobMap(tmp_path / "jobs"))


class TestPods:
    def test_of_a_process(self, tmp_path: Path, identifier: Identifier) -> None:
        """A process in a pod has the names of the one container that holds its GPUs."""
        add_process(tmp_path / "proc", 1, IN_POD)

        assert Identity(
            k8s_namespace="prod",
            k8s_pod="chat-0",
            k8s_container="vllm",
            container_id=CONTAINER,
            pod_uid=POD,
        ) == identifier.identify(1, GPUS[:2])

    def test_of_gpus_alone(self, identifier: Identifier) -> None:
        """Without a process only the GPUs count, and a pod takes precedence over a job."""
        assert Identity(k8s_namespace="prod", k8s_pod="chat-0", k8s_container="vllm") == identifier.identify(
            None, GPUS[:1]
        )

    @pytest.mark.parametrize(
        "gpus",
        [
            pytest.param(GPUS[2:3], id="shared"),
            pytest.param(GPUS[:3], id="of several"),
            pytest.param((), id="none"),
        ],
    )
    def test_not_told_apart(self, tmp_path: Path, identifier: Identifier, gpus: tuple[GpuInfo, ...]) -> None:
        """Where several containers hold the GPUs, a process in a pod has no name."""
        add_process(tmp_path / "proc", 1, IN_POD)

        assert Identity(container_id=CONTAINER, pod_uid=POD) == identifier.identify(1, gpus)

    @pytest.mark.parametrize(
        ("cgroup", "identity"),
        [
            ("0::/system.slice/vllm.service", Identity("vllm.service")),
            ("0::/system.slice/slurmstepd.scope/job_5/step_0", Identity(slurm_job="5")),
        ],
    )
    def test_of_others(self, tmp_path: Path, identifier: Identifier, cgroup: str, identity: Identity) -> None:
        """A process with another owner does not belong to the pod whose GPU it uses."""
        add_process(tmp_path / "proc", 1, cgroup)

        assert identity == identifier.identify(1, GPUS[:1])


class TestJobs:
    @pytest.mark.parametrize(
        ("cgroup", "job"),
        [
            pytest.param("0::/user.slice/user-0.slice/session-1.scope", "7", id="a session"),
            pytest.param("0::/system.slice/slurmd.service", "7", id="no tracking by cgroup"),
            pytest.param(f"0::/system.slice/docker-{CONTAINER}.scope", "7", id="a job's container"),
            pytest.param("0::/system.slice/slurmstepd.scope/job_5/step_0", "5", id="its own goes first"),
            pytest.param("0::/system.slice/vllm.service", "", id="a service is nobody's job"),
            pytest.param(IN_POD, "", id="a pod is nobody's job"),
        ],
    )
    def test_of_a_process(self, tmp_path: Path, jobs_only: Identifier, cgroup: str, job: str) -> None:
        """A process belongs to the job of its GPUs, unless its cgroup says otherwise."""
        add_process(tmp_path / "proc", 1, cgroup)

        assert job == jobs_only.identify(1, GPUS[:1]).slurm_job

    @pytest.mark.parametrize(
        ("gpus", "job"),
        [(GPUS[:1], "7"), (GPUS[3:], ""), (GPUS[:2], ""), (GPUS[2:3], ""), ((), "")],
        ids=["one", "two on a GPU", "one each", "none", "no GPU"],
    )
    def test_of_gpus(self, jobs_only: Identifier, gpus: tuple[GpuInfo, ...], job: str) -> None:
        """One job on all GPUs is their job; of several jobs, the owner is unknown."""
        assert Identity(slurm_job=job) == jobs_only.identify(None, gpus)


class TestSluid:
    """Slurm 26.05 names a job's cgroup by its SLUID, which is not the job's number."""

    CGROUP = f"0::/system.slice/slurmstepd.scope/{SLUID}/step_0/user/task_0"

    @pytest.mark.parametrize(
        ("environment", "gpus", "job"),
        [
            pytest.param(
                b"A=1\0SLURM_JOB_ID=4711\0SLURM_JOB_IDS=5\0", GPUS[:1], "4711", id="its environment"
            ),
            pytest.param(b"SLURM_JOB_ID=4711", (), "4711", id="the only variable"),
            pytest.param(b"OLD_SLURM_JOB_ID=4711\0", GPUS[:1], "7", id="another variable"),
            pytest.param(b"SLURM_JOB_ID=47; x\0", GPUS[:1], "7", id="no number"),
            pytest.param(None, GPUS[:1], "7", id="the map"),
            pytest.param(None, GPUS[3:], SLUID, id="two jobs on the GPU"),
            pytest.param(None, (), SLUID, id="nothing else"),
        ],
    )
    def test_job(
        self,
        tmp_path: Path,
        jobs_only: Identifier,
        environment: bytes | None,
        gpus: tuple[GpuInfo, ...],
        job: str,
    ) -> None:
        """Its number is in the process's environment, else in the prolog's map; else it has its SLUID."""
        add_process(tmp_path / "proc", 1, self.CGROUP)
        if environment is not None:
            (tmp_path / "proc/1/environ").write_bytes(environment)

        found = jobs_only.identify(1, gpus)
        assert job == found.slurm_job
        assert f"slurm-{job}" == workload_name(found, "vllm", 8000)

    def test_without_a_map(self, tmp_path: Path) -> None:
        """A job is a job: two of them are never one workload."""
        add_process(tmp_path / "proc", 1, self.CGROUP)

        assert SLUID == Identifier(tmp_path / "proc").identify(1, GPUS[:1]).slurm_job


class TestNames:
    @pytest.mark.parametrize(
        ("identity", "name"),
        [
            (Identity("u.service", "7", "n", "p", "c"), "slurm-7"),
            (Identity("u.service", "", "n", "p", "c"), "n/p/c"),
            (Identity("u.service", container_id=CONTAINER), "u.service"),
            (Identity(container_id=CONTAINER, pod_uid=POD), "vllm-8000"),
        ],
    )
    def test_order(self, identity: Identity, name: str) -> None:
        """A job goes before a pod, a pod before a unit, and the engine's port is the last resort."""
        assert name == workload_name(identity, "vllm", 8000)

    def test_nothing_known(self) -> None:
        """What is neither of an engine nor of anybody has no name yet."""
        assert "" == workload_name(UNKNOWN, "", 8000)

    def test_one_each(self) -> None:
        """A name belongs to one engine: the next has its port appended, and a configured name is reserved."""
        names = WorkloadNames(["chat"])

        assert ["slurm-7", "slurm-7-8001", "slurm-7-8001-2", "chat-8002"] == [
            names.claim(owner, name, port)
            for owner, name, port in [
                ("a", "slurm-7", 8000),
                ("b", "slurm-7", 8001),
                ("c", "slurm-7", 8001),
                ("d", "chat", 8002),
            ]
        ]

    def test_given_back(self) -> None:
        """Who takes another name leaves the one before."""
        names = WorkloadNames()
        names.claim("a", "slurm-7", 8000)

        assert "slurm-8" == names.claim("a", "slurm-8", 8000)
        assert "slurm-7" == names.claim("b", "slurm-7", 8001)

    def test_labels(self) -> None:
        """Labels are taken over where they are known; the name and the others stay."""
        before = WorkloadInfo("chat", group="big", slurm_job="6", systemd_unit="u.service")

        assert WorkloadInfo(
            "chat",
            "big",
            k8s_namespace="n",
            k8s_pod="p",
            k8s_container="c",
            slurm_job="7",
            systemd_unit="u.service",
        ) == described(before, Identity("", "7", "n", "p", "c"))
