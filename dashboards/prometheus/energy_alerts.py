"""Alerts on wasted joules, on joules that cannot be right, and on a facility's power."""

from recording_rules import MODEL_REQUESTS, MODEL_SPEED, MODEL_TOKENS_PER_JOULE
from rules_model import Alert, Group

FALLEN_RATIO = 0.8
LOAD_RATIOS = (0.8, 1.25)
"""Loads within these are equal."""
CONTRACT = "facility:perwatt_contracted_power_watts:limit"
"""A series that the operator records: see dashboards/prometheus/examples/perwatt-site.yaml."""


def fallen_since(ago: str) -> str:
    """
    Models below their own tokens per joule of the same hour some time *ago*, at equal load.

    Load is requests at work on a GPU. Tokens a second of a GPU fall together with tokens per joule at equal
    watts, so they stand in only where no engine of the model reports its requests.
    """
    least, most = LOAD_RATIOS
    equal = [
        f"(({load} >= {least} * {load} offset {ago}) <= {most} * {load} offset {ago})"
        for load in (MODEL_REQUESTS, MODEL_SPEED)
    ]
    return (
        f"({MODEL_TOKENS_PER_JOULE} < {FALLEN_RATIO} * {MODEL_TOKENS_PER_JOULE} offset {ago})\n"
        f"and on (model) (\n  {equal[0]}\n  or on (model)\n  ({equal[1]} unless on (model) "
        f"{MODEL_REQUESTS})\n)"
    )


WASTE = Group(
    "perwatt-waste",
    (
        Alert(
            "PerwattIdleHeld",
            "info",
            "10m",
            # Only a workload that was there an hour ago can have idled for an hour.
            """
            sum without (state) (
              avg_over_time(workload_state:perwatt_workload_energy_joules:rate5m{state="idle"}[1h])
              and workload_state:perwatt_workload_energy_joules:rate5m offset 1h
            ) > 50
            unless
            sum without (state) (
              max_over_time(workload_state:perwatt_workload_energy_joules:rate5m{state!="idle"}[1h])
            ) > 0
            """,
            summary="A workload has held GPUs for an hour without serving a request.",
            detail="{{ $labels.workload }} ({{ $labels.model }}) on {{ $labels.instance }} idles at {{ "
            "$value | humanize }} W.",
            action="Scale it down, give it traffic, or let it share its GPUs.",
            meaning="The GPUs are allocated and nobody else can use them, while they take idle power.",
            check='`workload_state:perwatt_workload_energy_joules:rate5m{state="idle"}`, and '
            "`perwatt_requests_running` at 0.",
            ignore="A reserve that is kept warm on purpose.",
        ),
        Alert(
            "PerwattWorkloadPageDown",
            "warning",
            "10m",
            # While an engine's page is missing, its joules wait and no counter of the workload increases; so
            # this uses the boards that it holds.
            """
            (
              sum by (job, instance, workload) (
                group by (job, instance, workload, gpu) (perwatt_workload_energy_joules_total)
                * on (job, instance, gpu) group_left () max by (job, instance, gpu) (perwatt_gpu_power_watts)
              ) > 0
            )
            and on (job, instance, workload) perwatt_workload_up == 0
            """,
            summary="A workload has drawn power for 10 minutes without a readable metrics page.",
            detail="{{ $labels.workload }} on {{ $labels.instance }} holds GPUs that draw {{ $value | "
            "humanize }} W while its tokens cannot be read.",
            action="Try the engine's /metrics from that node. If the engine has ended, free its GPUs.",
            meaning="Its tokens are not counted, and its joules wait for them: figures that contain it are "
            "not valid.",
            check="`perwatt_workload_up` is 0; `perwatt_collector_failures_total` of its collector has the "
            "reason.",
            ignore="The engine loads a large model for more than ten minutes.",
        ),
        Alert(
            "PerwattBusyWithoutTokens",
            "warning",
            "5m",
            'perwatt_gpu_health_reason{reason="busy_without_tokens"} == 1',
            summary="A GPU has been fully busy for 10 minutes without a token.",
            detail="{{ $labels.gpu }} on {{ $labels.instance }} is at 100 % while no engine that holds it "
            "produces a token.",
            action="Check the engine's log: it may hang in a kernel or a collective operation. Restart it.",
            meaning="Utilization says only that a kernel runs. Here one runs, takes power, and gives no "
            "work.",
            check="`perwatt_gpu_utilization_ratio` is 1, and `rate(perwatt_output_tokens_total[5m])` of "
            "its workload is 0.",
            ignore="The engine computes very long prompts, or captures graphs at its start.",
        ),
        Alert(
            "PerwattTokensPerJouleRegression",
            "warning",
            "30m",
            f"({fallen_since('1d')})\nor\n({fallen_since('1w')})",
            summary="A model gives 20 % fewer tokens per joule than at the same hour a day or a week ago, "
            "at equal load.",
            detail="{{ $labels.model }} is at {{ $value | humanize }} output tokens per active board joule "
            "over the past hour.",
            action="Check what changed: engine version or flags, batch size, prompt length, power limit, "
            "clocks, throttling.",
            meaning="The same work costs a quarter more energy. Load is equal if running requests per GPU "
            "differ by less than a quarter; for engines that do not report them, output tokens per second "
            "and GPU.",
            check=f"`{MODEL_TOKENS_PER_JOULE}` and `{MODEL_REQUESTS}` over a week.",
            ignore="Requests are of another kind: longer prompts, shorter answers, more reasoning. After a "
            "week, the new level is the past and the alert ends.",
        ),
    ),
)

TRUST = Group(
    "perwatt-trust",
    (
        Alert(
            "PerwattEnergyUnexplained",
            "warning",
            "30m",
            """
            node_cause:perwatt_gpu_unattributed_energy_per_gpu_energy_joules:ratio_rate5m{cause="unknown"}
            > 0.05
            """,
            summary="More than 5 % of a node's GPU energy has had an unknown owner for 30 minutes.",
            detail="{{ $value | humanizePercentage }} of the joules of {{ $labels.instance }} belong to "
            "processes that no configured engine claims, so fleet figures have no headline.",
            action="Add the engine's URL under `engines.endpoints` in agent.yaml, or report the job's work "
            "(docs/work.md).",
            meaning="Somebody uses the GPUs, and perwatt does not know whose tokens these joules buy.",
            check='`perwatt_gpu_unattributed_energy_joules_total{cause="unknown"}` by `gpu`; '
            "`nvidia-smi` for the processes.",
            ignore="People try something by hand on a node of their own.",
        ),
        Alert(
            "PerwattEnergyDivergence",
            "warning",
            "30m",
            "abs(perwatt_gpu_energy_divergence_ratio) > 0.05",
            summary="A GPU's energy counter and its integrated power have disagreed by more than 5 % for "
            "30 minutes.",
            detail="{{ $labels.gpu }} on {{ $labels.instance }}: {{ $value | humanizePercentage }} apart.",
            action="Compare it with a meter of the node and set `calibration` of the GPU in agent.yaml. "
            "Until then its tokens per joule may be wrong by as much.",
            meaning="Two ways of measuring the same joules do not agree, so at least one is wrong.",
            check="`perwatt_gpu_energy_divergence_ratio`: above 0, the counter is higher.",
            ignore="The load is made of bursts much shorter than a second, which sampled power misses.",
        ),
    ),
)

FACILITY = Group(
    "perwatt-facility-alerts",
    (
        Alert(
            "PerwattPueRisen",
            "warning",
            "1h",
            """
            facility:perwatt_facility_pue_ratio:max
            > 1 + 1.2 * (avg_over_time(facility:perwatt_facility_pue_ratio:max[7d] offset 1d) - 1) + 0.01
            """,
            summary="The PUE of a facility has been clearly above that of its past week for an hour.",
            detail="The PUE of {{ $labels.facility }} is {{ $value | humanize }}: cooling and losses take "
            "over 20 % more per joule of IT than in the week before.",
            action="Check chillers, fans, economisers and UPS mode, and whether the IT load has fallen.",
            meaning="Each joule at the nodes costs more at the facility's meter. Only a measured PUE (live "
            "or interim) is compared.",
            check="`facility:perwatt_facility_pue_ratio:max` over eight days; `GET /v1/facility` of the "
            "aggregator.",
            ignore="Hot weather, or a facility that was just emptied: fixed losses then weigh more.",
        ),
        Alert(
            "PerwattNearContractedPower",
            "warning",
            "15m",
            f"avg_over_time(facility:perwatt_facility_energy_joules:rate5m[15m]) > on (facility) 0.9 * "
            f"{CONTRACT}",
            summary="A facility has been above 90 % of its contracted power for 15 minutes.",
            detail="{{ $labels.facility }} takes {{ $value | humanize }}W as a mean over 15 minutes.",
            action="Lower power limits or move work. `GET /v1/capacity?kw=` of the aggregator has the "
            "tokens at a smaller budget.",
            meaning="A peak above the contract costs a fee, or trips the feed. The power is that of the "
            "facility's meter, else that of its metered nodes times PUE.",
            check=f"`facility:perwatt_facility_energy_joules:rate5m` beside `{CONTRACT}`.",
            ignore="The contract has changed: correct the limit. Without a limit "
            "(dashboards/prometheus/examples/perwatt-site.yaml) the alert never fires.",
        ),
    ),
)

GROUPS = (WASTE, TRUST, FACILITY)
