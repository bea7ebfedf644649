"""Reasons of PUE, prices and carbon."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "pue_period_short",
        False,
        "Facility and IT energy are not yet known for the same 15 minutes, so the stated PUE is used.",
        "Wait; then look at the meters in /v1/facility: IT energy needs a meter, or one at every node.",
    ),
    Reason(
        "pue_stale",
        False,
        "The measured PUE is too old: a live one by a 24th of its period, another one by two years. The "
        "stated ratio is used as a static one.",
        "See in /v1/facility which meter fails, and why; or state a newer measurement.",
    ),
    Reason(
        "pue_coverage_low",
        False,
        "The meters cover less than 95 % of the PUE's period together, so the stated PUE is used.",
        "See in /v1/facility which meter fails, and why.",
    ),
    Reason(
        "pue_below_one",
        False,
        "The facility's meter shows less than IT took, which cannot be, so the stated PUE is used.",
        "Check what either meter feeds, their units and factors.",
    ),
    Reason(
        "pue_implausible",
        False,
        "The facility's meter shows at least ten times what IT took, so the stated PUE is used.",
        "Check the meters' units and factors, and whether every IT load is metered.",
    ),
    Reason(
        "price_stale",
        False,
        "The price that is asked for is not known or too old; `per_kwh` stands in for it, if it is set.",
        "See the price's failure under `meters` in /v1/facility.",
    ),
    Reason(
        "carbon_stale",
        False,
        "The carbon intensity of the window is not known or too old; `grams_co2e_per_kwh` stands in for it, "
        "if it is set.",
        "See the failure under `meters` in /v1/facility; a file must reach to now.",
    ),
    Reason(
        "several_facilities",
        False,
        "The figure spans facilities of different PUE; each joule has that of its own facility.",
        "Group by `node`.",
    ),
    Reason(
        "several_currencies",
        False,
        "The facilities pay in different currencies, which are never added, so there is no cost.",
        "Group by `node`.",
    ),
    Reason(
        "several_carbon_kinds",
        False,
        "Average and marginal carbon intensities are never added, so there are no emissions.",
        "Group by `node`, or give the facilities intensities of one kind.",
    ),
    Reason(
        "no_price",
        False,
        "Not every facility that the figure spans has a price, so there is no cost.",
        "Set `price` for each facility.",
    ),
    Reason(
        "no_carbon",
        False,
        "Not every facility that the figure spans has a carbon intensity, so there are no emissions.",
        "Set `carbon` for each facility.",
    ),
)
