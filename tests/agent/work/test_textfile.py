"""Folder of text files: read when written, each problem logged once, none fatal."""

import asyncio
import os
from pathlib import Path

import pytest
from support.accounts.readings import info

from perwatt_agent.clock import ManualClock
from perwatt_agent.work.collector import WorkCollector
from perwatt_agent.work.job import Reporting
from perwatt_agent.work.registry import WorkRegistry
from perwatt_agent.work.report import WorkReport
from perwatt_agent.work.textfile import MAX_FILE_BYTES, MAX_FILES, STALE_SECONDS, TextfileReader
from perwatt_agent.work.textfile_poller import TextfilePoller

NOW = 1_800_000_000.0


def write(folder: Path, text: str, name: str = "train.prom", age_seconds: float = 0.0) -> Path:
    """Replace a file as a whole, as its writers must."""
    path = folder / name
    part = folder / f"{name}.part"
    part.write_text(text)
    os.utime(part, (NOW - age_seconds, NOW - age_seconds))
    part.replace(path)
    return path


@pytest.fixture
def reader(tmp_path: Path) -> TextfileReader:
    return TextfileReader(tmp_path)


class TestReader:
    def test_series(self, tmp_path: Path, reader: TextfileReader) -> None:
        """The labels are the fields of a report; other families are left alone."""
        write(
            tmp_path,
            "# HELP perwatt_work_total Work.\n# TYPE perwatt_work_total counter\nother_total 3\n"
            'perwatt_work_total{job="a",unit="images",gpus="0+GPU-b",model="org/m",role="mixed"} 1e3\n'
            'perwatt_work_total{job="b",unit="steps",rank="3",gpus="all"} 7\n',
        )
        (report,) = reader.scan(NOW).files

        a = WorkReport("a", "images", total=1000.0, gpus=(0, "GPU-b"), model="org/m", role="mixed")
        b = WorkReport("b", "steps", total=7.0, gpus="all", scope="rank", rank=3)
        assert ((a, b), NOW) == (report.reports, report.unix_seconds)

    def test_only_when_replaced(self, tmp_path: Path, reader: TextfileReader) -> None:
        """A file is reported once, and again when it was replaced; hidden and other files never."""
        for name in ("train.prom", ".hidden.prom", "notes.txt"):
            write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 1\n', name)
        told = [[report.file for report in reader.scan(NOW).files] for _ in range(2)]
        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 1\n')

        assert [["train.prom"], []] == told
        assert ["train.prom"] == [report.file for report in reader.scan(NOW).files]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('perwatt_work_total{job="a",unit="t"} NaN\n', "invalid"),
            ('perwatt_work_total{job="a",unit="t"} +Inf\n', "invalid"),
            ('perwatt_work_total{job="a",unit="t"} -1\n', "invalid"),
            ('perwatt_work_total{job="a"} 1\n', "invalid"),
            ('perwatt_work_total{unit="t"} 1\n', "invalid"),
            ('perwatt_work_total{job="a",unit="t",host="x"} 1\n', "invalid"),
            ('perwatt_work_total{job="a",unit="t",gpus="0,1"} 1\n', "invalid"),
            ('perwatt_work_total{job="a",unit="t",rank="one"} 1\n', "invalid"),
            ('perwatt_work_total{job="a",unit="t",role="boss"} 1\n', "invalid"),
            ('perwatt_work_total{job="a b",unit="t"} 1\n', "invalid"),
            ('other 1\nperwatt_work_total{job="a",unit="t" 1\n', "malformed"),
            ("<html>\n", "html"),
            ("{}\n", "json"),
            ("\0\n", "binary"),
            ("no metrics at all\n", "not_metrics"),
            ("a 1\n" * 6000, "too_many_lines"),
            ("a 1\n" * (MAX_FILE_BYTES // 4 + 1), "unreadable"),
        ],
    )
    def test_bad(self, tmp_path: Path, reader: TextfileReader, text: str, reason: str) -> None:
        """An invalid file is reported by reason and does not affect other files."""
        write(tmp_path, text, "bad.prom")
        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 1\n', "good.prom")
        scan = reader.scan(NOW)

        assert [("bad.prom", reason)] == [(problem.file, problem.reason) for problem in scan.problems]
        assert ["a"] == [post.job for report in scan.files for post in report.reports]

    def test_half_good(self, tmp_path: Path, reader: TextfileReader) -> None:
        """Of a file that is partly good the good part counts."""
        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 1\nperwatt_work_total{job="b",unit="t"} -1\n')
        scan = reader.scan(NOW)

        assert (["a"], ["invalid"]) == (
            [post.job for report in scan.files for post in report.reports],
            [problem.reason for problem in scan.problems],
        )

    def test_stale(self, tmp_path: Path, reader: TextfileReader) -> None:
        """A file not written for five minutes is reported as stale and left out, until it is written."""
        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 1\n', age_seconds=STALE_SECONDS + 1.0)
        scan = reader.scan(NOW)
        assert ((), ["stale"]) == (scan.files, [problem.reason for problem in scan.problems])

        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 2\n')
        assert (1, ()) == (len(reader.scan(NOW).files), reader.scan(NOW).problems)

    def test_duplicates(self, tmp_path: Path, reader: TextfileReader) -> None:
        """A series belongs to the first file that has it, until that file goes."""
        series = 'perwatt_work_total{job="a",unit="t"} 1\n'
        first = write(tmp_path, series, "a.prom")
        write(tmp_path, series, "b.prom")
        scan = reader.scan(NOW)
        assert [("a.prom", 1), ("b.prom", 0)] == [(one.file, len(one.reports)) for one in scan.files]
        assert [("b.prom", "duplicate")] == [(one.file, one.reason) for one in scan.problems]

        first.unlink()
        reader.scan(NOW)
        write(tmp_path, series, "b.prom")
        assert [("b.prom", 1)] == [(one.file, len(one.reports)) for one in reader.scan(NOW).files]

    def test_not_files(self, tmp_path: Path, reader: TextfileReader) -> None:
        """A pipe, a folder and a dangling link do not block the reader and are reported."""
        os.mkfifo(tmp_path / "pipe.prom")
        (tmp_path / "folder.prom").mkdir()
        (tmp_path / "link.prom").symlink_to(tmp_path / "nowhere")

        assert ["unreadable"] * 3 == [problem.reason for problem in reader.scan(NOW).problems]

    def test_no_folder(self, tmp_path: Path) -> None:
        """A folder that is not there is one problem."""
        scan = TextfileReader(tmp_path / "absent").scan(NOW)

        assert ((), ["folder"]) == (scan.files, [problem.reason for problem in scan.problems])

    def test_too_many(self, tmp_path: Path, reader: TextfileReader) -> None:
        """Too many files are reported too."""
        for number in range(MAX_FILES + 1):
            write(tmp_path, f'perwatt_work_total{{job="a{number}",unit="t"}} 1\n', f"{number:04}.prom")
        scan = reader.scan(NOW)

        assert (MAX_FILES, ["too_many_files"]) == (
            len(scan.files),
            [problem.reason for problem in scan.problems],
        )


class TestPoller:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(unix_seconds=NOW)

    async def test_into_the_book(self, tmp_path: Path, clock: ManualClock) -> None:
        """Totals come into the book as of the instant at which their file was written."""
        book = WorkRegistry(clock)
        poller = TextfilePoller(TextfileReader(tmp_path), book, clock)
        write(tmp_path, 'perwatt_work_total{job="a",unit="t",gpus="1"} 5\n', age_seconds=4.0)
        await poller.poll()
        (sample,) = WorkCollector(book, poller).drain((info(0), info(1)), ())

        assert (996.0, ("GPU-1",)) == (sample.monotonic_seconds, sample.gpus)
        assert sample.counts is not None
        assert {"t": 5.0} == sample.counts.work

    async def test_health(self, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """What is wrong is counted and logged when it begins; a stale file alone is no failure."""
        book = WorkRegistry(clock)
        poller = TextfilePoller(TextfileReader(tmp_path), book, clock)
        collector = WorkCollector(book, poller)
        write(tmp_path, 'perwatt_work_total{job="old",unit="t"} 1\n', "old.prom", age_seconds=1000.0)
        await poller.poll()
        assert (True, (("textfile_stale", 1),)) == (collector.health().success, collector.health().failures)

        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} -1\n', "bad.prom")
        book.count_rejection("invalid")
        for _ in range(3):
            await poller.poll()
        health = collector.health()
        assert (("invalid", 1), ("textfile_invalid", 1), ("textfile_stale", 1)) == health.failures
        assert (False, NOW) == (health.success, health.last_success_unix_seconds)
        assert 2 == len(caplog.records)

    async def test_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        """What the book refuses is a problem of its file."""
        book = WorkRegistry(clock)
        book.add(WorkReport("a", "t", total=1.0), Reporting("POST"))
        poller = TextfilePoller(TextfileReader(tmp_path), book, clock)
        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 1\n')
        await poller.poll()

        assert (("textfile_conflict", 1),) == WorkCollector(book, poller).health().failures

    async def test_runs_again_and_again(self, tmp_path: Path, clock: ManualClock) -> None:
        """The folder is looked at every 15 seconds, until cancelled; without one there is nothing to run."""
        book = WorkRegistry(clock)
        write(tmp_path, 'perwatt_work_total{job="a",unit="t"} 5\n')
        running = asyncio.ensure_future(
            WorkCollector(book, TextfilePoller(TextfileReader(tmp_path), book, clock)).run()
        )
        while clock.monotonic() < 1_060.0:  # noqa: ASYNC110 - the clock moves with what is awaited
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])

        assert clock.monotonic() % 15.0 == 1_000.0 % 15.0
        assert 1 == len(book.drain(()))
        await WorkCollector(book).run()
        assert WorkCollector(book).health().success
