"""What is left to do: which tasks there are, and the next step of each."""

from collections.abc import Callable, Iterable, Iterator

from batchgen.errors import JournalError
from batchgen.plan import (
    Abandon,
    Policy,
    Step,
    Submit,
    as_bought,
    next_step,
)
from batchgen.references import task_of
from batchgen.state import Status, TaskState
from batchgen.tally import Tally
from batchgen.tasks import Task

_BREATHER = 256  # finished tasks passed over before others may run

Tasks = Callable[[], Iterable[Task]]
"""The expansion, lazily and as often as it is asked for."""


class Agenda:
    """Asks the policy, and knows what it does not: what this session began with."""

    def __init__(self, tally: Tally, policy: Policy) -> None:
        self._tally = tally
        self._policy = policy
        self._rested: dict[str, int] = {}
        self._before = {
            task: len(state.attempts) for task, state in tally.states.items()
        }

    def paid(self, tasks: Tasks) -> Iterator[Task]:
        """What is bought and not collected, as the manifest has it or as bought."""
        ids = list(self._tally.in_flight())
        if not ids:
            return
        known = set(ids)
        for task in ids:
            # What is in flight ends in this session, so a failure counts for it.
            ended = len(self._tally.states[task].attempts) - 1
            self._before[task] = min(self._before.get(task, 0), ended)
        wanted = {task.id: task for task in tasks() if task.id in known}
        yield from (wanted.get(task) or self.bought(task) for task in ids)

    def bought(self, task: str) -> Task:
        """A task as it was bought, for what the manifest no longer has."""
        planned = self._tally.states[task].planned
        if planned is None:
            raise JournalError(f"task {task} was bought and never planned")
        return as_bought(planned)

    def unfinished(self, tasks: Tasks) -> Iterator[Task | None]:
        """Tasks to buy or to give up; now and then None, to let others run.

        What is in flight is not drawn here: it was among the paid ones, or somebody
        is at it.
        """
        for number, task in enumerate(tasks()):
            if isinstance(self.next(task), Submit | Abandon):
                yield task
            elif number % _BREATHER == 0:
                yield None

    def next(self, task: Task) -> Step | None:
        """What is to be done with a task just now; None for nothing."""
        state = self.state(task)
        before = self._before.get(task.id, 0)
        tried, ledger = len(state.attempts), self._tally.ledger
        if state.status is Status.DONE and ledger.is_of_this_start(task.id, tried):
            before = -1  # `--again` after a crash: this start has bought it already
        step = next_step(task, state, self._policy, before)
        if isinstance(step, Submit) and task.elements:
            return self._with_elements(step, state)
        return step

    def state(self, task: Task) -> TaskState:
        """Where it stands."""
        return self._tally.states.get(task.id, TaskState())

    def must_rest(self, step: Submit) -> bool:
        """Whether the pause before this attempt is still to come; told once."""
        if not step.delay or self._rested.get(step.task.id) == step.attempt:
            return False
        self._rested[step.task.id] = step.attempt
        return True

    def _with_elements(self, step: Submit, state: TaskState) -> Step | None:
        """Buy a clip when its elements are there; else wait, or give it up."""
        makers = [task_of(ref) for ref in step.task.elements]
        lacking = [maker for maker in makers if maker not in self._tally.elements]
        failed = next(filter(self._has_failed, lacking), None)
        if failed is None:
            return None if lacking else step
        if state.status is not Status.PENDING:
            return None
        element = self._tally.states[failed]
        name = element.planned.input.get("name", failed) if element.planned else failed
        why = element.trouble.message if element.trouble else ""
        return Abandon(step.task, "element", f"element {name} failed: {why}")

    def _has_failed(self, maker: str) -> bool:
        """Whether an element was given up, and this session tries it no more."""
        state = self._tally.states.get(maker)
        if state is None or state.status is not Status.FAILED:
            return False
        return state.planned is None or self.next(self.bought(maker)) is None
