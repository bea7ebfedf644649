"""A wrong configuration of a meter is refused with what was expected."""

from pathlib import Path
from typing import Any

import pytest

from perwatt_agent.clock import ManualClock
from perwatt_agent.config import load_agent_config
from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.meters.build import build_meter, interval_seconds
from perwatt_agent.meters.catalog import configured_kinds
from perwatt_agent.meters.config import MeterConfig, MetersConfig, ModelConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.reading.credentials import basic, bearer


def errors(folder: Path, meters: str) -> list[str]:
    """What is refused of `meters.list`, each line from its key on."""
    path = folder / "agent.yaml"
    path.write_text(f"meters:\n  list:\n{meters}\n")
    with pytest.raises(ConfigError) as caught:
        load_agent_config(path, {}, {})
    return [line.partition("meters.list")[2] for line in caught.value.lines]


def test_every_key(tmp_path: Path) -> None:
    """What a file says of meters arrives, intervals in seconds."""
    secret = tmp_path / "bmc"
    secret.write_text("reader:hunter2\n")
    secret.chmod(0o600)
    path = tmp_path / "agent.yaml"
    path.write_text(f"""
meters:
  discover: false
  model: {{rest_watts: 150}}
  list:
    - {{kind: redfish, url: "https://bmc", path: /redfish/v1/Chassis/1, credentials_file: {secret}}}
    - kind: prometheus
      name: rack
      source: pdu
      url: http://prometheus:9090
      query: sum(pdu_watts{{outlet=~"7|8", rack="a"}})
      unit: kilowatts
      factor: 0.01
      interval: 1m
    - {{kind: json, url: "http://plug/rpc", path: "switch:0.apower", unit: watts, scope: sensor}}
    - {{kind: csv, file: power.csv, path: kW, time_column: when, unit: kilowatts}}
    - {{kind: ipmi}}
""")
    redfish = MeterConfig(
        kind="redfish", url="https://bmc", path="/redfish/v1/Chassis/1", credentials_file=secret
    )
    prometheus = MeterConfig(
        kind="prometheus",
        name="rack",
        source="pdu",
        url="http://prometheus:9090",
        query='sum(pdu_watts{outlet=~"7|8", rack="a"})',
        unit="kilowatts",
        factor=0.01,
        interval=60.0,
    )
    json = MeterConfig(
        kind="json", url="http://plug/rpc", path="switch:0.apower", unit="watts", scope="sensor"
    )
    csv = MeterConfig(kind="csv", file=Path("power.csv"), path="kW", time_column="when", unit="kilowatts")
    meters = load_agent_config(path, {}, {}).meters

    expected = (redfish, prometheus, json, csv, MeterConfig(kind="ipmi"))
    assert MetersConfig(discover=False, model=ModelConfig(150.0, 0.97), list=expected) == meters
    assert ["redfish", "rack", "json", "csv", "ipmi"] == [meter.label for meter in meters.list]


def test_flag() -> None:
    """A meter can be named on the command line."""
    config = load_agent_config(None, {}, {"meters.list": ["kind=csv,file=/tmp/a.csv,interval=10s"]})

    assert (MeterConfig(kind="csv", file=Path("/tmp/a.csv"), interval=10.0),) == config.meters.list


VALUES: dict[str, Any] = {"url": "https://h", "query": "q", "file": Path("f"), "path": "p"}


@pytest.mark.parametrize("kind", configured_kinds().values(), ids=configured_kinds())
async def test_every_kind_can_be_built(clock: ManualClock, kind: MeterKind) -> None:
    """A meter of each kind can be built from the keys that it needs, with its name and interval."""
    config = MeterConfig(kind=kind.name, name="n", **{key: VALUES[key] for key in kind.needs})
    meter = build_meter(config, clock)

    assert ("n", kind.interval_seconds) == (meter.name, meter.interval_seconds)
    assert interval_seconds(config) == meter.interval_seconds


NEEDS = "expected, but it is missing: kind"


@pytest.mark.parametrize(
    ("meter", "lines"),
    [
        pytest.param(
            "{kind: ipmi, url: http://a}", [".url: expected nothing: kind ipmi does not use it"], id="url"
        ),
        pytest.param(
            "{kind: ipmi, unit: watts}",
            [".unit: expected nothing: a meter of kind ipmi reports its unit"],
            id="ipmi-unit",
        ),
        pytest.param("{kind: redfish}", [f".url: {NEEDS} redfish requires it"], id="no-url"),
        pytest.param(
            "{kind: redfish, url: http://bmc}",
            [".url: expected an https:// URL, because kind redfish requires verified TLS"],
            id="plain",
        ),
        pytest.param(
            "{kind: redfish, url: https://bmc, path: '/api#x'}",
            [
                ".path: expected a path such as /redfish/v1/Chassis/1, or .../Power#/PowerControl/0, "
                "not '/api#x'"
            ],
            id="redfish-path",
        ),
        pytest.param(
            "{kind: prometheus, url: http://a, query: q}",
            [".unit: expected watts, kilowatts, joules, watt_hours or kilowatt_hours"],
            id="no-unit",
        ),
        pytest.param(
            "{kind: json, url: http://a, unit: watts}",
            [f".path: {NEEDS} json requires it"],
            id="no-path",
        ),
        pytest.param(
            "{kind: json, url: http://a, path: a..b, unit: watts}",
            [".path: expected a path such as `data.outlets[2].power`, not 'a..b'"],
            id="json-path",
        ),
        pytest.param("{kind: csv}", [f".file: {NEEDS} csv requires it"], id="no-file"),
        pytest.param("{kind: csv, file: a, interval: 5}", [
            ".interval: expected a duration from 1s to 1h with its unit, such as 250ms, 1s, 5m or 1h, not '5'"
        ], id="interval"),
        pytest.param(
            "{kind: csv, file: a, ca_file: agent.yaml}",
            [".ca_file: expected a file that can be read (No such file or directory), not 'agent.yaml'"],
            id="no-ca-file",
        ),
        pytest.param(
            "{kind: modbus}",
            [f".kind: expected one of {', '.join(configured_kinds())}, not 'modbus'"],
            id="kind",
        ),
    ],
)  # fmt: skip
def test_errors(tmp_path: Path, meter: str, lines: list[str]) -> None:
    """Each error is told once, at its key."""
    assert [f"[0]{line}" for line in lines] == errors(tmp_path, f"    - {meter}")


def test_names_are_their_own(tmp_path: Path) -> None:
    """Two meters of one kind need names, for their health would be one."""
    two = "    - {kind: csv, file: a}\n    - {kind: csv, file: b}"

    assert ["[1].name: expected an unused name; 'csv' is taken"] == errors(tmp_path, two)


class TestSecrets:
    def write(self, folder: Path, text: str, mode: int = 0o600) -> Path:
        path = folder / "secret"
        path.write_text(text)
        path.chmod(mode)
        return path

    @pytest.mark.parametrize(
        "text",
        ["root:calvin", "root:calvin\n",
         "username: root\npassword: calvin\n", "# us\nusername: root\npassword: calvin"],
    )  # fmt: skip
    def test_user(self, tmp_path: Path, text: str) -> None:
        """A user is one line, or two keys of YAML."""
        assert "Basic cm9vdDpjYWx2aW4=" == basic(self.write(tmp_path, text, 0o640))

    @pytest.mark.parametrize(
        "text",
        ["", "root", "root:", ":hunter2", "a:b\nc:d", "username: root", "username: root\npassword: 0123",
         "username: root\npassword: [hunter2", "username: a:b\npassword: hunter2", "\xff:hunter2"],
    )  # fmt: skip
    def test_is_no_user(self, tmp_path: Path, text: str) -> None:
        """What names no user is refused, without a word of what it says."""
        path = tmp_path / "secret"
        path.write_bytes(text.encode("latin-1"))
        path.chmod(0o600)
        with pytest.raises(ValueError) as caught:
            basic(path)

        assert "hunter2" not in str(caught.value)
        assert "0123" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "two\nlines", "n\xf6"])
    def test_is_no_token(self, tmp_path: Path, text: str) -> None:
        """A token is one line of what may stand in a header."""
        with pytest.raises(ValueError, match="a token on one line"):
            bearer(self.write(tmp_path, text))

    def test_everybody_may_read(self, tmp_path: Path) -> None:
        """A secret that is none is refused when the configuration is read."""
        path = self.write(tmp_path, "root:calvin", 0o644)
        meter = f"    - {{kind: redfish, url: https://bmc, credentials_file: {path}}}"

        assert [
            f"[0].credentials_file: expected a file that is not readable by everybody (chmod o= {path}), "
            f"not '{path}'"
        ] == errors(tmp_path, meter)
