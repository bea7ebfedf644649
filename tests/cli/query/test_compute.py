"""`perwatt query compute`: the chain as a table."""

import pytest
from msgspec import json as msgspec_json
from support.fleet.busy import Busy, BusyGpu, node
from support.servers.canned import Canned, canned_server

from perwatt.main import main


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each group, the steps as shares of the peak, and what every reason in it means."""
    busy = Busy([node(BusyGpu("G-0"), BusyGpu("G-1", monitors=False), held=1)])
    busy.run(60.0)
    answer = busy.fleet.aggregator.compute(60.0, ("workload",))
    with canned_server({"/v1/compute": Canned(msgspec_json.encode(answer))}) as server:
        assert 0 == main(["query", "compute", "--by", "workload", "--window", "60s", "--url", server.url])
    header, chat, nobodys, *explained = capsys.readouterr().out.splitlines()

    assert ["/v1/compute?window=1m&by=workload"] == server.asked
    assert header.split()[:5] == ["workload", "GPUs", "alive", "peak", "TFLOP/s"]
    assert ["chat", "1", "1", "990", "bf16", "100", "50", "25", "4.41", "15.9", "10"] == chat.split()[:11]
    assert ["-", "1", "1", "990", "bf16", "100", "-", "-", "0"] == nobodys.split()[:9]
    assert ["no_performance_monitor"] == [line.partition(":")[0] for line in explained]
