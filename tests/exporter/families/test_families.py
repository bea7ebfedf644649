"""The families against the contract, against Prometheus's rules, and against snapshots of sick GPUs."""

import re
import subprocess
from collections import Counter
from typing import Any

import pytest
from support.exposition.pages import collect, healthy_8_gpus, healthy_gpu, node, rendered, sick_gpu
from support.exposition.samples import SAMPLES

from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.gpu import GpuEnergy, GpuSnapshot, GpuState
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import WorkloadInfo, WorkloadSnapshot
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.family import Family
from perwatt_exporter.page.process import ProcessMetrics

# Every base unit that a name may end in, besides nothing at all.
UNITS = (
    "joules",
    "watts",
    "seconds",
    "bytes",
    "celsius",
    "hertz",
    "ratio",
    "tokens",
    "requests",
    "failures",
    "flops",
)
NO_UNIT = {
    *("perwatt_gpus", "perwatt_backend_up", "perwatt_gpu_up", "perwatt_workload_up"),
    "perwatt_workload_missing_gpus",
    *("perwatt_requests_running", "perwatt_requests_waiting", "perwatt_request_preemptions_total"),
    *("perwatt_collector_success", "perwatt_work_total"),
    *("perwatt_gpu_health", "perwatt_gpu_health_reason"),
    *("perwatt_gpu_xid_errors_total", "perwatt_events_total"),
    *("perwatt_gpu_throttle_active", "perwatt_gpu_performance_state", "perwatt_gpu_compute_mode"),
    *("perwatt_gpu_pcie_replays_total", "perwatt_gpu_nvlink_errors_total"),
    *("perwatt_gpu_pcie_generation", "perwatt_gpu_pcie_generation_max"),
    *("perwatt_gpu_pcie_lanes", "perwatt_gpu_pcie_lanes_max"),
    *("perwatt_gpu_fabric_state", "perwatt_gpu_fabric_health", "perwatt_gpu_recovery_action"),
    *("perwatt_gpu_ecc_enabled", "perwatt_gpu_ecc_errors_total", "perwatt_gpu_ecc_location_errors_total"),
    *("perwatt_gpu_retired_pages_total", "perwatt_gpu_retired_pages_pending"),
    *("perwatt_gpu_remapped_rows_total", "perwatt_gpu_remapped_rows_pending"),
    *("perwatt_gpu_remapped_rows_failed", "perwatt_gpu_persistence_enabled"),
    *("perwatt_gpu_virtualization_mode", "perwatt_gpu_active_vgpus"),
    *("perwatt_gpu_sm_cycles_total", "perwatt_gpu_pipe_cycles_total"),
    *("perwatt_gpu_link_bytes_per_second", "perwatt_mig_slices", "perwatt_mig_multiprocessors"),
    "perwatt_node_meter_up",
    "perwatt_node_meter_rejections_total",
    *("perwatt_gpu_sram_errors_total", "perwatt_gpu_sram_uncorrected_errors_total"),
    *("perwatt_gpu_sram_threshold_exceeded", "perwatt_gpu_remap_banks"),
}
NOT_BASE = re.compile(
    r"milli|micro|kilo|mega|giga|kwh|watthours|watt_hours|_wh\b|percent|_mhz|_ghz|_mib|_gib|_mb\b|_gb\b|_ms\b|"
    r"_us\b|minutes|hours|fahrenheit|kelvin|by_type|colou?n"
)
BANNED_LABELS = {
    *("hostname", "host", "node", "cluster", "region", "zone", "rack", "team", "tenant", "env"),
    *("job", "instance", "type", "service", "owner", "customer", "stage", "le", "quantile"),
}


def series(snapshot: Snapshot) -> dict[str, list[tuple[dict[str, str], Any]]]:
    """What the page shows, by family."""
    return {
        family.name: [(dict(zip(family.labels, values, strict=True)), value) for values, value in samples]
        for family, samples in collect(ALL, snapshot)
        if samples
    }


class TestNames:
    def test_unique(self) -> None:
        """No name is used twice."""
        assert [] == [name for name, uses in Counter(family.name for family in ALL).items() if uses > 1]

    @pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
    def test_name_and_unit(self, family: Family[Any]) -> None:
        """Names carry the prefix, a base unit, and the ending of their kind and no other."""
        assert re.fullmatch(r"perwatt_[a-z0-9]+(_[a-z0-9]+)*", family.name)
        assert not NOT_BASE.search(family.name)
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert (family.kind == "info") == family.name.endswith("_info")
        if family.kind != "info" and family.name not in NO_UNIT:
            assert family.stem.endswith(UNITS)

    @pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
    def test_labels(self, family: Family[Any]) -> None:
        """Labels are lower case, none belongs to the scraper, and closed lists are of labels that exist."""
        assert len(family.labels) == len(set(family.labels))
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in family.labels)
        assert BANNED_LABELS.isdisjoint(family.labels)
        assert set(family.labels) >= set(family.closed)

    @pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
    def test_help(self, family: Family[Any]) -> None:
        """Each family says in whole sentences what it means."""
        assert family.help[0] in "(0123456789" or family.help[0].isupper()
        assert family.help.endswith(".")
        assert "  " not in family.help


class TestPage:
    @pytest.mark.parametrize("name", SAMPLES)
    def test_promtool(self, name: str) -> None:
        """Prometheus's own linter has nothing to say."""
        page = rendered([*collect(ALL, SAMPLES[name]()), *ProcessMetrics()()], "text")
        result = subprocess.run(
            ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
        )

        assert (0, b"", b"") == (result.returncode, result.stdout, result.stderr)

    @pytest.mark.parametrize("name", SAMPLES)
    def test_closed_labels(self, name: str) -> None:
        """Labels with a closed list have no other values, and no series comes twice."""
        for family, samples in collect(ALL, SAMPLES[name]()):
            for values, _ in samples:
                labels = dict(zip(family.labels, values, strict=True))
                assert all(labels[label] in allowed for label, allowed in family.closed.items())
            assert len(list(samples)) == len({values for values, _ in samples})

    def test_every_family_is_sampled(self) -> None:
        """The sample pages together show every family, so that each has its golden lines."""
        shown = {name for sample in SAMPLES.values() for name in series(sample())}

        assert {family.name for family in ALL} == shown

    @pytest.mark.parametrize("state", ["lost", "hung", "error"])
    def test_sick_gpu(self, state: GpuState) -> None:
        """A sick GPU keeps its info and an `up` of 0 and nothing else, whatever is still known of it."""
        healthy = healthy_gpu(1)
        stale = GpuSnapshot(
            healthy.info, state, healthy.reading, healthy.slow, healthy.energy, 1.01, 10.0, 10.0
        )
        shown = series(node((healthy_gpu(0), stale)))
        sick = healthy.info.uuid

        names = {name for name, rows in shown.items() for labels, _ in rows if labels.get("gpu") == sick}
        assert {"perwatt_gpu_info", "perwatt_gpu_up"} == names
        assert ({"gpu": sick}, 0) in shown["perwatt_gpu_up"]

    def test_gpus_by_state(self) -> None:
        """Every state is counted from 0, and a GPU that cannot be named counts as lost."""
        gpus = (healthy_gpu(0), sick_gpu(1, "lost"), sick_gpu(2, "hung"))

        assert [
            ({"state": "ok"}, 1),
            ({"state": "lost"}, 3),
            ({"state": "hung"}, 1),
            ({"state": "error"}, 0),
        ] == series(node(gpus, unidentified_gpus=2))["perwatt_gpus"]

    def test_engine_out_of_reach(self) -> None:
        """What an engine counted stands; what it said of a moment is gone with the moment."""
        counts = EngineCounts(
            "llama", requests_running=1, requests_waiting=1, kv_cache_usage_ratio=0.5, preemptions=1
        )
        moment = {"perwatt_requests_running", "perwatt_requests_waiting", "perwatt_kv_cache_usage_ratio"}
        up, down = (
            series(node((), workloads=(WorkloadSnapshot(WorkloadInfo("chat"), up=answers, counts=counts),)))
            for answers in (True, False)
        )

        assert moment <= set(up)
        assert moment.isdisjoint(down)
        assert "perwatt_request_preemptions_total" in down

    def test_absent_is_absent(self) -> None:
        """What is None gives no series: neither 0 nor NaN."""
        info = healthy_gpu(0).info
        account = GpuEnergy("integrated", 5.0, 5.0, 1.0, None, None)
        knows_nothing = GpuSnapshot(info, "ok", GpuReading(1.0), GpuSlowReading(1.0), account)
        engine = WorkloadSnapshot(WorkloadInfo("chat"), up=True, counts=EngineCounts("llama"))
        shown = series(node((knows_nothing,), workloads=(engine,), collectors=()))

        assert {
            *("perwatt_build_info", "perwatt_backend_info", "perwatt_backend_up"),
            *("perwatt_snapshot_timestamp_seconds", "perwatt_gpus", "perwatt_gpu_info", "perwatt_gpu_up"),
            *("perwatt_gpu_energy_joules_total", "perwatt_gpu_energy_covered_seconds_total"),
            *("perwatt_workload_info", "perwatt_workload_up", "perwatt_workload_covered_seconds_total"),
        } == set(shown)

    def test_zero_is_shown(self) -> None:
        """A count of 0 that was read is a series of 0."""
        engine = WorkloadSnapshot(
            WorkloadInfo("chat"), up=True, counts=EngineCounts("llama", output_tokens=0, requests_ok=0)
        )
        shown = series(node((), workloads=(engine,)))

        labels = {"workload": "chat", "model": "llama"}
        assert [(labels, 0)] == shown["perwatt_output_tokens_total"]
        assert [(labels | {"outcome": "ok"}, 0)] == shown["perwatt_requests_total"]

    def test_one_meter_speaks_for_the_node(self) -> None:
        """Of several meters one is the node's; the others stand apart, so that a sum is never doubled."""
        shown = series(healthy_8_gpus())

        assert [({"source": "redfish"}, 45_678_901.5)] == shown["perwatt_node_energy_joules_total"]
        assert [({"source": "redfish"}, 3_600.0)] == shown["perwatt_node_energy_covered_seconds_total"]
        assert [({"meter": "ipmi"}, 45_600_000.0)] == shown["perwatt_node_meter_energy_joules_total"]
