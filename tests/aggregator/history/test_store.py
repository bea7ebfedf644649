"""The store: one file, all resolutions, and what happens to it when the disk or the file is bad."""

import logging
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.history.recorded import tick_of

from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.history.reader import HistoryQuery, HistoryReader
from perwatt_aggregator.history.schema import VERSION, HistoryRefused
from perwatt_aggregator.history.store import HistoryStore
from perwatt_aggregator.history.values import PLACE

HOUR = 3600
BEGIN = 1_800_000_000


def store_at(path: Path, max_pages: int | None = None, **config: object) -> HistoryStore:
    return HistoryStore(HistoryConfig(path=path, **config), path, max_pages)  # type: ignore[arg-type]


def joules(path: Path, start: int, end: int, step: int) -> list[float]:
    reader = HistoryReader(path)
    found = reader.sums(HistoryQuery(start, end, step, ("node",)))
    reader.close()
    steps = found.groups[0].steps if found.groups else {}
    return [steps[one].values[PLACE["node"]] if one in steps else 0.0 for one in range(start, end, step)]


def rows(path: Path) -> dict[int, int]:
    with sqlite3.connect(path) as connection:
        found = dict(
            connection.execute("SELECT seconds, count(*) FROM ticks WHERE kind = 0 GROUP BY seconds")
        )
    connection.close()
    return found


def test_any_step_is_the_sum_of_its_ticks(tmp_path: Path) -> None:
    """A step of 15 s, of minutes or of an hour has exactly the joules of its ticks."""
    store = store_at(tmp_path / "history.db")
    for index in range(4 * 60 * 2):
        store.add(tick_of(BEGIN + 15 * index, joules=float(index)))

    assert {15: 480, 60: 120, 900: 8} == rows(store.path)
    assert [float(one) for one in range(480)] == joules(store.path, BEGIN, BEGIN + 2 * HOUR, 15)
    for step in (60, 300, 900, HOUR):
        ticks = step // 15
        expected = [float(sum(range(one, one + ticks))) for one in range(0, 480, ticks)]
        assert expected == joules(store.path, BEGIN, BEGIN + 2 * HOUR, step)
    store.close()


def test_the_newest_ticks_are_in_a_long_step(tmp_path: Path) -> None:
    """A step that ends between two minutes has the ticks after the last whole one."""
    store = store_at(tmp_path / "history.db")
    for index in range(4 * 20 + 3):
        store.add(tick_of(BEGIN + 15 * index))
    store.close()

    assert [15.0 * 83] == joules(store.path, BEGIN, BEGIN + HOUR, HOUR)


def test_years_without_ticks_cost_nothing(tmp_path: Path) -> None:
    """What a question costs follows the ticks that there are, not the time that it spans."""
    store = store_at(tmp_path / "history.db")
    store.add(tick_of(BEGIN))
    store.close()
    begun = time.process_time()

    found = joules(store.path, BEGIN - 86400 * 700, BEGIN + 86400 * 30, 86400)

    assert 15.0 == sum(found)
    assert time.process_time() - begun < 0.5


def test_it_goes_on_in_the_file_of_before(tmp_path: Path) -> None:
    """What was kept is there after a restart, and a minute that was cut has both its parts."""
    first = store_at(tmp_path / "history.db")
    first.add(tick_of(BEGIN))
    first.close()
    second = store_at(tmp_path / "history.db")
    for index in range(1, 5):
        second.add(tick_of(BEGIN + 15 * index))
    second.close()

    assert [60.0] == joules(second.path, BEGIN, BEGIN + 60, 60)
    assert 1 == rows(second.path)[60]


def test_old_ticks_are_deleted(tmp_path: Path) -> None:
    """Each resolution is kept for its time, and answers come from what is left."""
    retention = {"raw": float(HOUR), "1m": 2.0 * HOUR, "15m": 10.0 * HOUR}
    store = store_at(tmp_path / "history.db", retention=retention)
    for index in range(240 * 4):
        store.add(tick_of(BEGIN + 15 * index))
    store.close()

    kept = rows(store.path)

    assert kept[15] <= 241
    assert kept[60] <= 121
    assert 16 == kept[900]
    assert [15.0 * 240] * 4 == joules(store.path, BEGIN, BEGIN + 4 * HOUR, HOUR)


def test_the_oldest_is_deleted_when_the_file_is_full(tmp_path: Path) -> None:
    """The file stays near `max_bytes`, and the newest ticks are always kept."""
    store = store_at(tmp_path / "history.db", max_bytes=200_000)
    for index in range(1_500):
        store.add(tick_of(BEGIN + 15 * index))
    store.close()

    assert store.path.stat().st_size < 400_000
    assert [15.0] == joules(store.path, BEGIN + 15 * 1_499, BEGIN + 15 * 1_500, 15)


def test_a_full_disk_loses_a_tick_and_nothing_else(tmp_path: Path) -> None:
    """A tick that does not fit changes nothing; what was kept is read, and the next tick is tried again."""
    path = tmp_path / "history.db"
    store = store_at(path, max_pages=40)
    kept = 0
    with suppress(sqlite3.OperationalError):
        for kept in range(1_000):
            store.add(tick_of(BEGIN + 15 * kept))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.add(tick_of(BEGIN + 15 * kept))
    store.close()
    roomy = store_at(path)
    roomy.add(tick_of(BEGIN + 15 * (kept + 1)))
    roomy.close()

    found = joules(path, BEGIN, BEGIN + 15 * (kept + 2), 15)

    assert kept > 10
    assert [*[15.0] * kept, 0.0, 15.0] == found


def test_the_file_of_a_newer_perwatt_is_refused(tmp_path: Path) -> None:
    """Its data are not touched, and the message names the setting."""
    path = tmp_path / "history.db"
    store_at(path).open()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(HistoryRefused, match=r"history\.path.*newer"):
        store_at(path).open()

    assert before == path.read_bytes()


@pytest.mark.parametrize("is_database", [True, False])
def test_a_file_that_is_no_history_is_renamed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_database: bool
) -> None:
    """Nothing is ever deleted: the file has another name, the log says so, and a history begins."""
    path = tmp_path / "history.db"
    path.write_bytes(b"no database at all, and long enough to be read as a header" * 10)
    if is_database:
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (one)")
        connection.close()
    before = path.read_bytes()
    store = store_at(path)
    with caplog.at_level(logging.WARNING):
        store.add(tick_of(BEGIN))
    store.close()

    (aside,) = tmp_path.glob("history.db.unreadable-*")

    assert before == aside.read_bytes()
    assert "history.path" in caplog.text
    assert [15.0] == joules(path, BEGIN, BEGIN + 15, 15)


def test_events_are_kept(tmp_path: Path) -> None:
    """Events come back in their order."""
    store = store_at(tmp_path / "history.db")
    store.add(tick_of(BEGIN), [b"one"])
    store.add(tick_of(BEGIN + 15), [b"two"])
    store.close()

    assert [b"one", b"two"] == store_at(store.path).events()
