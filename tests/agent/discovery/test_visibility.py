"""Hidden processes are not silence: the log says once what hides them, and what to change."""

import logging
from pathlib import Path

import pytest
from support.processes.process_trees import write_process

from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.discovery.scanner import Scanner
from perwatt_agent.discovery.visibility import (
    HIDEPID,
    NAMESPACE,
    Obstacle,
    VisibilityLog,
    is_unlisted,
    obstacle,
)
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading

FIRST, OTHER = "pid:[4026531836]", "pid:[4026532448]"


def make_proc(folder: Path, namespace: str = FIRST, *, hides: bool = False) -> Path:
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").symlink_to(namespace)
    if not hides:
        write_process(folder, 1, 0, 1, "systemd")
    return folder


@pytest.mark.parametrize(
    ("namespace", "hides", "expected"),
    [
        (FIRST, False, None),
        (FIRST, True, HIDEPID),
        (OTHER, False, NAMESPACE),
        (OTHER, True, NAMESPACE),
    ],
)
def test_obstacle(tmp_path: Path, namespace: str, hides: bool, expected: Obstacle | None) -> None:
    """A namespace that is not the machine's, and a /proc that does not show the first process."""
    assert expected == obstacle(make_proc(tmp_path, namespace, hides=hides))


def test_no_access(tmp_path: Path) -> None:
    """With hidepid=1 the folder of a process is there, and nothing in it can be read."""
    (make_proc(tmp_path, hides=True) / "1/stat").mkdir(parents=True)

    assert HIDEPID is obstacle(tmp_path)


def test_no_proc(tmp_path: Path) -> None:
    """What cannot be read hides nothing that is known."""
    assert None is obstacle(tmp_path)


def test_unseen(tmp_path: Path) -> None:
    """Of the processes that the driver lists, those without an entry; a zombie has one."""
    write_process(tmp_path, 5, 1, 100)
    write_process(tmp_path, 6, 1, 100, state="Z")
    scanner = Scanner(ProcessTable(tmp_path))

    assert {7, 8} == scanner.scan({"GPU-0": (5, 6, 7), "GPU-1": (8,)}, (), force=True).unseen


@pytest.mark.parametrize(
    ("used", "utilization", "processes", "expected"),
    [
        (0.0, 0.0, (), False),
        (0.02, 0.0, (), False),
        (0.5, 0.0, (), True),
        (0.0, 0.3, (), True),
        (0.5, 0.3, (GpuProcess(1),), False),
        (0.5, 0.3, None, False),
    ],
)
def test_unlisted(
    used: float, utilization: float, processes: tuple[GpuProcess, ...] | None, expected: bool
) -> None:
    """A GPU in use with an empty list; a list that is not known is another matter."""
    reading = GpuReading(
        1.0,
        utilization_ratio=utilization,
        memory_used_bytes=round(1000 * used),
        memory_total_bytes=1000,
    )

    assert expected == is_unlisted(reading, GpuSlowReading(1.0, processes=processes))


class TestLog:
    @staticmethod
    def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    def test_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """One line for the agent's life, with what to change."""
        log = VisibilityLog(make_proc(tmp_path, hides=True))
        for _ in range(5):
            log.update([7, 8], [])

        (line,) = self.warnings(caplog)
        assert HIDEPID.detail in line
        assert HIDEPID.fix in line

    def test_one_that_ended(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A process that the driver lists for a moment after its end is not hidden."""
        log = VisibilityLog(make_proc(tmp_path, hides=True))
        for unseen in ([7], [], [8], []):
            log.update(unseen, [])

        assert [] == self.warnings(caplog)

    @pytest.mark.parametrize(("namespace", "lines"), [(FIRST, 0), (OTHER, 1)])
    def test_empty_lists(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, namespace: str, lines: int
    ) -> None:
        """In another namespace the driver lists nobody on a GPU in use; hidepid does not do that."""
        log = VisibilityLog(make_proc(tmp_path, namespace, hides=True))
        for _ in range(3):
            log.update([], ["GPU-0"])

        assert lines == len(self.warnings(caplog))

    def test_nothing_hides(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Without an obstacle nothing is claimed."""
        log = VisibilityLog(make_proc(tmp_path))
        for _ in range(3):
            log.update([7], ["GPU-0"])

        assert [] == self.warnings(caplog)
