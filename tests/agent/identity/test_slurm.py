"""Slurm jobs by GPU, from the files that a prolog writes and an epilog removes."""

import logging
import os
from pathlib import Path

import pytest

from perwatt_agent.identity.slurm import SlurmJobMap


def test_one_job_a_line(tmp_path: Path) -> None:
    """A GPU's file names its jobs, one a line; spaces and empty lines mean nothing."""
    (tmp_path / "0").write_text("1234\n")
    (tmp_path / "1").write_text(" 1235_7 \n\n1236\r\n")
    jobs = SlurmJobMap(tmp_path)

    assert {"1234"} == jobs.jobs(0)
    assert {"1235_7", "1236"} == jobs.jobs(1)
    assert set() == jobs.jobs(2)


def test_slices(tmp_path: Path) -> None:
    """A MIG slice's jobs are the GPU's; GPU 1 has nothing of GPU 10."""
    (tmp_path / "1.7").write_text("5\n")
    (tmp_path / "1.8").write_text("6\n")
    (tmp_path / "10").write_text("7\n")

    assert {"5", "6"} == SlurmJobMap(tmp_path).jobs(1)


def test_changes(tmp_path: Path) -> None:
    """A file is read again once it was changed, and forgotten once it is gone."""
    file = tmp_path / "0"
    file.write_text("1\n")
    jobs = SlurmJobMap(tmp_path)
    assert {"1"} == jobs.jobs(0)

    file.write_text("2\n")
    os.utime(file, ns=(1, 1))
    assert {"2"} == jobs.jobs(0)
    file.unlink()
    assert set() == jobs.jobs(0)


def test_read_only_when_changed(tmp_path: Path) -> None:
    """A file whose times, size and identity stand still is not read again."""
    file = tmp_path / "0"
    file.write_text("1\n")
    os.utime(file, ns=(1, 1))
    jobs = SlurmJobMap(tmp_path)
    jobs.jobs(0)

    file.write_text("2\n")
    os.utime(file, ns=(1, 1))
    assert {"1"} == jobs.jobs(0)


def test_what_is_no_mapping(tmp_path: Path) -> None:
    """Other names, folders and pipes are let be, and what is no job id is no job."""
    (tmp_path / "README").write_text("1\n")
    (tmp_path / "0.part").write_text("2\n")
    (tmp_path / "1").mkdir()
    os.mkfifo(tmp_path / "2")
    (tmp_path / "0").write_bytes(b'\xff\xfe\n3"} 1\n' + b"9" * 1000 + b"\n4\n")
    jobs = SlurmJobMap(tmp_path)

    assert [{"4"}, set(), set()] == [jobs.jobs(index) for index in range(3)]


def test_enormous(tmp_path: Path) -> None:
    """Of an enormous file only the start is read."""
    (tmp_path / "0").write_text("".join(f"{number}\n" for number in range(100_000)))

    assert 4_000 > len(SlurmJobMap(tmp_path).jobs(0))


def test_no_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing folder is logged once, and again after it existed, and means no jobs."""
    folder = tmp_path / "jobs"
    jobs = SlurmJobMap(folder)
    assert [set(), set()] == [jobs.jobs(0), jobs.jobs(0)]

    folder.mkdir()
    assert set() == jobs.jobs(0)
    folder.rmdir()
    assert set() == jobs.jobs(0)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 2 == len(warnings)
