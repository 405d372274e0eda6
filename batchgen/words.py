"""Amounts, times and counts in words. Pure."""

from decimal import Decimal

from batchgen.money import dollars, usd

_UNITS = (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000))


def money(amount: Decimal) -> str:
    """An amount of a document for people: `$52.08`."""
    return dollars(usd(amount))


def clips(count: int, adjective: str = "") -> str:
    """`1 failed clip`, `2,000 clips`."""
    noun = f"{adjective} clip" if adjective else "clip"
    return f"{count:,} {noun}{'s' * (count != 1)}"


def elements(count: int) -> str:
    """`1 element`, `2 elements`."""
    return f"{count:,} element{'s' * (count != 1)}"


def ordered(count: int, made: int) -> str:
    """`25 clips`, `25 clips and 2 elements`, `1 element`."""
    if not made:
        return clips(count)
    return f"{clips(count)} and {elements(made)}" if count else elements(made)


def duration(seconds: float) -> str:
    """`8s`, `31m 08s`, `6h 02m`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, part = divmod(minutes, 60)
    if hours:
        return f"{hours:,}h {part:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def about(seconds: float) -> str:
    """A guess: `under a minute`, `about 12m`, `about 1h 40m`."""
    minutes = round(seconds / 60)
    if not minutes:
        return "under 1m"
    hours, part = divmod(minutes, 60)
    return f"about {hours:,}h {part:02d}m" if hours else f"about {minutes}m"


def size(count: float) -> str:
    """Bytes: `498 MB`, `1.2 GB`."""
    for unit, factor in _UNITS:
        amount = count / factor
        if amount >= 1:
            return f"{amount:.0f} {unit}" if amount >= 9.95 else f"{amount:.1f} {unit}"  # noqa: PLR2004
    return f"{count:.0f} B"
