"""Money as integer micro-dollars: the only form that is added, compared or stored."""

from decimal import ROUND_CEILING, Decimal

Micros = int
"""Millionths of a US dollar."""

_PER_DOLLAR = 1_000_000


def usd(amount: str | int | Decimal) -> Micros:
    """Read dollars: `usd("0.42") == 420_000`.

    Raises:
        ValueError: not a number, not finite, or finer than a micro-dollar.
    """
    try:
        scaled = Decimal(amount) * _PER_DOLLAR
        whole = int(scaled)
    except ArithmeticError as error:
        raise ValueError(f"not an amount of US dollars: {amount}") from error
    if whole != scaled:
        raise ValueError(f"finer than a millionth of a dollar: {amount}")
    return whole


def times(rate: Micros, quantity: float | Decimal) -> Micros:
    """A rate times a quantity, rounded up: an upper bound must not be short."""
    exact = Decimal(rate) * Decimal(str(quantity))
    return int(exact.to_integral_value(rounding=ROUND_CEILING))


def plain(amount: Micros) -> str:
    """Dollars with two to six decimals: `52.08`."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, rest = divmod(amount, _PER_DOLLAR)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def dollars(amount: Micros) -> str:
    """Dollars for people: `$1,260.00`."""
    text = plain(amount)
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, decimals = text.split(".")
    return f"{sign}${int(whole):,}.{decimals}"


def round_up(amount: Micros) -> str:
    """A round amount of dollars that covers this one: 52.08 makes 60, 378 makes 380."""
    whole = max(1, -(-amount // _PER_DOLLAR))
    digits = len(str(whole))
    step = 10 ** max(digits - 2, min(digits - 1, 1))
    return str(-(-whole // step) * step)
