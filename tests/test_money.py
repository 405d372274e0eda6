"""Money is whole micro-dollars."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.money import dollars, plain, times, usd


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0.42", 420_000), ("52.08", 52_080_000), ("0.000001", 1), (5, 5_000_000)],
)
def test_dollars_are_read_exactly(text: str | int, micros: int) -> None:
    assert usd(text) == micros


@pytest.mark.parametrize("text", ["", "x", "NaN", "Infinity", "0.0000001"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"dollar|NaN"):
        usd(text)


def test_an_upper_bound_is_rounded_up() -> None:
    assert times(420_000, 5) == 2_100_000
    assert times(1, 0.5) == 1
    assert times(3, Decimal("0.1")) == 1


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_what_is_written_is_read_again(amount: int) -> None:
    assert usd(plain(amount)) == amount


def test_dollars_for_people() -> None:
    assert dollars(1_260_000_000) == "$1,260.00"
    assert dollars(-2_100_000) == "-$2.10"
    assert plain(420_500) == "0.4205"
