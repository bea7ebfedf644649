"""Identity from a cgroup path, version 1 and 2: each layout is a row of a table."""

import re
from typing import Literal

import msgspec
from msgspec import Struct

from perwatt_agent.identity.identity import UNKNOWN, Identity

Fact = Literal["systemd_unit", "slurm_job", "slurm_sluid", "container_id", "pod_uid"]

_HEX64 = r"([0-9a-f]{64})"
_UUID = r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})"
_SLUID = r"(s[0-9A-Za-z]{8,32})"
_ENDS = r"(?=[/.:]|$)"


class Layout(Struct, frozen=True):
    """Where a fact stands in a path: the one group of the pattern; of several matches, the innermost."""

    fact: Fact
    written_by: str
    pattern: str


def _layout(fact: Fact, written_by: str, pattern: str) -> Layout:
    return Layout(fact, written_by, f"(?a){pattern}")


LAYOUTS = (
    _layout("slurm_job", "Slurm, v1, a hierarchy a node", rf"/slurm(?:_[^/]+)?/uid_\d+/job_(\d+){_ENDS}"),
    _layout("slurm_job", "Slurm, v2", rf"/(?:[^/]+_)?slurmstepd\.scope/job_(\d+){_ENDS}"),
    # A job's name since Slurm 26.05. In the same place stands `system`, of Slurm itself.
    _layout("slurm_sluid", "Slurm 26.05, v2", rf"/(?:[^/]+_)?slurmstepd\.scope/{_SLUID}/step_"),
    _layout("slurm_sluid", "Slurm 26.05, v1", rf"/slurm(?:_[^/]+)?/uid_\d+/{_SLUID}/step_"),
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

# Units that say how a process was started, not what it belongs to. The second and third line are those of
# terminals, desktops, `systemd-run` without a name, logins and timed commands.
_CARRIERS = (
    r"init\.scope|session-[^/]+\.scope|user@\d+\.service"
    r"|(?:tmux|vte|screen)-spawn-[^/]+\.scope|app-[^/]+\.scope|app-[^/]+@(?:autostart|[0-9a-f]{32})\.service"
    r"|run-(?:u\d+|r[0-9a-f]+|p\d+-i\d+|\d+)\.(?:service|scope)"
    r"|(?:sshd?|dropbear|crond?|cronie|atd)(?:@[^/]*)?\.service|(?:serial-|console-|container-)?getty@[^/]+\.service"
    r"|(?:docker|cri-containerd|nerdctl|crio|crio-conmon|libpod|libpod-conmon)-[0-9a-f]{64}\.scope"
    r"|(?:docker|containerd|crio|podman|kubelet|k3s|k3s-agent|rke2-server|rke2-agent)\.service"
    r"|(?:[^/]+_)?slurmstepd\.scope|slurmd\.service"
)


def identity_in(cgroup_file: str) -> Identity:
    """
    Return the identity in the text of a `/proc/<pid>/cgroup`. Facts that it lacks are empty.

    Each line is `hierarchy:controllers:path`. In version 1 the paths may differ: the first line with a fact
    counts.
    """
    facts: dict[str, str] = {}
    for path in dict.fromkeys(line.split(":", 2)[-1] for line in cgroup_file.splitlines()):
        facts = facts_in(path) | facts
    return msgspec.convert(facts, Identity) if facts else UNKNOWN


def facts_in(path: str) -> dict[str, str]:
    """Return the facts in one path."""
    facts: dict[str, str] = {}
    for layout in LAYOUTS:
        found = [text for text in re.findall(layout.pattern, path) if not re.fullmatch(_CARRIERS, text)]
        if found:
            facts[layout.fact] = found[-1]
    if "pod_uid" in facts:
        facts["pod_uid"] = facts["pod_uid"].replace(
            "_", "-"
        )  # systemd does not allow dashes in the names of slices
    return facts
