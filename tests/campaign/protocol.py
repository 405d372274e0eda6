"""A model of the protocol, small enough to visit every reachable state.

Tasks of equal or different bodies; attempts; a journal of which a crash keeps any
prefix beyond what was synced; a provider that takes requests late, loses answers,
lists late, fails and refunds; a person who restores an old copy. Each step of the
world and each of ours is taken in every state, and the promises are checked in each.
`BROKEN` are protocols with one rule missing: the model must catch every one.

Not in here: time (only its consequence, "settled"), downloads, two runners (the
kernel's lock sees to them), damage inside a record.
"""

import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Stages of an attempt: open, accepted, uncertain, refused, not sent, absent,
# failed and not yet paid back, failed and the refund seen.
OPEN, TAKEN, DOUBT, REFUSED, UNSENT, ABSENT, FAILED, REFUNDED = "oaurnxfq"
RELEASED = frozenset("rnxq")

Attempt = tuple[str, int]  # its stage; its row at the provider, or -1
Fold = tuple[int, tuple[tuple[Attempt, ...], ...]]  # records so far; attempts by task
Row = tuple[int, int, bool, str]  # task, attempt, listed, "run" | "fail" | "back"
Letter = tuple[int, int, int]  # task, attempt, ON_ITS_WAY | SAID_NO | its row
ON_ITS_WAY, SAID_NO = -1, -3  # not -2: hash(-2) is hash(-1), and hashes tell states


class Scan(NamedTuple):
    """The first pass over the history: of which bodies, what it saw, and when."""

    body: str
    found: frozenset[int]
    after_settling: bool


class Config(NamedTuple):
    """One world: equal letters in `bodies` are equal request bodies."""

    bodies: str
    cap: int
    policy: str = "absent"  # or "hold", or "uncertain": buy again, knowing the risk
    attempts: int = 2
    slots: int = 2
    crashes: int = 1
    drifts: int = 0  # rows of others that are deleted while a scan reads pages
    failures: int = 0
    refusals: bool = False
    backup: bool = False  # a person may restore an older copy of the journal
    honest: bool = True  # assumptions A4 and A5 hold


class State(NamedTuple):
    """Everything; `images` are what a crash may leave, the last is our memory.

    `desk` is where each task's worker stands: idle, intent queued, intent Durable,
    request Sent, outcome Waiting for its sync; None while nobody runs.
    """

    images: tuple[Fold, ...]
    desk: tuple[str, ...] | None
    wire: tuple[Letter, ...]
    rows: tuple[Row, ...]
    scan: Scan | None
    crashes: int
    drifts: int
    failures: int
    mark: int
    copy: Fold | None


Step = tuple[str, State]


def first(config: Config) -> State:
    """Nothing has happened."""
    empty: Fold = (0, ((),) * len(config.bodies))
    left = (config.crashes, config.drifts, config.failures)
    return State((empty,), None, (), (), None, *left, 0, None)


def steps(s: State, c: Config, broken: str) -> Iterator[Step]:
    """Whatever can happen next, to the world or by us."""
    yield from provider(s, c)
    if s.desk is None:
        yield from asleep(s, c, broken)
        return
    for task, at in enumerate(s.desk):
        yield from worker(s, c, broken, task, at)
        yield from poll(s, broken, task)
    if len(s.images) > 1:
        yield "sync", synced(s)
    yield from reconcile(s, c, broken)
    if s.crashes:
        wire = tuple(one for one in s.wire if one[2] == ON_ITS_WAY)
        for image in s.images:
            yield (
                "crash",
                s._replace(
                    images=(image,),
                    desk=None,
                    wire=wire,
                    scan=None,
                    crashes=s.crashes - 1,
                ),
            )


def provider(s: State, c: Config) -> Iterator[Step]:
    """The world: requests arrive or are lost, rows show, fail, are paid back."""
    for place, (task, number, where) in enumerate(s.wire):
        if where != ON_ITS_WAY:
            continue
        rest = s.wire[:place] + s.wire[place + 1 :]
        waited_for = s.desk is not None and s.desk[task] == "S"
        row = (task, number, False, "run")
        answer = ((task, number, len(s.rows)),) if waited_for else ()
        yield (
            "take",
            s._replace(wire=tuple(sorted(rest + answer)), rows=(*s.rows, row)),
        )
        yield "lose", s._replace(wire=rest)
        if c.refusals and waited_for:
            no = (task, number, SAID_NO)
            yield "refuse", s._replace(wire=tuple(sorted((*rest, no))))
    for place, (task, number, listed, fate) in enumerate(s.rows):
        if not listed:
            yield "list", with_row(s, place, (task, number, True, fate))
        if fate == "run" and s.failures:
            failed = with_row(s, place, (task, number, listed, "fail"))
            yield "fail", failed._replace(failures=s.failures - 1)
        if fate == "fail":
            yield "refund", with_row(s, place, (task, number, listed, "back"))
    if c.backup and s.copy is None and s.images[0][0]:
        yield "copy", s._replace(copy=s.images[0])


def asleep(s: State, c: Config, broken: str) -> Iterator[Step]:
    """Nobody runs: a copy may be restored, a session may start."""
    if s.copy is not None and s.copy != s.images[0]:
        yield "restore", s._replace(images=(s.copy,))
    if s.images[0][0] < s.mark and broken != "rollback accepted":
        return  # refused: this journal is older than what was once durable
    fold = s.images[0]
    fate = UNSENT if broken == "open attempt is new" else DOUBT
    for task, attempts in enumerate(fold[1]):
        if attempts and attempts[-1][0] == OPEN:
            fold = put(fold, task, len(attempts), (fate, -1))
    desk = tuple(
        "again" if c.policy == "uncertain" and last(fold, task) == DOUBT else ""
        for task in range(len(c.bodies))
    )
    yield "start", s._replace(images=(fold,), desk=desk, mark=max(s.mark, fold[0]))


def worker(s: State, c: Config, broken: str, task: int, at: str) -> Iterator[Step]:
    """One task's way from the check of the budget to a durable outcome."""
    fold = s.images[-1]
    number = len(fold[1][task])
    match at:
        case "" | "again" if wanted(s, c, broken, task):
            if broken == "check apart from reserve":
                yield "check", at_desk(s, task, "C")
            else:
                yield "intend", intend(s, task)
        case "C":
            yield "intend", intend(s, task)
        case "D" | "I" if at == "D" or broken == "intent not durable":
            letter = (task, number, ON_ITS_WAY)
            twice = (letter,) * (2 if broken == "transport retries" else 1)
            sent = s._replace(wire=tuple(sorted((*s.wire, *twice))))
            yield "post", at_desk(sent, task, "S")
            yield "no connection", outcome(s, task, (UNSENT, -1))
        case "S":
            mine = [one for one in s.wire if one[:2] == (task, number)]
            for letter in mine:
                if letter[2] != ON_ITS_WAY:
                    rest = tuple(one for one in s.wire if one != letter)
                    stage = REFUSED if letter[2] == SAID_NO else TAKEN
                    found = (stage, max(letter[2], -1))
                    yield "answer", outcome(s._replace(wire=rest), task, found)
            stage = REFUSED if broken == "error is refusal" else DOUBT
            late = [one for one in mine if one[2] == ON_ITS_WAY]
            rest = tuple(one for one in s.wire if one not in mine or one in late)
            yield "give up", outcome(s._replace(wire=rest), task, (stage, -1))
        case _:
            pass


def wanted(s: State, c: Config, broken: str, task: int) -> bool:
    """Whether the task may be bought now: state, slots, group and cap."""
    assert s.desk is not None
    fold = s.images[-1]
    attempts = fold[1][task]
    state = attempts[-1][0] if attempts else UNSENT
    again = s.desk[task] == "again" and state == DOUBT
    due = state in "rnxfq" or again
    spent = committed(fold)
    if broken == "uncertain releases":
        spent -= sum(stages(fold, one).count(DOUBT) for one in range(len(c.bodies)))
    elif broken == "rebuy drops the first reserve":
        spent -= again
    free = sum(one in ("I", "D", "S", "W") for one in s.desk) < c.slots
    scanned = s.scan is not None and s.scan.body == c.bodies[task]
    room = len(attempts) < c.attempts and spent + 1 <= c.cap
    return due and free and room and not scanned


def poll(s: State, broken: str, task: int) -> Iterator[Step]:
    """Looks at what the task bought, and for refunds."""
    fold = s.images[-1]
    for number, (stage, row) in enumerate(fold[1][task], 1):
        if stage == TAKEN and s.rows[row][3] != "run":
            stage_now = REFUNDED if broken == "failure releases" else FAILED
            yield "poll", record(s, put(fold, task, number, (stage_now, row)))
        by_clock = broken == "refund by clock"
        if stage == FAILED and (by_clock or s.rows[row][3] == "back"):
            yield "refund seen", record(s, put(fold, task, number, (REFUNDED, row)))


def reconcile(s: State, c: Config, broken: str) -> Iterator[Step]:
    """Two passes over the history that agree, then adoptions and absences."""
    assert s.desk is not None
    for group in sorted(set(c.bodies)) if s.scan is None else [s.scan.body]:
        mine = group_of(c, group)
        if not any(DOUBT in stages(s.images[-1], task) for task in mine):
            continue
        busy = any(s.desk[task] in ("I", "D", "S", "W") for task in mine)
        if busy and broken != "reconcile in flight":
            continue
        now = settled(s, c, group)
        for found, after in passes(s, c, broken, group):
            agree = s.scan is not None and s.scan.found == found
            if agree or broken == "one scan":
                proof = now and (s.scan is None or s.scan.after_settling)
                if broken == "first pass too early":
                    proof = now
                proof = proof or broken == "no settle time"
                yield "judge", judge(after, c, broken, Scan(group, found, proof))
            else:
                yield "scan", after._replace(scan=Scan(group, found, now))
        if s.scan:
            lost = s._replace(scan=None)
            if broken == "inconclusive is absent":
                lost = judge(s, c, broken, Scan(group, frozenset(), now))
            yield "page error", lost


def passes(
    s: State, c: Config, broken: str, group: str
) -> Iterator[tuple[frozenset[int], State]]:
    """What a pass may see: all that is listed, or one less if pages drift."""
    found = frozenset(
        place
        for place, row in enumerate(s.rows)
        if row[2] and (c.bodies[row[0]] == group or broken == "adopt across bodies")
    )
    yield found, s
    if s.drifts:
        for hidden in found:
            yield found - {hidden}, s._replace(drifts=s.drifts - 1)


def judge(s: State, c: Config, broken: str, scan: Scan) -> State:
    """Adopt one to one; what is missing after the settle time was never bought."""
    fold = s.images[-1]
    owned = {row for attempts in fold[1] for _, row in attempts}
    if broken == "shared candidates":
        owned = set()
    free = sorted(scan.found - owned)
    policy = "absent" if broken == "absent under hold" else c.policy
    proved = policy == "absent" and scan.after_settling
    for task in group_of(c, scan.body):
        for number, (stage, _) in enumerate(fold[1][task], 1):
            if stage != DOUBT:
                continue
            if free:
                fold = put(fold, task, number, (TAKEN, free.pop(0)))
            elif proved:
                fold = put(fold, task, number, (ABSENT, -1))
    return synced(s._replace(images=(*s.images, fold), scan=None))


def settled(s: State, c: Config, group: str) -> bool:
    """After the settle time nothing is under way and everything is listed."""
    if not c.honest:
        return True
    mine = group_of(c, group)
    late = any(where == ON_ITS_WAY and task in mine for task, _, where in s.wire)
    return not late and all(row[2] for row in s.rows if row[0] in mine)


# Small moves.


def put(fold: Fold, task: int, number: int, attempt: Attempt) -> Fold:
    """One more record: the attempt stands so from now on."""
    attempts = fold[1][task]
    mine = (*attempts[: number - 1], attempt, *attempts[number:])
    return fold[0] + 1, (*fold[1][:task], mine, *fold[1][task + 1 :])


def intend(s: State, task: int) -> State:
    """Reserve and queue the intent."""
    fold = s.images[-1]
    fold = put(fold, task, len(fold[1][task]) + 1, (OPEN, -1))
    return at_desk(record(s, fold), task, "I")


def outcome(s: State, task: int, attempt: Attempt) -> State:
    """Queue what became of the request; its slot is held until that is durable."""
    fold = s.images[-1]
    fold = put(fold, task, len(fold[1][task]), attempt)
    return at_desk(record(s, fold), task, "W")


def record(s: State, fold: Fold) -> State:
    """Queue; a crash may keep it or not."""
    return s._replace(images=(*s.images, fold))


def synced(s: State) -> State:
    """All that queued is durable, and the mark says so."""
    assert s.desk is not None
    desk = tuple({"I": "D", "W": ""}.get(at, at) for at in s.desk)
    fold = s.images[-1]
    return s._replace(images=(fold,), desk=desk, mark=fold[0])


def at_desk(s: State, task: int, at: str) -> State:
    """Move one worker."""
    assert s.desk is not None
    return s._replace(desk=(*s.desk[:task], at, *s.desk[task + 1 :]))


def with_row(s: State, place: int, row: Row) -> State:
    """Change one row at the provider."""
    return s._replace(rows=(*s.rows[:place], row, *s.rows[place + 1 :]))


def stages(fold: Fold, task: int) -> str:
    """The stages of a task's attempts, in one word."""
    return "".join(stage for stage, _ in fold[1][task])


def group_of(c: Config, body: str) -> list[int]:
    """The tasks of one body: interchangeable."""
    return [task for task, letter in enumerate(c.bodies) if letter == body]


def last(fold: Fold, task: int) -> str:
    """The stage of the latest attempt."""
    return stages(fold, task)[-1:]


def committed(fold: Fold) -> int:
    """What counts against the cap, at a price of one."""
    return sum(stage not in RELEASED for tries in fold[1] for stage, _ in tries)


def violation(s: State, c: Config) -> str:
    """The promise that this state breaks, or nothing."""
    if any(committed(image) > c.cap for image in s.images):
        return "I6 cap: reserved more than the cap"
    if sum(row[3] != "back" for row in s.rows) > c.cap:
        return "I6 cap: charged more than the cap"
    if sum(OPEN in stages(s.images[-1], t) for t in range(len(c.bodies))) > c.slots:
        return "I17 bounded doubt: more open attempts than slots"
    return owners(s, c) or charges(s, c)


def owners(s: State, c: Config) -> str:
    """Whose is what."""
    fold = s.images[-1]
    rows = [row for attempts in fold[1] for _, row in attempts if row >= 0]
    if len(rows) != len(set(rows)):
        return "I10 one owner: two attempts own one prediction"
    for task, attempts in enumerate(fold[1]):
        if any(
            r >= 0 and c.bodies[s.rows[r][0]] != c.bodies[task] for _, r in attempts
        ):
            return "R2 groups: a task owns the prediction of another body"
        if c.policy != "uncertain" and set(stages(fold, task)[:-1]) - set("rnxfq"):
            return "I3 no blind resubmit: a new attempt after one that may be paid"
    return ""


def charges(s: State, c: Config) -> str:
    """The provider's ledger against the journal, as any crash may leave it."""
    for body in set(c.bodies):
        mine = group_of(c, body)
        fates = [fate for task, _, _, fate in s.rows if task in mine]
        if c.policy != "uncertain" and fates.count("run") > len(mine):
            return "I4 one charge: more clips bought than tasks"
        paid = len(fates) - fates.count("back")
        for _, tasks in s.images:
            covers = sum(st not in RELEASED for task in mine for st, _ in tasks[task])
            if paid > covers and not behind(s):
                return "I5 coverage: a charge that the journal does not count"
    return ""


def behind(s: State) -> bool:
    """An old copy lies there and nobody may spend on it: that is the promise."""
    return s.desk is None and s.images[0][0] < s.mark


class Visit(NamedTuple):
    """How a search ended; `trace` is the shortest way to the violation."""

    states: int
    depth: int
    violation: str
    trace: tuple[str, ...]
    taken: Counter[str]
    seconds: float


def visit(config: Config, broken: str = "") -> Visit:
    """Breadth first through everything that can be reached."""
    began, taken = time.perf_counter(), Counter[str]()
    start = first(config)
    seen: dict[int, tuple[int, str]] = {hash(start): (0, "")}
    frontier, depth = [start], 0
    while frontier:
        depth += 1
        following: list[State] = []
        for state in frontier:
            here = hash(state)
            for label, after in steps(state, config, broken):
                key = hash(after)
                taken[label] += 1
                if key in seen:
                    continue
                seen[key] = (here, label)
                following.append(after)
                wrong = violation(after, config)
                if wrong:
                    trace = tuple(way(seen, key))[::-1]
                    seconds = time.perf_counter() - began
                    return Visit(len(seen), depth, wrong, trace, taken, seconds)
        frontier = following
    return Visit(len(seen), depth, "", (), taken, time.perf_counter() - began)


def way(seen: dict[int, tuple[int, str]], key: int) -> Iterator[str]:
    """The steps to a state, last first."""
    while seen[key][1]:
        key, label = seen[key]
        yield label


SMALL = {
    "one task, two crashes": Config("a", 1, crashes=2),
    "two equal, one crash": Config("aa", 2, slots=1),
    "hold, nothing assumed": Config("a", 2, policy="hold", honest=False),
    "again, knowing the risk": Config("a", 2, policy="uncertain"),
    "refusals and a tight cap": Config("ab", 1, crashes=0, refusals=True),
    "failures and refunds": Config("a", 1, crashes=1, failures=1),
    "pages drift": Config("a", 2, drifts=1),
    "an old copy restored": Config("a", 2, crashes=1, backup=True),
}
"""The family in little, for every run of the tests."""

LARGE = SMALL | {
    "two equal, two slots": Config("aa", 2),
    "two bodies, two slots": Config("ab", 2),
    "two equal, two crashes": Config("aa", 2, crashes=2),
    "two equal, drifts, a cap of three": Config("aa", 3, drifts=1),
    "hold, two tasks, nothing assumed": Config("ab", 3, policy="hold", honest=False),
    "failures, two tasks": Config("aa", 2, failures=1, crashes=0),
    "two bodies, refusals, failures": Config("ab", 2, crashes=0, refusals=True),
    "failures and a crash": Config("aa", 2, slots=1, failures=1),
    "an old copy, two tasks": Config("ab", 2, slots=1, backup=True),
    "three, one slot": Config("aab", 3, slots=1, crashes=1),
}

BROKEN = {
    "no settle time": Config("a", 2, crashes=0),
    "one scan": Config("a", 2, crashes=0, drifts=1),
    "first pass too early": Config("a", 2, crashes=0, drifts=1),
    "shared candidates": Config("aa", 2, crashes=0),
    "reconcile in flight": Config("aa", 2, crashes=0),
    "open attempt is new": Config("a", 2),
    "check apart from reserve": Config("ab", 1, crashes=0),
    "rollback accepted": Config("a", 2, crashes=1, backup=True),
    "error is refusal": Config("a", 2, crashes=0),
    "uncertain releases": Config("ab", 1, crashes=0),
    "intent not durable": Config("a", 2),
    "refund by clock": Config("a", 1, crashes=0, failures=1),
    "failure releases": Config("a", 1, crashes=0, failures=1),
    "adopt across bodies": Config("ab", 2, crashes=0),
    "absent under hold": Config("a", 2, policy="hold", honest=False),
    "transport retries": Config("a", 2, crashes=0),
    "inconclusive is absent": Config("a", 2, crashes=0),
    "rebuy drops the first reserve": Config("a", 1, policy="uncertain"),
}
"""Every rule left out once, and a world that shows it."""


def main(argv: Sequence[str]) -> int:
    """Visit the family and catch the broken ones; `--small` for the little family."""
    gc.disable()
    family = SMALL if "--small" in argv else LARGE
    total, wrong = 0, 0
    for name, config in family.items():
        found = visit(config)
        total += found.states
        wrong += bool(found.violation)
        what = found.violation or "sound"
        print(f"{name:36} {found.states:>9,} states {found.seconds:6.1f} s  {what}")
    for name, config in BROKEN.items():
        found = visit(config, name)
        wrong += not found.violation
        what = found.violation or "NOT CAUGHT"
        print(f"{name:36} {len(found.trace):>3} steps  {what}")
        if "--trace" in argv:
            print("    " + ", ".join(found.trace))
    print(f"{total:,} states, {len(BROKEN)} broken protocols, {wrong} surprises")
    return 1 if wrong else 0
