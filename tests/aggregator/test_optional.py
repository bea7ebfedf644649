"""Arithmetic over optional numbers: what is not known never counts as zero."""

from perwatt_aggregator.optional import (
    complete_total,
    difference,
    maximum,
    product,
    quotient,
    rounded,
    total,
    total_of_products,
)


def test_a_total_is_of_what_is_known() -> None:
    assert 5.0 == total([2.0, None, 3.0])
    assert total([None]) is None
    assert total([]) is None


def test_a_complete_total_needs_every_amount() -> None:
    assert 5.0 == complete_total([2.0, 3.0])
    assert 0.0 == complete_total([0.0])
    assert complete_total([2.0, None]) is None
    assert complete_total([]) is None


def test_only_an_amount_of_zero_needs_no_rate() -> None:
    assert 8.0 == total_of_products([(2.0, 4.0), (0.0, None), (None, 7.0)])
    assert total_of_products([(2.0, 4.0), (1.0, None)]) is None
    assert total_of_products([]) is None
    assert 0.0 == total_of_products([(0.0, None)], empty=0.0)


def test_a_quotient_is_never_infinite() -> None:
    assert 0.5 == quotient(1.0, 2.0)
    assert quotient(1.0, 0.0) is None
    assert quotient(None, 2.0) is None
    assert quotient(1.0, None) is None


def test_one_unknown_number_makes_the_result_unknown() -> None:
    assert 6.0 == product(2.0, 3.0)
    assert product(2.0, None) is None
    assert -1.0 == difference(2.0, 3.0)
    assert difference(None, 3.0) is None
    assert 3.0 == maximum(2.0, 3.0)
    assert maximum(2.0, None) is None
    assert 3 == rounded(2.6)
    assert rounded(None) is None
    assert rounded(float("inf")) is None
