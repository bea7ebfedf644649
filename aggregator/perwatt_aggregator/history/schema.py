"""Schema of the history's database, and how a file is opened: its version is in `PRAGMA user_version`."""

import logging
import sqlite3
import time
from pathlib import Path

logger = logging.getLogger(__name__)

VERSION = 1
_BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE owners (id INTEGER PRIMARY KEY, labels TEXT NOT NULL UNIQUE);
CREATE TABLE flags (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);
CREATE TABLE ticks (
    seconds INTEGER NOT NULL, kind INTEGER NOT NULL, start INTEGER NOT NULL,
    recorded INTEGER NOT NULL, block BLOB NOT NULL, PRIMARY KEY (seconds, kind, start)
);
CREATE TABLE events (number INTEGER PRIMARY KEY, item BLOB NOT NULL);
"""
OWNERS, ROLL_UP = 0, 1
"""Kinds of a tick: every owner, or sums by ROLL_UP_DIMENSIONS."""


class HistoryRefused(ValueError):
    """The file belongs to a newer perwatt, whose data must not be lost."""


def open_for_writing(path: Path, max_pages: int | None = None) -> sqlite3.Connection:
    """
    Open or make the database. A file that is no history is renamed, never deleted.

    *max_pages* limits its size. Raises HistoryRefused, OSError and sqlite3.Error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _opened(path, max_pages)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        aside = path.with_name(f"{path.name}.unreadable-{time.time_ns()}")
        path.rename(aside)
        logger.warning(
            "history.path: %s is no history (%s); it was renamed to %s, and a new one begins",
            path,
            error,
            aside.name,
        )
        return _opened(path, max_pages)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the database for reading alone. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)


def _opened(path: Path, max_pages: int | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise HistoryRefused(
                f"history.path: {path} was written by a newer perwatt (version {version}, this one knows "
                f"{VERSION}); update perwatt, or set another path"
            )
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables:
            raise sqlite3.DatabaseError("another program's database")
        if version == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {max_pages:d}")
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection
