"""
Read from a cgroup path whom a process works for: version 1 and 2, every layout as a row of a table.

A row's pattern finds its one group in a path; of several finds the innermost counts.
"""

import re

from perwatt_agent.identity.identity import NOBODY, Identity

_UUID = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}"

SLURM_JOB = (
    re.compile(
        r"/slurm(?:_[^/]+)?/uid_\d+/job_(\d+)(?=/|$)"
    ),  # v1, one hierarchy a node where several share a host
    re.compile(r"/(?:[^/]+_)?slurmstepd\.scope/job_(\d+)(?=/|$)"),  # v2
)
POD_UID = (
    # kubepods/burstable/pod<uid>, kubepods-besteffort-pod<uid_>.slice, kubelet-kubepods-pod<uid_>.slice; a static
    # pod's UID is a hash without dashes.
    re.compile(rf"kubepods(?:[^/]*/)*?[^/]*pod({_UUID}|[0-9a-f]{{32}})(?=[./:]|$)"),
)
CONTAINER_ID = (
    # docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>.scope, libpod-<id>.scope, and the bare id that
    # drivers without systemd use under docker, kubepods, crio and libpod_parent; containerd's `slice:prefix:id`.
    re.compile(
        r"(?:/|:|/(?:docker|cri-containerd|crio|libpod|libpod-payload|nerdctl)-)([0-9a-f]{64})(?=\.scope|/|$)"
    ),
)
SYSTEMD_UNIT = (re.compile(r"/([^/:]+\.(?:service|scope))(?=/|$)"),)

# Units that say how a process was started, not whom it works for.
_CARRIERS = re.compile(
    r"init\.scope|session-[^/]+\.scope|user@\d+\.service"
    r"|(?:docker|cri-containerd|crio|crio-conmon|libpod|libpod-conmon|nerdctl)-[0-9a-f]{64}\.scope"
    r"|(?:[^/]+_)?slurmstepd\.scope|slurmd\.service"
    r"|(?:docker|containerd|crio|podman|kubelet|k3s|k3s-agent|rke2-server|rke2-agent)\.service"
)


def identity_in(cgroup_file: str) -> Identity:
    """
    Return what the text of a `/proc/<pid>/cgroup` says; what it does not say is empty.

    Each line is `hierarchy:controllers:path`; the hierarchies of version 1 may differ, and the first
    that knows a fact gives it.
    """
    facts = NOBODY
    paths = dict.fromkeys(_path(line) for line in cgroup_file.splitlines())
    for path in paths:
        facts = _merged(facts, _identity_of(path))
    return facts


def _path(line: str) -> str:
    parts = line.split(":", 2)
    return parts[2].removesuffix(" (deleted)") if len(parts) == 3 else ""


def _identity_of(path: str) -> Identity:
    units = [unit for unit in _found(SYSTEMD_UNIT, path) if not _CARRIERS.fullmatch(unit)]
    return Identity(
        systemd_unit=_last(units),
        slurm_job=_last(_found(SLURM_JOB, path)),
        container_id=_last(_found(CONTAINER_ID, path)),
        pod_uid=_last(_found(POD_UID, path)).replace("_", "-"),
    )


def _found(patterns: tuple[re.Pattern[str], ...], path: str) -> list[str]:
    return [match for pattern in patterns for match in pattern.findall(path)]


def _last(found: list[str]) -> str:
    return found[-1] if found else ""


def _merged(facts: Identity, more: Identity) -> Identity:
    return Identity(*(getattr(facts, name) or getattr(more, name) for name in Identity.__struct_fields__))
