"""Repeated log messages: of each kind the first few by name, then one count a minute."""

import asyncio
import io
import logging
from collections import Counter
from collections.abc import Iterator

import pytest
from support.agent.process import free_port

from perwatt.logs import LogConfig, set_up_logging
from perwatt.repeated_messages import MAX_NAMED, LimitedHandler
from perwatt_agent.clock import SystemClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.targets.config import agents_at

START_UNIX = 1_800_000_000.0
AGENTS = 100


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The daemons' log, at the root logger, which is left as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # `force` would close those of pytest
    stream = io.StringIO()
    set_up_logging(LogConfig(), stream)
    yield stream
    root.handlers, root.level = handlers, level


class Log:
    """A limited handler that is fed with messages at given times."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = LimitedHandler(self.stream)

    def write(self, seconds: float, text: str, *values: object, kind: str = "") -> None:
        record = logging.makeLogRecord(
            {"name": "x", "levelno": logging.WARNING, "msg": text, "args": values, "kind": kind}
        )
        record.created = START_UNIX + seconds
        self.handler.handle(record)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_hundred_agents_that_flap() -> None:
    """Each minute has one line for each kind of message, and the first minute has the first few by name."""
    log = Log()
    per_minute = []
    for minute in range(3):
        before = len(log.lines)
        for second in range(60):
            for agent in range(AGENTS):
                reason = "unreachable" if (second + agent) % 2 else "resumed"
                log.write(60.0 * minute + second, "%s: agent %d", reason, agent, kind=reason)
        per_minute.append(len(log.lines) - before)
    log.handler.close()

    assert [2 * MAX_NAMED, 2, 2] == per_minute
    assert "2995 more messages like this in 60 s; the newest: resumed: agent 99" == log.lines[2 * MAX_NAMED]
    counted = sum(int(line.split()[0]) for line in log.lines if "more messages" in line)
    assert 3 * 60 * AGENTS == counted + 2 * MAX_NAMED


def test_kinds_do_not_hide_each_other() -> None:
    """A rare fault is named beside a thousand of another kind, whatever its values are."""
    log = Log()
    for agent in range(1000):
        log.write(0.1, "no reading of %d (%s)", agent, "unreachable", kind="unreachable")
    log.write(0.2, "no reading of %d (%s)", 7, "too_large", kind="too_large")
    log.write(0.2, "GPU %d is lost", 3)

    assert ["no reading of 7 (too_large)", "GPU 3 is lost"] == log.lines[MAX_NAMED:]


def test_named_again_after_a_quiet_minute() -> None:
    """A fault that was gone for a minute is new when it comes back."""
    log = Log()
    for second in range(10):
        log.write(second, "flap %d", second)
    log.write(70.0, "other")
    log.write(200.0, "flap %d", 200)
    log.write(300.0, "flap %d", 300)

    assert [
        *(f"flap {number}" for number in range(5)),
        "5 more messages like this in 70 s; the newest: flap 9",
        "other",
        "flap 200",
        "flap 300",
    ] == log.lines


def test_a_clock_that_is_set_back() -> None:
    """It ends the period, so that nothing is hidden until the old time is reached again."""
    log = Log()
    for _ in range(MAX_NAMED + 1):
        log.write(3600.0, "flap")
    log.write(0.0, "flap")
    log.write(61.0, "flap")

    assert ["1 more messages like this in 0 s; the newest: flap", "flap"] == log.lines[MAX_NAMED:][::2]


def test_counts_are_written_at_the_end() -> None:
    """Closing the log writes the counts of the last minute."""
    log = Log()
    for _ in range(MAX_NAMED + 2):
        log.write(0.0, "flap")
    log.handler.close()

    assert MAX_NAMED + 1 == len(log.lines)
    assert log.lines[-1].startswith("2 more messages like this in ")


@pytest.mark.slow
async def test_real_agents_that_flap(stream: io.StringIO) -> None:
    """A hundred agents that flap each scrape write a few lines, each with the setting to check."""
    seen: Counter[bytes] = Counter()
    all_flapped = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split()[1]
        seen[path] += 1
        if len(seen) == AGENTS and min(seen.values()) >= 3:
            all_flapped.set()
        status = b"500 Broken" if seen[path] % 2 else b"302 Elsewhere"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    urls = tuple(f"http://127.0.0.1:{port}/{agent}/metrics" for agent in range(AGENTS))
    aggregator = Aggregator(AggregatorConfig(agents_at(*urls), 1.0), SystemClock())
    await aggregator.start()
    try:
        await all_flapped.wait()
    finally:
        await aggregator.stop()
        server.close()

    for handler in logging.getLogger().handlers:
        handler.close()
    for handler in logging.getLogger().handlers:
        handler.close()
    lines = stream.getvalue().splitlines()
    assert 2 * MAX_NAMED + 2 == len(lines), lines
    assert all("check this target under `sources`" in line for line in lines)
