"""Read from a cgroup path whom a process works for: version 1 and 2, every layout a row of a table."""

import re
from typing import Literal

import msgspec
from msgspec import Struct

from perwatt_agent.identity.identity import NOBODY, Identity

Fact = Literal["systemd_unit", "slurm_job", "container_id", "pod_uid"]

_HEX64 = r"([0-9a-f]{64})"
_UUID = r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})"
_ENDS = r"(?=[/.:]|$)"


class Layout(Struct, frozen=True):
    """How a fact shows in a path: the pattern's one group, and of several finds the innermost."""

    fact: Fact
    written_by: str
    pattern: re.Pattern[str]


def _layout(fact: Fact, written_by: str, pattern: str) -> Layout:
    return Layout(fact, written_by, re.compile(pattern, re.ASCII))


LAYOUTS = (
    _layout("slurm_job", "Slurm, v1, a hierarchy a node", rf"/slurm(?:_[^/]+)?/uid_\d+/job_(\d+){_ENDS}"),
    _layout("slurm_job", "Slurm, v2", rf"/(?:[^/]+_)?slurmstepd\.scope/job_(\d+){_ENDS}"),
    _layout("pod_uid", "the kubelet, with systemd and without", rf"[/-]pod{_UUID}{_ENDS}"),
    _layout("pod_uid", "the kubelet, for a static pod", rf"[/-]pod([0-9a-f]{{32}}){_ENDS}"),
    _layout("container_id", "drivers without systemd", rf"/{_HEX64}{_ENDS}"),
    _layout("container_id", "containerd, as slice:prefix:id", rf":cri-containerd:{_HEX64}{_ENDS}"),
    _layout("container_id", "Docker", rf"/docker-{_HEX64}{_ENDS}"),
    _layout("container_id", "containerd", rf"/(?:cri-containerd|nerdctl)-{_HEX64}{_ENDS}"),
    _layout("container_id", "CRI-O", rf"/crio-{_HEX64}{_ENDS}"),
    _layout("container_id", "Podman", rf"/libpod-(?:payload-)?{_HEX64}{_ENDS}"),
    _layout("systemd_unit", "systemd", r"/([^/:]+\.(?:service|scope))(?=/|$)"),
)

# Units that say how a process was started, not whom it works for.
_CARRIERS = re.compile(
    r"init\.scope|session-[^/]+\.scope|user@\d+\.service"
    r"|(?:docker|cri-containerd|nerdctl|crio|crio-conmon|libpod|libpod-conmon)-[0-9a-f]{64}\.scope"
    r"|(?:docker|containerd|crio|podman|kubelet|k3s|k3s-agent|rke2-server|rke2-agent)\.service"
    r"|(?:[^/]+_)?slurmstepd\.scope|slurmd\.service"
)


def identity_in(cgroup_file: str) -> Identity:
    """
    Return what the text of a `/proc/<pid>/cgroup` says; what it does not say is empty.

    Each line is `hierarchy:controllers:path`. The paths of version 1 may differ: of each fact, the first
    line that knows it tells.
    """
    facts: dict[str, str] = {}
    for path in dict.fromkeys(line.split(":", 2)[-1] for line in cgroup_file.splitlines()):
        facts = facts_in(path) | facts
    return msgspec.convert(facts, Identity) if facts else NOBODY


def facts_in(path: str) -> dict[str, str]:
    """Return the facts that one path tells."""
    facts: dict[str, str] = {}
    for layout in LAYOUTS:
        found = [text for text in layout.pattern.findall(path) if not _CARRIERS.fullmatch(text)]
        if found:
            facts[layout.fact] = found[-1]
    if "pod_uid" in facts:
        facts["pod_uid"] = facts["pod_uid"].replace("_", "-")  # systemd's slices cannot have dashes in it
    return facts
