"""Answers from recordings, held against a published measurement of a real node at the wall."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from perwatt.main import main
from perwatt.query.offline import efficiency_of_recording

TRACES = Path(__file__).parents[2] / "data" / "traces"
TRACE = TRACES / "trace_mlperf_v41_h200x8_gptj_offline.csv"
TOKENS_PER_SECOND = 13096.61


@pytest.fixture(scope="module")
def published() -> dict[str, float]:
    """MLPerf Inference v4.1, 8 x H200, GPT-J Offline: the submitter's own figures."""
    with (TRACES / "mlperf_v41_h200x8_gptj_offline_published.csv").open() as file:
        row = next(csv.DictReader(file))
    names = ("power_begin_unix", "power_end_unix", "published_system_power_watts", "joules_per_token_wall")
    return {name: float(row[name]) for name in names}


def run_window(published: dict[str, float], **more: float) -> dict[str, dict[str, Any]]:
    items = efficiency_of_recording(
        TRACE, start_unix=published["power_begin_unix"], end_unix=published["power_end_unix"], **more
    )
    return {item["boundary"]: item for item in items}


@pytest.mark.slow
class TestPublishedRun:
    def test_the_trace_is_the_published_one(self, published: dict[str, float]) -> None:
        """The mean of the trace's samples within the run is the published power, within 0.01 %."""
        with TRACE.open() as file:
            samples = [
                float(row["watts"])
                for row in csv.DictReader(file)
                if published["power_begin_unix"] < float(row["t_unix_s"]) < published["power_end_unix"]
            ]
        mean = sum(samples) / len(samples)
        assert published["published_system_power_watts"] == pytest.approx(mean, rel=1e-4)

    def test_our_own_road_to_it(self, published: dict[str, float]) -> None:
        """Integrated, windowed and divided by perwatt, it is the same within 0.05 %."""
        node = run_window(published)["node"]
        assert published["published_system_power_watts"] == pytest.approx(node["power_watts"], rel=5e-4)
        assert 1.0 == node["coverage_ratio"]
        assert ("integrated", "replay") == node["provenance"]

    @pytest.mark.parametrize("pue", [1.15, 1.5, 1.88])
    def test_tokens_per_joule(self, published: dict[str, float], pue: float) -> None:
        """With the published tokens/s: J/token, tokens/J and Wh/Mtoken at the node and the facility."""
        items = run_window(published, pue=pue, tokens_per_second=TOKENS_PER_SECOND)
        joules_per_token = published["joules_per_token_wall"]
        for boundary, expected in (("node", joules_per_token), ("facility", joules_per_token * pue)):
            item = items[boundary]
            assert item["valid"], item["reasons"]
            assert expected == pytest.approx(item["joules_per_token"], rel=5e-4)
            assert 1 / expected == pytest.approx(item["tokens_per_joule"], rel=5e-4)
            assert expected * 1e6 / 3600 == pytest.approx(item["watt_hours_per_million_tokens"], rel=5e-4)
        assert pue == items["facility"]["pue"]["ratio"]

    def test_the_whole_file_is_another_window(self, published: dict[str, float]) -> None:
        """With its idle head and tail the file is 4 % low; the window in the answer shows the difference."""
        run = run_window(published)["node"]
        whole = {item["boundary"]: item for item in efficiency_of_recording(TRACE)}["node"]
        assert -0.041 == pytest.approx(whole["power_watts"] / run["power_watts"] - 1, abs=2e-3)
        assert whole["window"]["seconds"] > run["window"]["seconds"] + 90
        assert whole["window"]["start"] < run["window"]["start"]

    @pytest.mark.parametrize(("shift_seconds", "error"), [(30.0, -0.0107), (-30.0, -0.0126)])
    def test_half_a_minute_aside(
        self, published: dict[str, float], shift_seconds: float, error: float
    ) -> None:
        """A window beside the run has idle in it: more than 1 % low, and its instants are in the answer."""
        run = run_window(published)["node"]
        begin, end = (published[name] + shift_seconds for name in ("power_begin_unix", "power_end_unix"))
        items = efficiency_of_recording(TRACE, start_unix=begin, end_unix=end)
        (aside,) = (item for item in items if item["boundary"] == "node")

        assert error == pytest.approx(aside["power_watts"] / run["power_watts"] - 1, abs=5e-4)
        assert (shift_seconds > 0.0) == (aside["window"]["start"] > run["window"]["start"])

    @pytest.mark.parametrize("every", [15, 60])
    def test_thinned(self, published: dict[str, float], tmp_path: Path, every: int) -> None:
        """Read every 15 or 60 seconds the run is right within 0.3 %, and snaps to what was read."""
        head, *rows = TRACE.read_text().splitlines()
        thin = tmp_path / "thin.csv"
        thin.write_text("\n".join([head, *rows[::every]]) + "\n")
        begin, end = published["power_begin_unix"], published["power_end_unix"]
        items = efficiency_of_recording(thin, start_unix=begin, end_unix=end)
        (item,) = (item for item in items if item["boundary"] == "node")

        assert published["published_system_power_watts"] == pytest.approx(item["power_watts"], rel=3e-3)
        assert 0.0 <= end - begin - item["window"]["seconds"] < 2 * every
        assert 1.0 == item["coverage_ratio"]

    def test_boards_are_not_the_node(self, published: dict[str, float]) -> None:
        """A wall meter gives no board figure, and without a PUE no facility figure."""
        items = run_window(published)
        assert (None, None) == (items["gpu_board"]["energy_joules"], items["facility"]["energy_joules"])
        assert "no_energy" in items["gpu_board"]["reasons"]
        assert "no_pue" in items["facility"]["reasons"]


class TestCommand:
    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`perwatt query efficiency --recording` answers in the API's own shape."""
        code = main(["query", "efficiency", "--recording", str(TRACE), "--pue", "1.5", "--json"])
        answer = json.loads(capsys.readouterr().out)
        assert 0 == code
        assert ["gpu_board", "node", "facility"] == [item["boundary"] for item in answer["items"]]

    @pytest.mark.parametrize("content", ["", "a,b\n1,2\n", '{"line":"header"}\n', "\x00\x01"])
    def test_foreign_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
        """A file that is no recording is refused with one line and exit code 1."""
        path = tmp_path / "foreign.jsonl"
        path.write_text(content)
        assert 1 == main(["query", "efficiency", "--recording", str(path)])
        captured = capsys.readouterr()
        assert ("", 1) == (captured.out, len(captured.err.splitlines()))
