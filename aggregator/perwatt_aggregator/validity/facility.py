"""Reasons of PUE, prices and carbon."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "pue_period_short",
        False,
        "Facility and IT energy are known for less than 15 minutes of the same time, so the stated PUE "
        "is used.",
        "Wait; then see the meters in /v1/facility. IT energy needs a meter, or one on every node.",
    ),
    Reason(
        "pue_stale",
        False,
        "The measured PUE is too old: a live one by a 24th of its period, any other by two years. The "
        "stated ratio is used as a static one.",
        "See in /v1/facility which meter fails, and why; or state a newer measurement.",
    ),
    Reason(
        "pue_coverage_low",
        False,
        "The two meters together cover less than 95 % of the PUE's period, so the stated PUE is used.",
        "See in /v1/facility which meter fails, and why.",
    ),
    Reason(
        "pue_below_one",
        False,
        "The facility's meter shows less than IT uses, which is impossible, so the stated PUE is used.",
        "Check what each meter supplies, its unit and its factor.",
    ),
    Reason(
        "pue_implausible",
        False,
        "The facility's meter shows at least ten times what IT uses, so the stated PUE is used.",
        "Check the meters' units and factors, and whether all IT loads are metered.",
    ),
    Reason(
        "price_stale",
        False,
        "The queried price is not known or too old; `per_kwh` is used instead if it is set.",
        "See the failure of the price under `meters` in /v1/facility.",
    ),
    Reason(
        "carbon_stale",
        False,
        "The carbon intensity of the window is not known or too old; `grams_co2e_per_kwh` is used "
        "instead if it is set.",
        "See the failure of the carbon intensity under `meters` in /v1/facility; a file must reach the "
        "present.",
    ),
    Reason(
        "several_facilities",
        False,
        "The figure spans facilities with different PUEs; each joule has the PUE of its own facility.",
        "Group by `node`.",
    ),
    Reason(
        "several_currencies",
        False,
        "The facilities have different currencies, which are never added, so there is no cost.",
        "Group by `node`.",
    ),
    Reason(
        "several_carbon_kinds",
        False,
        "Average and marginal carbon intensities are never added, so there are no emissions.",
        "Group by `node`, or configure intensities of one kind for all facilities.",
    ),
    Reason(
        "no_price",
        False,
        "Not every facility of the figure has a price, so there is no cost.",
        "Set `price` for each facility.",
    ),
    Reason(
        "no_carbon",
        False,
        "Not every facility of the figure has a carbon intensity, so there are no emissions.",
        "Set `carbon` for each facility.",
    ),
)
