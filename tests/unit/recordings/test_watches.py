"""Whatever is lost, late or told by wrong clocks: no pause that lasts is taken for one that has ended."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_recording import clock
from call_recording.recordings import watches
from call_recording.recordings.facts import Control, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import Row
from call_recording.twilio.api import RecordingResource

SID, ACCOUNT, CALL = "RE" + "1" * 32, "AC" + "1" * 32, "CA" + "1" * 32
BEGINS = datetime(2026, 11, 22, 7, 33, tzinfo=UTC)


class Step(NamedTuple):
    """Something that Twilio was asked for. All in seconds: how long after the step before Twilio does it, how long
    before that it was asked, and how long after that the answer comes and the row is written; and how wrong the
    clock is of the function that asked."""

    does: str
    after: float
    asked: float = 0.0
    answered: float = 0.0
    written: float = 0.0
    clock: float = 0.0
    is_lost: bool = False


class Course(NamedTuple):
    """What became of some steps: the row, and Twilio's time of each."""

    row: Row
    at: list[float]
    steps: list[Step]

    def ended_at(self, number: int) -> str | None:
        """Return when the pause of that step ended, for all that the row knows."""
        step, at = self.steps[number], self.at[number]
        asked_at = BEGINS + timedelta(seconds=at - step.asked + step.clock)
        unknown_until = clock.iso_seconds(asked_at + watches.UNSETTLED)
        return watches.ended_at(self.row, timer(number), unknown_until=unknown_until)

    def has_ended(self, number: int) -> bool:
        """Tell whether the pause of that step has ended at Twilio."""
        return any(step.does in {"in-progress", "watched"} for step in self.steps[number + 1 :])


def timer(number: int) -> str:
    return f"t{number:02d}"


def course(steps: list[Step]) -> Course:
    """Let Twilio do all that in its order, and the functions write what they hear in theirs."""
    at, now = [], 0.0
    for step in steps:
        now += step.after
        at.append(now)
    agenda = sorted(
        [(at[n] - step.asked, 0, n) for n, step in enumerate(steps)]
        + [(at[n] + step.answered + step.written, 1, n) for n, step in enumerate(steps)]
    )
    row: Row = merge(None, Facts(SID, ACCOUNT, "in-progress", "2026-11-22T07:32:00.000Z"), retention_days=1)
    before: dict[int, Row] = {}
    for _, is_written, number in agenda:
        step = steps[number]
        if not is_written:
            before[number] = row
        elif not step.is_lost:
            row = merge(row, answer(step, number, at[number], before[number]), retention_days=1)
    return Course(row, at, steps)


def answer(step: Step, number: int, at: float, before: Row) -> Facts:
    resource = {
        "sid": SID,
        "account_sid": ACCOUNT,
        "status": "in-progress" if step.does == "in-progress" else "paused",
        "date_updated": format_datetime(BEGINS + timedelta(seconds=at)),
    }
    seen_at = BEGINS + timedelta(seconds=at + step.answered + step.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: seen_at)
        return Facts.from_updated(
            RecordingResource(resource, api_url="https://api.twilio.com"),
            timer=timer(number) if step.does == "watched" else "",
            before=before,
        )


_does = st.sampled_from(["watched", "unwatched", "in-progress"])
_short = st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.5])
_steps = st.builds(
    Step,
    _does,
    st.sampled_from([0.05, 0.3, 0.8, 1.2, 5.0, 70.0, 200.0]),
    _short,
    _short,
    _short,
    st.sampled_from([-30.0, -1.0, 0.0, 0.5, 30.0]),
    st.booleans(),
)


@given(st.lists(_steps, min_size=1, max_size=7))
@settings(max_examples=500, deadline=None)
def test_no_pause_that_lasts_is_taken_for_one_that_has_ended(steps: list[Step]) -> None:
    happened = course(steps)

    for number, step in enumerate(steps):
        if step.does == "watched" and not happened.has_ended(number):
            assert happened.ended_at(number) is None


_one_after_the_other = _steps.map(
    lambda step: step._replace(after=step.after + 0.01, asked=0.005, answered=0.0, written=0.004, is_lost=False)
)
"""Each is asked for after the one before was answered and written."""


@given(st.lists(_one_after_the_other, min_size=1, max_size=7))
@settings(max_examples=500, deadline=None)
def test_where_nothing_goes_wrong_every_pause_that_has_ended_is_known_to_have(steps: list[Step]) -> None:
    happened = course(steps)

    for number, step in enumerate(steps):
        if step.does == "watched":
            assert (happened.ended_at(number) is not None) == happened.has_ended(number)
    assert happened.row["status"] == ("in-progress" if steps[-1].does == "in-progress" else "paused")


@given(st.lists(_steps.map(lambda step: step._replace(is_lost=False, clock=0.0)), min_size=1, max_size=7))
@settings(max_examples=500, deadline=None)
def test_only_what_came_last_is_surely_the_last(steps: list[Step]) -> None:
    row = course(steps).row

    control = Control(**row["control"])
    if control.timer and control.is_surely_last and row["status"] == "paused":
        assert control.timer == timer(len(steps) - 1)


def test_of_two_that_ended_a_pause_the_first_one_counts() -> None:
    first, second = (f"{watches.ENDED} 2026-11-22T07:33:0{n}Z" for n in (1, 2))

    for held, told in ((first, second), (second, first)):
        assert watches.latest({"t": held}, {"t": told}) == {"t": first}


@pytest.mark.parametrize("word", [watches.OVERDUE, watches.RESUMED])
def test_what_is_to_be_told_stays_so(word: str) -> None:
    ended = f"{watches.ENDED} 2026-11-22T07:33:01Z"

    for held, told in ((word, ended), (ended, word)):
        row: dict[str, Any] = {"timers": watches.latest({"t": held}, {"t": told})}
        assert watches.is_to_be_told(row, "t")


def at(second: int) -> str:
    return f"2026-11-22T07:33:{second:02d}Z"


def test_what_is_known_of_one_timer_says_nothing_of_another() -> None:
    assert watches.latest({"a": at(1)}, {"b": at(2)}) == {"a": at(1), "b": at(2)}


def test_of_too_many_timers_the_latest_are_kept() -> None:
    held = {timer(number): at(number) for number in range(watches.MOST_TIMERS + 2)}

    assert list(watches.latest(held, {})) == [timer(number) for number in range(2, watches.MOST_TIMERS + 2)]


def test_a_control_ends_the_pauses_that_were_surely_done_before_it() -> None:
    row = {"control": {"changed_at": at(2)}, "timers": {"a": at(1), "b": at(2), "c": at(4), "d": at(5), "e": at(6)}}

    ended = f"{watches.ENDED} {at(5)}"
    assert watches.ended_by(at(5), row) == {"a": ended, "b": ended, "c": ended}
    assert watches.ended_by(at(5), row | {"control": {"changed_at": at(5)}}).keys() == {"a", "b", "c", "d"}
    assert watches.ended_by(at(5), {"timers": {"a": at(1)}}) == {}
    assert watches.ended_by(at(5), {"control": {"changed_at": at(2)}}) == {}
    assert watches.ended_by(at(5), None) == {}


def test_when_a_pause_ended_is_what_its_word_says_or_what_came_after_it() -> None:
    assert watches.ended_at({"timers": {"t": f"{watches.ENDED} {at(7)}"}}, "t", unknown_until=at(1)) == at(7)
    for row in ({"timers": {"t": at(3)}}, {"timers": {"another": at(9)}}, {}):
        assert watches.ended_at(row, "t", unknown_until=at(3)) is None
        assert watches.ended_at(row | {"pauses_ended_at": at(3)}, "t", unknown_until=at(3)) is None
        assert watches.ended_at(row | {"pauses_ended_at": at(4)}, "t", unknown_until=at(3)) == at(4)


def test_a_row_that_knows_of_no_timer_has_nothing_to_tell() -> None:
    assert not watches.is_to_be_told({}, "t")
    assert not watches.is_to_be_told({"timers": {"t": at(1)}}, "t")
