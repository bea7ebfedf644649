"""Lines of `/proc/<pid>/cgroup` as real machines show them, and what each says of the process."""

from pathlib import Path

from perwatt_agent.identity.identity import Identity

CONTAINER = "b2a102854b4969b2ce98dc329c86b4fb2b06e4ad2cc8da9d8a7578c9cd2004a2"
OUTER = "9d0f4a2c" * 8
SLUID = "s5KDQM3XW8Z01R"
POD = "72f7f152-440c-66ac-9084-e0fc1d8a910c"
POD_ = POD.replace("-", "_")
STATIC_POD = "0d1a3b5c7e9f0d1a3b5c7e9f0d1a3b5c"
IN_POD = Identity(container_id=CONTAINER, pod_uid=POD)

V1_SLURM = """\
13:freezer:/slurm_vm/uid_0/job_2/step_0
12:rdma:/
11:memory:/slurm_vm/uid_0/job_2/step_0/task_0
4:cpuset:/slurm_vm/uid_0/job_2/step_0
1:name=systemd:/system.slice/slurmd.service
"""
V1_DOCKER = f"""\
12:pids:/docker/{CONTAINER}
11:memory:/docker/{CONTAINER}
1:name=systemd:/docker/{CONTAINER}
0::/system.slice/containerd.service
"""

_OF_USER = "/user.slice/user-1000.slice/user@1000.service"
TRANSIENT = {
    "systemd-run scope": "0::/system.slice/run-r81f3c0de.scope",
    "systemd-run service": "0::/system.slice/run-u5.service",
    "systemd-run service, from version 256": "0::/system.slice/run-p4711-i12.service",
    "systemd-run scope, older": "0::/system.slice/run-4711.scope",
    "systemd-run of a user": f"0::{_OF_USER}/app.slice/run-u118.service",
    "tmux": f"0::{_OF_USER}/tmux-spawn-8a1b2c3d-0011-2233-4455-66778899aabb.scope",
    "terminal": f"0::{_OF_USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-8a1b2c3d.scope",
    "desktop": f"0::{_OF_USER}/app.slice/app-gnome-code-4711.scope",
    "desktop, as a service": f"0::{_OF_USER}/app.slice/app-org.kde.konsole@{'0a1b2c3d' * 4}.service",
    "desktop, at its start": f"0::{_OF_USER}/app.slice/app-picom@autostart.service",
    "ssh without sessions": "0::/system.slice/sshd.service",
    "ssh of Debian": "0::/system.slice/ssh.service",
    "ssh by socket": "0::/system.slice/system-sshd.slice/sshd@3-10.0.0.1:22-10.0.0.9:51022.service",
    "cron": "0::/system.slice/cron.service",
    "cron of Red Hat": "0::/system.slice/crond.service",
    "at": "0::/system.slice/atd.service",
    "console": "0::/system.slice/system-getty.slice/getty@tty1.service",
}
"""Units that start what people type: they name no workload, and change with each start."""

LINES: dict[str, tuple[str, Identity]] = {
    "systemd service": ("0::/system.slice/vllm.service", Identity("vllm.service")),
    "systemd template": (
        "0::/system.slice/system-vllm.slice/vllm@chat.service",
        Identity("vllm@chat.service"),
    ),
    "systemd service, delegated": ("0::/system.slice/vllm.service/workers/0", Identity("vllm.service")),
    "systemd-run scope, with a name": ("0::/system.slice/train.scope", Identity("train.scope")),
    "a service that only sounds like a desktop's": (
        "0::/system.slice/app-server.service",
        Identity("app-server.service"),
    ),
    "user's service": (
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/llama.service",
        Identity("llama.service"),
    ),
    "user manager": ("0::/user.slice/user-1000.slice/user@1000.service/init.scope", Identity()),
    "login session": ("0::/user.slice/user-1000.slice/session-3.scope", Identity()),
    "first process": ("0::/init.scope", Identity()),
    "v1 systemd service": (
        "12:cpuset:/\n1:name=systemd:/system.slice/vllm.service\n0::/system.slice/vllm.service",
        Identity("vllm.service"),
    ),
    "v2 root": ("0::/", Identity()),
    "Slurm v2": (
        "0::/system.slice/slurmstepd.scope/job_298726/step_0/user/task_0",
        Identity(slurm_job="298726"),
    ),
    "Slurm v2, batch": (
        "0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0",
        Identity(slurm_job="7"),
    ),
    "Slurm v2, several a host": (
        "0::/system.slice/node3_slurmstepd.scope/job_41/step_0/user/task_3",
        Identity(slurm_job="41"),
    ),
    "Slurm 26.05": (
        f"0::/system.slice/slurmstepd.scope/{SLUID}/step_0/user/task_0",
        Identity(slurm_sluid=SLUID),
    ),
    "Slurm 26.05, several a host": (
        f"0::/system.slice/node3_slurmstepd.scope/{SLUID}/step_batch/user/task_0",
        Identity(slurm_sluid=SLUID),
    ),
    "Slurm 26.05, v1": (
        f"9:memory:/slurm_node3/uid_1000/{SLUID}/step_0/task_0",
        Identity(slurm_sluid=SLUID),
    ),
    "Slurm itself": ("0::/system.slice/slurmstepd.scope/system", Identity()),
    "Slurm v1": ("9:memory:/slurm/uid_1000/job_211/step_0/task_0", Identity(slurm_job="211")),
    "Slurm v1, of a node": (V1_SLURM, Identity(slurm_job="2")),
    "Docker with systemd": (f"0::/system.slice/docker-{CONTAINER}.scope", Identity(container_id=CONTAINER)),
    "Docker v1": (V1_DOCKER, Identity(container_id=CONTAINER)),
    "Docker, systemd inside": (
        f"0::/system.slice/docker-{CONTAINER}.scope/system.slice/vllm.service",
        Identity("vllm.service", container_id=CONTAINER),
    ),
    "nerdctl": (f"0::/system.slice/nerdctl-{CONTAINER}.scope", Identity(container_id=CONTAINER)),
    "Podman": (f"0::/machine.slice/libpod-{CONTAINER}.scope/container", Identity(container_id=CONTAINER)),
    "Podman pod": (
        f"0::/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{CONTAINER}.scope",
        Identity(container_id=CONTAINER),
    ),
    "Podman quadlet": (
        f"0::/system.slice/vllm.service/libpod-payload-{CONTAINER}",
        Identity("vllm.service", container_id=CONTAINER),
    ),
    "Podman without systemd": (f"0::/libpod_parent/{CONTAINER}", Identity(container_id=CONTAINER)),
    "pod, besteffort, containerd": (
        f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/"
        f"cri-containerd-{CONTAINER}.scope",
        IN_POD,
    ),
    "pod, burstable, CRI-O": (
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/crio-{CONTAINER}.scope",
        IN_POD,
    ),
    "pod, CRI-O, in a group of its own": (
        f"0::/kubepods.slice/kubepods-pod{POD_}.slice/crio-{CONTAINER}.scope/container",
        IN_POD,
    ),
    "pod, guaranteed, cri-dockerd": (
        f"0::/kubepods.slice/kubepods-pod{POD_}.slice/docker-{CONTAINER}.scope",
        IN_POD,
    ),
    "pod, burstable, cgroupfs": (f"11:memory:/kubepods/burstable/pod{POD}/{CONTAINER}", IN_POD),
    "pod, guaranteed, cgroupfs": (f"0::/kubepods/pod{POD}/{CONTAINER}", IN_POD),
    "pod, slice:prefix:id": (
        f"11:devices:/system.slice/containerd.service/kubepods-pod{POD_}.slice:cri-containerd:{CONTAINER}",
        IN_POD,
    ),
    "pod, k3s": (f"0::/system.slice/k3s.service/kubepods/besteffort/pod{POD}/{CONTAINER}", IN_POD),
    "pod, kind": (
        f"0::/docker/{OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
        f"kubelet-kubepods-besteffort-pod{POD_}.slice/cri-containerd-{CONTAINER}.scope",
        IN_POD,
    ),
    "pod, static": (
        f"0::/kubepods/burstable/pod{STATIC_POD}/{CONTAINER}",
        Identity(container_id=CONTAINER, pod_uid=STATIC_POD),
    ),
    "pod, seen from another one": (
        f"0::/../../kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/cri-containerd-{CONTAINER}.scope",
        IN_POD,
    ),
    **{name: (line, Identity()) for name, line in TRANSIENT.items()},
    "what only looks alike": (
        f"0::/users/job_5/slurm/job_6/pod7/{CONTAINER[:40]}/vllm.service.d/slurmstepd.scope",
        Identity(),
    ),
}


def add_process(proc: Path, pid: int, cgroup_file: str | bytes) -> None:
    """Let a process be in this cgroup under *proc*."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    text = cgroup_file.encode() if isinstance(cgroup_file, str) else cgroup_file
    (folder / "cgroup").write_bytes(text)
