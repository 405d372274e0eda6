"""Until when a session buys: what a person writes, and the moment it means. Pure."""

from datetime import UTC, datetime, time, timedelta, tzinfo

from msgspec import Struct

from batchgen.patterns import pattern

_CLOCK = pattern(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?: +(\S+))?")
_LENGTH = pattern(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|m|h)")
_MOMENT = pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SHAPES = 'write "06:30", "06:30 Europe/Berlin", 8h or 2026-11-23T06:30:00+01:00'


class BadTime(ValueError):
    """A text that is no deadline; `label` says what to write instead."""

    def __init__(self, message: str, label: str = _SHAPES) -> None:
        super().__init__(message)
        self.label = label


class Deadline(Struct, frozen=True):
    """When a session starts nothing more: one of the three is given.

    Attributes:
        text: as it was written.
        clock: a time of day, the next one that comes.
        zone: of that time, an IANA name; empty for the machine's own.
        length: seconds from the start.
        moment: a moment for good.
    """

    text: str
    clock: time | None = None
    zone: str = ""
    length: float | None = None
    moment: datetime | None = None

    def after(self, start: datetime) -> datetime:
        """The moment it means to a session that starts then; in UTC."""
        if self.moment is not None:
            return self.moment.astimezone(UTC)
        if self.clock is None:
            return (start + timedelta(seconds=self.length or 0.0)).astimezone(UTC)
        zone = zone_of(self.zone)
        # Without a zone the day and the moment are those of the machine's own clock,
        # which knows when summer time ends.
        local = start.astimezone(zone).replace(tzinfo=None)
        for days in (0, 1):
            day = local.date() + timedelta(days=days)
            moment = datetime.combine(day, self.clock)
            moment = moment.replace(tzinfo=zone).astimezone(UTC)
            if moment > start:
                return moment
        return moment


def seconds(text: str) -> float | None:
    """`90s`, `30m` or `2h` in seconds; None for another shape."""
    found = _LENGTH.fullmatch(text)
    return float(found[1]) * _SECONDS[found[2]] if found else None


def read(text: str) -> Deadline:
    """A deadline as people write it.

    Raises:
        BadTime: another shape, or a time zone that nobody knows.
    """
    clock, length = _CLOCK.fullmatch(text), seconds(text)
    if clock:
        zone = clock[3] or ""
        if zone and not _is_zone(zone):
            raise BadTime(f"there is no time zone {zone}", _zone_like(zone))
        return Deadline(text, clock=time(int(clock[1]), int(clock[2])), zone=zone)
    if length:
        return Deadline(text, length=length)
    if not _MOMENT.fullmatch(text):
        raise BadTime("a deadline is a time of day, a length of time or a moment")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadTime(f"{text} is no moment") from None
    if moment.tzinfo is None:
        raise BadTime(
            f"{text} has no offset, so it is another moment in each time zone",
            f"write {moment.isoformat()}+01:00, or Z for UTC",
        )
    return Deadline(text, moment=moment)


def zone_of(name: str) -> tzinfo | None:
    """The zone of a name like Europe/Berlin; None, which is the machine's, of none."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few manifests name a zone

    return ZoneInfo(name) if name else None


def _is_zone(name: str) -> bool:
    try:
        zone_of(name)
    except (OSError, ValueError, KeyError):  # a folder, a wild path, nothing there
        return False
    return True


def _zone_like(name: str) -> str:
    import difflib  # noqa: PLC0415 - only a misspelling needs it
    from zoneinfo import available_timezones  # noqa: PLC0415 - the same

    known = {zone.lower(): zone for zone in sorted(available_timezones())}
    cities = {zone.rsplit("/", 1)[-1]: zone for zone in known}
    word = name.lower().replace(" ", "_")
    near = difflib.get_close_matches(word, [*known, *cities], n=1, cutoff=0.7)
    if not near:
        return "write a name such as Europe/Berlin or UTC"
    return f"did you mean `{known[cities.get(near[0], near[0])]}`?"
