"""docs/health.md, from the tables."""

from perwatt_agent.diagnosis.gpu_history import XID_SECONDS
from perwatt_agent.diagnosis.rules import RULES
from perwatt_agent.diagnosis.xids import XIDS

_INTRODUCTION = """# Health of GPUs

<!-- Generated from perwatt_agent/diagnosis by `make docs`; do not edit. -->

`perwatt_gpu_health{gpu,state}` is 1 for the worst state that any reason gives, and
`perwatt_gpu_health_reason{gpu,reason}` is 1 for each reason that holds. Each change is an event in
`GET /v1/events` of the agent. If the GPU does not report a value that a rule needs, the rule assumes that
the GPU is healthy. History starts with the agent.

| reason | state | meaning |
|---|---|---|
"""
_XIDS = """
## XID errors

Errors that a GPU reports by itself, counted in `perwatt_gpu_xid_errors_total{gpu,xid}` and published at
once. Counters start at 0 with the agent, because the driver reports no earlier errors; it also gives no
time. An error that is not listed counts as a warning.

"""


def document() -> str:
    rules = "".join(f"| `{rule.reason}` | {rule.state} | {rule.meaning} |\n" for rule in RULES)
    held = "; ".join(f"{kind} for {seconds / 60:g} minutes" for kind, seconds in XID_SECONDS.items())
    xids = "".join(f"| {code} | {xid.kind} | {xid.meaning} |\n" for code, xid in XIDS.items())
    table = "| XID | class | meaning |\n|---|---|---|\n"
    over = "or until the GPU was lost and answers again"
    memory = f"An error counts against the GPU, by its class: {held}, {over}.\n\n"
    return f"{_INTRODUCTION}{rules}{_XIDS}{memory}{table}{xids}"
