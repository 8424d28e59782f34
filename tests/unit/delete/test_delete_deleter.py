"""A deletion leaves a receipt and a tombstone, gives the same receipt again, and never touches another account's."""

from typing import Any

import boto3
import pytest

from call_recording.archive.bucket import Archive
from call_recording.deadline import Deadline
from call_recording.delete.deleter import NEVER_THERE, REMOVED, Deleter
from call_recording.errors import RecordingNotFoundError
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource, Twilio
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Time, rows


@pytest.fixture
def recording(twilio: TwilioServer, time: Time) -> Recording:
    made = twilio.twilio.record(twilio.twilio.calls[CALL_SID])
    made.duration, made.status = 2, "completed"
    return made


@pytest.fixture
def deleter(table: RecordingsTable, bucket: str, connection: Twilio) -> Deleter:
    return Deleter(
        recordings=table,
        twilio=connection,
        default_account_sid=ACCOUNT_SID,
        archive=Archive(boto3.client("s3"), bucket),
    )


def delete(deleter: Deleter, recording_sid: str, *, account_sid: str | None = None, asked_by: str = "x") -> Any:
    return deleter.delete(recording_sid, account_sid=account_sid, asked_by=asked_by, deadline=Deadline(20))


def test_a_recording_that_only_twilio_knows_is_deleted_and_has_a_tombstone(
    deleter: Deleter, recording: Recording
) -> None:
    receipt = delete(deleter, recording.sid)

    (row,) = rows()
    assert recording.is_deleted
    assert receipt["removed"] == {"twilio": REMOVED, "archive": NEVER_THERE}
    assert (row["status"], row["deletion"]) == ("deleted", receipt)


def test_deleting_again_gives_the_first_receipt(deleter: Deleter, recording: Recording, time: Time) -> None:
    first = delete(deleter, recording.sid, asked_by="one")
    time.turn(60)

    assert delete(deleter, recording.sid, asked_by="another") == first


def test_another_accounts_recording_is_not_found_and_stays(
    deleter: Deleter, recording: Recording, table: RecordingsTable, twilio: TwilioServer
) -> None:
    table.record(Facts.from_fetched(RecordingResource(recording.resource(), api_url=twilio.url)))

    with pytest.raises(RecordingNotFoundError):
        delete(deleter, recording.sid, account_sid="AC" + "9" * 32)

    assert not recording.is_deleted


def test_what_neither_the_table_nor_twilio_knows_is_not_found_and_leaves_nothing(deleter: Deleter) -> None:
    with pytest.raises(RecordingNotFoundError):
        delete(deleter, "RE" + "9" * 32)

    assert rows() == []
