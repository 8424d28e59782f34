"""What a timer finds out about its pause, what it tells, and when it resumes: from the row first, then from Twilio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import boto3
import pytest

from call_recording import clock
from call_recording.bus import STILL_PAUSED
from call_recording.commands.pauses import Pauses
from call_recording.control.overdue import OverduePauses
from call_recording.control.request import CURRENT
from call_recording.control.resume_timers import ResumeTimer
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    EventNotPublishedError,
    TableUnavailableError,
    TwilioTimedOutError,
    TwilioUnavailableError,
)
from call_recording.recordings import watches
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource, Twilio
from tests.conftest import IDEMPOTENCY_TABLE, Time

ACCOUNT, CALL, SID, OTHER = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32, "RE" + "2" * 32
ANOTHER_ACCOUNT = "AC" + "2" * 32
BEGAN = datetime.fromisoformat("2026-11-22T07:33:01+00:00")
TIMER = ResumeTimer("resume-1", ACCOUNT, CALL, SID, "2026-11-22T07:33:01.000Z", 60, auto_resume=False)
RESUMING = replace(TIMER, auto_resume=True)
OF_CURRENT = replace(TIMER, recording_sid=CURRENT)


def resource(status: str, *, seconds: int | None = 0, sid: str = SID, account_sid: str = ACCOUNT) -> RecordingResource:
    """Return what Twilio says of a recording that it changed so many seconds after the pause was asked for."""
    told = {"sid": sid, "account_sid": account_sid, "call_sid": CALL, "status": status}
    if seconds is not None:
        told["date_updated"] = format_datetime(BEGAN + timedelta(seconds=seconds))
    return RecordingResource(told, api_url="https://api.twilio.com")


@dataclass
class TwilioStub:
    """One account at Twilio, with what it lists and shows, and how it answers when it is to resume."""

    shown: RecordingResource = field(default_factory=lambda: resource("processing"))
    listed: list[RecordingResource] = field(default_factory=list)
    lists_nothing: Exception | None = None
    refusals: list[Exception] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    acts_at: int | None = 60
    """So many seconds after the pause was asked for, as it says; None if it does not."""
    before_answering: Callable[[], object] = lambda: None

    def of(self, account_sid: str) -> "TwilioStub":
        assert account_sid == ACCOUNT
        return self

    def list_call_recordings(self, call_sid: str, *, deadline: Deadline) -> list[RecordingResource]:
        self.asked.append(("list", call_sid, deadline))
        if self.lists_nothing:
            raise self.lists_nothing
        return self.listed

    def fetch_recording(self, recording_sid: str, *, deadline: Deadline) -> RecordingResource:
        self.asked.append(("fetch", recording_sid, deadline))
        return self.shown

    def update_call_recording(
        self, call_sid: str, recording_sid: str, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> RecordingResource:
        self.asked.append(("update", call_sid, recording_sid, list(form), deadline))
        self.before_answering()
        if self.refusals:
            raise self.refusals.pop()
        return resource("in-progress", seconds=self.acts_at, sid=recording_sid)


@dataclass
class BusStub:
    """What was published."""

    told: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False
    before: Callable[[], object] = lambda: None

    def publish(self, detail_type: str, detail: dict[str, Any]) -> None:
        assert detail_type == STILL_PAUSED
        self.before()
        if self.refuses:
            raise EventNotPublishedError("ThrottlingException")
        self.told.append(detail)


@pytest.fixture
def twilio() -> TwilioStub:
    return TwilioStub()


@pytest.fixture
def bus() -> BusStub:
    return BusStub()


@pytest.fixture
def overdue(table: RecordingsTable, twilio: TwilioStub, bus: BusStub, time: Time) -> OverduePauses:
    pauses = Pauses(boto3.client("dynamodb"), IDEMPOTENCY_TABLE)
    return OverduePauses(table, cast("Twilio", twilio), cast("Any", bus), pauses)


def row(table: RecordingsTable, sid: str = SID) -> dict[str, Any] | None:
    return table.reader.get(sid)


def change(
    table: RecordingsTable,
    status: str,
    *,
    seconds: int | None = 0,
    timer: str = "",
    sid: str = SID,
    account_sid: str = ACCOUNT,
) -> None:
    """Let Twilio have answered that to a change, and the row know of it."""
    answer = resource(status, seconds=seconds, sid=sid, account_sid=account_sid)
    table.record(Facts.from_updated(answer, timer=timer, before=row(table, sid)))


def pause(table: RecordingsTable, timer: ResumeTimer = TIMER, *, sid: str = SID) -> None:
    change(table, "paused", timer=timer.name, sid=sid)


def fire(overdue: OverduePauses, time: Time, timer: ResumeTimer = TIMER, *, seconds: float = 60) -> bool:
    """Let the timer be due, so many seconds after its pause was asked for."""
    time.turn((BEGAN + timedelta(seconds=seconds) - clock.now()).total_seconds())
    return overdue.look_after(timer, deadline=Deadline(20))


# --- what is told ---------------------------------------------------------------------------------------


def test_a_pause_that_nobody_ended_is_told_with_all_that_the_timer_knows(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    pause(table)

    assert fire(overdue, time)

    assert bus.told == [
        {
            "timer": "resume-1",
            "account_sid": ACCOUNT,
            "call_sid": CALL,
            "recording_sid": SID,
            "status": "paused",
            "paused_at": "2026-11-22T07:33:01.000Z",
            "resume_within_seconds": 60,
            "auto_resume": False,
            "resumed": False,
        }
    ]
    assert twilio.asked == []


def test_the_callers_own_name_for_the_recording_is_told(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time
) -> None:
    facts = Facts.from_recording(resource("in-progress"))
    table.record(facts.asked_for(by="x", callback_url="https://x", intent="i", reference="order 4711"))
    pause(table)

    fire(overdue, time)

    assert [told["reference"] for told in bus.told] == ["order 4711"]


@pytest.mark.parametrize("word", ["in-progress", "stopped"])
@pytest.mark.parametrize(("seconds", "is_told"), [(59, False), (60, False), (125, False), (126, True)])
def test_a_pause_has_ended_in_time_with_what_twilio_did_until_then_or_as_much_later_as_clocks_differ(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, word: str, seconds: int, *, is_told: bool
) -> None:
    pause(table)
    change(table, word, seconds=seconds)

    assert fire(overdue, time, seconds=seconds) == is_told
    assert [told["status"] for told in bus.told] == ["unknown"] * is_told


@pytest.mark.parametrize("status", ["stopped", "processing", "completed", "absent"])
def test_a_recording_that_is_over_is_paused_no_more(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, status: str
) -> None:
    pause(table)
    table.record(Facts(SID, ACCOUNT, status, clock.iso_milliseconds(clock.now()), {"call_sid": CALL}))

    assert not fire(overdue, time)
    assert bus.told == []


@pytest.mark.parametrize("status", ["in-progress", "new"])
def test_of_a_pause_that_the_row_does_not_know_nobody_knows(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, status: str
) -> None:
    table.record(Facts(SID, ACCOUNT, status, clock.iso_milliseconds(clock.now()), {"call_sid": CALL}))

    assert fire(overdue, time)
    assert [(told["status"], told["recording_sid"]) for told in bus.told] == [("unknown", SID)]


@pytest.mark.parametrize("account_sid", [None, ANOTHER_ACCOUNT])
def test_of_a_recording_without_a_row_of_its_account_nobody_knows(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, account_sid: str | None
) -> None:
    if account_sid:
        change(table, "stopped", account_sid=account_sid)

    assert fire(overdue, time)
    assert [(told["status"], told["recording_sid"]) for told in bus.told] == [("unknown", SID)]


def test_what_the_bus_does_not_take_is_told_by_the_next_delivery_whatever_happens_until_then(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time
) -> None:
    pause(table)
    bus.refuses = True
    with pytest.raises(EventNotPublishedError):
        fire(overdue, time)
    bus.refuses = False
    change(table, "stopped", seconds=61)

    assert fire(overdue, time, seconds=120)
    assert [(told["status"], told["resumed"]) for told in bus.told] == [("unknown", False)]


def test_that_the_bus_does_not_take_it_is_what_is_told_although_the_row_cannot_be_written(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause(table)
    bus.refuses = True
    monkeypatch.setattr(RecordingsTable, "record", _unavailable)

    with pytest.raises(EventNotPublishedError):
        fire(overdue, time)


def _unavailable(_: RecordingsTable, facts: Any, **_how: bool) -> None:
    raise TableUnavailableError(facts.recording_sid)


def test_a_row_that_is_removed_while_the_bus_takes_nothing_does_not_come_back(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time
) -> None:
    pause(table)
    bus.refuses = True
    bus.before = lambda: table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})

    with pytest.raises(EventNotPublishedError):
        fire(overdue, time)

    assert row(table) is None


def test_where_nothing_is_known_and_the_bus_takes_nothing_there_is_no_row_to_note_it_in(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time
) -> None:
    bus.refuses = True

    with pytest.raises(EventNotPublishedError):
        fire(overdue, time)

    assert row(table) is None


# --- the current recording --------------------------------------------------------------------------------


def test_the_row_that_knows_the_timer_is_the_one_that_was_meant(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    change(table, "in-progress", sid=OTHER)
    pause(table)

    assert fire(overdue, time, OF_CURRENT)

    assert [(told["status"], told["recording_sid"]) for told in bus.told] == [("paused", SID)]
    assert twilio.asked == []


def test_an_index_that_lags_behind_does_not_make_a_pause_last(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause(table)
    late = table.reader.all_of_call(CALL, account_sid=ACCOUNT)
    change(table, "in-progress", seconds=30)
    monkeypatch.setattr(RecordingsReader, "all_of_call", lambda *_, **__: late)

    assert not fire(overdue, time, OF_CURRENT)
    assert bus.told == []


def test_a_row_that_another_account_has_since_says_nothing(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause(table)
    late = table.reader.all_of_call(CALL, account_sid=ACCOUNT)
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})
    change(table, "stopped", account_sid=ANOTHER_ACCOUNT)
    monkeypatch.setattr(RecordingsReader, "all_of_call", lambda *_, **__: late)

    assert fire(overdue, time, OF_CURRENT)
    assert [(told["status"], told["recording_sid"]) for told in bus.told] == [("unknown", CURRENT)]


@pytest.mark.parametrize(("seconds", "is_enough"), [(12, False), (11.9, True)])
def test_rows_of_a_call_are_read_until_there_is_only_the_time_to_ask_and_to_tell(
    overdue: OverduePauses, monkeypatch: pytest.MonkeyPatch, seconds: float, *, is_enough: bool
) -> None:
    """Others can have written as many under the same call as they like."""
    said: list[tuple[str, str, bool]] = []

    def all_of_call(_: Any, call_sid: str, *, account_sid: str, is_enough: Callable[[], bool]) -> list[Any]:
        said.append((call_sid, account_sid, is_enough()))
        return []

    monkeypatch.setattr(RecordingsReader, "all_of_call", all_of_call)

    overdue.look_after(OF_CURRENT, deadline=Deadline(seconds))

    assert said == [(CALL, ACCOUNT, is_enough)]


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the table's indexes know nothing yet."""
    monkeypatch.setattr(RecordingsReader, "all_of_call", lambda *_, **__: [])


@pytest.mark.usefixtures("no_index")
@pytest.mark.parametrize("is_over", [True, False])
def test_what_no_index_shows_yet_is_found_by_twilios_list(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time, *, is_over: bool
) -> None:
    change(table, "in-progress", sid=OTHER)
    pause(table)
    if is_over:
        change(table, "in-progress", seconds=30)
    twilio.listed = [resource("processing", sid=OTHER), resource("processing")]

    assert fire(overdue, time, OF_CURRENT) != is_over

    assert [(told["status"], told["recording_sid"]) for told in bus.told] == [("paused", SID)] * (not is_over)
    assert [asked[:2] for asked in twilio.asked] == [("list", CALL)]


@pytest.mark.usefixtures("no_index")
def test_what_is_over_at_twilio_is_not_paused(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    """Whatever its row says, or if it has none."""
    twilio.listed = [resource("completed")]

    assert not fire(overdue, time, OF_CURRENT)
    assert bus.told == []


@pytest.mark.usefixtures("no_index")
@pytest.mark.parametrize("is_listed", [True, False])
def test_of_a_call_without_recordings_and_of_one_that_is_not_listed_nobody_knows(
    overdue: OverduePauses, bus: BusStub, twilio: TwilioStub, time: Time, *, is_listed: bool
) -> None:
    twilio.lists_nothing = None if is_listed else TwilioUnavailableError("no")

    assert fire(overdue, time, OF_CURRENT)
    assert [(told["status"], told["recording_sid"]) for told in bus.told] == [("unknown", CURRENT)]


@pytest.mark.usefixtures("no_index")
@pytest.mark.parametrize(("seconds", "is_told"), [(-1, True), (0, False)])
def test_while_the_pause_may_yet_be_done_nothing_says_that_it_has_ended(
    overdue: OverduePauses, bus: BusStub, twilio: TwilioStub, time: Time, seconds: int, *, is_told: bool
) -> None:
    twilio.listed = [resource("completed")]

    fired = fire(overdue, time, OF_CURRENT, seconds=watches.IN_FLIGHT.total_seconds() + seconds)

    assert (fired, len(bus.told)) == (is_told, is_told)


@pytest.mark.usefixtures("no_index")
@pytest.mark.parametrize("other", ["resumed since", "resumed before", "without a row", "another account's"])
def test_what_could_have_been_meant_must_all_have_been_changed_since(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time, other: str
) -> None:
    settled = int(watches.UNSETTLED.total_seconds()) + 1
    change(table, "in-progress", seconds=settled)
    account_sid = ANOTHER_ACCOUNT if other == "another account's" else ACCOUNT
    if other != "without a row":
        seconds = settled - 1 if other == "resumed before" else settled
        change(table, "in-progress", seconds=seconds, sid=OTHER, account_sid=account_sid)
    twilio.listed = [resource("processing"), resource("processing", sid=OTHER)]
    is_over = other == "resumed since"

    assert fire(overdue, time, replace(OF_CURRENT, resume_within_seconds=120), seconds=120) != is_over
    assert [told["status"] for told in bus.told] == ["unknown"] * (not is_over)


# --- resuming -----------------------------------------------------------------------------------------------


def test_its_own_pause_is_resumed_in_the_time_there_is(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    pause(table, RESUMING)
    time.turn(60)
    deadline = Deadline(20)

    assert overdue.look_after(RESUMING, deadline=deadline)

    assert twilio.asked == [
        ("fetch", SID, deadline),
        ("update", CALL, SID, [("Status", "in-progress")], deadline),
    ]
    assert [(told["status"], told["resumed"], "reason" in told) for told in bus.told] == [("paused", True, False)]
    assert (row(table) or {})["status"] == "in-progress"


def test_the_next_delivery_of_the_timer_knows_that_it_resumed(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    pause(table, RESUMING)
    bus.refuses = True
    with pytest.raises(EventNotPublishedError):
        fire(overdue, time, RESUMING)
    bus.refuses = False

    assert fire(overdue, time, RESUMING, seconds=70)

    assert [(told["status"], told["resumed"]) for told in bus.told] == [("paused", True)]
    assert [asked[0] for asked in twilio.asked] == ["fetch", "update"]


def test_that_it_was_resumed_counts_although_our_clock_is_behind_and_twilio_names_no_time(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    pause(table, RESUMING)
    twilio.acts_at = None

    fire(overdue, time, RESUMING, seconds=-30)

    assert [told["resumed"] for told in bus.told] == [True]
    assert (row(table) or {})["status"] == "in-progress"


@pytest.mark.parametrize("timer", [TIMER, RESUMING])
def test_a_pause_that_is_not_the_timers_own_is_not_resumed(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time, timer: ResumeTimer
) -> None:
    pause(table, timer)
    change(table, "paused", seconds=10)

    assert fire(overdue, time, timer)

    assert [(told["status"], told["resumed"]) for told in bus.told] == [("paused", False)]
    assert twilio.asked == []


@pytest.mark.parametrize(("seconds", "is_resumed"), [(None, True), (0, True), (1, False)])
def test_what_twilio_changed_since_without_our_knowing_is_left_as_it_is(
    overdue: OverduePauses,
    table: RecordingsTable,
    bus: BusStub,
    twilio: TwilioStub,
    time: Time,
    seconds: int | None,
    *,
    is_resumed: bool,
) -> None:
    pause(table, RESUMING)
    twilio.shown = resource("processing", seconds=seconds)

    fire(overdue, time, RESUMING)

    told = (True, None) if is_resumed else (False, "controlled-since")
    assert [(detail["resumed"], detail.get("reason")) for detail in bus.told] == [told]
    assert [asked[0] for asked in twilio.asked] == ["fetch", "update"][: 1 + is_resumed]


def test_of_what_is_over_twilio_says_itself_why_it_is_not_resumed(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time
) -> None:
    pause(table, RESUMING)
    twilio.shown = resource("completed", seconds=30)
    twilio.refusals = [CallNotInProgressError(http_status=400, code=21220, message="no")]

    assert fire(overdue, time, RESUMING)

    assert [(told["status"], told["resumed"], told["reason"]) for told in bus.told] == [
        ("paused", False, "call-not-in-progress")
    ]


@pytest.mark.parametrize("happens", ["nothing", "paused by another", "gone", "another account's"])
def test_an_attempt_whose_answer_was_lost_is_told_from_somebody_elses(
    overdue: OverduePauses, table: RecordingsTable, bus: BusStub, twilio: TwilioStub, time: Time, happens: str
) -> None:
    pause(table, RESUMING)
    twilio.refusals = [TwilioTimedOutError("no answer")]

    def happen() -> None:
        twilio.before_answering = lambda: None
        twilio.shown = resource("processing", seconds=60)  # as our own attempt made it
        if happens == "paused by another":
            change(table, "paused", seconds=61)
        elif happens != "nothing":
            table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})
        if happens == "another account's":
            change(table, "paused", timer=RESUMING.name, account_sid=ANOTHER_ACCOUNT)

    twilio.before_answering = happen

    fire(overdue, time, RESUMING)

    told = (True, None) if happens == "nothing" else (False, "controlled-since")
    assert [(detail["resumed"], detail.get("reason")) for detail in bus.told] == [told]
    assert [asked[0] for asked in twilio.asked] == ["fetch", "update", "update"][: 2 + (happens == "nothing")]
