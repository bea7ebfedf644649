"""Window cache: a window costs as often as it is requested, and is ready when its requests are regular."""

import pytest

from perwatt_aggregator.fleet.window_cache import WindowCache


class Computed:
    """Counts what is computed."""

    def __init__(self) -> None:
        self.count = 0
        self.row = 0
        self.cache = WindowCache(self._compute)

    def _compute(self, _: float) -> int:
        self.count += 1
        return self.row

    def read(self, rows: int = 1) -> None:
        """New readings."""
        for _ in range(rows):
            self.row += 1
            self.cache.refresh(self.row)

    def request(self, seconds: float = 60.0) -> bool:
        """Request a window; whether it was ready."""
        before = self.count
        assert self.row == self.cache.get(seconds, self.row)
        return before == self.count


def test_one_request() -> None:
    """A window that was requested once is not computed again."""
    computed = Computed()
    assert not computed.request()
    assert computed.request()
    computed.read(30)

    assert 1 == computed.count
    assert not computed.request()


@pytest.mark.parametrize("every", [1, 2, 3, 6, 12])
def test_regular_requests(every: int) -> None:
    """From the third on they find their window ready, and each costs two computations at most."""
    computed = Computed()
    ready = []
    for _ in range(10):
        ready.append(computed.request())
        computed.read(every)

    assert [False, False, *[True] * 8] == ready
    assert computed.count <= 2 * 10


def test_two_clients() -> None:
    """Two clients with one period and two phases find their windows ready, too."""
    computed = Computed()
    ready = []
    for _ in range(8):
        ready.append(computed.request())
        computed.read(2)
        ready.append(computed.request())
        computed.read(8)

    assert all(ready[4:])


def test_no_more_requests() -> None:
    """A window that nobody requests any more costs nothing."""
    computed = Computed()
    for _ in range(5):
        computed.request()
        computed.read()
    computed.read(12)
    before = computed.count
    computed.read(100)

    assert before == computed.count


def test_many_windows() -> None:
    """A client that requests a new window each time is answered, and leaves eight at most."""
    computed = Computed()
    for _ in range(3):
        for seconds in range(10, 100):
            computed.request(float(seconds))
        computed.read()

    assert 3 * 90 >= computed.count
    before = computed.count
    computed.read()
    assert computed.count - before <= 8


def test_history_that_starts_again() -> None:
    """Rows that begin again at 0 are new ones."""
    computed = Computed()
    for _ in range(5):
        computed.request()
        computed.read()
    computed.row = -1
    computed.read()

    assert not computed.request()
