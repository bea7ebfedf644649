"""The wall of a real 8 x H200 node at 1 Hz: MLPerf Inference v4.1, GPT-J Offline, with idle around it."""

import csv
from itertools import pairwise
from pathlib import Path

TRACE = Path(__file__).parents[2] / "data" / "traces" / "trace_mlperf_v41_h200x8_gptj_offline.csv"


class Trace:
    """`rows` of Unix seconds and watts; the published run is from `begin` to `end`, both among them."""

    def __init__(self) -> None:
        with TRACE.open() as file:
            rows = list(csv.DictReader(file))
        self.rows = [(float(row["t_unix_s"]), float(row["watts"])) for row in rows]
        run = [float(row["t_unix_s"]) for row in rows if row["in_window"] == "1"]
        self.begin, self.end = run[0], run[-1]

    def joules(self, start: float, end: float) -> float:
        """What the wall took between two rows."""
        inside = [(t, watts) for t, watts in self.rows if start - 1e-3 <= t <= end + 1e-3]
        return sum((one[1] + other[1]) / 2 * (other[0] - one[0]) for one, other in pairwise(inside))
