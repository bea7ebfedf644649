"""Whom a process works for is read from its cgroup, however the path is laid out."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.cgroup_trees import CONTAINER, LINES, POD, add_process

from perwatt_agent.identity.cgroup import LAYOUTS, identity_in
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import Identity


@pytest.mark.parametrize(("text", "identity"), LINES.values(), ids=LINES.keys())
def test_layouts(text: str, identity: Identity) -> None:
    """Every layout of a path yields its facts, and nothing else."""
    assert identity == identity_in(text + "\n")


def test_every_layout_is_needed() -> None:
    """Each row of the table is the only one to read some real line."""
    for layout in LAYOUTS:
        assert any(re.search(layout.pattern, text) for text, _ in LINES.values()), layout


def test_first_hierarchy_tells() -> None:
    """Where version 1's hierarchies differ, the first that knows a fact gives it, fact by fact."""
    paths = ["9:cpu:/a.service", "8:pids:/slurm/uid_1/job_5", "7:pids:/slurm/uid_1/job_6", "1:x:/b.service"]

    assert Identity("a.service", "5") == identity_in("\n".join(paths))


@given(st.text())
def test_any_text(text: str) -> None:
    """No text is an error, and no fact comes from nowhere."""
    identity = identity_in(text)

    assert identity.systemd_unit in text
    assert identity.slurm_job in text


class TestProcesses:
    def test_this_one(self) -> None:
        """A real process is looked up in the real /proc."""
        assert identity_in(Path("/proc/self/cgroup").read_text()) == Identifier().identify(os.getpid())

    def test_gone(self, tmp_path: Path) -> None:
        """A process that has ended has no identity."""
        assert Identity() == Identifier(tmp_path).identify(4711)

    def test_gone_during_the_look_up(self, tmp_path: Path) -> None:
        """A file that can no longer be read yields no identity."""
        (tmp_path / "1" / "cgroup").mkdir(parents=True)

        assert Identity() == Identifier(tmp_path).identify(1)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_forbidden(self, tmp_path: Path) -> None:
        """A process that may not be read has no identity."""
        add_process(tmp_path, 1, "0::/system.slice/vllm.service\n")
        (tmp_path / "1").chmod(0o000)

        assert Identity() == Identifier(tmp_path).identify(1)

    def test_ten_thousand_lines(self, tmp_path: Path) -> None:
        """Of an enormous file the start counts, as no real one is enormous."""
        lines = ["9:memory:/slurm/uid_1/job_5/step_0\n", *["8:cpu:/" + "a" * 100 + "\n"] * 10_000]
        add_process(tmp_path, 1, "".join([*lines, "0::/system.slice/late.service\n"]))

        assert Identity(slurm_job="5") == Identifier(tmp_path).identify(1)

    def test_one_endless_line(self, tmp_path: Path) -> None:
        """A path as long as the file is read in time, whatever it repeats."""
        add_process(tmp_path, 1, "0::" + "/pod/slurm_a_/x.service.d" * 100_000)

        assert Identity() == Identifier(tmp_path).identify(1)

    def test_not_text(self, tmp_path: Path) -> None:
        """Bytes that are no text spoil nothing that is."""
        add_process(tmp_path, 1, b"0::/\xff\xfe/kubepods/pod%s/%s\n" % (POD.encode(), CONTAINER.encode()))

        assert Identity(container_id=CONTAINER, pod_uid=POD) == Identifier(tmp_path).identify(1)
