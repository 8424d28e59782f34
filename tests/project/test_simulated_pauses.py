"""When the simulated Twilio's recordings can be heard, and what it answers to whoever pauses, resumes or stops them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Call, Recording
from local.twilio_simulator.twilio import Answer, Repeats, Request, Twilio
from tests.project.conftest import BEGAN, Now, basic
from tests.twilio_contract import Contract

ACCOUNT, CALL = "AC" + "1" * 32, "CA" + "1" * 32
ROOT = f"/2010-04-01/Accounts/{ACCOUNT}"


@pytest.fixture
def twilio(now: Now) -> Iterator[Twilio]:
    """Give a Twilio with a call, whose answers are as our description has them."""
    made, contract = Twilio(clock=lambda: now.seconds, base_url="https://api.twilio.com"), Contract()
    made.observe = contract.observe_answer
    made.add_account(Account(ACCOUNT, "token"))
    made.begin_call(ACCOUNT, call_sid=CALL)
    yield made
    assert contract.broken == []


@pytest.fixture
def call(twilio: Twilio) -> Call:
    return twilio.calls[CALL]


@pytest.fixture(params=["call", "conference"])
def recording(request: pytest.FixtureRequest, twilio: Twilio, call: Call) -> Recording:
    """Give a recording of a call, or of a conference."""
    if request.param == "call":
        return twilio.record(call)
    return twilio.record_conference(twilio.begin_conference([call, twilio.begin_call(ACCOUNT)]))


def change(twilio: Twilio, recording: Recording, name: str = "", **form: str) -> Answer:
    owner = f"Conferences/{recording.conference.sid}" if recording.conference else f"Calls/{recording.call.sid}"
    path = f"{ROOT}/{owner}/Recordings/{name or recording.sid}.json"
    return twilio.handle(Request("POST", path, "", basic(ACCOUNT), urlencode(form).encode()))


def refusal(answer: Answer) -> tuple[int, int]:
    return answer.status, answer.json()["code"]


def heard(recording: Recording) -> list[tuple[float, float | None]]:
    """Return when it can be heard, in seconds since the beginning."""
    return [(begins - BEGAN, None if ends is None else ends - BEGAN) for begins, ends in recording.audible]


@pytest.mark.parametrize("behaviour", [{}, {"PauseBehavior": "silence"}, {"PauseBehavior": "skip"}])
def test_a_pause_cannot_be_heard_however_it_is_filled(
    twilio: Twilio, now: Now, recording: Recording, behaviour: dict[str, str]
) -> None:
    now.seconds += 10
    change(twilio, recording, Status="paused", **behaviour)
    now.seconds += 5
    change(twilio, recording, Status="in-progress")

    assert heard(recording) == [(0, 10), (15, None)]
    assert [recording.can_be_heard(BEGAN + at) for at in (-1, 0, 9.9, 10, 14.9, 15, 1000)] == [
        *(False, True, True, False, False, True, True)
    ]


@pytest.mark.parametrize(
    ("begins", "ends", "is_heard"),
    [
        *((-5, 0, False), (-5, 1, True), (2, 3, True), (9, 12, True), (10, 15, False), (11, 12, False)),
        *((14, 16, True), (0, 20, True), (20, 30, False), (12, 12, False), (5, 5, False)),
    ],
)
def test_what_was_said_between_two_moments_is_heard_or_not(
    twilio: Twilio, now: Now, call: Call, begins: float, ends: float, *, is_heard: bool
) -> None:
    recording = twilio.record(call)
    for seconds, status in ((10, "paused"), (5, "in-progress"), (5, "stopped")):
        now.seconds += seconds
        change(twilio, recording, Status=status)

    assert heard(recording) == [(0, 10), (15, 20)]
    assert recording.heard_between(BEGAN + begins, BEGAN + ends) is is_heard


def test_a_recording_that_goes_on_is_heard_from_any_moment_on(twilio: Twilio, call: Call) -> None:
    assert twilio.record(call).heard_between(BEGAN + 1000, BEGAN + 2000)


def test_nothing_is_heard_after_the_end_of_the_call_or_the_conference(
    twilio: Twilio, now: Now, recording: Recording
) -> None:
    now.seconds += 7
    if recording.conference:
        twilio.end_conference(recording.conference.sid)
    else:
        twilio.hang_up(CALL)
    now.seconds += 7
    twilio.due_callbacks()

    assert heard(recording) == [(0, 7)]
    assert (recording.status, recording.duration) == ("completed", 7)


def test_what_ends_while_it_is_paused_is_not_heard_again(twilio: Twilio, now: Now, call: Call) -> None:
    recording = twilio.record(call)
    now.seconds += 5
    change(twilio, recording, Status="paused")
    now.seconds += 5
    twilio.hang_up(CALL)

    assert heard(recording) == [(0, 5)]


def test_a_pause_at_the_very_beginning_leaves_nothing_to_be_heard(twilio: Twilio, recording: Recording) -> None:
    change(twilio, recording, Status="paused")

    assert heard(recording) == []
    assert not recording.can_be_heard(BEGAN)


def test_a_pause_that_twilio_does_late_is_heard_until_then(twilio: Twilio, now: Now, recording: Recording) -> None:
    twilio.faults.requests.append(RequestFault("cut", acts_after_seconds=3))
    change(twilio, recording, Status="paused")
    now.seconds += 3
    twilio.due_callbacks()

    assert heard(recording) == [(0, 3)]


def test_each_recording_of_a_call_is_heard_for_itself(twilio: Twilio, now: Now, call: Call) -> None:
    by_api = twilio.record(call)
    now.seconds += 5
    change(twilio, by_api, Status="paused")
    by_twiml = twilio.record(call, source="RecordVerb")
    now.seconds += 5

    assert (heard(by_api), heard(by_twiml)) == ([(0, 5)], [(5, None)])
    assert refusal(change(twilio, by_api, "Twilio.CURRENT", Status="paused")) == (400, 16108)
    assert heard(by_twiml) == [(5, None)], "what is refused is not done"


@pytest.mark.parametrize("statuses", [["paused", "paused"], ["in-progress"], ["paused", "in-progress", "in-progress"]])
@pytest.mark.parametrize("repeats", ["ignored", "dated"])
def test_what_is_so_already_is_answered_and_changes_nothing_that_is_heard(
    twilio: Twilio, now: Now, recording: Recording, statuses: list[str], repeats: Repeats
) -> None:
    twilio.repeats = repeats
    for status in statuses[:-1]:
        now.seconds += 5
        change(twilio, recording, Status=status, PauseBehavior="silence")
    before, updated_at = heard(recording), recording.updated_at
    now.seconds += 5

    answer = change(twilio, recording, Status=statuses[-1], PauseBehavior="skip")

    assert (answer.status, answer.json()["status"]) == (200, statuses[-1])
    assert heard(recording) == before
    assert recording.updated_at == (now.seconds if repeats == "dated" else updated_at)
    assert not recording.skips_pause, "a second pause is not another pause"


@pytest.mark.parametrize("statuses", [["paused", "paused"], ["in-progress"]])
def test_what_is_so_already_can_be_refused_and_changes_nothing(
    twilio: Twilio, now: Now, recording: Recording, statuses: list[str]
) -> None:
    twilio.repeats = "refused"
    for status in statuses[:-1]:
        now.seconds += 5
        assert change(twilio, recording, Status=status).status == 200
    before = (heard(recording), recording.status, recording.updated_at)
    now.seconds += 5

    answer = change(twilio, recording, Status=statuses[-1])

    assert refusal(answer) == (400, 21220)
    assert (heard(recording), recording.status, recording.updated_at) == before


@pytest.mark.parametrize("status", ["paused", "in-progress"])
@pytest.mark.parametrize("after", [0, 60])
def test_what_is_over_can_neither_be_paused_nor_resumed(
    twilio: Twilio, now: Now, recording: Recording, status: str, after: float
) -> None:
    now.seconds += 5
    for one in list(twilio.calls):
        twilio.hang_up(one)
    now.seconds += after
    twilio.due_callbacks()

    answer = change(twilio, recording, Status=status)

    assert refusal(answer) == (400, 21220)
    assert heard(recording) == [(0, 5)]


def test_a_conference_goes_on_being_recorded_when_the_call_that_opened_it_leaves(
    twilio: Twilio, now: Now, call: Call
) -> None:
    other = twilio.begin_call(ACCOUNT)
    recording = twilio.record_conference(twilio.begin_conference([call, other]))
    now.seconds += 5
    twilio.hang_up(CALL)
    now.seconds += 5
    twilio.leave(other)

    assert heard(recording) == [(0, 10)]


@pytest.mark.parametrize("form", [{"Status": "stopped"}, {"Status": "completed"}, {}, {"Status": "Paused"}])
def test_what_is_recorded_of_a_conference_can_only_be_paused_and_resumed(
    twilio: Twilio, call: Call, form: dict[str, Any]
) -> None:
    recording = twilio.record_conference(twilio.begin_conference([call, twilio.begin_call(ACCOUNT)]))

    assert refusal(change(twilio, recording, **form)) == (400, 20001)
    assert refusal(change(twilio, recording, Status="paused", PauseBehavior="loud")) == (400, 20001)
    assert heard(recording) == [(0, None)]


def test_the_only_recording_of_a_conference_can_be_paused_without_its_sid(twilio: Twilio, call: Call) -> None:
    conference = twilio.begin_conference([call, twilio.begin_call(ACCOUNT)])
    recording = twilio.record_conference(conference)
    twilio.record(call)

    assert change(twilio, recording, "Twilio.CURRENT", Status="paused").json()["sid"] == recording.sid
    twilio.record_conference(conference, source="StartConferenceRecordingAPI")
    assert refusal(change(twilio, recording, "Twilio.CURRENT", Status="paused")) == (400, 16108)


def test_a_transfer_puts_a_new_leg_in_the_place_of_the_old_one(twilio: Twilio, now: Now, call: Call) -> None:
    before = twilio.begin_call(ACCOUNT, parent_call_sid=CALL)
    of_parent, of_leg = twilio.record(call), twilio.record(before, source="DialVerb")
    now.seconds += 5

    after = twilio.transfer(call, takes_seconds=2)
    ringing = (before.is_live, after.status(now.seconds))
    now.seconds += 2
    twilio.due_callbacks()

    assert ringing == (True, "ringing")
    assert (before.is_live, after.status(now.seconds), after.parent) == (False, "in-progress", call)
    assert (heard(of_parent), heard(of_leg)) == ([(0, None)], [(0, 7)])


def test_a_transfer_at_once_needs_no_time_to_pass(twilio: Twilio, call: Call) -> None:
    before = twilio.begin_call(ACCOUNT, parent_call_sid=CALL)

    after = twilio.transfer(call)

    assert (before.is_live, after.is_live) == (False, True)


def test_what_is_over_cannot_be_transferred(twilio: Twilio, call: Call) -> None:
    twilio.hang_up(CALL)

    with pytest.raises(ValueError, match="over"):
        twilio.transfer(call)

    assert list(twilio.calls) == [CALL]


def test_during_a_transfer_no_recording_of_the_call_can_be_changed(twilio: Twilio, now: Now, call: Call) -> None:
    leg, other = twilio.begin_call(ACCOUNT, parent_call_sid=CALL), twilio.begin_call(ACCOUNT)
    met = twilio.record_conference(twilio.begin_conference([other, twilio.begin_call(ACCOUNT)]))
    recordings = [twilio.record(one) for one in (call, leg, other)]
    twilio.transfer(call, takes_seconds=2)

    during = [change(twilio, one, Status="paused") for one in [*recordings, met]]
    now.seconds += 2
    twilio.due_callbacks()
    afterwards = change(twilio, recordings[0], Status="paused")

    assert [refusal(one) for one in during[:2]] == [(408, 16114)] * 2
    assert [one.json()["status"] for one in [*during[2:], afterwards]] == ["paused"] * 3


def test_whoever_is_transferred_leaves_the_conference(twilio: Twilio, call: Call) -> None:
    conference = twilio.begin_conference([call, twilio.begin_call(ACCOUNT)])

    twilio.transfer(call)

    assert [one.call is call for one in conference.present] == [False]
