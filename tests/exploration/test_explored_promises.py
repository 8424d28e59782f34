"""Every check of the exploration can fail: each of its sentences is said of a history that is told otherwise."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from inspect import getsource
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest

from call_recording.bus import REQUEST_FAILED, STILL_PAUSED
from tests.conftest import TABLE
from tests.exploration import pauses, starts
from tests.exploration.delivery import KILLED, Delivery
from tests.exploration.history import BEGINS, Change
from tests.exploration.runs import SCENARIOS
from tests.exploration.search import Choices
from tests.exploration.stage import Stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage().set_up() as stage:
        yield stage


class Told:
    """A history in which nothing goes wrong: one after the other, and then the timers."""

    def __init__(self, stage: Stage, title: str, choices: Sequence[int]) -> None:
        scenario: Any = SCENARIOS[title]
        module: Any = starts if isinstance(scenario, starts.Starts) else pauses
        self.stage = stage
        self.history = stage.begin(Choices(choices, lambda _: False), faults=0, latency=scenario.latency)
        self.course = module._Course(scenario, stage, self.history)  # noqa: SLF001 (to hear what it says is the point)
        assert self.course.run(0).broken == []
        self.rows: dict[str, Any] = self.history.memory.tables[TABLE].items
        self.sid = next(iter(self.rows))

    def broken(self) -> list[str]:
        return list(self.course._broken())  # noqa: SLF001

    def sent_again(self, request: int = 0) -> Delivery:
        """Have a request be delivered once more, and do nothing yet."""
        asked = self.course.sent[request][0]
        delivery = self.stage.somebody(f"{asked.name}, again", lambda: None, begins=BEGINS + 130)
        self.course.sent.append((asked, delivery))
        return delivery

    def changes(self, by: Delivery, what: str, sid: str = "") -> None:
        self.history.changes.append(Change(by, sid or self.sid, what, int(BEGINS) + 999))

    def publish(self, detail_type: str, **detail: Any) -> None:
        self.history.memory.published.append({"DetailType": detail_type, "Detail": json.dumps(detail)})


class Lie(NamedTuple):
    """What is told otherwise of a scenario's first history, and the sentence that follows from it."""

    title: str
    sentence: str
    tell: Callable[[Told], Any]
    choices: Sequence[int] = ()


def _without_a_row(told: Told) -> None:
    for sid in list(told.rows):
        del told.rows[sid]


def _with_another_row(told: Told) -> None:
    told.rows["RE9"] = told.rows[told.sid] | {"recording_sid": {"S": "RE9"}}


def _with_another_answer(told: Told) -> None:
    told.sent_again().result = {"statusCode": 201, "body": '{"sid": "RE9"}'}


def _with_the_row_of_another(told: Told) -> None:
    told.rows[told.sid] = told.rows[told.sid] | {"intent": {"S": "http#another"}}


def _killed(told: Told) -> None:
    told.course.sent[-1][1].result = KILLED


def _failed(told: Told) -> None:
    told.publish(REQUEST_FAILED, event_id="event-1")


def _given_what_is_foreign(told: Told) -> None:
    foreign = next(one for one in told.history.changes if one.made_by is told.course.somebody)
    told.rows[foreign.recording_sid] = told.rows[told.sid]
    del told.rows[told.sid]
    for _, delivery in told.course.sent:
        delivery.result = {"statusCode": 201, "body": json.dumps({"sid": foreign.recording_sid})}


def _started_again(told: Told) -> None:
    told.changes(told.course.sent[0][1], "start", "RE9")


def _told_nobody(told: Told) -> None:
    told.history.memory.published.clear()


def _told_all_the_same(told: Told) -> None:
    told.publish(STILL_PAUSED, timer=told.course.fired[0].name)


def _resumed_all_the_same(told: Told) -> None:
    told.changes(told.course.fired[0].deliveries[0], "in-progress")


def _acted_when_answered(told: Told) -> None:
    told.changes(told.sent_again(), "paused")


def _acted_after_another(told: Told) -> None:
    told.course.sent[0][1].result = KILLED
    told.changes(told.sent_again(), "paused")


def _acted_on_another(told: Told) -> None:
    told.course.sent[0][1].result = KILLED
    told.changes(told.sent_again(), "stopped", "RE9")


def _timer_killed(told: Told) -> None:
    told.course.fired[0].deliveries[-1].result = KILLED


def _nothing_done(told: Told) -> None:
    told.history.changes.clear()


LIES: Final = (
    Lie(
        "a key beside a request without one", "without a key was answered with a recording that has no", _without_a_row
    ),
    Lie("two keys", "key-1 has 2 rows", _with_another_row),
    Lie("two keys", "key-1 was answered with 2 recordings", _with_another_answer),
    Lie("two keys", "key-1 was answered with RE0, and its row is that of none", _with_the_row_of_another),
    Lie("two keys", "key-2 is never answered", _killed),
    Lie("an event, delivered twice", "event-1 has 1 rows, and a failure was told", _failed),
    Lie("an event, delivered twice", "event-1 has 0 rows, and no failure was told", _without_a_row),
    Lie("a key after a foreign start", "was given the recording that somebody else started", _given_what_is_foreign),
    Lie("two keys", "there are 3 recordings for 2 requests that were met and 0 others", _started_again),
    Lie("a watched pause beside a pause", "was not ended, and nobody was told of it", _told_nobody),
    Lie("a watched pause beside a resume", "was told, although B (resume) had ended it", _told_all_the_same),
    Lie("a pause with AutoResume beside a pause", "resumed what B (pause) had paused", _resumed_all_the_same),
    Lie("a watched pause beside a pause", "acted although it had been answered", _acted_when_answered),
    Lie("a pause by event beside a resume", "acted again after B (resume)", _acted_after_another),
    Lie(
        "a stop of the current recording by event beside a foreign start",
        "acted on another recording than before",
        _acted_on_another,
    ),
    Lie("a watched pause beside a pause", "never gets through", _timer_killed),
    Lie("a watched pause beside a pause", "pause is never answered: killed", _killed),
    Lie("a watched pause beside a pause", "was answered as if it had been done", _nothing_done),
)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.sentence)
def test_what_was_not_so_is_said(stage: Stage, lie: Lie) -> None:
    told = Told(stage, lie.title, lie.choices)

    lie.tell(told)

    assert any(lie.sentence in one for one in told.broken()), told.broken()


def _sentences(module: ModuleType) -> Iterator[re.Pattern[str]]:
    """Give what the checks of a module can say, as patterns."""
    for node in ast.walk(ast.parse(getsource(module))):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else None for part in node.value.values)
            yield re.compile("".join(re.escape(part) if isinstance(part, str) else ".*" for part in parts))


def test_every_sentence_is_said_once(stage: Stage) -> None:
    said: list[str] = []
    for lie in LIES:
        told = Told(stage, lie.title, lie.choices)
        lie.tell(told)
        said += told.broken()

    never = [
        one.pattern for module in (starts, pauses) for one in _sentences(module) if not any(map(one.fullmatch, said))
    ]
    assert never == []
