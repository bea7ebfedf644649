"""Health rules of a GPU: one row for each reason, over its symptoms."""

from collections.abc import Callable

from msgspec import Struct

from perwatt_agent.diagnosis.gpu_history import Symptoms
from perwatt_agent.facts.gpu_status import RecoveryAction
from perwatt_agent.facts.health import HEALTH_STATES, GpuHealth, HealthReason, HealthState

UNREADABLE_SECONDS = 5.0
LINK_SECONDS = 30.0
NO_TOKENS_SECONDS = 300.0
SHRUNK_CELSIUS = 6.0
RISING_STEPS = 3
REPEATED_XIDS = 3

NEEDED: tuple[RecoveryAction, ...] = ("reset", "reboot", "drain_and_reset", "bus_reset", "system_reboot")
ADVISED: tuple[RecoveryAction, ...] = ("drain_p2p", "restart_imex", "other")


class Rule(Struct, frozen=True):
    """
    A reason, the state that it gives, and when it holds; `meaning` explains it and what to do.
    """

    reason: HealthReason
    state: HealthState
    meaning: str
    holds: Callable[[Symptoms], bool]


RULES: tuple[Rule, ...] = (
    Rule(
        "driver_down",
        "failed",
        "The driver does not answer, so nothing is known about the GPU. Run `perwatt doctor`.",
        lambda gpu: not gpu.backend_up,
    ),
    Rule(
        "lost",
        "failed",
        "The driver has lost the GPU. Reset the GPU, or restart the node.",
        lambda gpu: gpu.backend_up and gpu.state == "lost",
    ),
    Rule(
        "hung",
        "failed",
        "A driver call for this GPU does not return. Look for XID 119 and 120 in `dmesg`. The node must be "
        "restarted.",
        lambda gpu: gpu.state == "hung",
    ),
    Rule(
        "unreadable",
        "failed",
        f"The GPU is present, but no reading of it has succeeded for {UNREADABLE_SECONDS:g} s. See "
        "`perwatt_collector_failures_total` for the cause.",
        lambda gpu: gpu.state == "error" and gpu.seconds_unread >= UNREADABLE_SECONDS,
    ),
    Rule(
        "calls_fail",
        "degraded",
        f"Some driver calls that this GPU supports have failed for {UNREADABLE_SECONDS:g} s, so values are "
        "missing. The event names the calls.",
        lambda gpu: gpu.seconds_failing >= UNREADABLE_SECONDS,
    ),
    Rule(
        "xid_fatal",
        "failed",
        "A fatal XID error within a day, and no reset of the GPU since. Drain the node and reset the GPU.",
        lambda gpu: gpu.xids["fatal"] > 0,
    ),
    Rule(
        "xid_warning",
        "at_risk",
        "An XID error of the hardware within an hour. Check the GPU before it gets more work.",
        lambda gpu: gpu.xids["warning"] > 0,
    ),
    Rule(
        "xid_application_repeated",
        "degraded",
        f"{REPEATED_XIDS} XID errors within ten minutes of a kind that programs usually cause. Check the "
        "program first.",
        lambda gpu: gpu.xids["application"] >= REPEATED_XIDS,
    ),
    Rule(
        "recovery_needed",
        "failed",
        "The driver asks for a reset of the GPU or a restart of the node.",
        lambda gpu: _recovery(gpu) in NEEDED,
    ),
    Rule(
        "recovery_advised",
        "at_risk",
        "The driver asks to drain the GPU's peer-to-peer traffic (drain P2P), to restart IMEX, or for an "
        "action that perwatt does not know.",
        lambda gpu: _recovery(gpu) in ADVISED,
    ),
    Rule(
        "sram_threshold",
        "at_risk",
        "The memory on the chip (SRAM) had more uncorrectable errors than NVIDIA's field diagnostic accepts. "
        "Drain the GPU and run the field diagnostic.",
        lambda gpu: (
            gpu.slow is not None
            and gpu.slow.sram_errors is not None
            and gpu.slow.sram_errors.threshold_exceeded is True
        ),
    ),
    Rule(
        "remap_failed",
        "failed",
        "A memory row could not be remapped. Replace the GPU.",
        lambda gpu: gpu.slow is not None and gpu.slow.remapped_rows_failed is True,
    ),
    Rule(
        "remap_pending",
        "at_risk",
        "A memory row waits to be remapped, or a page waits to be retired. Reset the GPU when it is free.",
        lambda gpu: (
            gpu.slow is not None
            and (gpu.slow.remapped_rows_pending is True or gpu.slow.retired_pages_pending is True)
        ),
    ),
    Rule(
        "ecc_uncorrectable",
        "at_risk",
        "Uncorrectable memory errors within the hour. Programs on the GPU may have failed. Watch the GPU.",
        lambda gpu: gpu.ecc_uncorrectable > 0,
    ),
    Rule(
        "ecc_correctable_rising",
        "degraded",
        f"Corrected memory errors increased {RISING_STEPS} times within the hour: the memory is wearing out.",
        lambda gpu: gpu.ecc_correctable_steps >= RISING_STEPS,
    ),
    Rule(
        "nvlink_errors",
        "degraded",
        "NVLink counted errors within ten minutes. Check cables, bridges and the fabric manager.",
        lambda gpu: gpu.nvlink_errors > 0,
    ),
    Rule(
        "fabric_unhealthy",
        "at_risk",
        "The NVLink fabric reports that it is not healthy at this GPU.",
        lambda gpu: gpu.slow is not None and gpu.slow.fabric_health in ("unhealthy", "limited_capacity"),
    ),
    Rule(
        "pcie_link_reduced",
        "degraded",
        f"For {LINK_SECONDS:g} s under load, PCIe had fewer lanes or a lower speed than it supports. Reseat "
        "the board.",
        lambda gpu: gpu.seconds_link_reduced >= LINK_SECONDS,
    ),
    Rule(
        "power_brake",
        "degraded",
        "The server's power brake slowed the GPU down within five minutes. Check the power supplies.",
        lambda gpu: gpu.power_brake_seconds > 0,
    ),
    Rule(
        "thermal_margin_shrinking",
        "at_risk",
        f"At equal power, the GPU is {SHRUNK_CELSIUS:g} degrees closer to its limit than over the last "
        "hours. Check fans, dust, coolant and the room.",
        lambda gpu: gpu.thermal_shrunk_celsius >= SHRUNK_CELSIUS,
    ),
    Rule(
        "busy_without_tokens",
        "degraded",
        f"For {NO_TOKENS_SECONDS:g} s the GPU was fully busy while no engine that holds it produced a token. "
        "An engine may hang: check its log.",
        lambda gpu: gpu.seconds_without_tokens >= NO_TOKENS_SECONDS,
    ),
)


def evaluate(symptoms: Symptoms, rules: tuple[Rule, ...] = RULES) -> GpuHealth:
    """Return the worst state of all rules that hold, and their reasons."""
    holding = [rule for rule in rules if rule.holds(symptoms)]
    state = max((rule.state for rule in holding), key=HEALTH_STATES.index, default=HEALTH_STATES[0])
    return GpuHealth(state, tuple(rule.reason for rule in holding))


def _recovery(symptoms: Symptoms) -> RecoveryAction | None:
    return None if symptoms.slow is None else symptoms.slow.recovery_action
