"""A wall meter that writes a file: a row of Unix seconds and watts, twice a second."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path


class GrowingCsv:
    """Writes *watts*, give or take a tenth, into *path* until it is pulled away."""

    def __init__(self, path: Path, watts: float) -> None:
        self.path = path
        self._watts = watts
        self._pulled = threading.Event()
        path.write_text("t_unix_s,watts\n")
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Take the meter away, and its file with it."""
        self._pulled.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        with self.path.open("a") as file:
            for row in count():
                file.write(f"{time.time():.3f},{self._watts + (0.1 if row % 2 else -0.1):.1f}\n")
                file.flush()
                if self._pulled.wait(0.5):
                    return


@contextmanager
def growing_csv(path: Path, watts: float) -> Iterator[GrowingCsv]:
    """A meter that ends with the block."""
    meter = GrowingCsv(path, watts)
    try:
        yield meter
    finally:
        meter.pull()
