"""
Recording rules: sums at each level, and ratios of these sums.

Levels and their labels, beside `job`, `instance` and all target labels where a node is part of the level:

    gpu       one board                       workload  one engine on one node
    node      one agent                       model     a model on all nodes
    rack      target labels cluster, rack     cluster   target label cluster
    facility  target label facility; nodes without it belong to `default`, as in the aggregator

A rate of joules is a power in watts. Tokens enter a sum only where the joules of the same workload are in it;
joules are never filtered by tokens.
"""

from rules_model import Group, Recording

WINDOW = "5m"
WINDOW_SECONDS = 300

METERED = 'perwatt_node_energy_joules_total{source!="model"}'
"""A modelled node is an estimate and never enters a measured sum."""
INCOMPLETE = "on (job, instance, workload) (perwatt_workload_missing_gpus > 0)"
"""Workloads with GPUs whose joules are not seen."""
IN_GROUP = 'perwatt_workload_info{group!=""}'
"""Members of an engine on several nodes: one member has the tokens, all have joules."""

UNNAMED = 'gpu_workload_state:perwatt_workload_energy_joules:rate5m{model=""}'
NAMED = "workload:perwatt_models:group"
WITH_MODEL = 'group by (job, instance, workload, model) (perwatt_output_tokens_total{model!=""})'


def counted(series: str) -> str:
    """
    The increase of counters per second of the window, right also for series that are born in it.

    rate() extrapolates to both ends of the window. For a series without a sample two minutes before the
    window that is too much, by a third after two samples. Such a series counts what it grew between its
    first and its last sample.
    """
    before = f"present_over_time({series}[2m] offset {WINDOW})"
    grown = f"(last_over_time({series}[{WINDOW}]) - min_over_time({series}[{WINDOW}]))"
    return f"""(
  rate({series}[{WINDOW}])
  and {before}
  or
  {grown} / {WINDOW_SECONDS}
  unless {before}
)"""


def total(series: str, without: str) -> str:
    return f"sum without ({without}) {counted(series)}"


def ratio(numerator: str, denominator: str) -> str:
    """Absent where the denominator is not above zero: never NaN or Inf."""
    return f"{numerator}\n/\n({denominator} > 0)"


# All counters are read in one group. A group that needs another sees its values one evaluation later, and
# a ratio of tokens and joules of different evaluations is wrong while workloads come and go.
COUNTERS = Group(
    "perwatt-counters",
    (
        Recording("gpu:perwatt_gpu_energy_joules:rate5m", total("perwatt_gpu_energy_joules_total", "source")),
        # Named by all that it has, so that the levels above are sums of it.
        Recording(
            "gpu_workload_state:perwatt_workload_energy_joules:rate5m",
            counted("perwatt_workload_energy_joules_total"),
        ),
        Recording(
            "gpu:perwatt_workload_energy_joules:rate5m",
            "sum without (workload, model, state) (gpu_workload_state:perwatt_workload_energy_joules:rate5m)",
        ),
        Recording(
            "gpu_cause:perwatt_gpu_unattributed_energy_joules:rate5m",
            counted("perwatt_gpu_unattributed_energy_joules_total"),
        ),
        Recording(
            "gpu:perwatt_workload_energy_per_gpu_energy_joules:ratio_rate5m",
            ratio("gpu:perwatt_workload_energy_joules:rate5m", "gpu:perwatt_gpu_energy_joules:rate5m"),
        ),
        Recording("node:perwatt_node_energy_joules:rate5m", total(METERED, "source")),
        Recording("workload:perwatt_output_tokens:rate5m", counted("perwatt_output_tokens_total")),
        Recording("workload_source:perwatt_prompt_tokens:rate5m", counted("perwatt_prompt_tokens_total")),
        Recording("workload_outcome:perwatt_requests:rate5m", counted("perwatt_requests_total")),
        # While an engine loads, its model is not known and the label is empty. Its joules of loading are the
        # model's as soon as the model is known. A workload with several models has no such name.
        Recording(
            NAMED,
            f"""
            {WITH_MODEL}
            and on (job, instance, workload)
            count by (job, instance, workload) (
              {WITH_MODEL}
            ) == 1
            """,
        ),
        Recording(
            "workload_state:perwatt_workload_energy_joules:rate5m",
            f"""
            sum without (gpu, before) (
              gpu_workload_state:perwatt_workload_energy_joules:rate5m{{model!=""}}
              or
              label_replace(
                {UNNAMED}
                * on (job, instance, workload) group_left (model) {NAMED},
                "before", "unnamed", "", ""
              )
              or
              {UNNAMED}
              unless on (job, instance, workload) {NAMED}
            )
            """,
        ),
        Recording(
            "workload:perwatt_workload_energy_joules:rate5m",
            "sum without (state) (workload_state:perwatt_workload_energy_joules:rate5m)",
        ),
        # The joules of a member are not those of its group's tokens.
        Recording(
            "workload:perwatt_output_tokens_per_workload_energy_joules:ratio_rate5m",
            ratio(
                f"(workload:perwatt_output_tokens:rate5m unless {INCOMPLETE})",
                "workload:perwatt_workload_energy_joules:rate5m",
            )
            + f"\nunless on (job, instance, workload) {IN_GROUP}",
        ),
    ),
)

MODEL_TOKENS_PER_JOULE = "model:perwatt_output_tokens_per_active_workload_energy_joules:ratio_rate1h"
MODEL_REQUESTS = "model:perwatt_requests_running_per_gpus:ratio_avg1h"
MODEL_SPEED = "model:perwatt_output_tokens_per_gpus:ratio_avg1h"

MODEL = Group(
    "perwatt-model",
    (
        Recording(
            "model:perwatt_output_tokens:rate5m",
            f"""
            sum by (model) (
              workload:perwatt_output_tokens:rate5m
              and on (job, instance, workload) workload:perwatt_workload_energy_joules:rate5m
              unless {INCOMPLETE}
            )
            """,
        ),
        Recording(
            "model_state:perwatt_workload_energy_joules:rate5m",
            f"""
            sum by (model, state) (
              workload_state:perwatt_workload_energy_joules:rate5m
              unless {INCOMPLETE}
            )
            """,
        ),
        Recording(
            "model:perwatt_workload_energy_joules:rate5m",
            "sum without (state) (model_state:perwatt_workload_energy_joules:rate5m)",
        ),
        Recording(
            "model:perwatt_output_tokens_per_workload_energy_joules:ratio_rate5m",
            ratio("model:perwatt_output_tokens:rate5m", "model:perwatt_workload_energy_joules:rate5m"),
        ),
        Recording(
            "model_source:perwatt_prompt_tokens:rate5m",
            "sum by (model, source) (workload_source:perwatt_prompt_tokens:rate5m)",
        ),
        Recording(
            "model_outcome:perwatt_requests:rate5m",
            "sum by (model, outcome) (workload_outcome:perwatt_requests:rate5m)",
        ),
        Recording(
            "model:perwatt_gpus:count",
            "count by (model) (sum by (job, instance, gpu, model) "
            "(gpu_workload_state:perwatt_workload_energy_joules:rate5m))",
        ),
        Recording("model:perwatt_requests_running:sum", "sum by (model) (perwatt_requests_running)"),
        # An hour, from sums of its parts. Active joules only, so that hours with more and with less idling
        # compare.
        Recording(
            MODEL_TOKENS_PER_JOULE,
            ratio(
                "sum_over_time(model:perwatt_output_tokens:rate5m[1h])",
                "sum without (state) "
                '(sum_over_time(model_state:perwatt_workload_energy_joules:rate5m{state="active"}[1h]))',
            ),
        ),
        # The load at which that was reached.
        Recording(
            MODEL_REQUESTS,
            ratio(
                "avg_over_time(model:perwatt_requests_running:sum[1h])",
                "avg_over_time(model:perwatt_gpus:count[1h])",
            ),
        ),
        Recording(
            MODEL_SPEED,
            ratio(
                "avg_over_time(model:perwatt_output_tokens:rate5m[1h])",
                "avg_over_time(model:perwatt_gpus:count[1h])",
            ),
        ),
    ),
)

NODE = Group(
    "perwatt-node",
    (
        Recording("node:perwatt_gpus:sum", "sum without (state) (perwatt_gpus)"),
        Recording(
            "node:perwatt_output_tokens:rate5m",
            """
            sum without (workload, model) (
              workload:perwatt_output_tokens:rate5m
              and on (job, instance, workload) workload:perwatt_workload_energy_joules:rate5m
            )
            """,
        ),
        Recording(
            "node_state:perwatt_workload_energy_joules:rate5m",
            "sum without (workload, model) (workload_state:perwatt_workload_energy_joules:rate5m)",
        ),
        Recording(
            "node:perwatt_gpu_energy_joules:rate5m",
            "sum without (gpu) (gpu:perwatt_gpu_energy_joules:rate5m)",
        ),
        Recording(
            "node_cause:perwatt_gpu_unattributed_energy_joules:rate5m",
            "sum without (gpu) (gpu_cause:perwatt_gpu_unattributed_energy_joules:rate5m)",
        ),
        Recording(
            "node_cause:perwatt_gpu_unattributed_energy_per_gpu_energy_joules:ratio_rate5m",
            "node_cause:perwatt_gpu_unattributed_energy_joules:rate5m\n"
            "/ ignoring (cause) group_left ()\n(node:perwatt_gpu_energy_joules:rate5m > 0)",
        ),
        # Nodes without a meter give neither tokens nor joules to the node boundary.
        Recording(
            "node:perwatt_output_tokens_metered:rate5m",
            "node:perwatt_output_tokens:rate5m and on (job, instance) node:perwatt_node_energy_joules:rate5m",
        ),
        Recording(
            "node:perwatt_output_tokens_per_gpu_energy_joules:ratio_rate5m",
            ratio("node:perwatt_output_tokens:rate5m", "node:perwatt_gpu_energy_joules:rate5m")
            + f"\nunless on (job, instance) {IN_GROUP}",
        ),
        Recording(
            "node:perwatt_output_tokens_per_node_energy_joules:ratio_rate5m",
            ratio("node:perwatt_output_tokens_metered:rate5m", "node:perwatt_node_energy_joules:rate5m")
            + f"\nunless on (job, instance) {IN_GROUP}",
        ),
    ),
)


def in_rack(node_series: str) -> str:
    return f'sum by (cluster, rack) ({node_series}{{rack!=""}})'


def in_cluster(node_series: str) -> str:
    return f'sum by (cluster) ({node_series}{{cluster!=""}})'


def in_facility(node_series: str) -> str:
    return f'sum by (facility) (label_replace({node_series}, "facility", "default", "facility", ""))'


SUMMED = (
    "perwatt_output_tokens",
    "perwatt_gpu_energy_joules",
    "perwatt_output_tokens_metered",
    "perwatt_node_energy_joules",
)


def of_nodes(level: str) -> tuple[Recording, ...]:
    """The sums of the nodes of a level and their ratios. Idle nodes stay in the denominators."""
    gather = {"rack": in_rack, "cluster": in_cluster, "facility": in_facility}[level]
    sums = tuple(Recording(f"{level}:{metric}:rate5m", gather(f"node:{metric}:rate5m")) for metric in SUMMED)
    tokens, boards, metered, nodes = (one.name for one in sums)
    return (
        *sums,
        Recording(f"{level}:perwatt_output_tokens_per_gpu_energy_joules:ratio_rate5m", ratio(tokens, boards)),
        Recording(
            f"{level}:perwatt_output_tokens_per_node_energy_joules:ratio_rate5m", ratio(metered, nodes)
        ),
    )


FACILITY = Group(
    "perwatt-facility",
    (
        *of_nodes("facility"),
        # PUE is a metric of the aggregator, applied once, at the node boundary.
        Recording(
            "facility:perwatt_node_energy_joules_with_pue:rate5m",
            "facility:perwatt_node_energy_joules:rate5m "
            "* on (facility) max by (facility) (perwatt_facility_pue_ratio)",
        ),
        Recording(
            "facility:perwatt_output_tokens_per_node_energy_joules_with_pue:ratio_rate5m",
            ratio(
                "facility:perwatt_output_tokens_metered:rate5m",
                "facility:perwatt_node_energy_joules_with_pue:rate5m",
            ),
        ),
        # The facility's own meter where there is one. Several aggregators read the same meter.
        Recording(
            "facility:perwatt_facility_energy_joules:rate5m",
            f"max by (facility) {counted('perwatt_facility_energy_joules_total')}\n"
            "or\nfacility:perwatt_node_energy_joules_with_pue:rate5m",
        ),
        Recording(
            "facility:perwatt_facility_pue_ratio:max",
            "max by (facility) (perwatt_facility_pue_ratio and on (job, instance, facility) "
            'perwatt_facility_pue_info{kind=~"live|interim"})',
        ),
    ),
)

GROUPS = (
    COUNTERS,
    MODEL,
    NODE,
    Group("perwatt-rack", (*of_nodes("rack"), *of_nodes("cluster"))),
    FACILITY,
)
