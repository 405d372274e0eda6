"""Ways to break the code that handles money, and the tests that must notice."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """In `file`, `old`, which stands there once, becomes `new`; `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


JOURNAL = "tests/test_journal.py"
STORY = "tests/test_story.py"
RECONCILE = "tests/test_reconcile.py"
CLIENT = "tests/test_client.py"
ANSWERS = "tests/test_answers.py"
LEDGER = "tests/test_ledger.py"
LIVES = "tests/test_lives.py"
STATE = "tests/test_state.py"
PLAN = "tests/test_plan.py"
RECORDS = "tests/test_records.py"
KILLS = "tests/test_kills.py"
BUYING = "tests/test_buying.py"
DOWNLOADS = "tests/test_downloads.py"
SECURITY = "tests/test_security.py"
SLOTS = "tests/test_slots.py"
SHARDS = "tests/test_shard_runs.py"

MUTATIONS = (
    # The state file.
    Mutation(
        "no fsync",
        "statefile.py",
        "            self._disk.sync(self._handle)\n            self._sync_names()\n",
        "            self._sync_names()\n",
        JOURNAL,
    ),
    Mutation(
        "no fsync of names",
        "statefile.py",
        "            self._sync_names()\n",
        "",
        JOURNAL,
    ),
    Mutation(
        "journal not locked",
        "statefile.py",
        "            self._disk.lock(self._handle)\n",
        "",
        JOURNAL,
    ),
    Mutation(
        "lock file not locked",
        "statefile.py",
        "            self._disk.lock(self._handle)\n"
        "            self._disk.lock(self._lock)\n",
        "            self._disk.lock(self._handle)\n",
        JOURNAL,
    ),
    Mutation(
        "no high-water mark",
        "statefile.py",
        "        self.set_mark(last, self.length)\n",
        "",
        JOURNAL,
    ),
    Mutation(
        "no size fence", "statefile.py", "            self._fence()\n", "", JOURNAL
    ),
    Mutation(
        "rollback accepted",
        "journal.py",
        "        refuse_rollback(self._file.mark(), found)\n",
        "",
        JOURNAL,
    ),
    Mutation(
        "rollback by one accepted",
        "journal.py",
        "found.last >= mark[0]:",
        "found.last >= mark[0] - 1:",
        f"{JOURNAL} tests/test_state_fuzz.py",
    ),
    Mutation(
        "durable one record early",
        "journal.py",
        "while self._durable < n:",
        "while self._durable < n - 1:",
        JOURNAL,
    ),
    Mutation(
        "a failed write does not poison",
        "journal.py",
        "self._poison = error if isinstance(error, BatchgenError) else lost",
        "del lost",
        JOURNAL,
    ),
    Mutation(
        "torn tail left in place",
        "journal.py",
        "            self._file.cut(found.keep)\n",
        "",
        JOURNAL,
    ),
    Mutation(
        "checksums of a block ignored",
        "replay.py",
        "if tails != _tails(sums):",
        "if not lines:",
        RECORDS,
    ),
    Mutation(
        "numbers of a block ignored",
        "replay.py",
        "if not _follow(lines, self.last + 1):",
        "if not lines:",
        RECORDS,
    ),
    Mutation(
        "numbers of a block ignored where all are as long",
        "replay.py",
        "return starts == _START * len(lines) % tuple(numbers)",
        "return True",
        RECORDS,
    ),
    Mutation(
        "numbers of a block ignored where some are longer",
        "replay.py",
        "return all(map(bytes.startswith, lines, map(_START.__mod__, numbers)))",
        "return True",
        RECORDS,
    ),
    Mutation(
        "tasks that are no hexadecimal",
        "events.py",
        "if bytes.fromhex(tasks).hex() != tasks:",
        "if not tasks and found == []:",
        RECORDS,
    ),
    Mutation(
        "checksum ignored",
        "replay.py",
        "        if summed is None:\n",
        "        if summed is None:\n            return 0\n        if not summed:\n",
        RECORDS,
    ),
    # Buying.
    Mutation(
        "intent not awaited",
        "buyer.py",
        "            await self._recorder.durable(intent)\n",
        "",
        BUYING,
    ),
    Mutation(
        "reserve nothing",
        "buyer.py",
        "reserve=self._bound(step.task)",
        "reserve=0",
        STORY,
    ),
    Mutation(
        "the cap is not asked",
        "buyer.py",
        "        if ledger.covers(bound):\n",
        "        if bound:\n",
        "tests/test_session_money.py",
    ),
    Mutation(
        "the cap is asked before the wait alone",
        "buyer.py",
        "                    if self._closed or not self._affordable(step.task):\n",
        "                    if self._closed:\n",
        "tests/test_simulation.py::test_two_slots_do_not_spend_the_same_money",
    ),
    Mutation(
        "a verdict on the way to the till is not heard",
        "buyer.py",
        "if self._tally.states.get(step.task.id) != decided_on:",
        "if self._closed:",
        "tests/test_feed.py",
    ),
    Mutation(
        "an id with an owner is taken",
        "buyer.py",
        "if event.prediction not in self._tally.owned:",
        "if event.prediction:",
        BUYING,
    ),
    Mutation("no breaker", "buyer.py", "_BREAKER = 3", "_BREAKER = 3_000", BUYING),
    Mutation(
        "a purchase can be cancelled",
        "buyer.py",
        "with anyio.CancelScope(shield=True):",
        "with anyio.CancelScope():",
        BUYING,
    ),
    Mutation(
        "groups do not wait",
        "slots.py",
        "        while group in self._settling:\n"
        "            await self._changed.wait()\n",
        "",
        SLOTS,
    ),
    Mutation(
        "many slots from the start",
        "slots.py",
        "        self._all = anyio.CapacityLimiter(1)\n",
        "        self._all = anyio.CapacityLimiter(32)\n",
        f"{SLOTS} {BUYING}",
    ),
    # The ledger and the tables.
    Mutation(
        "a doubt releases its reserve",
        "ledger.py",
        "        self._move(event, Account.UNCERTAIN)\n",
        "        self._release(event)\n",
        LEDGER,
    ),
    Mutation(
        "acceptance releases",
        "ledger.py",
        "        self._move(event, Account.IN_FLIGHT)\n",
        "        self._release(event)\n",
        LEDGER,
    ),
    Mutation(
        "failure releases",
        "ledger.py",
        "self._move(event, Account.REFUNDABLE if comes_back else Account.SPENT)",
        "self._release(event)",
        LEDGER,
    ),
    Mutation(
        "refundable does not count",
        "ledger.py",
        "        return sum(self._totals.values())\n",
        "        return sum(self._totals.values()) - self.refundable\n",
        LEDGER,
    ),
    Mutation(
        "many attempts move as if all were of this start",
        "ledger.py",
        "if len(entries) != len(tasks) or len(before) != 1:",
        "if len(before) != 1:",
        LIVES,
    ),
    Mutation(
        "many attempts move as if out of one account",
        "ledger.py",
        "if len(entries) != len(tasks) or len(before) != 1:",
        "if len(entries) != len(tasks):",
        LIVES,
    ),
    Mutation(
        "one over the cap",
        "ledger.py",
        "return left is None or amount <= left",
        "return left is None or amount <= left + 1",
        LEDGER,
    ),
    Mutation(
        "attempts out of turn",
        "state.py",
        "if event.attempt != len(attempts) + 1:",
        "if event.attempt < 0:",
        STATE,
    ),
    Mutation(
        "an attempt settled twice",
        "state.py",
        "    (Stage.UNCERTAIN, AttemptAbsent): Stage.ABSENT,\n",
        "    (Stage.UNCERTAIN, AttemptAbsent): Stage.ABSENT,\n"
        "    (Stage.ACCEPTED, AttemptAbsent): Stage.ABSENT,\n",
        STATE,
    ),
    Mutation(
        "open attempt is new",
        "plan.py",
        "        case Status.DONE | Status.SUBMITTING:\n            return None\n",
        "        case Status.SUBMITTING:\n            return _submit(task, state)\n"
        "        case Status.DONE:\n            return None\n",
        PLAN,
    ),
    Mutation(
        "a doubt is bought again",
        "plan.py",
        'accepted_twice = "uncertain" in policy.retry',
        "accepted_twice = True",
        PLAN,
    ),
    Mutation(
        "a second attempt is taken for the first",
        "lives.py",
        "if set(map(_NUMBER, told[kind])) != {1}:",
        "if not set(map(_NUMBER, told[kind])):",
        LIVES,
    ),
    Mutation(
        "a life of another course",
        "lives.py",
        "befores, alike = found[state.status, stage, kinds, simple]",
        "befores, alike = found[state.status, stage, kinds, True]",
        LIVES,
    ),
    Mutation(
        "an event passes those of its own task",
        "lives.py",
        "yield False, [*lives.pop(event.task, ()), event]",
        "yield False, [event]",
        LIVES,
    ),
    Mutation(
        "an event of the run is passed",
        "lives.py",
        "            yield True, list(lives.values())\n            lives.clear()\n",
        "",
        LIVES,
    ),
    Mutation(
        "tasks out of order",
        "tally.py",
        "                        self.states.setdefault(one.task, _NEW)\n",
        "                        break\n",
        LIVES,
    ),
    Mutation(
        "a later mistake is told first",
        "tally.py",
        "first = next(one for one in records if id(one.event) in wrong)",
        "*_, first = (one for one in records if id(one.event) in wrong)",
        LIVES,
    ),
    Mutation(
        "an order is counted by the list of another",
        "cli/identities.py",
        "(left.size, left.crc32) == (size, summed)",
        "left.size >= 0",
        "tests/test_identities.py",
    ),
    Mutation(
        "the end of a journal is not heard",
        "replay.py",
        "        finally:\n            self._tell()\n",
        "        finally:\n            pass\n",
        LIVES,
    ),
    Mutation(
        "a life without its accounts",
        "ledger.py",
        "            for task in tasks:\n",
        "            for task in tasks[1:]:\n",
        LIVES,
    ),
    Mutation(
        "an earlier start's money is forgotten",
        "ledger.py",
        "            self._earlier |= held\n",
        "            self._earlier = held\n",
        LEDGER,
    ),
    # Settling.
    Mutation(
        "no settle time",
        "settle.py",
        "with anyio.move_on_after(self._seconds_until_settled(soon)):",
        "with anyio.move_on_after(0):",
        RECONCILE,
    ),
    Mutation(
        "one look",
        "settle.py",
        "            if doubt in before.missing\n            and doubt in soon\n",
        "            if doubt in soon\n",
        RECONCILE,
    ),
    Mutation(
        "what another clip was told is absent",
        "settle.py",
        "for one in found.missing if one.fingerprint not in taken]",
        "for one in found.missing]",
        "tests/test_simulation.py::test_a_clip_that_another_one_was_told_is_not_absent",
    ),
    Mutation(
        "an answer from before the sleep",
        "servicetime.py",
        "        slack = max(slack, (self._now() - day).total_seconds())\n",
        "",
        "tests/test_simulation.py::"
        "test_an_answer_that_waited_for_the_machine_to_wake_up_tells_no_time",
    ),
    Mutation(
        "absent though taken",
        "settle.py",
        "            and not doubt.taken\n",
        "",
        RECONCILE,
    ),
    Mutation(
        "absent under hold",
        "settle.py",
        'if not doubts or "absent" not in self._policy.retry:',
        "if not doubts:",
        RECONCILE,
    ),
    Mutation(
        "a dead session's attempts are forgotten",
        "settle.py",
        "        for task, number in left\n",
        "        for task, number in left[:0]\n",
        f"{RECONCILE} {STORY}",
    ),
    Mutation(
        "window from the record's own time",
        "settle.py",
        "started[task, number] = opened",
        "started[task, number] = record.at",
        RECONCILE,
    ),
    Mutation(
        "window ends a second early",
        "settle.py",
        " + _DATE_STEP + wider,",
        " + wider,",
        RECONCILE,
    ),
    Mutation(
        "forgotten is absent",
        "settle.py",
        "            and self._still_listed(doubt)\n",
        "",
        RECONCILE,
    ),
    Mutation(
        "a blind listing proves absence",
        "settle.py",
        "            and await self._shows_ours(doubt)\n",
        "",
        RECONCILE,
    ),
    Mutation(
        "a silent listing proves absence",
        "settle.py",
        "(not ours and await self._shows_all(doubt))",
        "not ours",
        "tests/test_reconcile.py",
    ),
    Mutation(
        "a second charge is not looked for",
        "billing.py",
        "_LOOKS = 2",
        "_LOOKS = 1",
        "tests/test_billing.py",
    ),
    Mutation(
        "sleep is not counted when the clock is set",
        "servicetime.py",
        "seconds=self._awake() - self._anchored",
        "seconds=anyio.current_time() - self._anchor[1]",
        "tests/test_clocks.py",
    ),
    Mutation(
        "half a mark is enough",
        "statefile.py",
        "done += count",
        "break",
        "tests/test_journal.py",
    ),
    Mutation(
        "shared candidates",
        "settle.py",
        "judge(doubts, listed, self._tally.owned, prints",
        "judge(doubts, listed, set(), prints",
        f"{RECONCILE} {BUYING}",
    ),
    Mutation(
        "an unread history is an empty one",
        "settle.py",
        "listed = await scan(self._history, doubts, self._profile)",
        "listed = await scan(self._history, doubts, self._profile) or []",
        RECONCILE,
    ),
    Mutation(
        "owned rows are candidates",
        "reconcile.py",
        "for row in listed if row.id not in owned}",
        "for row in listed}",
        RECONCILE,
    ),
    Mutation(
        "adopt across bodies",
        "reconcile.py",
        "if doubt.fingerprint == body and near(row, doubt, profile)",
        "if near(row, doubt, profile)",
        RECONCILE,
    ),
    Mutation(
        "hidden is missing",
        "reconcile.py",
        "(unclear if hidden else missing).append(doubt)",
        "missing.append(doubt)",
        RECONCILE,
    ),
    Mutation(
        "one pass",
        "reconcile.py",
        "        if found == before:\n",
        "        if found != before:\n",
        RECONCILE,
    ),
    Mutation(
        "no date, no candidate",
        "reconcile.py",
        "return True  # undated",
        "return False  # undated",
        RECONCILE,
    ),
    # The wire.
    Mutation(
        "connections are kept",
        "transport.py",
        "Line(limits=_SUBMIT, keep=False",
        "Line(limits=_SUBMIT, keep=True",
        CLIENT,
    ),
    Mutation(
        "silence is not sent",
        "transport.py",
        "if self.failed_to_connect and not self.started:",
        "if not self.started:",
        CLIENT,
    ),
    Mutation(
        "sent is not sent",
        "transport.py",
        "if self.failed_to_connect and not self.started:",
        "if self.failed_to_connect or not self.answered:",
        CLIENT,
    ),
    Mutation(
        "a model's name is an address",
        "client.py",
        "quote(model), self._spelled",
        "model, self._spelled",
        CLIENT,
    ),
    Mutation(
        "the key may be repeated",
        "transport.py",
        "raw.headers, self.redact(body))",
        "raw.headers, body)",
        SECURITY,
    ),
    Mutation(
        "an answer too big is an error",
        "client.py",
        "        except Exception as error:\n            # Also what nobody",
        "        except httpx.HTTPError as error:\n            # Also what nobody",
        CLIENT,
    ),
    Mutation(
        "409 is refused",
        "profile.py",
        "{400, 404, 405,",
        "{400, 404, 409, 405,",
        ANSWERS,
    ),
    Mutation(
        "503 is refused",
        "profile.py",
        "{400, 404, 405,",
        "{400, 404, 503, 405,",
        ANSWERS,
    ),
    Mutation(
        "half an id is an id",
        "answers.py",
        "_ID.fullmatch(value)",
        "_ID.match(value)",
        ANSWERS,
    ),
    Mutation(
        "words beat an id",
        "answers.py",
        "or (ok and not isinstance(data, dict))",
        "or ok",
        f"{ANSWERS} tests/test_http_matrix.py",
    ),
    Mutation(
        "a no that names a prediction",
        "answers.py",
        'if isinstance(data, dict) and data.get("id") and not ok:',
        "if not answer:",
        f"{ANSWERS} tests/test_http_matrix.py",
    ),
    Mutation(
        "two ids, the last is taken",
        "answers.py",
        'raise ValueError("a key told twice")',
        "pass",
        SECURITY,
    ),
    # Files.
    Mutation(
        "a user's file is overwritten",
        "parts.py",
        "            self._disk.link(self.path, name)\n",
        "            self._disk.rename(self.path, name)\n",
        DOWNLOADS,
    ),
    Mutation(
        "another folder gets the name",
        "disk.py",
        "lead(opened.folder, self._held, opened.handle)",
        "pass",
        "tests/test_swaps.py",
    ),
    Mutation(
        "what came in pieces has no note",
        "parts.py",
        "if not self._noted and self.size + len(block) != self.note.total:",
        "if not self:",
        DOWNLOADS,
    ),
    Mutation(
        "a clip is not synced",
        "parts.py",
        "        self._sync()\n        read = ",
        "        read = ",
        DOWNLOADS,
    ),
    # Several machines.
    Mutation(
        "takes of one request in several shards",
        "shards.py",
        "    if task.take == 1:\n",
        "    if task.take:\n",
        "tests/test_shards.py::test_equal_requests_are_in_one_shard",
    ),
    Mutation(
        "the whole cap for every shard",
        "cli/ground.py",
        "    return shard.part(found)\n",
        "    return found\n",
        f"{SHARDS}::test_shards_in_turn_never_pass_the_cap_of_the_run",
    ),
    Mutation(
        "another number of shards",
        "cli/split.py",
        "    if not bought:\n        return\n",
        "    if bought is not None:\n        return\n",
        f"{SHARDS}::test_another_number_of_shards_buys_nothing",
    ),
    Mutation(
        "a shard adopts what only it could have bought, were it alone",
        "settle.py",
        "        if not self._may_be_alone:\n            return []\n",
        "",
        RECONCILE,
    ),
    # What comes from strangers.
    Mutation(
        "anything is a clip",
        "mp4.py",
        'return head[4:_HEAD] == b"ftyp"',
        "return bool(head)",
        f"{DOWNLOADS} tests/test_mp4.py",
    ),
    Mutation(
        "a clip without an end",
        "parts.py",
        "if self.size + len(block) > MOST_BYTES:",
        "if self.size + len(block) < 0:",
        DOWNLOADS,
    ),
    Mutation(
        "no limit of time for a submission",
        "client.py",
        "            with anyio.fail_after(_SUBMIT_DEADLINE):\n",
        "            with anyio.fail_after(1e9):\n",
        f"{SECURITY}::test_a_flood_of_interim_answers_is_a_doubt",
    ),
    Mutation(
        "an encoded clip",
        "downloads.py",
        'if encoding not in {"", "identity"}:',
        'if encoding == "x":',
        DOWNLOADS,
    ),
    Mutation(
        "a body that was left answers the next question",
        "sockets.py",
        "        if asked and is_read and self._answer.stays:\n",
        "        if asked and self._answer.stays:\n",
        "tests/test_sockets.py",
    ),
    Mutation(
        "a connection answers for any name",
        "sockets.py",
        "_Way(sealed, url.host, port, question.name)",
        '_Way(sealed, url.host, port, "")',
        "tests/test_sockets.py",
    ),
    Mutation(
        "what was said unasked is an answer",
        "sockets.py",
        "        return not ahead and is_quiet(self.plug)\n",
        "        return True\n",
        "tests/test_sockets.py",
    ),
    Mutation(
        "what comes beyond an answer is the next one",
        "http1.py",
        "        if self.is_whole:\n            self.stays = False\n",
        "",
        "tests/test_http1.py",
    ),
    Mutation(
        "a text may command the terminal",
        "terminal.py",
        '_SEQUENCES.sub("", text)',
        "text",
        "tests/test_report.py tests/test_progress.py tests/test_terminal.py",
    ),
    Mutation(
        "bidi controls are shown",
        "terminal.py",
        '_OBEYED.sub("", text)',
        "text",
        "tests/test_report.py tests/test_progress.py tests/test_terminal.py",
    ),
    Mutation(
        "no limit of tasks",
        "tasks.py",
        "        if self.count > self._limit:\n",
        "        if self.count < 0:\n",
        "tests/test_tasks.py tests/test_many_mistakes.py",
    ),
)
"""Each was seen to be caught; `python -m tests.campaign mutants` shows it again."""
