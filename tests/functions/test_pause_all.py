"""Pausing everything that hears a call: a 200 that proves that nothing records, and a resume that undoes no more."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any, Literal

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clients, clock
from call_recording.bus import REQUEST_FAILED, SOURCE, STARTED_WHILE_PAUSED, STATUS_CHANGE, STILL_PAUSED
from call_recording.commands.pauses import Pause, Pauses
from call_recording.control.resume_timers import ResumeTimers
from call_recording.errors import (
    PauseUnprovenError,
    TableUnavailableError,
    TwilioUnavailableError,
    UnknownTriggerError,
)
from call_recording.pause_all.scope import Search
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.row import Row, attributes
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource, TwilioAccount
from generators.sample_events import ACCOUNT_SID, CALL_SID, stream_record
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Call, Conference, Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer, Repeats, Request
from tests.conftest import (
    IDEMPOTENCY_TABLE,
    TABLE,
    Bus,
    Context,
    Time,
    begin_recording,
    load_app,
    rows,
    status_of,
    timers,
    write_row,
)

Api = Callable[..., dict[str, Any]]
When = Literal["before", "after"]
PAUSE, RESUME = {"Status": "paused"}, {"Status": "in-progress"}
NO_CONFERENCE = {"ConferenceSid": "none"}


@pytest.fixture
def pause(api: Api) -> Api:
    def send(call_sid: str = CALL_SID, *, key: str | None = None, **more: Any) -> dict[str, Any]:
        return api("control-rest-api.json", PAUSE | more, key=key, path={"CallSid": call_sid, "RecordingSid": "ALL"})

    return send


@pytest.fixture
def resume(api: Api) -> Api:
    def send(call_sid: str = CALL_SID, *, key: str | None = None, **more: Any) -> dict[str, Any]:
        return api("control-rest-api.json", RESUME | more, key=key, path={"CallSid": call_sid, "RecordingSid": "ALL"})

    return send


@pytest.fixture(params=["the call", "its leg"])
def either(request: pytest.FixtureRequest, twilio: TwilioServer) -> str:
    """The call, or a leg of it."""
    leg = dial(twilio).sid
    return CALL_SID if request.param == "the call" else leg


def record(twilio: TwilioServer, call_sid: str = CALL_SID, *, source: str = "StartCallRecordingAPI") -> Recording:
    with twilio.locked() as simulated:
        return simulated.record(simulated.calls[call_sid], source=source)


def dial(twilio: TwilioServer, parent: str = CALL_SID) -> Call:
    with twilio.locked() as simulated:
        return simulated.begin_call(ACCOUNT_SID, parent_call_sid=parent)


def meet(twilio: TwilioServer, *call_sids: str) -> Conference:
    with twilio.locked() as simulated:
        return simulated.begin_conference([simulated.calls[sid] for sid in call_sids])


def sids(items: list[dict[str, str]]) -> set[str]:
    return {item["sid"] for item in items}


def asked(twilio: TwilioServer) -> list[str]:
    """Return what Twilio was asked for: the method and what comes after the account, without `.json`."""
    return [
        f"{r.method} {r.path.partition(ACCOUNT_SID + '/')[2].removesuffix('.json')}" for r in twilio.twilio.requests
    ]


def when_asked(twilio: TwilioServer, what: str, do: Callable[[], Any]) -> None:
    """Have something happen at Twilio just after it answered a request, the first whose path ends like that."""
    before, left = twilio.twilio.observe, [do]

    def observe(request: Request, answer: Answer | None) -> None:
        before(request, answer)
        if left and request.path.endswith(what):
            left.pop()()

    twilio.twilio.observe = observe


# --- what is paused --------------------------------------------------------------------------------


def test_a_200_names_the_group_the_scope_what_is_paused_and_what_it_cannot_cover(
    pause: Api, twilio: TwilioServer, table: RecordingsTable
) -> None:
    recording = begin_recording(twilio, table)

    answer = pause(PauseBehavior="skip")

    assert answer["statusCode"] == 200
    group, proven_at = answer["json"].pop("group"), answer["json"].pop("proven_at")
    assert group.startswith("pause-")
    assert proven_at == "2026-11-22T07:33:03.000Z"  # the first pause in an account waits two seconds
    assert answer["json"] == {
        "scope": {"calls": [CALL_SID], "conferences": [], "asserted": False},
        "paused": [{"sid": recording.sid, "was": "in-progress"}],
        "not_covered": ["streams", "siprec", "transcriptions"],
    }
    assert (recording.status, status_of(recording), recording.skips_pause) == ("paused", "paused", True)


@pytest.mark.parametrize(("said", "requests"), [(NO_CONFERENCE, 4), ({}, 5)])
def test_a_simple_call_takes_four_requests_or_one_more_to_look_for_its_conference(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, said: dict[str, str], requests: int
) -> None:
    begin_recording(twilio, table)
    answer = pause(**said)

    assert answer["json"]["scope"]["asserted"] is bool(said)
    assert len(asked(twilio)) == requests


def test_every_recording_of_the_call_is_paused_by_its_own_sid_whoever_started_it(
    pause: Api, twilio: TwilioServer, table: RecordingsTable
) -> None:
    own, by_twiml, by_dial = (
        begin_recording(twilio, table),
        record(twilio, source="RecordVerb"),
        record(twilio, source="DialVerb"),
    )

    answer = pause()

    assert sids(answer["json"]["paused"]) == {own.sid, by_twiml.sid, by_dial.sid}
    assert [one.status for one in (own, by_twiml, by_dial)] == ["paused"] * 3
    assert not any("CURRENT" in line for line in asked(twilio))
    assert {status_of(one) for one in (own, by_twiml, by_dial)} == {"paused"}


def test_what_records_the_parent_the_legs_and_the_other_legs_is_paused_too(pause: Api, twilio: TwilioServer) -> None:
    leg = dial(twilio)
    other = dial(twilio)
    below = dial(twilio, leg.sid)
    recorded = [record(twilio, sid, source="RecordVerb") for sid in (CALL_SID, leg.sid, other.sid, below.sid)]

    answer = pause(leg.sid)

    assert set(answer["json"]["scope"]["calls"]) == {CALL_SID, leg.sid, other.sid, below.sid}
    assert sids(answer["json"]["paused"]) == {one.sid for one in recorded}


@pytest.mark.parametrize("names_it", [True, False])
def test_the_conference_is_paused_with_everybody_in_it_and_their_legs(
    pause: Api, twilio: TwilioServer, *, names_it: bool
) -> None:
    with twilio.locked() as simulated:
        one, two = simulated.begin_call(ACCOUNT_SID), simulated.begin_call(ACCOUNT_SID)
    leg = dial(twilio, one.sid)
    conference = meet(twilio, CALL_SID, one.sid, two.sid)
    elsewhere = meet(twilio, *(twilio.twilio.begin_call(ACCOUNT_SID).sid for _ in range(2)))
    recorded = [record(twilio, sid, source="RecordVerb") for sid in (CALL_SID, two.sid, leg.sid)]
    of_conference, of_another = twilio.twilio.record_conference(conference), twilio.twilio.record_conference(elsewhere)

    answer = pause(**({"ConferenceSid": conference.sid} if names_it else {}))["json"]

    assert answer["scope"]["conferences"] == [conference.sid]
    assert set(answer["scope"]["calls"]) == {CALL_SID, one.sid, two.sid, leg.sid}
    assert sids(answer["paused"]) == {*(one.sid for one in recorded), of_conference.sid}
    assert of_another.status == "in-progress"


def test_a_conference_is_found_by_the_leg_that_is_in_it(pause: Api, twilio: TwilioServer) -> None:
    leg = dial(twilio)
    with twilio.locked() as simulated:
        conference = meet(twilio, leg.sid, simulated.begin_call(ACCOUNT_SID).sid)
        recording = simulated.record_conference(conference)

    assert sids(pause(ConferenceSid=conference.sid)["json"]["paused"]) == {recording.sid}
    assert recording.status == "paused"


def test_a_conference_that_the_call_is_not_in_is_an_error_and_pauses_nothing(
    pause: Api, ask: Api, twilio: TwilioServer, table: RecordingsTable
) -> None:
    elsewhere = meet(twilio, *(twilio.twilio.begin_call(ACCOUNT_SID).sid for _ in range(2)))
    recording, own = twilio.twilio.record_conference(elsewhere), begin_recording(twilio, table)

    answer = pause(ConferenceSid=elsewhere.sid, ResumeWithinSeconds=60)

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (422, "not-a-participant")
    assert recording.status == own.status == "in-progress"
    assert timers() == []
    assert ask()["statusCode"] == 201  # nothing is left behind that would keep a recording from starting


def test_a_call_that_twilio_does_not_know_is_an_error_and_leaves_nothing_behind(
    pause: Api, twilio: TwilioServer
) -> None:
    answer = pause("CA" + "9" * 32, ResumeWithinSeconds=60)

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (404, "not-found")
    assert timers() == []


def test_where_more_conferences_are_in_progress_than_are_looked_through_the_caller_has_to_name_it(
    pause: Api, twilio: TwilioServer
) -> None:
    def call() -> str:
        return twilio.twilio.begin_call(ACCOUNT_SID).sid

    for _ in range(50):
        meet(twilio, call(), call())
    conference = meet(twilio, CALL_SID, call())
    recording = twilio.twilio.record_conference(conference)

    refused, named = pause(), pause(ConferenceSid=conference.sid)

    assert (refused["statusCode"], refused["json"]["type"].rpartition(":")[2]) == (409, "scope-unproven")
    assert refused["json"]["still_recording"] == refused["json"]["paused"] == refused["json"]["unresolved"] == []
    assert sids(named["json"]["paused"]) == {recording.sid}


def test_where_nothing_is_active_the_answer_is_200_with_nothing_paused(pause: Api, twilio: TwilioServer) -> None:
    answer = pause()
    assert (answer["statusCode"], answer["json"]["paused"]) == (200, [])

    twilio.twilio.hang_up(CALL_SID)
    answer = pause()
    assert (answer["statusCode"], answer["json"]["paused"], answer["json"]["scope"]["calls"]) == (200, [], [])


# --- until it is proven ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["Calls.json", "Conferences.json", "Recordings.json"])
def test_what_begins_while_the_scope_is_looked_for_is_found_or_was_begun_later(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, what: str
) -> None:
    begin_recording(twilio, table)
    record(twilio, source="RecordVerb")  # so that a second pass is needed
    begun: list[Recording] = []
    when_asked(twilio, what, lambda: begun.append(record(twilio, dial(twilio).sid, source="RecordVerb")))

    answer = pause()

    assert answer["statusCode"] == 200
    assert begun[0].status == "paused"


def test_who_joins_the_conference_meanwhile_is_found_by_the_last_pass(pause: Api, twilio: TwilioServer) -> None:
    with twilio.locked() as simulated:
        conference = meet(twilio, CALL_SID, simulated.begin_call(ACCOUNT_SID).sid)
        late = simulated.begin_call(ACCOUNT_SID)
    record(twilio, source="RecordVerb")
    recording = record(twilio, late.sid, source="RecordVerb")
    when_asked(twilio, "Participants.json", lambda: twilio.twilio.join(conference, late))

    answer = pause()

    assert recording.sid in sids(answer["json"]["paused"])
    assert late.sid in answer["json"]["scope"]["calls"]


def test_a_pause_that_twilio_refuses_is_409_and_says_which_recording_still_runs(
    pause: Api, twilio: TwilioServer, table: RecordingsTable
) -> None:
    own, other = begin_recording(twilio, table), record(twilio, source="RecordVerb")
    refuse(twilio, other, code=20001)

    answer = pause()

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (409, "still-recording")
    assert answer["json"]["still_recording"] == [{"sid": other.sid, "reason": "refused-by-twilio"}]
    assert answer["json"]["paused"] == [{"sid": own.sid, "was": "in-progress"}]
    assert answer["json"]["unresolved"] == []


@pytest.mark.parametrize("proof", ["its duration", "the row"])
def test_that_a_recording_is_not_active_counts_only_where_something_proves_that_it_is_over(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, proof: str
) -> None:
    recording = begin_recording(twilio, table)
    other = record(twilio, source="RecordVerb")
    refuse(twilio, other, code=21220)
    assert pause()["statusCode"] == 409  # a call that is not in progress yet gets the same refusal

    if proof == "its duration":
        other.duration = 3
    else:
        write_row(twilio, table, other)
        resource = RecordingResource(other.resource(status="stopped"), api_url=twilio.url)
        table.record(Facts.from_updated(resource))
    answer = pause()

    assert (answer["statusCode"], sids(answer["json"]["paused"])) == (200, {recording.sid})


def test_nor_where_its_call_has_ended_by_then(pause: Api, twilio: TwilioServer) -> None:
    with twilio.locked() as simulated:
        other = simulated.begin_call(ACCOUNT_SID)
        meet(twilio, CALL_SID, other.sid)
    recording = record(twilio, other.sid, source="RecordVerb")
    refuse(twilio, recording, code=21220)

    def end() -> None:
        other.is_live = False  # and its recording is shown as if it still ran

    when_asked(twilio, f"{other.sid}/Recordings.json", end)

    assert pause()["statusCode"] == 200


@pytest.mark.parametrize(
    "fault",
    [RequestFault(429), RequestFault(408, code=16114), RequestFault(500), RequestFault("cut"), RequestFault(408)],
    ids=str,
)
@pytest.mark.parametrize("at", range(5))
def test_what_twilio_cannot_say_just_now_is_asked_again(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, fault: RequestFault, at: int
) -> None:
    recording = begin_recording(twilio, table)
    twilio.twilio.faults.requests += [None] * at + [fault]

    answer = pause()

    assert (answer["statusCode"], sids(answer["json"]["paused"])) == (200, {recording.sid})
    assert recording.status == "paused"


@pytest.mark.parametrize(
    ("fault", "answered"),
    [(RequestFault(500), (503, "pause-unproven")), (RequestFault(429), (503, "pause-unproven"))],
)
def test_unknown_is_never_200(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, fault: RequestFault, answered: tuple[int, str]
) -> None:
    recording = begin_recording(twilio, table)
    twilio.twilio.faults.requests += [fault] * 60

    answer = pause()

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == answered
    assert sids(answer["json"]["unresolved"]) == {recording.sid}


def test_what_takes_too_long_is_504(pause: Api, twilio: TwilioServer, table: RecordingsTable, time: Time) -> None:
    begin_recording(twilio, table)
    twilio.twilio.faults.requests += [RequestFault(429, retry_after=25)]

    answer = pause()

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (504, "pause-timed-out")


def test_repeating_is_safe_and_goes_on_with_the_same_pause(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    first = pause()["json"]
    time.turn(30)
    second = pause()["json"]

    assert second["group"] == first["group"]
    assert second["paused"] == first["paused"] == [{"sid": recording.sid, "was": "in-progress"}]
    assert second["proven_at"] > first["proven_at"]
    assert sids(resume()["json"]["resumed"]) == {recording.sid}


def test_a_paused_recording_that_twilio_does_not_pause_again_is_proven_by_its_first_answer(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    twilio.twilio.repeats = "refused"
    begin_recording(twilio, table)
    first = pause()["json"]
    time.turn(30)

    answer = pause()

    assert (answer["statusCode"], answer["json"]["paused"]) == (200, first["paused"])


def test_nor_is_it_where_somebody_changed_it_since(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    twilio.twilio.repeats = "refused"
    recording = begin_recording(twilio, table)
    pause()
    time.turn(30)
    recording.updated_at = time.seconds  # resumed, and paused again, for all that anybody knows

    assert pause()["statusCode"] == 409


# --- resuming --------------------------------------------------------------------------------------


def test_resuming_leaves_what_somebody_had_paused_before(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    own, theirs = begin_recording(twilio, table), begin_recording(twilio, table)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
    time.turn(5)
    paused = pause()["json"]["paused"]
    time.turn(5)

    answer = resume()

    assert {item["sid"]: item["was"] for item in paused} == {own.sid: "in-progress", theirs.sid: "paused"}
    assert answer["json"]["resumed"] == [{"sid": own.sid}]
    assert answer["json"]["left_paused"] == [{"sid": theirs.sid}]
    assert (own.status, theirs.status) == ("in-progress", "paused")


def test_resuming_leaves_what_somebody_has_paused_since(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    own, theirs = begin_recording(twilio, table), begin_recording(twilio, table)
    pause()
    time.turn(5)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
    time.turn(5)

    assert resume()["json"]["left_paused"] == [{"sid": theirs.sid}]
    assert (own.status, theirs.status) == ("in-progress", "paused")


def test_resuming_leaves_what_somebody_has_paused_between_two_attempts_to_pause_it(
    pause: Api,
    resume: Api,
    api: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = begin_recording(twilio, table)
    twilio.twilio.faults.requests.append(RequestFault("cut", after_acting=True))
    watched = RecordingsReader.watched

    def read_before_the_second_attempt(reader: RecordingsReader, sids: list[str]) -> dict[str, Row]:
        monkeypatch.setattr(RecordingsReader, "watched", watched)
        if theirs.status == "paused":
            time.turn(5)
            api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
            time.turn(5)
        else:
            monkeypatch.setattr(RecordingsReader, "watched", read_before_the_second_attempt)
        return watched(reader, sids)

    monkeypatch.setattr(RecordingsReader, "watched", read_before_the_second_attempt)
    pause()
    time.turn(5)

    answer = resume()["json"]
    assert (answer["resumed"], answer["left_paused"]) == ([], [{"sid": theirs.sid}])


def test_resuming_while_everything_is_still_being_paused_leaves_what_another_program_had_paused(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = begin_recording(twilio, table)
    time.turn(10)
    change(twilio, theirs, "paused")
    time.turn(10)
    read, answers = RecordingsReader.watched, list[dict[str, Any]]()

    def found_by_then(reader: RecordingsReader, sids: list[str]) -> dict[str, Row]:
        monkeypatch.setattr(RecordingsReader, "watched", read)
        (begun,) = Pauses(clients.dynamodb(), IDEMPOTENCY_TABLE).covering(ACCOUNT_SID, [CALL_SID])
        held = read(reader, sids)
        assert begun.recordings[theirs.sid]["was"] == "in-progress"  # as far as anybody knows by now
        answers.append(pause()["json"])
        return held

    met = Pauses.meet

    def resumed_meanwhile(pauses: Pauses, *given: Any) -> Any:
        noted = met(pauses, *given)
        monkeypatch.setattr(Pauses, "meet", met)
        monkeypatch.setattr(RecordingsReader, "watched", found_by_then)
        answers.append(resume()["json"])
        return noted

    monkeypatch.setattr(Pauses, "meet", resumed_meanwhile)
    pause()

    assert answers[0]["paused"] == [{"sid": theirs.sid, "was": "paused"}]
    assert (answers[1]["resumed"], answers[1]["left_paused"]) == ([], [{"sid": theirs.sid}])
    assert theirs.status == "paused"


def test_what_an_attempt_paused_that_could_not_write_the_row_is_resumed_or_named(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = begin_recording(twilio, table)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
        for _ in range(2):  # to the second one, another program may have paused it
            assert pause()["statusCode"] == 503
            time.turn(10)

    answer = resume()["json"]
    assert answer["resumed"] + answer["left_paused"] == [{"sid": recording.sid}]


def test_what_another_program_had_paused_is_named_as_left_paused_although_the_row_could_not_be_written(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = begin_recording(twilio, table)
    time.turn(10)
    change(twilio, recording, "paused")
    time.turn(10)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
        assert pause()["statusCode"] == 503
    time.turn(10)

    assert resume()["json"]["left_paused"] == [{"sid": recording.sid}]


def test_what_two_attempts_pause_in_the_same_second_is_resumed(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = begin_recording(twilio, table)

    def overtake() -> None:
        pause()
        time.turn(0.3)

    once(monkeypatch, RecordingsReader, "watched", overtake, when="after")
    pause()
    time.turn(5)

    answer = resume()["json"]
    assert (answer["resumed"], answer["left_paused"]) == ([{"sid": recording.sid}], [])
    assert recording.status == "in-progress"


def test_nor_is_it_taken_for_its_own_because_everything_is_paused_once_more(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    own, theirs = begin_recording(twilio, table), begin_recording(twilio, table)
    pause()
    time.turn(5)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
    time.turn(5)
    pause()
    time.turn(5)

    assert resume()["json"]["left_paused"] == [{"sid": theirs.sid}]
    assert (own.status, theirs.status) == ("in-progress", "paused")


def test_nor_because_another_pause_covers_it_too(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    theirs, leg = begin_recording(twilio, table), dial(twilio).sid
    pause()
    time.turn(5)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
    for call_sid in (leg, CALL_SID):
        time.turn(5)
        pause(call_sid)
    for call_sid in (leg, CALL_SID):
        time.turn(5)
        assert resume(call_sid)["json"]["left_paused"] == [{"sid": theirs.sid}]

    assert theirs.status == "paused"


def test_nor_where_somebody_paused_it_in_the_same_second(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, either: str
) -> None:
    theirs = begin_recording(twilio, table)

    def paused_too() -> None:
        twilio.lock.release()
        api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
        time.turn(0.1)
        twilio.lock.acquire()

    when_asked(twilio, f"{theirs.sid}.json", paused_too)
    pause()
    time.turn(5)
    pause(either)
    time.turn(5)

    for call_sid in dict.fromkeys([either, CALL_SID]):
        assert_left_paused(theirs, resume(call_sid))


def test_nor_where_somebody_resumed_it_and_another_program_paused_it_at_twilio(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    theirs = begin_recording(twilio, table)
    pause()
    time.turn(5)
    api("control-rest-api.json", RESUME, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
    time.turn(5)
    change(twilio, theirs, "paused")
    time.turn(5)
    pause()
    time.turn(5)

    assert_left_paused(theirs, resume())


def test_nor_where_another_program_resumed_and_paused_it_at_twilio(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, either: str
) -> None:
    theirs = begin_recording(twilio, table)
    pause()
    for status in ("in-progress", "paused"):
        time.turn(10)
        change(twilio, theirs, status)
    time.turn(10)
    pause(either)
    time.turn(10)

    for call_sid in dict.fromkeys([either, CALL_SID]):
        assert_left_paused(theirs, resume(call_sid))


def test_resuming_leaves_what_another_program_had_paused_at_twilio(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    own, theirs = begin_recording(twilio, table), begin_recording(twilio, table)
    change(twilio, theirs, "paused")
    time.turn(10)
    pause()
    time.turn(10)

    assert resume()["json"]["left_paused"] == [{"sid": theirs.sid}]
    assert (own.status, theirs.status) == ("in-progress", "paused")


def test_resuming_leaves_what_another_program_resumed_and_paused_at_twilio_since(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    theirs = begin_recording(twilio, table)
    pause()
    time.turn(10)
    change(twilio, theirs, "in-progress")
    time.turn(10)
    change(twilio, theirs, "paused")
    time.turn(10)

    assert_left_paused(theirs, resume())


def test_what_two_pauses_cover_is_resumed_with_the_second_of_them(
    pause: Api, resume: Api, twilio: TwilioServer, time: Time
) -> None:
    with twilio.locked() as simulated:
        other = simulated.begin_call(ACCOUNT_SID).sid
        meet(twilio, CALL_SID, other)
    recording = record(twilio, source="RecordVerb")
    first, second = pause()["json"]["group"], pause(other)["json"]["group"]
    time.turn(5)

    answers = [resume()["json"], resume(other)["json"]]

    assert [answer["group"] for answer in answers] == [first, second]
    assert [answer["left_paused"] for answer in answers] == [[{"sid": recording.sid}], []]
    assert answers[1]["resumed"] == [{"sid": recording.sid}]
    assert recording.status == "in-progress"


@pytest.mark.parametrize("repeats", ["refused", "ignored", "dated"])
@pytest.mark.parametrize("looks", ["looks", "cannot look"])
@pytest.mark.parametrize("resumed_first", ["parent", "leg"])
@pytest.mark.parametrize("paused_first", ["parent", "leg"])
def test_in_whatever_order_two_pauses_end_the_last_one_resumes_what_both_have_found(
    pause: Api,
    resume: Api,
    ask: Api,
    twilio: TwilioServer,
    time: Time,
    paused_first: str,
    resumed_first: str,
    looks: str,
    repeats: Repeats,
) -> None:
    twilio.twilio.repeats = repeats
    calls = {"parent": CALL_SID, "leg": dial(twilio).sid}
    ask(pathParameters={"CallSid": calls["leg"]})
    (recording,) = twilio.twilio.recordings.values()
    for call in sorted(calls, key=lambda call: call != paused_first):
        time.turn(5)
        with pytest.MonkeyPatch.context() as patch:
            if (call, looks) == ("leg", "cannot look"):  # it finds the recording by its row, and no other call
                patch.setattr(Search, "look", raises(TwilioUnavailableError("Service Unavailable")))
            pause(calls[call])
    answers = []
    for call in sorted(calls, key=lambda call: call != resumed_first):
        time.turn(5)
        answers.append(resume(calls[call])["json"])

    assert [answer["left_paused"] for answer in answers] == [[{"sid": recording.sid}], []]
    assert answers[1]["resumed"] == [{"sid": recording.sid}]
    assert recording.status == "in-progress"


@pytest.mark.parametrize("of", ["near", "correct", "end"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_when_two_pauses_end_at_the_same_time_nothing_stays_paused(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    of: str,
    when: When,
) -> None:
    recordings, leg = [begin_recording(twilio, table) for _ in range(2)], dial(twilio).sid
    for call_sid in (CALL_SID, leg):
        pause(call_sid)
        time.turn(5)
    answers = list[dict[str, Any]]()
    once(monkeypatch, Pauses, of, lambda: answers.append(resume(leg)["json"]), when=when)
    answers.append(resume()["json"])

    assert [recording.status for recording in recordings] == ["in-progress"] * 2
    assert [resume(call_sid)["json"]["group"] for call_sid in (CALL_SID, leg)] == [None, None]
    assert None not in [answer["group"] for answer in answers]


def test_what_two_pauses_find_at_the_same_time_is_resumed_with_the_last_of_them(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, leg = begin_recording(twilio, table), dial(twilio).sid

    def overtake() -> None:
        pause(leg)
        time.turn(10)

    once(monkeypatch, RecordingsReader, "watched", overtake, when="after")
    pause()
    time.turn(5)

    assert resume(leg)["json"]["left_paused"] == [{"sid": recording.sid}]
    time.turn(5)
    assert resume()["json"]["resumed"] == [{"sid": recording.sid}]
    assert recording.status == "in-progress"


def test_a_resume_that_is_repeated_does_not_resume_what_was_paused_on_another_leg(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    recording, leg = begin_recording(twilio, table), dial(twilio)
    pause()
    time.turn(10)
    pause(leg.sid)
    time.turn(10)
    resume()
    time.turn(10)

    assert resume()["json"] == {"group": None, "resumed": [], "left_paused": []}
    assert recording.status == "paused"
    assert sids(resume(leg.sid)["json"]["resumed"]) == {recording.sid}


def test_the_other_leg_resumes_what_was_paused_on_this_one(pause: Api, resume: Api, twilio: TwilioServer) -> None:
    leg = dial(twilio)
    recording = record(twilio, source="RecordVerb")
    group = pause()["json"]["group"]

    answer = resume(leg.sid)["json"]

    assert (answer["group"], answer["resumed"]) == (group, [{"sid": recording.sid}])
    assert resume()["json"] == {"group": None, "resumed": [], "left_paused": []}


def test_what_does_not_resume_is_409_and_can_be_asked_for_again(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    one, two = begin_recording(twilio, table), begin_recording(twilio, table)
    pause()
    time.turn(5)
    stop_refusing = refuse(twilio, two, code=20001)

    answer = resume()
    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (409, "still-paused")
    assert answer["json"]["still_paused"] == [{"sid": two.sid, "reason": "refused-by-twilio"}]
    assert answer["json"]["resumed"] == [{"sid": one.sid}]

    stop_refusing()
    assert resume()["json"]["resumed"] == [{"sid": two.sid}]
    assert (one.status, two.status) == ("in-progress", "in-progress")


def test_a_resume_whose_answer_is_lost_is_asked_for_again(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    pause()
    time.turn(5)
    twilio.twilio.faults.requests += [None, RequestFault(500, after_acting=True)]

    assert resume()["json"]["resumed"] == [{"sid": recording.sid}]
    assert (recording.status, status_of(recording)) == ("in-progress", "in-progress")


@pytest.mark.parametrize("other_has_row", [True, False])
def test_what_a_pause_pauses_when_it_was_resumed_meanwhile_does_not_stay_paused(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    monkeypatch: pytest.MonkeyPatch,
    *,
    other_has_row: bool,
) -> None:
    first, second = begin_recording(twilio, table), record(twilio)
    if other_has_row:
        write_row(twilio, table, second)

    before_changing(second, resume, monkeypatch)
    answer = pause()

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (409, "resumed-meanwhile")
    assert (first.status, second.status) == ("in-progress", "in-progress")


@pytest.mark.parametrize("is_paused_again", [False, True])
@pytest.mark.parametrize("before", ["begin_to_resume", "note_resuming"])
def test_of_two_resumes_at_the_same_time_neither_fails_nor_ends_a_new_pause(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    *,
    is_paused_again: bool,
) -> None:
    recording = begin_recording(twilio, table)
    group = pause()["json"]["group"]
    time.turn(5)

    def meanwhile() -> None:
        assert resume()["statusCode"] == 200
        time.turn(5)
        assert not is_paused_again or pause()["statusCode"] == 200

    once(monkeypatch, Pauses, before, meanwhile, when="before")
    answer = resume(key="k")

    assert (answer["statusCode"], answer["json"]) == (200, {"group": group, "resumed": [], "left_paused": []})
    assert recording.status == ("paused" if is_paused_again else "in-progress")


def test_of_two_resumes_at_the_same_time_both_name_what_is_left_paused(
    pause: Api,
    resume: Api,
    api: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    either: str,
) -> None:
    theirs = begin_recording(twilio, table)
    begin_recording(twilio, table)
    pause()
    time.turn(5)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": theirs.sid})
    time.turn(5)
    answers = list[dict[str, Any]]()
    once(monkeypatch, Pauses, "begin_to_resume", lambda: answers.append(resume(either)), when="before")
    answers.append(resume(either, key="k"))

    assert [answer["json"]["left_paused"] for answer in answers] == 2 * [[{"sid": theirs.sid}]]


def test_what_stays_paused_when_it_was_resumed_meanwhile_is_told_and_can_be_resumed(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording = begin_recording(twilio, table)

    prove = Pauses.prove

    def fail_from_now_on(*given: Any, **named: Any) -> None:
        twilio.twilio.faults.requests += [RequestFault(500)] * 40
        prove(*given, **named)

    before_changing(recording, resume, monkeypatch)
    monkeypatch.setattr(Pauses, "prove", fail_from_now_on)
    answer = pause()
    twilio.twilio.faults.requests.clear()
    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (503, "resume-unproven")
    assert answer["json"]["still_paused"] == [{"sid": recording.sid, "reason": "twilio-unavailable"}]
    assert recording.status == "paused"
    time.turn(10)

    assert sids(resume()["json"]["resumed"]) == {recording.sid}
    assert recording.status == "in-progress"
    assert resume()["json"] == {"group": None, "resumed": [], "left_paused": []}


# --- what starts meanwhile -------------------------------------------------------------------------


def test_no_recording_is_started_on_a_call_that_is_paused(
    pause: Api, resume: Api, ask: Api, twilio: TwilioServer, table: RecordingsTable
) -> None:
    group = pause()["json"]["group"]
    twilio.twilio.requests.clear()

    refused = ask(key="a-key")

    assert (refused["statusCode"], refused["json"]["type"].rpartition(":")[2]) == (409, "call-paused")
    assert refused["json"]["group"] == group
    assert asked(twilio) == []
    resume()
    assert ask(key="a-key")["statusCode"] == 201


def test_nor_on_a_leg_of_it_nor_on_a_call_that_is_in_its_conference(
    pause: Api, ask: Api, twilio: TwilioServer, sample: Callable[[str], dict[str, Any]]
) -> None:
    leg = dial(twilio)
    with twilio.locked() as simulated:
        other = simulated.begin_call(ACCOUNT_SID)
        meet(twilio, CALL_SID, other.sid)
    pause()

    for call_sid in (leg.sid, other.sid):
        assert ask(pathParameters={"CallSid": call_sid})["statusCode"] == 409


def test_an_event_that_asks_for_a_recording_on_a_paused_call_fails_for_good(
    pause: Api, put_event: Callable[..., None], bus: Bus, twilio: TwilioServer
) -> None:
    pause()
    put_event()

    assert [failure["reason"] for failure in bus.events(REQUEST_FAILED)] == ["call-paused"]
    assert twilio.twilio.recordings == {}


def test_a_start_that_a_pause_overtook_pauses_what_it_began_before_it_answers(
    pause: Api, resume: Api, ask: Api, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, paused = twilio.twilio.handle, list[Any]()

    def overtaken(request: Request) -> Answer:
        """Act on the start only when everything is paused already, though it was sent before."""
        if not paused and (request.method, request.path.endswith(f"{CALL_SID}/Recordings.json")) == ("POST", True):
            twilio.lock.release()
            paused.append(pause())
            twilio.lock.acquire()
        return handle(request)

    monkeypatch.setattr(twilio.twilio, "handle", overtaken)
    answer = ask()

    (recording,) = twilio.twilio.recordings.values()
    assert (paused[0]["statusCode"], paused[0]["json"]["paused"]) == (200, [])
    assert answer["statusCode"] == 201
    assert (answer["json"]["status"], recording.status, status_of(recording)) == ("paused", "paused", "paused")
    time.turn(5)
    assert resume()["json"]["resumed"] == [{"sid": recording.sid}]


@pytest.mark.parametrize(
    "detail", [None, [], {}, {"recording_sid": 7}, {"recording_sid": None}, {"recording_sid": "RE1"}]
)
def test_a_change_that_names_no_recording_is_refused_by_name(recordings_api: ModuleType, detail: Any) -> None:
    with pytest.raises(UnknownTriggerError):
        recordings_api.handler({"source": SOURCE, "detail-type": STATUS_CHANGE, "detail": detail}, Context())


Hear = Callable[[Recording], list[dict[str, Any]]]


@pytest.fixture
def hear(aws: None, bus: Bus, recordings_api: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Hear:
    """Have the stream tell of a recording's row as if it was new, and the rule hand on what comes out; return that."""
    publish_changes = load_app("publish_changes")

    def tell(recording: Recording) -> list[dict[str, Any]]:
        (row,) = (row for row in rows() if row["recording_sid"] == recording.sid)
        publish_changes.handler({"Records": [stream_record(None, row, sequence_number="1")]}, Context())
        (change,) = taken(STATUS_CHANGE)
        if change.get("may_be_paused"):
            event = {"source": SOURCE, "detail-type": STATUS_CHANGE, "detail": change}
            recordings_api.handler(event, Context())
        return taken(STARTED_WHILE_PAUSED)

    def taken(detail_type: str) -> list[dict[str, Any]]:
        client = boto3.client("sqs")
        messages = client.receive_message(QueueUrl=bus.queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            client.delete_message(QueueUrl=bus.queue, ReceiptHandle=message["ReceiptHandle"])
        bodies = [json.loads(message["Body"]) for message in messages]
        return [body["detail"] for body in bodies if body["detail-type"] == detail_type]

    return tell


def test_what_others_start_on_a_paused_call_is_paused_and_told(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    group = pause(PauseBehavior="skip")["json"]["group"]
    time.turn(10)
    recording = begin_recording(twilio, table)

    (event,) = hear(recording)

    assert (recording.status, recording.skips_pause) == ("paused", True)
    assert event["id"] == f"{recording.sid}-{group}"
    assert (event["paused"], event["group"], event["paused_call_sid"]) == (True, group, CALL_SID)
    assert (event["recording_sid"], event["call_sid"]) == (recording.sid, CALL_SID)
    assert hear(recording) == [event]  # however often it is told
    time.turn(10)
    assert resume()["json"]["resumed"] == [{"sid": recording.sid}]


def test_a_late_recording_whose_row_somebody_edited_is_told(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    pause()
    time.turn(10)
    recording = begin_recording(twilio, table)
    edited = table.reader.one(recording.sid) | {"source": {b"\xff"}}
    table.client.put_item(TableName=TABLE, Item=attributes(edited))

    (event,) = hear(recording)

    assert (event["paused"], event["source"]) == (True, ["/w=="])


@pytest.mark.parametrize("where", ["a leg that is dialled later", "who joins later", "the conference"])
def test_it_is_found_wherever_it_hears_the_call(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time, where: str
) -> None:
    with twilio.locked() as simulated:
        conference = meet(twilio, CALL_SID, simulated.begin_call(ACCOUNT_SID).sid)
    pause()
    time.turn(10)
    if where == "the conference":
        recording = write_row(twilio, table, twilio.twilio.record_conference(conference))
    elif where == "who joins later":
        late = twilio.twilio.begin_call(ACCOUNT_SID)
        twilio.twilio.join(conference, late)
        recording = begin_recording(twilio, table, late.sid)
    else:
        recording = begin_recording(twilio, table, dial(twilio).sid)

    (event,) = hear(recording)

    assert (event["paused"], recording.status) == (True, "paused")


def test_a_conference_that_a_paused_call_joins_later_is_found_by_who_is_in_it(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    pause()
    time.turn(10)
    conference = meet(twilio, twilio.twilio.begin_call(ACCOUNT_SID).sid, CALL_SID)
    recording = twilio.twilio.record_conference(conference)
    resource = {**recording.resource(status="in-progress", level="conference"), "call_sid": None}
    table.record(Facts.from_recording(RecordingResource(resource, api_url=twilio.url)))

    (event,) = hear(recording)

    assert (event["paused"], recording.status) == (True, "paused")


@pytest.mark.parametrize("by", ["a request to this stack", "another program"])
def test_one_that_somebody_has_paused_already_is_not_resumed_with_the_rest(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time, by: str
) -> None:
    pause()
    time.turn(10)
    recording = begin_recording(twilio, table)
    time.turn(10)
    if by == "another program":
        change(twilio, recording, "paused")
    else:
        path = {"CallSid": CALL_SID, "RecordingSid": recording.sid}
        assert api("control-rest-api.json", PAUSE, path=path)["statusCode"] == 200
    time.turn(10)
    (event,) = hear(recording)
    time.turn(10)
    answer = resume()

    assert event["paused"] is True
    assert (answer["json"]["resumed"], sids(answer["json"]["left_paused"])) == ([], {recording.sid})
    assert recording.status == "paused"


def test_nor_is_one_that_a_pause_without_proof_had_met_before_somebody_paused_it(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    path = f"/Recordings/{recording.sid}.json"
    when_asked(twilio, path, lambda: twilio.twilio.faults.requests.extend([RequestFault(429)] * 60))
    assert pause()["statusCode"] == 503
    twilio.twilio.faults.requests.clear()
    time.turn(10)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": recording.sid})
    time.turn(60)
    hear(recording)
    time.turn(10)

    assert_left_paused(recording, resume())


def test_nor_is_one_that_another_program_paused_after_a_resume_that_could_not_write_the_row(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    hear: Hear,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pause()
    time.turn(10)
    recording = begin_recording(twilio, table)
    hear(recording)
    time.turn(10)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
        assert resume()["statusCode"] == 503
    assert recording.status == "in-progress"
    time.turn(10)
    change(twilio, recording, "paused")
    time.turn(10)
    hear(recording)
    time.turn(10)

    assert_left_paused(recording, resume())


def test_nor_is_one_whose_start_is_repeated_after_somebody_paused_it(
    ask: Api,
    pause: Api,
    resume: Api,
    api: Api,
    twilio: TwilioServer,
    hear: Hear,
    time: Time,
) -> None:
    twilio.twilio.repeats = "dated"
    pause()
    time.turn(10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("call_recording.commands.intents._Store._update_record", lambda *_: 1 / 0)  # the answer's note
        patch.setattr(Pauses, "active_on", lambda *_: None)  # it has not seen the pause
        assert ask(key="k")["statusCode"] == 201
    (recording,) = twilio.twilio.recordings.values()
    hear(recording)
    time.turn(10)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": recording.sid})
    time.turn(130)
    assert ask(key="k")["json"]["sid"] == recording.sid
    time.turn(10)

    assert_left_paused(recording, resume())


def test_one_that_is_paused_when_everything_was_resumed_by_then_does_not_stay_paused(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    hear: Hear,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pause()
    time.turn(10)
    recording = begin_recording(twilio, table)
    before_changing(recording, resume, monkeypatch)

    (event, *_) = hear(recording)

    assert (event["paused"], event["reason"]) == (False, "resumed")
    assert recording.status == "in-progress"


def test_one_on_a_call_that_twilio_does_not_know_any_more_is_nobody_s(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    pause()
    recording = begin_recording(twilio, table, twilio.twilio.begin_call(ACCOUNT_SID).sid)
    del twilio.twilio.calls[recording.call.sid]

    assert hear(recording) == []


def test_where_nothing_was_ever_paused_nothing_is_asked_even_of_an_account_without_credentials(
    recordings_api: ModuleType, twilio: TwilioServer, table: RecordingsTable
) -> None:
    """The mark of a new recording is there as well if nobody could say."""
    facts = Facts("RE" + "1" * 32, "AC" + "f" * 32, "in-progress", "2026-11-22T07:33:01.000Z", {"call_sid": CALL_SID})
    table.record(facts)

    detail = {"recording_sid": facts.recording_sid}
    recordings_api.handler({"source": SOURCE, "detail-type": STATUS_CHANGE, "detail": detail}, Context())

    assert asked(twilio) == []


def test_one_that_twilio_does_not_pause_is_told_as_well(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    pause()
    time.turn(10)
    recording = begin_recording(twilio, table)
    refuse(twilio, recording, code=20001)

    (event,) = hear(recording)

    assert (event["paused"], event["reason"]) == (False, "refused-by-twilio")


def test_one_that_was_resumed_or_over_before_we_heard_of_it_is_told_as_well(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    pause()
    time.turn(100)
    over, running = begin_recording(twilio, table), begin_recording(twilio, table)
    change(twilio, over, "stopped")
    table.record(Facts.from_updated(RecordingResource(over.resource(status="stopped"), api_url=twilio.url)))
    told = hear(over)
    time.turn(100)
    resume()
    time.turn(100)

    assert [(event["paused"], event["reason"]) for event in [*told, *hear(running)]] == [
        (False, "over"),
        (False, "resumed"),
    ]
    assert running.status == "in-progress"


@pytest.mark.parametrize("is_other_leg", [True, False])
def test_one_that_a_later_pause_met_first_is_told_of_the_pause_that_it_began_in(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    hear: Hear,
    time: Time,
    *,
    is_other_leg: bool,
) -> None:
    leg = dial(twilio).sid
    group = pause()["json"]["group"]
    time.turn(100)
    recording = record(twilio, source="RecordVerb")
    time.turn(10)
    resume()
    time.turn(10)
    assert sids(pause(leg if is_other_leg else CALL_SID)["json"]["paused"]) == {recording.sid}

    (event,) = hear(recording)

    assert (event["group"], event["paused"], event["reason"]) == (group, False, "resumed")


def test_nor_is_it_kept_back_where_the_later_pause_was_requested_by_a_clock_that_is_behind(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    leg = dial(twilio).sid
    group = pause()["json"]["group"]
    time.turn(10)
    recording = record(twilio, source="RecordVerb")
    time.turn(5)
    resume()
    time.turn(5)
    time.turn(-60)
    assert sids(pause(leg)["json"]["paused"]) == {recording.sid}
    time.turn(60)

    assert [(event["group"], event["reason"]) for event in hear(recording)] == [(group, "resumed")]


def test_one_that_began_after_the_proof_is_told_although_another_attempt_from_before_it_pauses_it(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = list[Recording]()

    def meanwhile() -> None:
        assert pause()["json"]["paused"] == []
        time.turn(5)
        began.append(begin_recording(twilio, table))

    once(monkeypatch, Pauses, "begin", meanwhile, when="after")
    answer = pause()["json"]
    time.turn(5)

    assert answer["paused"] == [{"sid": began[0].sid, "was": "in-progress"}]
    assert [(event["group"], event["paused"]) for event in hear(began[0])] == [(answer["group"], True)]


@pytest.mark.parametrize("paused_later", ["the same call", "the call that has joined"])
def test_nor_is_it_kept_back_where_a_later_pause_covers_its_call_itself(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    hear: Hear,
    time: Time,
    paused_later: str,
) -> None:
    with twilio.locked() as simulated:
        joined = simulated.begin_call(ACCOUNT_SID)
        conference = meet(twilio, CALL_SID, simulated.begin_call(ACCOUNT_SID).sid)
    group = pause()["json"]["group"]
    time.turn(100)
    with twilio.locked() as simulated:
        simulated.join(conference, joined)
    recording = record(twilio, joined.sid, source="RecordVerb")
    time.turn(5)
    resume()
    time.turn(5)
    pause(CALL_SID if paused_later == "the same call" else joined.sid)
    write_row(twilio, table, recording)

    assert (group, "resumed") in [(event["group"], event.get("reason")) for event in hear(recording)]


def test_one_on_another_call_is_told_although_everything_was_paused_again_without_that_call(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    other = twilio.twilio.begin_call(ACCOUNT_SID).sid
    meet(twilio, CALL_SID, other)
    group = pause()["json"]["group"]
    time.turn(100)
    recording = record(twilio, other, source="RecordVerb")
    with twilio.locked() as simulated:
        simulated.hang_up(other)
    time.turn(100)
    resume()
    time.turn(100)
    pause()
    write_row(twilio, table, recording)

    assert [(event["group"], event["reason"]) for event in hear(recording)] == [(group, "resumed")]


def test_one_that_somebody_paused_since_stays_theirs_when_it_is_told_once_more(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    pause()
    time.turn(10)
    recording = begin_recording(twilio, table)
    first = hear(recording)
    time.turn(10)
    api("control-rest-api.json", PAUSE, path={"CallSid": CALL_SID, "RecordingSid": recording.sid})
    time.turn(10)

    assert hear(recording) == first
    answer = resume()["json"]
    assert (answer["resumed"], answer["left_paused"]) == ([], [{"sid": recording.sid}])
    assert recording.status == "paused"


def test_what_an_earlier_attempt_found_is_not_told_although_it_is_over_when_everything_is_confirmed(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    leg = dial(twilio)
    recording = record(twilio, leg.sid)
    when_asked(twilio, f"{recording.sid}.json", lambda: twilio.twilio.faults.requests.extend([RequestFault(429)] * 60))
    assert pause()["statusCode"] == 503
    twilio.twilio.faults.requests.clear()
    with twilio.locked() as simulated:
        simulated.hang_up(leg.sid)
    time.turn(5)
    assert pause()["json"]["paused"] == []
    table.record(Facts.from_fetched(RecordingResource(recording.resource(), api_url=twilio.url)))

    assert status_of(recording) == "completed"
    assert hear(recording) == []


def test_nor_do_clocks_make_it_seem_to_have_begun_before_that_pause(
    pause: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    hear: Hear,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leg, now = dial(twilio).sid, clock.now
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: now() + timedelta(seconds=28))
        group = pause()["json"]["group"]
    time.turn(10)
    recording = begin_recording(twilio, table)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: now() - timedelta(seconds=28))
        assert sids(pause(leg)["json"]["paused"]) == {recording.sid}

    (event,) = hear(recording)

    assert (event["group"], event["paused"]) == (group, True)


def test_what_somebody_has_paused_since_it_was_found_is_not_taken_for_the_pauses_own(
    pause: Api, resume: Api, api: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    twilio.twilio.faults.requests += [None, *[RequestFault(500)] * 40]
    assert pause()["statusCode"] == 503
    twilio.twilio.faults.requests.clear()
    time.turn(5)
    path = {"CallSid": CALL_SID, "RecordingSid": recording.sid}
    assert api("control-rest-api.json", PAUSE, path=path)["statusCode"] == 200
    time.turn(5)
    with pytest.raises(PauseUnprovenError):
        hear(recording)
    time.turn(5)

    assert sids(resume()["json"]["left_paused"]) == {recording.sid}
    assert recording.status == "paused"


def test_what_began_long_before_a_pause_that_never_came_about_is_left_alone(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    recording = record(twilio, source="RecordVerb")
    time.turn(300)
    twilio.twilio.faults.requests += [RequestFault(429)] * 60
    assert pause()["statusCode"] == 503
    twilio.twilio.faults.requests.clear()
    time.turn(120)
    write_row(twilio, table, recording)

    assert hear(recording) == []
    assert recording.status == "in-progress"


def test_a_start_that_is_paused_after_everything_was_resumed_is_resumed_with_it(
    ask: Api, resume: Api, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, time: Time
) -> None:
    found = Pauses.active_on

    def resumed_by_then(pauses: Pauses) -> Pause | None:
        resume()
        return found(pauses, ACCOUNT_SID, CALL_SID)

    def paused_by_then(pauses: Pauses) -> Pause | None:
        pauses.begin(ACCOUNT_SID, CALL_SID)
        time.turn(2)
        return found(pauses, ACCOUNT_SID, CALL_SID)

    looks = iter([lambda _: None, paused_by_then, resumed_by_then])
    monkeypatch.setattr(Pauses, "active_on", lambda pauses, *_: next(looks)(pauses))

    answer = ask()

    (recording,) = twilio.twilio.recordings.values()
    assert answer["statusCode"] == 201
    assert (recording.status, status_of(recording)) == ("in-progress", "in-progress")


def test_what_the_pause_itself_met_and_what_others_record_elsewhere_is_not_told(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, hear: Hear, time: Time
) -> None:
    met = begin_recording(twilio, table)
    elsewhere = begin_recording(twilio, table, twilio.twilio.begin_call(ACCOUNT_SID).sid)
    assert hear(elsewhere) == []
    pause()
    time.turn(10)

    assert hear(met) == hear(elsewhere) == []
    assert elsewhere.status == "in-progress"


# --- watching over it ------------------------------------------------------------------------------


Fire = Callable[[], None]


def test_the_timer_is_set_before_twilio_is_asked(
    pause: Api, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    when_asked(twilio, ".json", lambda: seen.append(len(timers())))
    pause(ResumeWithinSeconds=60)

    assert seen == [1]


def test_a_pause_without_a_timer_that_it_asked_for_is_none(
    pause: Api, ask: Api, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ResumeTimers, "_create", raises(ClientError({"Error": {"Code": "Throttled"}}, "CreateSchedule"))
    )
    answer = pause(ResumeWithinSeconds=60)

    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (503, "timer-not-set")
    assert asked(twilio) == []
    assert ask()["statusCode"] == 201


def test_a_pause_that_nobody_ends_in_time_is_told(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, fire: Fire, bus: Bus, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    group = pause(ResumeWithinSeconds=60)["json"]["group"]
    time.turn(61)

    fire()

    (event,) = bus.events(STILL_PAUSED)
    assert (event["group"], event["recording_sid"], event["status"]) == (group, "ALL", "paused")
    assert (event["recordings"], event["resumed"]) == ([recording.sid], False)
    assert recording.status == "paused"


def test_nor_is_one_forgotten_of_which_nothing_but_its_pausing_was_ever_heard(
    pause: Api, twilio: TwilioServer, fire: Fire, bus: Bus, time: Time
) -> None:
    recording = record(twilio, source="RecordVerb")
    twilio.twilio.faults.requests += [None] * 4 + [RequestFault(500, after_acting=True)] * 60
    assert pause(ResumeWithinSeconds=60)["statusCode"] == 503
    assert (recording.status, rows()) == ("paused", [])
    twilio.twilio.faults.requests.clear()
    time.turn(61)

    fire()

    (event,) = bus.events(STILL_PAUSED)
    assert event["recordings"] == [recording.sid]


def test_auto_resume_resumes_what_the_group_paused_and_says_so(
    pause: Api, ask: Api, twilio: TwilioServer, table: RecordingsTable, fire: Fire, bus: Bus, time: Time
) -> None:
    own, theirs = begin_recording(twilio, table), begin_recording(twilio, table)
    change(twilio, theirs, "paused")
    time.turn(10)
    pause(ResumeWithinSeconds=60, AutoResume=True)
    time.turn(61)

    fire()

    (event,) = bus.events(STILL_PAUSED)
    assert (event["resumed"], event["recordings"]) == (True, [own.sid])
    assert (own.status, theirs.status) == ("in-progress", "paused")


def test_that_it_was_resumed_is_told_although_no_row_could_be_written(
    pause: Api,
    ask: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    fire: Fire,
    bus: Bus,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = [begin_recording(twilio, table) for _ in range(2)]
    pause(ResumeWithinSeconds=60, AutoResume=True)
    time.turn(61)

    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
        with pytest.raises(TableUnavailableError):
            fire()

    (event,) = bus.events(STILL_PAUSED)
    assert (event["resumed"], [one.status for one in recorded]) == (True, ["in-progress"] * 2)

    time.turn(60)
    fire()
    assert bus.events(STILL_PAUSED) == [event] * 2  # the same once more
    assert [status_of(one) for one in recorded] == ["in-progress"] * 2
    assert ask()["statusCode"] == 201


def test_what_was_resumed_without_a_row_is_resumed_after_the_next_pause_too(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    fire: Fire,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording = begin_recording(twilio, table)
    pause(ResumeWithinSeconds=60, AutoResume=True)
    time.turn(61)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
        with pytest.raises(TableUnavailableError):
            fire()
    for answer in (pause, resume):
        time.turn(10)
        assert answer()["statusCode"] == 200

    assert recording.status == "in-progress"


def test_a_resume_whose_rows_are_not_written_resumes_everything_and_can_be_asked_for_again(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = [begin_recording(twilio, table) for _ in range(2)]
    pause()
    time.turn(5)

    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
        assert resume()["statusCode"] == 503
    assert [one.status for one in recorded] == ["in-progress"] * 2

    time.turn(5)
    assert resume()["statusCode"] == 200
    assert [status_of(one) for one in recorded] == ["in-progress"] * 2


@pytest.mark.parametrize("is_resumed", [False, True])
def test_one_that_is_paused_again_without_a_time_is_told_and_not_resumed(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    fire: Fire,
    bus: Bus,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_resumed: bool,
) -> None:
    recording = begin_recording(twilio, table)
    pause(ResumeWithinSeconds=60, AutoResume=True)
    time.turn(20)
    if is_resumed:
        with monkeypatch.context() as patch:
            patch.setattr(RecordingsTable, "record", raises(TableUnavailableError("RE1")))
            assert resume()["statusCode"] == 503
        assert recording.status == "in-progress"
        time.turn(20)
    assert pause()["statusCode"] == 200
    time.turn(41)

    fire()

    (event,) = bus.events(STILL_PAUSED)
    assert (event["status"], event["resumed"], recording.status) == ("paused", False, "paused")


def test_a_new_proof_for_the_key_of_a_pause_lets_its_timer_resume_it(
    pause: Api, twilio: TwilioServer, table: RecordingsTable, fire: Fire, bus: Bus, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    for _ in range(2):
        assert pause(key="k", ResumeWithinSeconds=60, AutoResume=True)["statusCode"] == 200
        time.turn(31)

    fire()

    (event,) = bus.events(STILL_PAUSED)
    assert (event["resumed"], recording.status) == (True, "in-progress")


@pytest.mark.parametrize("by_itself", [False, True])
@pytest.mark.parametrize("is_paused_again", [False, True])
def test_one_that_could_not_be_told_at_once_is_told_whatever_was_done_since(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    recordings_api: ModuleType,
    bus: Bus,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    *,
    by_itself: bool,
    is_paused_again: bool,
) -> None:
    begin_recording(twilio, table)
    group = pause(ResumeWithinSeconds=60, AutoResume=by_itself)["json"]["group"]
    (timer,) = timers()
    time.turn(61)
    with monkeypatch.context() as patch:
        patch.setattr(clients.events(), "put_events", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())
    time.turn(10)
    resume()
    if is_paused_again:
        time.turn(10)
        pause()
    time.turn(10)

    recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())

    (event,) = bus.events(STILL_PAUSED)
    assert (event["group"], event["status"], event["resumed"]) == (group, "unknown", by_itself)


def test_a_resume_by_somebody_else_is_not_told_as_the_timers_own(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    recordings_api: ModuleType,
    bus: Bus,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording = begin_recording(twilio, table)
    pause(ResumeWithinSeconds=60, AutoResume=True)
    (timer,) = timers()
    time.turn(61)
    stop_refusing = refuse(twilio, recording, code=20001)
    with monkeypatch.context() as patch:
        patch.setattr(clients.events(), "put_events", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())
    stop_refusing()
    assert resume()["statusCode"] == 200

    recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())

    (event,) = bus.events(STILL_PAUSED)
    assert event["resumed"] is False


@pytest.mark.parametrize("by_itself", [False, True])
def test_one_whose_recordings_are_over_is_told_while_it_keeps_others_from_starting(
    pause: Api,
    ask: Api,
    api: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    fire: Fire,
    bus: Bus,
    time: Time,
    *,
    by_itself: bool,
) -> None:
    recording = begin_recording(twilio, table)
    pause(ResumeWithinSeconds=60, AutoResume=by_itself)
    time.turn(10)
    path = {"CallSid": CALL_SID, "RecordingSid": recording.sid}
    assert api("control-rest-api.json", {"Status": "stopped"}, path=path)["statusCode"] == 200
    time.turn(51)

    fire()

    (event,) = bus.events(STILL_PAUSED)
    assert (event["status"], event["resumed"]) == ("paused", by_itself)
    assert ask()["statusCode"] == (201 if by_itself else 409)


@pytest.mark.parametrize("how", ["resumed", "hung up", "asked for again"])
def test_a_pause_that_ended_or_is_watched_by_a_later_timer_is_not_told(
    pause: Api,
    resume: Api,
    twilio: TwilioServer,
    table: RecordingsTable,
    bus: Bus,
    time: Time,
    recordings_api: ModuleType,
    how: str,
) -> None:
    recording = begin_recording(twilio, table)
    pause(ResumeWithinSeconds=60)
    (timer,) = timers()
    time.turn(30)
    if how == "resumed":
        resume()
        assert timers() == []
    elif how == "hung up":
        twilio.twilio.hang_up(CALL_SID)
        table.record(Facts.from_fetched(RecordingResource(recording.resource(status="completed"), api_url=twilio.url)))
    else:
        pause(ResumeWithinSeconds=600)
    time.turn(31)

    recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())

    assert bus.events(STILL_PAUSED) == []


def test_an_event_asks_for_the_same_and_hears_what_does_not_work(
    recordings_api: ModuleType,
    sample: Callable[[str], dict[str, Any]],
    twilio: TwilioServer,
    table: RecordingsTable,
    bus: Bus,
) -> None:
    one, two = begin_recording(twilio, table), record(twilio, source="RecordVerb")
    stop_refusing = refuse(twilio, two, code=20001)
    event = sample("control-eventbridge.json")
    event["detail"] = {"CallSid": CALL_SID, "RecordingSid": "ALL", "Status": "paused"}

    recordings_api.handler(event, Context())
    (failure,) = bus.events(REQUEST_FAILED)
    stop_refusing()
    recordings_api.handler(event | {"id": "another"}, Context())

    assert failure["reason"] == "still-recording"
    assert failure["still_recording"] == [{"sid": two.sid, "reason": "refused-by-twilio"}]
    assert (one.status, two.status) == ("paused", "paused")


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({"Status": "stopped"}, ["Status"]),
        ({"Status": "in-progress", "ConferenceSid": "none"}, ["ConferenceSid"]),
        ({"Status": "in-progress", "ResumeWithinSeconds": 5}, ["ResumeWithinSeconds"]),
        ({"Status": ["paused"]}, ["Status"]),
        ({"ConferenceSid": "CF1"}, ["ConferenceSid"]),
        ({"ConferenceSid": ["none"]}, ["ConferenceSid"]),
        ({"AutoResume": True}, ["AutoResume"]),
        ({"Colour": "blue"}, ["Colour"]),
    ],
)
def test_what_a_request_may_say_is_checked_before_anything_is_done(
    pause: Api, twilio: TwilioServer, said: dict[str, Any], fields: list[str]
) -> None:
    answer = pause(**said)

    assert (answer["statusCode"], [error["field"] for error in answer["json"]["errors"]]) == (400, fields)
    assert asked(twilio) == []
    assert "Item" not in boto3.client("dynamodb").get_item(
        TableName=IDEMPOTENCY_TABLE, Key={"id": {"S": f"pause#{ACCOUNT_SID}#{CALL_SID}"}}
    )


def test_a_key_that_is_sent_again_gets_a_new_proof_of_its_pause_and_none_once_that_was_resumed(
    pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    recording = begin_recording(twilio, table)
    first = pause(key="k", ResumeWithinSeconds=600)
    time.turn(5)
    again = pause(key="k", ResumeWithinSeconds=600)

    assert again["headers"]["Idempotent-Replayed"] == "true"
    assert again["json"].pop("proven_at") > first["json"].pop("proven_at")
    assert again["json"] == first["json"]
    assert len(timers()) == 1

    resume()
    time.turn(5)
    answer = pause(key="k", ResumeWithinSeconds=600)
    assert (answer["statusCode"], answer["json"]["type"].rpartition(":")[2]) == (409, "resumed-meanwhile")
    assert recording.status == "in-progress"


def refuse(twilio: TwilioServer, recording: Recording, *, code: int) -> Callable[[], None]:
    """Have Twilio refuse to change the recording, until the function that is returned is called."""
    answered, simulated = twilio.twilio.handle, twilio.twilio
    refuses = [True]

    def handle(request: Request) -> Answer:
        if refuses and request.method == "POST" and request.path.endswith(f"{recording.sid}.json"):
            simulated.requests.append(request)
            body = {"code": code, "message": "Refused", "more_info": "", "status": 400}
            return Answer(400, json.dumps(body).encode())
        return answered(request)

    simulated.handle = handle  # type: ignore[method-assign]
    return refuses.clear


def change(twilio: TwilioServer, recording: Recording, status: str) -> None:
    """Change a recording at Twilio past this stack."""
    with twilio.locked() as simulated:
        simulated._change(recording, status, skips=False)  # noqa: SLF001


def once(monkeypatch: pytest.MonkeyPatch, of: Any, name: str, do: Callable[[], Any], *, when: When) -> None:
    """Have something happen just before, or just after, the next call of a method."""
    method = getattr(of, name)

    def called(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(of, name, method)
        if when == "before":
            do()
        result = method(*given, **named)
        if when == "after":
            do()
        return result

    monkeypatch.setattr(of, name, called)


def assert_left_paused(recording: Recording, answer: dict[str, Any]) -> None:
    """A resume has left this recording paused, alone, and names it."""
    assert answer["json"]["left_paused"] == [{"sid": recording.sid}]
    assert recording.status == "paused"


def before_changing(recording: Recording, do: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something happen once, just before Twilio is asked to change the recording."""
    change_it, left = TwilioAccount.update_call_recording, [do]

    def changed(self: TwilioAccount, call_sid: str, sid: str, *form: Any, **named: Any) -> RecordingResource:
        if left and sid == recording.sid:
            left.pop()()
        return change_it(self, call_sid, sid, *form, **named)

    monkeypatch.setattr(TwilioAccount, "update_call_recording", changed)


def raises(error: Exception) -> Callable[..., Any]:
    def work(*_: object, **__: object) -> Any:
        raise error

    return work


def test_the_worst_case_takes_this_many_requests(pause: Api, twilio: TwilioServer) -> None:
    for _ in range(50):
        meet(twilio, *(twilio.twilio.begin_call(ACCOUNT_SID).sid for _ in range(2)))
    record(twilio, source="RecordVerb")

    assert pause()["statusCode"] == 200
    assert len(asked(twilio)) == 108
