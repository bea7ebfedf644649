"""A process that adds ticks to a history until it is killed, and prints each when it is kept."""

import sys
from pathlib import Path

from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.history.store import HistoryStore
from support.history.recorded import tick_of

START = 1_800_000_000
OWNERS = 400


def main() -> None:
    path = Path(sys.argv[1])
    store = HistoryStore(HistoryConfig(path=path), path)
    start = int(sys.argv[2])
    while True:
        tick = tick_of(start)
        (kept,) = tick.owners.values()
        owners = {f'{{"model":"m{number % 3}","node":"n{number}"}}': kept for number in range(OWNERS)}
        tick.owners.clear()
        tick.owners.update(owners)
        store.add(tick)
        print(start, flush=True)
        start += 15


if __name__ == "__main__":
    main()
