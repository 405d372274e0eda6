"""The protocol holds in every state of its model, and the model is not blind."""

from collections import Counter

import pytest

from campaign import protocol
from campaign.protocol import BROKEN, LARGE, SMALL, Config

LABELS = {
    "start",
    "intend",
    "sync",
    "post",
    "no connection",
    "take",
    "lose",
    "refuse",
    "list",
    "answer",
    "give up",
    "scan",
    "page error",
    "judge",
    "fail",
    "poll",
    "refund",
    "refund seen",
    "copy",
    "restore",
    "crash",
}


@pytest.mark.parametrize("config", SMALL.values(), ids=list(SMALL))
def test_every_reachable_state_keeps_every_promise(config: Config) -> None:
    found = protocol.visit(config)
    assert found.violation == "", found.trace


def test_the_little_family_takes_every_kind_of_step() -> None:
    taken = Counter[str]()
    for config in SMALL.values():
        taken += protocol.visit(config).taken
    assert set(taken) == LABELS


@pytest.mark.parametrize("name", BROKEN)
def test_a_protocol_without_one_rule_is_caught_in_few_steps(name: str) -> None:
    found = protocol.visit(BROKEN[name], name)
    assert found.violation
    assert 4 <= len(found.trace) <= 13
    assert found.trace[0] == "start"


@pytest.mark.parametrize("name", BROKEN)
def test_the_world_that_shows_a_missing_rule_is_safe_with_it(name: str) -> None:
    assert protocol.visit(BROKEN[name]).violation == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_family_is_sound() -> None:
    found = {name: protocol.visit(config) for name, config in LARGE.items()}
    assert {name for name, one in found.items() if one.violation} == set()
    assert sum(one.states for one in found.values()) > 1_200_000
