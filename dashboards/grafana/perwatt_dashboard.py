"""
Grafana dashboard: tokens per joule, wasted joules, and whether the figures can be trusted.

`python dashboards/grafana/perwatt_dashboard.py` writes `perwatt.json` beside it; a test keeps it up
to date. Every ratio is a sum over a sum, and no panel turns an absent figure into a zero.
"""

import json
from pathlib import Path

from grafana_model import Json, Panel, Row, Step, Target, Variable, dashboard

OUTPUT = Path(__file__).with_name("perwatt.json")

TOKENS_PER_JOULE = "suffix: tok/J"
TOKENS_PER_SECOND = "suffix: tok/s"
CHOSEN = 'job=~"$job", instance=~"$instance"'


def series(name: str, matcher: str = "") -> str:
    """The series of one metric, of the selected jobs and instances."""
    return f"{name}{{{CHOSEN}{matcher and ', ' + matcher}}}"


def rate(name: str, matcher: str = "") -> str:
    """Its increase per second. For a counter of joules this is a power in watts."""
    return f"rate({series(name, matcher)}[$__rate_interval])"


def increase(name: str, matcher: str = "") -> str:
    """Its increase over one step of the panel."""
    return f"increase({series(name, matcher)}[$__rate_interval])"


def in_facility(nodes: str) -> str:
    """Nodes with their target label `facility`; without one it is the aggregator's `default`."""
    return f'label_replace({nodes}, "facility", "default", "facility", "")'


BACKENDS = series("perwatt_backend_info")
SIMULATED_BACKENDS = series("perwatt_backend_info", 'backend=~"simulated|replay"')
SICK_GPUS = series("perwatt_gpus", 'state!="ok"')
BOARD_WATTS = rate("perwatt_gpu_energy_joules_total")
HELD_WATTS = rate("perwatt_workload_energy_joules_total")
ACTIVE_WATTS = rate("perwatt_workload_energy_joules_total", 'state="active"')
IDLE_WATTS = rate("perwatt_workload_energy_joules_total", 'state="idle"')
IDLE_JOULES = increase("perwatt_workload_energy_joules_total", 'state="idle"')
UNATTRIBUTED_WATTS = rate("perwatt_gpu_unattributed_energy_joules_total")
# A modelled node is an estimate and never enters a measured sum.
NODE_WATTS = rate("perwatt_node_energy_joules_total", 'source!="model"')
PUE = series("perwatt_facility_pue_ratio")
ANSWERS = series("perwatt_output_tokens_per_joule")

# Tokens count only where the joules of the same workload, node or facility exist; joules are never filtered.
BOARD_TOKENS = f"({rate('perwatt_output_tokens_total')} and on (job, instance, workload) {HELD_WATTS})"
NODE_TOKENS = f"({BOARD_TOKENS} and on (job, instance) {NODE_WATTS})"
FACILITY_TOKENS = f"({in_facility(NODE_TOKENS)} and on (facility) {PUE})"
FACILITY_WATTS = f"(sum by (facility) ({in_facility(NODE_WATTS)}) * on (facility) max by (facility) ({PUE}))"

NOW = Row(
    "Now",
    (
        Panel(
            "Simulated nodes",
            "Nodes with simulated or replayed GPUs. Figures below are real only if this shows: measured.",
            "none",
            (Target(f"sum({SIMULATED_BACKENDS}) or 0 * sum({BACKENDS})"),),
            kind="stat",
            width=4,
            steps=(Step(0, "green", text="measured"), Step(1, "purple")),
        ),
        Panel(
            "Output tokens per joule",
            "All models at the GPU boards, idle time included: sum of tokens / sum of joules.",
            TOKENS_PER_JOULE,
            (Target(f"sum({BOARD_TOKENS}) / (sum({HELD_WATTS}) > 0)"),),
            kind="stat",
            width=4,
        ),
        Panel(
            "GPU power",
            "Power of all boards, from their energy counters.",
            "watt",
            (Target(f"sum({BOARD_WATTS})"),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Output tokens",
            "Tokens generated per second, all models.",
            TOKENS_PER_SECOND,
            (Target(f"sum({rate('perwatt_output_tokens_total')})"),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Attributed energy",
            "Share of the board joules of known work. Below 95 % the fleet has no headline figure.",
            "percentunit",
            (Target(f"sum({HELD_WATTS}) / (sum({HELD_WATTS}) + sum({UNATTRIBUTED_WATTS}) > 0)"),),
            kind="stat",
            width=4,
            steps=(Step(0, "red"), Step(0.95, "green")),
        ),
        Panel(
            "GPUs not ok",
            "GPUs that are lost, hung or in error: their joules are missing from every figure.",
            "none",
            (Target(f"sum({SICK_GPUS})"),),
            kind="stat",
            width=4,
            steps=(Step(0, "green"), Step(1, "red")),
        ),
    ),
    height=4,
)

EFFICIENCY = Row(
    "Tokens per joule",
    (
        Panel(
            "By model, GPU board",
            "Output tokens / board joules of a model's workloads; active leaves out idle time.",
            TOKENS_PER_JOULE,
            (
                Target(f"sum by (model) ({BOARD_TOKENS}) / (sum by (model) ({HELD_WATTS}) > 0)", "{{model}}"),
                Target(
                    f"sum by (model) ({BOARD_TOKENS}) / (sum by (model) ({ACTIVE_WATTS}) > 0)",
                    "{{model}}, active",
                ),
            ),
            width=8,
        ),
        Panel(
            "All models, node and facility",
            "Output tokens / node joules of all nodes with a wall meter. Facility: node x PUE.",
            TOKENS_PER_JOULE,
            (
                Target(f"sum({NODE_TOKENS}) / (sum({NODE_WATTS}) > 0)", "node"),
                Target(f"sum({FACILITY_TOKENS}) / (sum({FACILITY_WATTS}) > 0)", "facility"),
            ),
            width=8,
        ),
        Panel(
            "Figures of the aggregator",
            "Valid figures of /v1/efficiency. A line ends where the figure is not valid; the API says why.",
            TOKENS_PER_JOULE,
            (
                Target(
                    f"max by (model, boundary, window, provenance) ({ANSWERS})",
                    "{{model}}, {{boundary}}, {{window}}, {{provenance}}",
                ),
            ),
            width=8,
        ),
    ),
)

ENERGY = Row(
    "Power and waste",
    (
        Panel(
            "GPU power by node",
            "Board watts of each node, from the energy counters.",
            "watt",
            (Target(f"sum by (instance) ({BOARD_WATTS})", "{{instance}}"),),
            width=8,
            stacked=True,
        ),
        Panel(
            "Power without work",
            "Board watts of GPUs that are held without a request, unallocated, or used by unknown processes.",
            "watt",
            (
                Target(f"sum({IDLE_WATTS})", "held, idle"),
                Target(f"sum by (cause) ({UNATTRIBUTED_WATTS})", "{{cause}}"),
            ),
            width=8,
            stacked=True,
        ),
        Panel(
            "Idle energy by model",
            "Joules per step of GPUs that a model held without a request.",
            "joule",
            (Target(f"sum by (model) ({IDLE_JOULES})", "{{model}}"),),
            width=8,
            stacked=True,
        ),
    ),
)

WORK = Row(
    "Work",
    (
        Panel(
            "Tokens by model",
            "Output tokens, and prompt tokens computed or cached. The three kinds are never added.",
            TOKENS_PER_SECOND,
            (
                Target(f"sum by (model) ({rate('perwatt_output_tokens_total')})", "{{model}}, output"),
                Target(
                    f"sum by (model, source) ({rate('perwatt_prompt_tokens_total')})",
                    "{{model}}, prompt {{source}}",
                ),
            ),
        ),
        Panel(
            "Requests by outcome",
            "Finished requests by outcome. Tokens of aborted requests cost joules and are waste.",
            "reqps",
            (Target(f"sum by (outcome) ({rate('perwatt_requests_total')})", "{{outcome}}"),),
        ),
    ),
)

TRUST = Row(
    "Data quality",
    (
        Panel(
            "Snapshot age",
            "Age of each agent's readings, by the clock of Prometheus.",
            "s",
            (
                Target(
                    f"time() - max by (instance) ({series('perwatt_snapshot_timestamp_seconds')})",
                    "{{instance}}",
                ),
            ),
            width=8,
        ),
        Panel(
            "GPUs by state",
            "A GPU that was seen once never disappears: it is ok, lost, hung or in error.",
            "none",
            (Target(f"sum by (state) ({series('perwatt_gpus')})", "{{state}}"),),
            width=8,
        ),
        Panel(
            "Availability",
            "Whether each GPU backend, GPU, collector and engine page answers.",
            "bool_on_off",
            (
                Target(f"min by (instance) ({series('perwatt_backend_up')})", "{{instance}} backend"),
                Target(f"min by (instance, gpu) ({series('perwatt_gpu_up')})", "{{instance}} {{gpu}}"),
                Target(
                    f"min by (instance, collector) ({series('perwatt_collector_success')})",
                    "{{instance}} collector {{collector}}",
                ),
                Target(
                    f"min by (instance, workload) ({series('perwatt_workload_up')})",
                    "{{instance}} workload {{workload}}",
                ),
            ),
            width=8,
            maximum=1,
        ),
        Panel(
            "Unattributed energy",
            "Share of the board joules without a workload: unallocated, or of unknown processes.",
            "percentunit",
            (
                Target(
                    f"sum by (cause) ({UNATTRIBUTED_WATTS}) / on () group_left () (sum({BOARD_WATTS}) > 0)",
                    "{{cause}}",
                ),
            ),
            stacked=True,
            maximum=1,
        ),
        Panel(
            "Counter against integrated power",
            "(Counter - integrated power) / integrated power, long-term. Above 5 %, check a wall meter.",
            "percentunit",
            (
                Target(
                    f"max by (instance, gpu) ({series('perwatt_gpu_energy_divergence_ratio')})",
                    "{{instance}} {{gpu}}",
                ),
            ),
            minimum=None,
        ),
    ),
)

# Metrics that every agent and every aggregator has.
DAEMONS = '__name__=~"perwatt_build_info|perwatt_aggregator_target_up"'
VARIABLES = (
    Variable("job", "Job", f"label_values({{{DAEMONS}}}, job)"),
    Variable("instance", "Instance", f'label_values({{{DAEMONS}, job=~"$job"}}, instance)'),
)


def build() -> Json:
    """The dashboard as Grafana's JSON model."""
    return dashboard(
        uid="perwatt",
        title="perwatt: tokens per joule",
        description="Useful tokens per joule at the GPU boards, the node and the facility. Panels of the "
        "aggregator need its instance in the selection.",
        variables=VARIABLES,
        rows=(NOW, EFFICIENCY, ENERGY, WORK, TRUST),
    )


def text() -> str:
    """Text of `perwatt.json`."""
    return json.dumps(build(), indent=2) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(text())
