"""The question before real money is spent."""

import click

from batchgen.errors import UsageError
from batchgen.money import Micros, dollars, plain
from batchgen.plan import Plan
from batchgen.words import ordered

_SMALL = 10_000_000  # micro-dollars; from here on a reflex yes is not enough


def ask(
    name: str,
    plan: Plan,
    cap: Micros | None,
    funds: Micros | None,
    *,
    tty: bool,
    typed: bool = False,
) -> None:
    """Come back only if a person wants to buy this.

    Args:
        name: of the run.
        plan: what would be bought.
        cap: for the whole life of the run.
        funds: what the account holds; None if it does not tell.
        tty: whether there is a terminal to ask at.
        typed: the amount is to be typed, however small.

    Raises:
        UsageError: the answer is no, or there is nobody to ask.
    """
    if not tty:
        raise UsageError(
            "there is nobody to ask",
            rule="no-terminal",
            advice="Nothing was submitted. Without a terminal add --yes, and a cap "
            "by --budget USD or in the manifest.",
        )
    if funds is not None and funds < plan.cost:
        text = f"The account's balance of {dollars(funds)} does not cover this plan."
        click.echo(text, err=True)
    large = typed or plan.cost >= _SMALL
    sure = _typed(name, plan, cap, funds) if large else _confirmed(plan)
    if not sure:
        raise UsageError("cancelled; nothing was submitted", rule="cancelled")


def _confirmed(plan: Plan) -> bool:
    return click.confirm(f"Buy {_clips(plan)} for {dollars(plan.cost)}?", err=True)


def _typed(name: str, plan: Plan, cap: Micros | None, funds: Micros | None) -> bool:
    """A reflex `y` cannot spend four figures: the amount is typed."""
    facts = [f"cap {dollars(cap)}"] if cap is not None else []
    facts += [f"account balance {dollars(funds)}"] if funds is not None else []
    cost = dollars(plan.cost)
    text = f"{name}: buy {_clips(plan)} for {cost}   ({', '.join(facts) or 'no cap'})"
    click.echo(text, err=True)
    answer = click.prompt(
        f"Type {plain(plan.cost)} to start, Enter to cancel",
        default="",
        show_default=False,
        err=True,
    )
    return str(answer).strip().removeprefix("$") == plain(plan.cost)


def _clips(plan: Plan) -> str:
    return ordered(plan.to_buy, plan.made[0])
