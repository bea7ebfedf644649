"""Examples for the OpenAPI document."""

from perwatt_aggregator.answers import Efficiency, EfficiencyItem, Pue, Requests, Tokens, Window

EFFICIENCY = Efficiency(
    by=("model",),
    items=(
        EfficiencyItem(
            group={"model": "llama-3-70b"},
            boundary="node",
            window=Window("2026-11-21T10:00:00.100Z", "2026-11-21T10:01:00.100Z", 60.0),
            tokens=Tokens(output=60000, prompt_computed=9000, prompt_cached=1000, effective_output=59000),
            requests=Requests(ok=200, aborted=1, error=0),
            work={},
            energy_joules=12000.0,
            energy_idle_joules=900.0,
            power_watts=200.0,
            output_tokens_per_second=1000.0,
            tokens_per_joule=5.0,
            joules_per_token=0.2,
            effective_tokens_per_joule=59000 / 12000,
            tokens_per_joule_active=60000 / 11100,
            watt_hours_per_million_tokens=0.2e6 / 3600,
            joules_per_request=60.0,
            watt_hours_per_request=60.0 / 3600,
            work_per_joule={},
            pue=Pue(1.25, "static", None),
            cost=None,
            carbon=None,
            coverage_ratio=1.0,
            explained_ratio=1.0,
            largest_gap_seconds=5.0,
            age_seconds=0.8,
            provenance=("counter",),
            valid=True,
            reasons=(),
        ),
    ),
)
