"""Seeded misbehaviour: which request meets which fault.

A plan is YAML, `{seed: 7, rules: [{fault: drop_after_accept, probability: 0.05},
{fault: truncated, at: [1, 4]}, {fault: fail_provider, at: [2], model: m}]}`. `at`
counts the requests of one kind from 1, since the process began. A fault may carry a
number: `slow_answer=5`. The header `X-Sandbox-Fault: name[=number][,name…]` does the
same for one request; names that belong to another kind of request are passed over.
`POST /__sandbox__/faults` with the same text does it for the next request of each kind,
whoever makes it. switches.py lists the faults.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from batchgen.errors import BatchgenError
from batchgen.sandbox.predictions import share
from batchgen.sandbox.switches import SWITCHES

HEADER = b"x-sandbox-fault"

Drawn = Mapping[str, float | None]
"""Faults of one request, each with its number if it has one."""

KINDS: Mapping[str, str] = {name: switch.kind for name, switch in SWITCHES.items()}
"""Every fault and the kind of request it belongs to."""

_PRESETS: dict[str, Any] = {
    "calm": {},
    "flaky": {
        "seed": 7,
        "rules": [
            {"fault": "refuse_429=1", "probability": 0.08},
            {"fault": "drop_after_accept", "probability": 0.04},
            {"fault": "accept_502_html", "probability": 0.03},
            {"fault": "drop_before_accept", "probability": 0.02},
            {"fault": "server_500_not_created", "probability": 0.02},
            {"fault": "slow_answer=2", "probability": 0.05},
            {"fault": "fail_provider", "probability": 0.05},
            {"fault": "fail_moderation", "probability": 0.02},
            {"fault": "result_404_first", "probability": 0.1},
            {"fault": "result_500", "probability": 0.08},
            {"fault": "result_html", "probability": 0.02},
            {"fault": "list_500", "probability": 0.1},
            {"fault": "truncated", "probability": 0.12},
            {"fault": "expired_403", "probability": 0.05},
            {"fault": "ignore_range", "probability": 0.1},
        ],
    },
    "down": {
        "rules": [
            {"fault": "server_503_not_created", "probability": 1},
            {"fault": "result_500", "probability": 1},
            {"fault": "list_500", "probability": 1},
            {"fault": "price_500", "probability": 1},
            {"fault": "balance_500", "probability": 1},
            {"fault": "models_500", "probability": 1},
            {"fault": "billing_500", "probability": 1},
            {"fault": "upload_500", "probability": 1},
            {"fault": "put_500", "probability": 1},
            {"fault": "download_500", "probability": 1},
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a plan."""

    fault: str
    number: float | None
    probability: float = 0.0
    at: frozenset[int] = frozenset()
    model: str = ""

    def strikes(self, count: int, chance: float) -> bool:
        """Whether the `count`-th request meets it, given a draw from 0 to 1."""
        return count in self.at or chance < self.probability


@dataclass(slots=True)
class Plan:
    """The rules in force, and how many requests of each kind there were."""

    seed: int = 0
    rules: Sequence[Rule] = ()
    struck: Counter[str] = field(default_factory=Counter)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _armed: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def arm(self, names: str) -> None:
        """Let the next request of each fault's kind meet it; for foreign clients.

        Raises:
            BatchgenError: there is no such fault.
        """
        for name, number in [_named(text) for text in names.split(",")]:
            self._armed.setdefault(KINDS[name], {})[name] = number

    def draw(self, kind: str, model: str, header: str) -> Drawn:
        """The faults of the next request of this kind.

        Raises:
            BatchgenError: the header names a fault that does not exist.
        """
        self._counts[kind, ""] += 1
        if model:
            self._counts[kind, model] += 1
        drawn: dict[str, float | None] = {}
        for place, rule in enumerate(self.rules):
            if KINDS[rule.fault] != kind or rule.model not in ("", model):
                continue
            count = self._counts[kind, rule.model]
            chance = share(f"{self.seed}/{place}/{count}")
            if rule.strikes(count, chance):
                drawn[rule.fault] = rule.number
        if header:
            named = dict(_named(text) for text in header.split(","))
            drawn |= {name: named[name] for name in named if KINDS[name] == kind}
        if kind in self._armed:
            drawn |= self._armed.pop(kind)
        self.struck.update(drawn.keys())
        return drawn


def plan(name: str) -> Plan:
    """A preset by name, or the plan in a file.

    Raises:
        BatchgenError: no such file, or it is not a plan.
    """
    source = _PRESETS.get(name)
    try:
        if source is None:
            source = yaml.safe_load(Path(name).read_text(encoding="utf-8")) or {}
        return _plan(**source)
    except BatchgenError as error:
        raise BatchgenError(f"{name}: {error.message}", rule="faults") from error
    except (OSError, yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
        raise BatchgenError(f"{name}: not a plan: {error}", rule="faults") from error


def _plan(seed: int = 0, rules: Sequence[Mapping[str, Any]] | None = None) -> Plan:
    return Plan(seed=int(seed), rules=tuple(_rule(**entry) for entry in rules or ()))


def _rule(
    fault: str, probability: float = 0.0, at: Sequence[int] = (), model: str = ""
) -> Rule:
    name, number = _named(fault)
    if model and KINDS[name] != "submit":
        raise BatchgenError(
            f"{name} cannot be bound to a model: it is not a submission"
        )
    return Rule(name, number, float(probability), frozenset(at), model)


def _named(text: str) -> tuple[str, float | None]:
    name, equals, number = text.strip().partition("=")
    if name not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise BatchgenError(f"no fault {name!r}; there are: {known}", rule="faults")
    if equals and not SWITCHES[name].number:
        raise BatchgenError(f"{name} takes no number", rule="faults")
    try:
        return name, float(number) if equals else None
    except ValueError:
        raise BatchgenError(f"not a number in {text!r}", rule="faults") from None
