"""Alerts on GPUs: lost ones, errors, and what slows them down; most by the agent's own health rules."""

from collections.abc import Sequence

from rules_model import Alert, Group, Severity

from perwatt_agent.diagnosis.gpu_history import XID_SECONDS
from perwatt_agent.diagnosis.rules import RULES
from perwatt_agent.diagnosis.xids import XIDS, XidClass
from perwatt_agent.facts.health import HealthReason

MEANINGS = {rule.reason: rule.meaning for rule in RULES}
WHERE = "{{ $labels.gpu }} on {{ $labels.instance }}"
MAINTENANCE = "The node is drained and under repair. Silence its `instance` until it is back."


def listed(kind: XidClass) -> str:
    """The numbers of a class of XID errors as a regular expression."""
    return "|".join(str(code) for code, xid in XIDS.items() if xid.kind == kind)


# An error that is not listed is a warning, as for the agent. So the two selectors are disjoint by themselves.
FATAL_XIDS = f'{{xid=~"{listed("fatal")}"}}'
WARNING_XIDS = f'{{xid!~"{listed("fatal")}|{listed("application")}"}}'


def recent_xids(selector: str, kind: XidClass) -> str:
    """
    XID errors of a class that still count against their GPU.

    Not by their increase: the series of a number is born with its first error. Prometheus's clock and a
    node's may differ, so the age of an error is counted from the snapshot.
    """
    return f"""
    perwatt_gpu_xid_last_timestamp_seconds{selector}
    > on (job, instance) group_left () (perwatt_snapshot_timestamp_seconds - {XID_SECONDS[kind]:.0f})
    and on (job, instance, gpu) perwatt_gpu_health_reason{{reason="xid_{kind}"}} == 1
    """


def by_reason(*reasons: HealthReason) -> str:
    matcher = f'="{reasons[0]}"' if len(reasons) == 1 else f'=~"{"|".join(reasons)}"'
    return f"perwatt_gpu_health_reason{{reason{matcher}}} == 1"


def health_alert(
    name: str,
    severity: Severity,
    wait: str,
    reasons: Sequence[HealthReason],
    summary: str,
    detail: str,
    action: str,
    ignore: str = MAINTENANCE,
) -> Alert:
    """An alert on reasons of the agent's health rules, which also say what it means."""
    return Alert(
        name,
        severity,
        wait,
        by_reason(*reasons),
        summary=summary,
        detail=detail,
        action=action,
        meaning=" ".join(MEANINGS[reason] for reason in reasons),
        check=f"`{by_reason(*reasons)}`, and `GET /v1/events` of the agent for the time and the details.",
        ignore=ignore,
    )


def state_alert(state: str, summary: str, action: str, meaning: str) -> Alert:
    return Alert(
        f"PerwattGpu{state.capitalize()}" if state != "error" else "PerwattGpuUnreadable",
        "critical",
        "2m",
        f'perwatt_gpus{{state="{state}"}} > 0',
        summary=summary,
        detail=f"{{{{ $value }}}} GPU(s) of {{{{ $labels.instance }}}}: {state}.",
        action=action,
        meaning=meaning,
        check=f'`perwatt_gpus{{state="{state}"}}`; `perwatt_gpu_up == 0` names them, unless the driver never '
        "reported their UUID.",
        ignore=MAINTENANCE,
    )


PRESENCE = Group(
    "perwatt-gpu-presence",
    (
        state_alert(
            "lost",
            summary="A GPU no longer answers its driver.",
            action="Look for Xid lines in `dmesg`. Drain the node, and reset the GPU or restart the node.",
            meaning="A GPU that was there is gone: it fell off the bus, or is missing after a restart of "
            "the node.",
        ),
        state_alert(
            "hung",
            summary="A driver call for a GPU has not returned for 2 minutes.",
            action="Look for XID 119 and 120 in `dmesg`. Drain the node and restart it: such a call cannot "
            "be ended.",
            meaning="The GPU or its system processor hangs. Programs on it wait for ever.",
        ),
        state_alert(
            "error",
            summary="A GPU has answered with failures for 2 minutes.",
            action="See `perwatt_collector_failures_total` for the reason. Run `nvidia-smi` on the node; "
            "reset the GPU.",
            meaning="The GPU is there, but no reading of it succeeds.",
        ),
        Alert(
            "PerwattGpuMissing",
            "critical",
            "10m",
            "node:perwatt_gpus:sum < max_over_time(node:perwatt_gpus:sum[1d])",
            summary="A node has fewer GPUs than at some time of the past day.",
            detail="{{ $labels.instance }} has {{ $value }} GPU(s), lost ones included, and had more "
            "within a day.",
            action="Compare `nvidia-smi -L` and `lspci` with the node's inventory. Set a writable "
            "`data_dir`, so that the agent itself notices a missing GPU.",
            meaning="The agent remembers its GPUs in `data_dir` and counts a missing one as lost. Without "
            "that memory, a restart of the agent forgets it; this alert does not.",
            check="`node:perwatt_gpus:sum` over the past day.",
            ignore="A GPU was taken out, or is left out by `gpu.exclude`: the alert ends a day later.",
        ),
        Alert(
            "PerwattWorkloadGpusMissing",
            "warning",
            "10m",
            "perwatt_workload_missing_gpus > 0",
            summary="A workload has had fewer GPUs than it requested for 10 minutes.",
            detail="{{ $labels.workload }} on {{ $labels.instance }} misses {{ $value }} GPU(s).",
            action="Check whether the GPU is lost, or claimed by another endpoint. Correct `gpus` of the "
            "endpoint in agent.yaml.",
            meaning="Its joules are incomplete, so its tokens per joule are not valid and are in no sum of "
            "its model.",
            check="`perwatt_workload_missing_gpus`, and `perwatt_workload_attribution_info` for the GPUs "
            "that it holds.",
            ignore="The engine starts: it claims its GPUs one after another.",
        ),
    ),
)

ERRORS = Group(
    "perwatt-gpu-errors",
    (
        Alert(
            "PerwattXidFatal",
            "critical",
            "1m",
            recent_xids(FATAL_XIDS, "fatal"),
            summary="A GPU reported an XID error of broken hardware.",
            detail=f"{WHERE}: XID {{{{ $labels.xid }}}}, at {{{{ $value | humanizeTimestamp }}}}.",
            action="Drain the node and reset the GPU. If the error returns, run NVIDIA's field diagnostic "
            "and replace the board.",
            meaning=MEANINGS["xid_fatal"]
            + " docs/health.md lists the fatal errors: "
            + listed("fatal").replace("|", ", ")
            + ".",
            check="`perwatt_gpu_xid_errors_total`, Xid lines in `dmesg`, and `GET /v1/events` of the agent.",
            ignore="The GPU was reset without the agent noticing: restart the agent, which also forgets "
            "the error.",
        ),
        Alert(
            "PerwattXidWarning",
            "warning",
            "1m",
            recent_xids(WARNING_XIDS, "warning"),
            summary="A GPU reported an XID error that may come from its hardware.",
            detail=f"{WHERE}: XID {{{{ $labels.xid }}}}, at {{{{ $value | humanizeTimestamp }}}}.",
            action="Look the number up in docs/health.md. Check ECC errors and remapped rows of the GPU "
            "before it gets more work.",
            meaning=MEANINGS["xid_warning"] + " Errors that perwatt does not know are warnings.",
            check="`perwatt_gpu_xid_errors_total`, Xid lines in `dmesg`, and `GET /v1/events` of the agent.",
            ignore="Once is no pattern: act if it comes back on the same GPU.",
        ),
        health_alert(
            "PerwattXidApplicationRepeated",
            "info",
            "1m",
            ("xid_application_repeated",),
            summary="Programs on a GPU caused several XID errors within ten minutes.",
            detail=f"{WHERE}: repeated XID errors of a kind that programs cause.",
            action="Look at the log of the program first. If another program fails in the same way, check "
            "the GPU.",
            ignore="Somebody debugs a kernel on this GPU.",
        ),
        health_alert(
            "PerwattGpuRecoveryNeeded",
            "critical",
            "2m",
            ("recovery_needed",),
            summary="The driver asks for a reset of a GPU or a restart of its node.",
            detail=f"{WHERE} needs the driver's recovery action.",
            action="Drain the node. Do what `perwatt_gpu_recovery_action` or `nvidia-smi -q` names.",
        ),
        health_alert(
            "PerwattGpuRecoveryAdvised",
            "warning",
            "10m",
            ("recovery_advised",),
            summary="The driver advises a recovery action for a GPU.",
            detail=f"{WHERE} has an advice of the driver.",
            action="Do what `perwatt_gpu_recovery_action` or `nvidia-smi -q` names.",
        ),
        health_alert(
            "PerwattGpuEccUncorrectable",
            "warning",
            "1m",
            ("ecc_uncorrectable",),
            summary="A GPU had uncorrectable memory errors within the hour.",
            detail=f"{WHERE} had uncorrectable memory errors.",
            action="Restart programs that failed on it. Reset the GPU when it is free, so that the row is "
            "remapped.",
            ignore="A single error whose row was remapped, and that does not come back.",
        ),
        health_alert(
            "PerwattGpuEccRising",
            "info",
            "1m",
            ("ecc_correctable_rising",),
            summary="Corrected memory errors of a GPU keep increasing.",
            detail=f"{WHERE} corrects more and more memory errors.",
            action="Watch `perwatt_gpu_remap_banks` and plan a replacement.",
        ),
        health_alert(
            "PerwattGpuSramThreshold",
            "critical",
            "5m",
            ("sram_threshold",),
            summary="The on-chip memory of a GPU had more uncorrectable errors than NVIDIA accepts.",
            detail=f"{WHERE} is beyond the threshold for SRAM errors.",
            action="Drain the GPU and run NVIDIA's field diagnostic; if it fails, replace the board.",
        ),
        health_alert(
            "PerwattGpuRemapFailed",
            "critical",
            "5m",
            ("remap_failed",),
            summary="A memory row of a GPU could not be remapped.",
            detail=f"{WHERE} has a faulty row without a spare.",
            action="Drain the node and replace the board.",
        ),
        health_alert(
            "PerwattGpuRemapPending",
            "warning",
            "10m",
            ("remap_pending",),
            summary="A memory row or page of a GPU waits for a reset to be taken out of use.",
            detail=f"{WHERE} waits for a reset.",
            action="Reset the GPU when it is free: `nvidia-smi --gpu-reset -i INDEX`.",
            ignore="A reset is already planned.",
        ),
        Alert(
            "PerwattGpuSpareRowsUsed",
            "warning",
            "10m",
            'perwatt_gpu_remap_banks{availability="none"} > 0',
            summary="A memory bank of a GPU has no spare row left.",
            detail=f"{WHERE}: {{{{ $value }}}} bank(s) without a spare row.",
            action="Plan the replacement of the board: the next faulty row of this bank cannot be remapped.",
            meaning="Each bank has a few spare rows. This one has used all of them.",
            check="`perwatt_gpu_remap_banks` by `availability`; only with `gpu.detail: full`.",
            ignore="The board is already to be replaced.",
        ),
    ),
)

SLOWED = Group(
    "perwatt-gpu-slowed",
    (
        Alert(
            "PerwattGpuThermalSlowdown",
            "warning",
            "5m",
            # The driver counts these reasons since 575; before, only whether they hold now.
            """
            max without (reason) (
              rate(perwatt_gpu_throttled_seconds_total{reason=~"thermal|sw_thermal|hw_thermal"}[5m])
            ) > 0.1
            or
            max without (reason) (
              avg_over_time(perwatt_gpu_throttle_active{reason=~"sw_thermal|hw_thermal"}[5m])
            ) > 0.1
            """,
            summary="Heat has slowed a GPU down for more than a tenth of the time.",
            detail=f"{WHERE} was slowed down by heat for {{{{ $value | humanizePercentage }}}} of the past "
            f"5 minutes.",
            action="Check fans, filters, coolant and the room's inlet temperature. Lower the power limit "
            "until it is repaired.",
            meaning="Lower clocks give fewer tokens; the boards of the same node may follow.",
            check="`perwatt_gpu_temperature_celsius`, `perwatt_gpu_temperature_margin_celsius`, "
            "`perwatt_gpu_throttle_active`; the last two only with `gpu.detail: full`.",
            ignore="A known heat wave or a test of the cooling.",
        ),
        health_alert(
            "PerwattGpuThermalMarginShrinking",
            "info",
            "15m",
            ("thermal_margin_shrinking",),
            summary="At equal power, a GPU is closer to its temperature limit than before.",
            detail=f"{WHERE} gets warmer at equal power.",
            action="Check fans, dust, coolant and the room before it throttles.",
            ignore="The room was made warmer on purpose.",
        ),
        health_alert(
            "PerwattGpuPowerBrake",
            "critical",
            "1m",
            ("power_brake",),
            summary="The server's power brake slowed a GPU down.",
            detail=f"{WHERE} was slowed down by the power brake.",
            action="Check the power supplies and feeds of the server in its BMC: one may have failed.",
            ignore="A test of the power supplies.",
        ),
        health_alert(
            "PerwattGpuDegraded",
            "warning",
            "10m",
            ("calls_fail", "nvlink_errors", "fabric_unhealthy", "pcie_link_reduced"),
            summary="A GPU or one of its links does less than it should.",
            detail=f"{WHERE}: {{{{ $labels.reason }}}}.",
            action="Follow what docs/health.md says for this reason.",
        ),
    ),
)

GROUPS = (PRESENCE, ERRORS, SLOWED)
