"""The test helper itself: a real Prometheus answers, and a target that is down is told."""

from pathlib import Path

import pytest
from support.servers import prometheus

pytestmark = pytest.mark.slow


def test_a_real_prometheus_answers(tmp_path: Path) -> None:
    """Instant and range queries answer typed samples; nothing found is an empty list, not an error."""
    with prometheus.run(tmp_path, ["127.0.0.1:1"]) as server:
        up = server.wait_for("up")
        [(_, points)] = server.query_range("vector(2)", 60.0, 120.0, 30.0)

        assert [({"__name__": "up", "instance": "127.0.0.1:1", "job": "perwatt"}, 0.0)] == up
        assert [({}, 3.0)] == server.query("scalar(vector(3))")
        assert [] == server.query("no_such_series")
        assert [(60.0, 2.0), (90.0, 2.0), (120.0, 2.0)] == points
        assert "down" == server.targets()[0][1]
