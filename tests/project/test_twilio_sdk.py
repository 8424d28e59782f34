"""Whoever uses Twilio's own SDK for recordings can do so with the simulated Twilio: it answers as the SDK expects."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from local.twilio_simulator.model import Account, Conference, Recording
from local.twilio_simulator.server import TwilioServer
from tests.twilio_contract import Contract

ACCOUNT, CALL, CHILD = "AC" + "1" * 32, "CA" + "1" * 32, "CA" + "2" * 32


class ToSimulator:
    """The SDK's way to the network, with the simulator in place of api.twilio.com."""

    def __init__(self, url: str) -> None:
        self.simulator_url = url
        self.network = TwilioHttpClient()

    def request(self, method: str, url: str, *arguments: Any, **named: Any) -> Any:
        here = url.replace("https://api.twilio.com", self.simulator_url)
        return self.network.request(method, here, *arguments, **named)


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    """Give a Twilio with a call and its child leg, whose answers are as our description has them."""
    server, contract = TwilioServer(), Contract()
    server.twilio.observe = contract.observe_answer
    server.twilio.add_account(Account(ACCOUNT, "token"))
    server.twilio.begin_call(ACCOUNT, call_sid=CALL)
    server.twilio.begin_call(ACCOUNT, call_sid=CHILD, parent_call_sid=CALL)
    server.start()
    yield server
    server.close()
    assert contract.broken == []


@pytest.fixture
def sdk(twilio: TwilioServer) -> Client:
    return Client(ACCOUNT, "token", http_client=ToSimulator(twilio.url))


@pytest.fixture
def conference(twilio: TwilioServer) -> Conference:
    return twilio.twilio.begin_conference([twilio.twilio.calls[CALL], twilio.twilio.calls[CHILD]])


def completed(twilio: TwilioServer, *, at: str = "2026-11-22T07:33:00", source: str = "DialVerb") -> Recording:
    """Return a recording of the call that is over, and began at that time."""
    recording = twilio.twilio.record(twilio.twilio.calls[CALL], source=source)
    recording.status, recording.duration, recording.price = "completed", 7, "-0.0025"
    recording.started_at = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    return recording


def test_a_call_is_recorded_paused_resumed_and_stopped(sdk: Client) -> None:
    made = sdk.calls(CALL).recordings.create(
        recording_channels="dual", recording_status_callback_event=["in-progress", "completed"], trim="trim-silence"
    )
    current = sdk.calls(CALL).recordings("Twilio.CURRENT")

    statuses = [
        current.update(status="paused", pause_behavior="skip").status,
        current.update(status="in-progress").status,
        sdk.calls(CALL).recordings(made.sid).update(status="stopped").status,
        sdk.calls(CALL).recordings(made.sid).fetch().status,
    ]

    assert (made.status, made.channels, made.source, made.call_sid) == ("in-progress", 2, "StartCallRecordingAPI", CALL)
    assert (made.price_unit, made.track) == (None, "both")
    assert statuses == ["paused", "in-progress", "stopped", "processing"]
    assert [one.sid for one in sdk.calls(CALL).recordings.list()] == [made.sid]


def test_a_recording_of_a_child_leg_names_the_parent_and_is_found_by_both(sdk: Client) -> None:
    made = sdk.calls(CHILD).recordings.create()

    assert made.call_sid == CALL
    assert [one.sid for one in sdk.calls(CALL).recordings.list()] == [made.sid]
    assert sdk.calls(CHILD).recordings(made.sid).update(status="paused").status == "paused"


def test_a_second_start_can_be_answered_with_the_recording_that_runs(twilio: TwilioServer, sdk: Client) -> None:
    twilio.twilio.answers_running = True

    first = sdk.calls(CALL).recordings.create()
    sdk.calls(CALL).recordings(first.sid).update(status="paused")
    second = sdk.calls(CALL).recordings.create(recording_channels="dual")

    assert (second.sid, second.status, second.channels) == (first.sid, "paused", 1)


def test_one_of_several_active_recordings_must_be_named(twilio: TwilioServer, sdk: Client) -> None:
    sdk.calls(CALL).recordings.create()
    twilio.twilio.record(twilio.twilio.calls[CALL], source="DialVerb")

    with pytest.raises(TwilioRestException) as refused:
        sdk.calls(CALL).recordings("Twilio.CURRENT").update(status="paused")

    assert (refused.value.status, refused.value.code) == (400, 16108)


def test_an_account_lists_page_after_page_the_newest_first(twilio: TwilioServer, sdk: Client) -> None:
    made = [completed(twilio).sid for _ in range(7)]

    assert [one.sid for one in sdk.recordings.list(page_size=3)] == made[::-1]
    assert [one.sid for one in sdk.recordings.list(page_size=3, limit=4)] == made[:2:-1]
    second = sdk.recordings.page(page_size=3).next_page()
    assert second is not None
    assert [one.sid for one in second] == made[3:0:-1]
    first = second.previous_page()
    assert first is not None
    assert [one.sid for one in first] == made[:3:-1]


def test_a_page_stays_where_it_is_when_there_are_newer_recordings_and_fewer_old_ones(
    twilio: TwilioServer, sdk: Client
) -> None:
    made = [completed(twilio).sid for _ in range(6)]
    first = sdk.recordings.page(page_size=2)

    completed(twilio)
    sdk.recordings(made[4]).delete()  # it was the last one on the page
    second = first.next_page()

    assert second is not None
    assert [one.sid for one in second] == [made[3], made[2]]


def test_lists_are_filtered(twilio: TwilioServer, sdk: Client, conference: Conference) -> None:
    early, late = completed(twilio, at="2026-11-21T23:59:59"), completed(twilio, at="2026-11-22T00:00:00")
    met = twilio.twilio.record_conference(conference)
    met.started_at = datetime(2026, 11, 25, tzinfo=UTC).timestamp()

    def found(**filters: Any) -> list[str | None]:
        return [one.sid for one in sdk.recordings.list(**filters)]

    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert found(date_created=noon) == [late.sid], "a time stands for its day"
    assert found(date_created_before=datetime(2026, 11, 22, tzinfo=UTC)) == [late.sid, early.sid]
    assert found(date_created_after=datetime(2026, 11, 22, tzinfo=UTC)) == [met.sid, late.sid]
    assert found(conference_sid=conference.sid) == [met.sid]
    assert found(call_sid=CHILD) == []
    assert [one.sid for one in sdk.calls(CALL).recordings.list(date_created=date(2026, 11, 21))] == [early.sid]
    twilio.twilio.lists_by_day = True
    assert found(date_created_before=noon) == [late.sid, early.sid], "that is, until midnight"
    assert found(date_created_after=noon) == [met.sid, late.sid]


def test_what_is_deleted_is_shown_for_forty_days_to_whoever_asks_for_it(twilio: TwilioServer, sdk: Client) -> None:
    recording = completed(twilio)

    assert sdk.recordings(recording.sid).delete()

    assert sdk.recordings.list() == []
    assert [one.status for one in sdk.recordings.list(include_soft_deleted=True)] == ["deleted"]
    assert sdk.recordings(recording.sid).fetch(include_soft_deleted=True).status == "deleted"
    for again in (sdk.recordings(recording.sid).delete, sdk.recordings(recording.sid).fetch):
        with pytest.raises(TwilioRestException) as refused:
            again()
        assert (refused.value.status, refused.value.code) == (404, 20404)
    assert recording.deleted_at is not None
    recording.deleted_at -= 40 * 86_400
    assert sdk.recordings.list(include_soft_deleted=True) == []


@pytest.mark.parametrize("status", ["in-progress", "paused", "stopped", "processing", "absent", "failed"])
def test_only_what_is_completed_can_be_deleted(twilio: TwilioServer, sdk: Client, status: str) -> None:
    recording = completed(twilio)
    recording.status = status

    with pytest.raises(TwilioRestException) as refused:
        sdk.calls(CALL).recordings(recording.sid).delete()

    assert (refused.value.status, refused.value.code) == (409, 20009)


def test_a_conference_has_recordings_of_its_own(twilio: TwilioServer, sdk: Client, conference: Conference) -> None:
    recording = twilio.twilio.record_conference(conference)
    of_conference = sdk.conferences(conference.sid).recordings

    statuses = [
        of_conference("Twilio.CURRENT").update(status="paused").status,
        of_conference(recording.sid).update(status="in-progress").status,
    ]
    twilio.twilio.end_conference(conference.sid)
    recording.status = "completed"
    shown = of_conference(recording.sid).fetch()

    assert statuses == ["paused", "in-progress"]
    assert (shown.conference_sid, shown.call_sid, shown.source) == (conference.sid, CALL, "Conference")
    assert [one.sid for one in of_conference.list()] == [recording.sid]
    assert sdk.calls(CALL).recordings.list() == [], "a call's recordings are those of the call alone"
    assert of_conference(recording.sid).delete()


def test_the_legs_of_a_call_are_found_by_their_parent(twilio: TwilioServer, sdk: Client) -> None:
    second = twilio.twilio.begin_call(ACCOUNT, parent_call_sid=CALL)
    twilio.twilio.hang_up(CHILD)

    parent, child = sdk.calls(CALL).fetch(), sdk.calls(CHILD).fetch()

    assert (parent.status, parent.parent_call_sid, parent.direction) == ("in-progress", None, "inbound")
    assert (parent.end_time, parent.duration, parent.from_formatted) == (None, None, None)
    assert (child.status, child.parent_call_sid, child.duration) == ("completed", CALL, "0")
    assert isinstance(child.end_time, datetime)
    assert [one.sid for one in sdk.calls.list(parent_call_sid=CALL)] == [second.sid, CHILD]
    assert [one.sid for one in sdk.calls.list(parent_call_sid=CALL, status="in-progress")] == [second.sid]
    assert [one.sid for one in sdk.calls.list(page_size=1)] == [second.sid, CHILD, CALL]


def test_the_conference_of_a_call_is_found_by_looking(
    twilio: TwilioServer, sdk: Client, conference: Conference
) -> None:
    over = twilio.twilio.begin_conference([twilio.twilio.begin_call(ACCOUNT)])
    twilio.twilio.end_conference(over.sid)
    running = sdk.conferences.list(status="in-progress")

    taking_part = running[0].participants(CALL).fetch()

    assert [one.sid for one in running] == [conference.sid]
    assert (taking_part.call_sid, taking_part.conference_sid) == (CALL, conference.sid)
    assert (taking_part.status, taking_part.muted, taking_part.hold) == ("connected", False, False)
    assert {one.call_sid for one in running[0].participants.list(page_size=1)} == {CALL, CHILD}
    shown = sdk.conferences(over.sid).fetch()
    assert (shown.status, shown.reason_conference_ended) == ("completed", "conference-ended-via-api")
    with pytest.raises(TwilioRestException) as refused:
        sdk.conferences(over.sid).participants(CALL).fetch()
    assert (refused.value.status, refused.value.code) == (404, 20404)


def test_the_account_shows_a_recording_otherwise_than_the_call(twilio: TwilioServer, sdk: Client) -> None:
    recording = completed(twilio)

    shown = sdk.recordings(recording.sid).fetch()

    assert shown.media_url == f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT}/Recordings/{recording.sid}"
    assert shown.uri == f"/2010-04-01/Accounts/{ACCOUNT}/Recordings/{recording.sid}.json"
    assert set(shown.subresource_uris or {}) == {"add_on_results", "transcriptions"}
    assert "track" not in recording.resource(level="account")


@pytest.mark.parametrize(("code", "status"), [(20003, 401), (20005, 401), (20006, 403), (20008, 403), (70051, 401)])
def test_credentials_can_be_refused_although_they_are_right(
    twilio: TwilioServer, sdk: Client, code: int, status: int
) -> None:
    twilio.twilio.accounts[ACCOUNT].refusals[ACCOUNT] = code

    with pytest.raises(TwilioRestException) as refused:
        sdk.calls(CALL).recordings.create()

    assert (refused.value.status, refused.value.code) == (status, code)
