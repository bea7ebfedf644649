"""Arithmetic over optional numbers: None is a number that is not known, and never counts as zero."""

from collections.abc import Iterable

MAX_WHOLE = 2.0**63
"""Whole numbers in JSON answers have 64 bits."""


def total(amounts: Iterable[float | None]) -> float | None:
    """The sum of the known amounts; None if there is none."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def complete_total(amounts: Iterable[float | None]) -> float | None:
    """The sum of all amounts; None if one of them is not known, or there is none."""
    total_amount: float | None = None
    for amount in amounts:
        if amount is None:
            return None
        total_amount = (total_amount or 0) + amount
    return total_amount


def total_of_products(
    pairs: Iterable[tuple[float | None, float | None]], empty: float | None = None
) -> float | None:
    """
    The sum of amounts times their rates; *empty* if there is no amount with a rate.

    An amount that is not known is left out. None if an amount other than zero has no known rate.
    """
    total_amount = empty
    for amount, rate in pairs:
        if amount is not None and rate is not None:
            total_amount = (total_amount or 0.0) + amount * rate
        elif amount:
            return None
    return total_amount


def quotient(numerator: float | None, denominator: float | None) -> float | None:
    """A quotient; None if one of the two is not known, or the denominator is zero: never Inf, never NaN."""
    return None if numerator is None or not denominator else numerator / denominator


def product(first: float | None, second: float | None) -> float | None:
    """A product; None if one of the two is not known."""
    return None if first is None or second is None else first * second


def difference(whole: float | None, part: float | None) -> float | None:
    """A difference; None if one of the two is not known."""
    return None if whole is None or part is None else whole - part


def maximum(first: float | None, second: float | None) -> float | None:
    """The larger of two numbers; None if one of them is not known."""
    return None if first is None or second is None else max(first, second)


def rounded(amount: float | None) -> int | None:
    """The nearest whole number; None if it is not known, or if JSON has no such whole number."""
    return round(amount) if amount is not None and abs(amount) < MAX_WHOLE else None
