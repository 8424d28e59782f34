"""Deleting: at Twilio, with a receipt, leaving a tombstone without audio links."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from call_recording import clock
from call_recording.callbacks import callback_facts
from call_recording.facts import Facts
from call_recording.recordings import RecordingsTable
from local.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Time, rows

Api = Callable[..., dict[str, Any]]

DELETE, ONE = "delete-rest-api.json", "get-rest-api.json"
OTHER_ACCOUNT = "AC" + "f" * 32
CALLER = "arn:aws:sts::123456789012:assumed-role/agent-desktop/agent-desktop"


def finish(recording: Recording) -> Recording:
    recording.status, recording.duration = "completed", 42
    return recording


def callback(recording: Recording, word: str) -> Facts:
    parameters = recording.callback_parameters(word, base_url="https://api.twilio.com")
    return callback_facts([*parameters.items(), ("MediaUrl", "https://example.com/audio")])


@pytest.fixture
def running(twilio: TwilioServer, table: RecordingsTable) -> Recording:
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[CALL_SID])
    table.record(callback(recording, "in-progress"))
    return recording


@pytest.fixture
def recording(running: Recording, table: RecordingsTable) -> Recording:
    """A finished recording, at Twilio and in the table."""
    finish(running)
    table.record(callback(running, "completed"))
    return running


def delete(api: Api, recording: Recording, **query: str) -> dict[str, Any]:
    return api(DELETE, path={"RecordingSid": recording.sid}, query=query)


def test_the_receipt_says_who_asked_when_and_what_was_removed_where(
    api: Api, recording: Recording, twilio: TwilioServer
) -> None:
    answer = delete(api, recording)

    assert answer["statusCode"] == 200
    assert answer["json"] == {
        "recording_sid": recording.sid,
        "account_sid": ACCOUNT_SID,
        "call_sid": CALL_SID,
        "requested_by": CALLER,
        "deleted_at": "2026-11-22T07:33:01.000Z",
        "removed": {"twilio": "removed"},
    }
    assert recording.is_deleted


def test_the_row_stays_as_a_tombstone_without_links_to_audio(
    api: Api, recording: Recording, table: RecordingsTable
) -> None:
    (before,) = rows()
    assert {"recording_url", "metadata"} <= before.keys()

    receipt = delete(api, recording)["json"]
    table.record(callback(recording, "completed"))
    table.record(callback(recording, "in-progress"))

    tombstone = api(ONE, path={"RecordingSid": recording.sid})["json"]
    assert (tombstone["status"], tombstone["duration_seconds"]) == ("deleted", 42)
    assert tombstone["deletion"] == receipt
    assert tombstone["expires_at"] == before["expires_at"], "until its retention ends"
    assert "https://" not in str(rows())


def test_deleting_again_gives_the_first_receipt(
    api: Api, recording: Recording, twilio: TwilioServer, time: Time
) -> None:
    first = delete(api, recording)
    time.turn(60)
    again = delete(api, recording)

    assert (again["statusCode"], again["json"]) == (200, first["json"])
    assert len(twilio.twilio.requests) == 1


def test_a_deletion_whose_answer_was_lost_is_done_again(api: Api, recording: Recording, twilio: TwilioServer) -> None:
    twilio.twilio.faults.requests.append(RequestFault("cut", after_acting=True))

    answer = delete(api, recording)

    assert (answer["statusCode"], answer["json"]["removed"]) == (200, {"twilio": "gone-before"})
    assert [row["status"] for row in rows()] == ["deleted"]


def test_a_recording_that_still_runs_is_409_and_stays(api: Api, running: Recording) -> None:
    answer = delete(api, running)

    assert (answer["statusCode"], answer["json"]["type"]) == (409, "urn:problem:call-recording:not-finished")
    assert [row["status"] for row in rows()] == ["in-progress"]
    assert not running.is_deleted


def test_a_recording_that_only_twilio_knows_leaves_a_tombstone_too(api: Api, twilio: TwilioServer, aws: None) -> None:
    with twilio.locked() as simulated:
        recording = finish(simulated.record(simulated.calls[CALL_SID], source="DialVerb"))

    assert delete(api, recording)["json"]["call_sid"] == CALL_SID

    (row,) = rows()
    assert (row["status"], row["source"], row["duration_seconds"]) == ("deleted", "DialVerb", 42)


def test_a_recording_that_nobody_knows_is_404(api: Api, aws: None) -> None:
    answer = api(DELETE)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:recording-not-found")
    assert rows() == []


def test_another_accounts_recording_is_404_and_stays(api: Api, recording: Recording, twilio: TwilioServer) -> None:
    assert delete(api, recording, AccountSid=OTHER_ACCOUNT)["statusCode"] == 404
    assert twilio.twilio.requests == []


def test_a_404_that_may_come_from_the_wrong_region_removes_nothing(
    api: Api, recording: Recording, twilio: TwilioServer
) -> None:
    del twilio.twilio.recordings[recording.sid]

    assert delete(api, recording)["statusCode"] == 404
    assert [row["status"] for row in rows()] == ["completed"]


def test_a_recording_that_twilio_has_forgotten_for_long_becomes_a_tombstone(
    api: Api, recording: Recording, twilio: TwilioServer, time: Time
) -> None:
    del twilio.twilio.recordings[recording.sid]
    time.turn(timedelta(days=41).total_seconds())

    assert delete(api, recording)["json"]["removed"] == {"twilio": "gone-before"}
    assert [row["status"] for row in rows()] == ["deleted"]
    assert clock.now().isoformat().startswith("2027-01-02")


def test_refused_credentials_are_502_and_remove_nothing(api: Api, recording: Recording, twilio: TwilioServer) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"

    assert delete(api, recording)["statusCode"] == 502
    assert [row["status"] for row in rows()] == ["completed"]
