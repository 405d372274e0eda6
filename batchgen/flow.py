"""How fast clips come in, how many should come at once, and whether that is in time.

Pure: whoever uses these tells the time, in seconds of any clock that is not set.
"""

from threading import Lock

MOST_AT_ONCE = 16
"""Downloads of one process."""
_FEWEST = 2
_WINDOW = 5.0  # of a comparison; shorter ones compare noise
_FULL = 0.9  # of the lanes must have been in use, or the line was not put to the test
_REST = 6  # windows between two tries that led nowhere
_RELIEF = 60.0  # downloads that are too slow together are so once
_HALF_LIFE = 600.0
_ENOUGH = 60.0  # seconds of downloading before anybody speaks of a rate

PAUSE_AT, RESUME_AT = 1 / 4, 1 / 5
"""Shares of the life that is left; apart, so that buying does not stutter."""


class Meter:
    """Counts the bytes that come, from any thread."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """So many more came."""
        with self._lock:
            self.total += count


class Lanes:
    """How many downloads at once: one more as long as that brings noticeably more.

    Were the line no limit, one more lane of n would bring an n-th more: half of that is
    noticeable, and a lane whose loss costs less than half is taken away. It begins with
    all of them: clips that are small or few are here before anything was learned, and
    downloads that end together share the journal's syncs.

    Attributes:
        count: downloads that should be under way.
    """

    def __init__(self) -> None:
        self.count = MOST_AT_ONCE
        self._busy = 0  # lanes in use since the last note
        self._noted_at: float | None = None
        self._since = 0.0
        self._start = 0  # bytes at the start of the window
        self._used = 0.0  # lane-seconds in the window
        self._before: tuple[int, float] | None = None  # a try's lanes and rate before
        self._step = 1
        self._rest = 0
        self._relieved_at = float("-inf")

    def note(self, now: float, received: int, busy: int) -> None:
        """So many bytes came in all; from now on so many lanes are in use."""
        if self._noted_at is None:
            self._since, self._start = now, received
        else:
            self._used += self._busy * (now - self._noted_at)
        self._noted_at, self._busy = now, busy
        if (span := now - self._since) < _WINDOW:
            return
        if self._used >= _FULL * self.count * span:
            self._judge((received - self._start) / span)
        elif self._before is not None:
            self.count, self._before = self._before[0], None
        self._since, self._start, self._used = now, received, 0.0

    def relieve(self, now: float) -> None:
        """A download came too slowly: half of them may be as much as the line bears."""
        if now - self._relieved_at < _RELIEF:
            return
        self.count = max(_FEWEST, self.count // 2)
        self._relieved_at, self._before, self._rest = now, None, _REST

    def _judge(self, rate: float) -> None:
        if self._before is None:
            self._rest = max(0, self._rest - 1)
            if not self._rest:
                self._try(rate)
            return
        lanes, old = self._before
        needed = 1 + self._step / (2 * lanes)  # for fewer lanes: what may be lost
        if rate > old * needed:
            self._try(rate)
            return
        self.count, self._before = lanes, None
        self._step, self._rest = -self._step, _REST

    def _try(self, rate: float) -> None:
        wanted = self.count + self._step
        if not _FEWEST <= wanted <= MOST_AT_ONCE:
            self._step, self._before, self._rest = -self._step, None, _REST
            return
        self._before, self.count = (self.count, rate), wanted


class Rate:
    """Bytes a second while anything comes in; what was long ago counts little.

    Attributes:
        a_second: None until enough is known.
    """

    def __init__(self) -> None:
        self.a_second: float | None = None
        self._noted_at = 0.0
        self._received = 0
        self._is_busy = False
        self._bytes = self._seconds = 0.0

    def note(self, now: float, received: int, *, busy: bool) -> None:
        """So many bytes came in all by now; from now on some are awaited, or none."""
        past = now - self._noted_at if self._is_busy else 0.0
        fading = 0.5 ** (past / _HALF_LIFE)
        self._bytes = self._bytes * fading + received - self._received
        self._seconds = self._seconds * fading + past
        self._noted_at, self._received, self._is_busy = now, received, busy
        if self._seconds >= _ENOUGH:
            self.a_second = self._bytes / self._seconds


def takes(clips: int, mean: float, rate: float | None) -> float:
    """Seconds until so many clips of so many bytes each are here; 0 if unknown."""
    if not clips or not mean or rate is None:
        return 0.0
    return clips * mean / rate if rate else float("inf")


def endangered(needed: float, life: float, *, paused: bool) -> bool:
    """Whether nothing more should be bought, as what is paid may expire unfetched.

    Args:
        needed: seconds until all of it is here.
        life: seconds until the first of it expires.
        paused: whether buying waits already.
    """
    return needed > life * (RESUME_AT if paused else PAUSE_AT)
