"""The aggregator's configuration, by the same rules as the agent's."""

from pathlib import Path

import pytest

from perwatt_agent.configfile.layers import ConfigError
from perwatt_aggregator.config import (
    AggregatorConfig,
    AggregatorWebConfig,
    load_aggregator_config,
)
from perwatt_aggregator.facility.config import (
    CapitalConfig,
    CarbonConfig,
    FacilityConfig,
    ItConfig,
    NodeOverheadConfig,
    PriceConfig,
    PueConfig,
    TimeOfUseConfig,
)
from perwatt_aggregator.facility.kinds import HoursOfDay
from perwatt_aggregator.readings.objectives import Objectives, SloConfig
from perwatt_aggregator.targets.config import agents_at

EXAMPLE = """\
sources:
  agents: ["http://127.0.0.1:9836/metrics"]   # later file_sd, http_sd,
                                              #   prometheus: {url: "http://prometheus:9090"}
scrape_interval: 5s
facility:
  pue: {kind: static, ratio: 1.25}
  node_overhead: {ratio: 1.8}    # only where no node meter exists
  price: {currency: USD, per_kwh: 0.10}
  carbon: {grams_co2e_per_kwh: 400, kind: average}
web: {listen_address: "0.0.0.0:9837"}
"""

WHOLE = """\
sources: {agents: ["http://gpu-1a:9836/metrics", "http://gpu-2:9836/metrics"]}
facilities:
- name: hall
  nodes: [gpu-1*]
  pue:
    kind: live
    ratio: 1.4
    category: 2
    period: 12h
    uncertainty: 0.03
    facility_meter: {kind: prometheus, url: "http://prometheus:9090", query: sum(feed_watts), unit: watts}
    it_meter: {kind: json, url: "http://ups/", path: out.kwh, unit: kilowatt_hours}
  it: {switches: in}
  price:
    currency: EUR
    per_kwh: 0.30
    time_zone: Europe/Berlin
    times: [{per_kwh: 0.40, days: mon-fri, hours: "08:00-20:00"}]
  capital: {per_gpu_hour: 1.30}
- name: rest
  pue: {kind: interim, ratio: 1.3, measured_until: 2026-09-29}
  carbon:
    kind: marginal
    query: {kind: json, url: "http://grid/", path: now.grams, per: megawatt_hour}
"""


def load_text(tmp_path: Path, text: str) -> AggregatorConfig:
    path = tmp_path / "aggregator.yaml"
    path.write_text(text)
    return load_aggregator_config(path, {}, {})


def test_the_documented_example_loads(tmp_path: Path) -> None:
    """The example of the design loads verbatim."""
    facility = FacilityConfig(
        pue=PueConfig(1.25),
        node_overhead=NodeOverheadConfig(1.8),
        price=PriceConfig("USD", 0.1),
        carbon=CarbonConfig(400.0),
    )

    assert AggregatorConfig(facility=facility) == load_text(tmp_path, EXAMPLE)


def test_objectives(tmp_path: Path) -> None:
    """What requests are to meet is told by model, and by one entry for all others."""
    config = load_text(
        tmp_path,
        "slo:\n- {time_to_first_token: 500ms, time_per_output_token: 50ms}\n"
        "- {model: org/big, time_to_first_token: 2s}\n",
    )
    objectives = Objectives(config.slo)

    assert SloConfig(None, 0.5, 0.05) == objectives.of("small")
    assert SloConfig("org/big", 2.0) == objectives.of("org/big")
    assert Objectives().of("small") is None


def test_what_is_not_known_of_the_facility_is_none() -> None:
    """No PUE, price or carbon is assumed; the agent beside is."""
    config = load_aggregator_config(None, {}, {})

    assert FacilityConfig("default", None, None, None, None) == config.facility
    assert agents_at("http://127.0.0.1:9836/metrics") == config.sources


def test_flags_over_environment_over_file(tmp_path: Path) -> None:
    """A variable alone opens a section, a flag goes over it, and `--agent` replaces the list."""
    path = tmp_path / "aggregator.yaml"
    path.write_text(EXAMPLE)
    environ = {"PERWATT_FACILITY_PUE_RATIO": "1.5", "PERWATT_FACILITY_NODE_OVERHEAD_RATIO": "2"}
    flags = {"facility.pue.ratio": "1.6", "sources.agents": ["http://a/metrics", "http://b/metrics"]}

    over_file = load_aggregator_config(path, environ, flags)
    alone = load_aggregator_config(None, environ, {})

    assert (1.6, NodeOverheadConfig(2.0)) == (over_file.facility.pue.ratio, over_file.facility.node_overhead)
    assert agents_at("http://a/metrics", "http://b/metrics") == over_file.sources
    assert PueConfig(1.5) == alone.facility.pue


def test_a_renamed_key_goes_by_its_other_name_only() -> None:
    """In one process with the agent, the aggregator's address has a name of its own."""
    environ = {"PERWATT_WEB_LISTEN_ADDRESS": ":1", "PERWATT_AGGREGATOR_WEB_LISTEN_ADDRESS": ":2"}
    renamed = {"web.listen_address": "aggregator.web.listen_address"}

    assert AggregatorWebConfig(":1") == load_aggregator_config(None, environ, {}).web
    assert AggregatorWebConfig(":2") == load_aggregator_config(None, environ, {}, renamed).web


WRONG = [
    ("facility:\n  pue: {ratio: 0.9}", "2: facility.pue.ratio: expected a number from 1 to 10, not '0.9'"),
    ("facility:\n  pue: {ratio: 48}", "2: facility.pue.ratio: expected a number from 1 to 10, not '48'"),
    ("facility:\n  pue: {}", "2: facility.pue.ratio: expected a number of at least 1, but it is missing"),
    (
        "facility: {pue: {kind: measured, ratio: 1.2}}",
        "1: facility.pue.kind: expected one of static, interim, live, category, not 'measured'",
    ),
    (
        "facility: {pue: {kind: live, ratio: 1.2}}",
        "1: facility.pue.facility_meter: expected the meter of the whole facility, but it is missing",
    ),
    (
        "facility: {pue: {kind: category, ratio: 1.2}}",
        "1: facility.pue.category: expected 0, 1, 2 or 3, but it is missing",
    ),
    (
        "facility: {pue: {ratio: 1.2, category: 4}}",
        "1: facility.pue.category: expected a category of ISO/IEC 30134-2: 0, 1, 2 or 3, not '4'",
    ),
    (
        "facility: {pue: {ratio: 1.2, measured_until: 2026-01-31}}",
        "1: facility.pue.measured_until: expected no value if kind is static",
    ),
    (
        "facility: {pue: {ratio: 1.2, kind: interim, measured_until: yesterday}}",
        "1: facility.pue.measured_until: expected a date such as 2026-09-30, not 'yesterday'",
    ),
    (
        "facility: {pue: {ratio: 1.2, facility_meter: {kind: ipmi}}}",
        "1: facility.pue.facility_meter: expected no value if kind is static",
    ),
    (
        "facility: {pue: {kind: live, facility_meter: {kind: csv, file: /f, unit: joules, scope: sensor}}}",
        "1: facility.pue.facility_meter.scope: expected no value; the meter's key defines its scope",
    ),
    (
        "facility: {pue: {kind: live, facility_meter: {kind: ipmi}}, it: {storage: in}}",
        "1: facility.it: expected `out`; without `pue.it_meter`, IT energy is that of the nodes alone",
    ),
    (
        "facility: {pue: {kind: live, period: 10m, facility_meter: {kind: ipmi}}}",
        "1: facility.pue.period: expected a duration from 15m to 168h with its unit, "
        "such as 250ms, 1s, 5m or 1h, not '10m'",
    ),
    (
        "facility: {price: {currency: EUR}}",
        "1: facility.price.per_kwh: expected a number of at least 0, but it is missing",
    ),
    (
        "facility: {price: {currency: EUR, per_kwh: 1, time_zone: Berlin}}",
        "1: facility.price.time_zone: expected a time zone of this machine's tzdata, such as Europe/Berlin, "
        "not 'Berlin'",
    ),
    (
        "facility: {price: {currency: EUR, per_kwh: 1, times: [{per_kwh: 2, days: someday}]}}",
        "1: facility.price.times[0].days: expected days such as mon-fri or sat,sun, not 'someday'",
    ),
    (
        "facility: {price: {currency: EUR, query: {kind: redfish, url: 'https://bmc'}}}",
        "1: facility.price.query.kind: expected one of prometheus, json, csv",
    ),
    (
        "facility: {carbon: {kind: average}}",
        "1: facility.carbon.grams_co2e_per_kwh: expected a number of at least 0, but it is missing",
    ),
    (
        "facility: {capital: {per_gpu_hour: 2}}",
        "1: facility.capital: expected `price` as well, whose currency it has",
    ),
    (
        "facility: {name: here}\nfacilities: [{name: there}]",
        "2: facilities: expected either `facilities` or `facility`, not both",
    ),
    (
        "facilities:\n- {name: a}\n- {name: a}",
        "3: facilities[1].name: expected an unused name; 'a' is taken",
    ),
    (
        "sources: {agents: ['http://gpu-7:9836/metrics']}\nfacilities:\n- {name: a, nodes: ['gpu-1*']}",
        "1: sources.agents[0]: expected a facility whose `nodes` match this agent",
    ),
    (
        "facility:\n  price:\n    per_kwh: 1",
        "2: facility.price.currency: expected three letters of ISO 4217, such as USD, but it is missing",
    ),
    (
        "facility: {price: {currency: usd, per_kwh: 1}}",
        "1: facility.price.currency: expected three letters of ISO 4217, such as USD, not 'usd'",
    ),
    (
        "facility: {price: {currency: USD, per_kwh: -1}}",
        "1: facility.price.per_kwh: expected a number from 0 to 1e+06, not '-1'",
    ),
    (
        "facility: {carbon: {grams_co2e_per_kwh: 4, kind: mean}}",
        "1: facility.carbon.kind: expected one of average, marginal, not 'mean'",
    ),
    (
        "sources: {agents: []}",
        "1: sources.agents: expected at least one agent's URL, or file_sd, http_sd or dns_sd",
    ),
    ("sources: {agents: http://a}", "1: sources.agents: expected a list"),
    (
        "sources:\n  agents: [http://a]\n  prometheus: {url: http://p}",
        "3: sources.prometheus: expected no value together with agents, file_sd, http_sd or dns_sd",
    ),
    (
        "sources: {prometheus: {url: http://p, selector: up}}",
        "1: sources.prometheus.selector: expected a selector by labels alone, such as "
        "{job=\"perwatt-agent\"}, not 'up'",
    ),
    (
        "sources: {prometheus: {url: http://p, headers: {'X Y': a}}}",
        "1: sources.prometheus.headers.X Y: expected a header's name: letters, digits, - and _",
    ),
    (
        "sources: {prometheus: {selector: '{}'}}",
        "1: sources.prometheus.url: expected a URL such as http://127.0.0.1:8000/metrics, but it is missing",
    ),
    (
        "sources:\n  agents:\n  - http://a\n  - b",
        "4: sources.agents[1].url: expected a URL such as http://127.0.0.1:8000/metrics, not 'b'",
    ),
    (
        "sources:\n  agents:\n  - http://a\n  - http://a",
        "4: sources.agents[1]: expected each agent only once, but sources.agents[0] is this page too; "
        "its joules would count twice",
    ),
    (
        "sources:\n  agents:\n  - http://b\n  - http://localhost:80/metrics\n  - 'http://[::1]/metrics?'",
        "5: sources.agents[2]: expected each agent only once, but sources.agents[1] is this page too; "
        "its joules would count twice",
    ),
    (
        "labels: [model]",
        "1: labels[0]: expected a name that answers do not use themselves; model is taken",
    ),
    ("labels: [rack, rack]", "1: labels[1]: expected each label once"),
    ("labels: [a-b]", "1: labels[0]: expected a label name of letters, digits and _, not 'a-b'"),
    (
        "sources:\n  file_sd:\n  - files: a.yaml\n    bearer_token: secret",
        "4: sources.file_sd[0].bearer_token: unknown key, expected bearer_token_file",
    ),
    (
        "sources: {http_sd: [{url: 'http://sd/', refresh_interval: 5}]}",
        "1: sources.http_sd[0].refresh_interval: expected a duration from 1s to 24h with its unit, "
        "such as 250ms, 1s, 5m or 1h, not '5'",
    ),
    (
        "sources: {agents: [{url: 'http://a/metrics', basic_auth: {username: a}}]}",
        "1: sources.agents[0].basic_auth.password_file: expected a file with the password, but it is missing",
    ),
    (
        "sources: {agents: [{labels: {a: b}}]}",
        "1: sources.agents[0].url: expected a URL such as http://127.0.0.1:8000/metrics, but it is missing",
    ),
    (
        "sources: {dns_sd: [{name: agents, port: 0}]}",
        "1: sources.dns_sd[0].port: expected a port from 1 to 65535, not '0'",
    ),
    (
        "sources: {agents: [{url: 'http://a/m', labels: {a-b: c}}]}",
        "1: sources.agents[0].labels.a-b: expected a label name of letters, digits and _",
    ),
    ("sources: {agents: [[]]}", "1: sources.agents[0]: expected a mapping of keys to values"),
    (
        "backend: nvml",
        "1: backend: unknown key, expected one of sources, scrape_interval, facility, facilities, "
        "meters, uncertainty, slo, compute, labels, data_dir, history, web",
    ),
    (
        "slo:\n- time_to_first_token: 0.2",
        "2: slo[0].time_to_first_token: expected a duration from 0.1ms to 1h with its unit, "
        "such as 250ms, 1s, 5m or 1h, not '0.2'",
    ),
    ("slo:\n- model: a", "2: slo[0]: expected time_to_first_token, time_per_output_token or both"),
    (
        "slo:\n- time_to_first_token: 1s\n- time_per_output_token: 50ms",
        "3: slo[1]: expected one entry for a model, and one for all others",
    ),
    (
        "scrape_interval: 5",
        "1: scrape_interval: expected a duration from 100ms to 5m with its unit, "
        "such as 250ms, 1s, 5m or 1h, not '5'",
    ),
]


@pytest.mark.parametrize(("text", "line"), WRONG, ids=[line.split(": ")[1] for _, line in WRONG])
def test_one_error_one_line(tmp_path: Path, text: str, line: str) -> None:
    """Every error is one line, `FILE:LINE: key: what was expected`."""
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text + "\n")

    assert (f"{tmp_path}/aggregator.yaml:{line}",) == caught.value.lines


def test_a_section_that_a_flag_opened_is_the_flags_fault() -> None:
    """What is missing beside a flag is told at that flag."""
    with pytest.raises(ConfigError) as caught:
        load_aggregator_config(None, {}, {"facility.price.per_kwh": "0.1"})

    assert caught.value.usage
    assert caught.value.lines[0].startswith("--facility.price.per-kwh: facility.price.currency: expected")


def test_everything_of_a_facility(tmp_path: Path) -> None:
    """All that can be said of a facility loads, and a node stands in the first that names it."""
    config = load_text(tmp_path, WHOLE)
    hall, rest = config.all_facilities

    assert ("hall", "rest") == (config.facility_of("gpu-1a:9836").name, config.facility_of("gpu-2:9836").name)
    assert hall.pue is not None
    assert hall.pue.facility_meter is not None
    assert hall.pue.it_meter is not None
    assert (1.4, "live", 2, 43200.0, 0.03) == (
        hall.pue.ratio,
        hall.pue.kind,
        hall.pue.category,
        hall.pue.period,
        hall.pue.uncertainty,
    )
    assert ("prometheus", "kilowatt_hours") == (hall.pue.facility_meter.kind, hall.pue.it_meter.unit)
    assert hall.price is not None
    assert (TimeOfUseConfig(0.4, frozenset(range(5)), HoursOfDay(480, 1200)),) == hall.price.times
    assert CapitalConfig(1.3) == hall.capital
    assert ItConfig("in", "out") == hall.it
    assert rest.pue is not None
    assert ("interim", 1790640000.0) == (rest.pue.kind, rest.pue.measured_until)
    assert rest.carbon is not None
    assert rest.carbon.query is not None
    assert ("marginal", "megawatt_hour") == (rest.carbon.kind, rest.carbon.query.per)
