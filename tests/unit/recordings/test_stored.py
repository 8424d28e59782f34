"""What is left out of a row in the table comes back, whatever is in it; rows of before stay what they were."""

from typing import Any

import pytest
from boto3.dynamodb.types import Binary

from call_recording.archive.bucket import folder, object_key
from call_recording.recordings.facts import BY_HTTP, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import ATTRIBUTES, Row, attributes, plain, public
from call_recording.recordings.stored import stored, whole
from call_recording.recordings.table import RecordingsTable
from call_recording.start.request import RETRY_FRAGMENT
from generators.sample_events import WEBHOOK_URL

SID, ACCOUNT, CALL, OTHER_CALL = "RE" + "1" * 32, "AC" + "1" * 32, "CA" + "1" * 32, "CA" + "2" * 32
SEEN = "2026-11-22T07:33:01.000Z"
URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/{SID}"
CALLBACK = f"https://example.com/recording-status#{RETRY_FRAGMENT}"
DIGEST = "kOtDrHSPjJ/kknyGSGeARTbACeXtYJ/ng8vluQ4IYvo="
HEXADECIMAL = "90eb43ac748f8c9fe4927c864867804536c009e5ed609fe783cbe5b90e0862fa"
TOLD = {
    "call_sid": CALL,
    "start_time": "2026-11-22T07:33:00Z",
    "channels": 2,
    "duration_seconds": 42,
    "source": "StartCallRecordingAPI",
    "recording_url": URL,
}


def proof(row: Row, suffix: str = "wav", **changes: Any) -> dict[str, Any]:
    return {
        "bucket": "archive",
        "key": object_key(row, suffix),
        "version_id": "3HL4kqtJvjVBH40Nrjfkd",
        "bytes": 1_344_044,
        "sha256": HEXADECIMAL,
        "s3_checksum": DIGEST,
        "content_type": {"wav": "audio/x-wav", "mp3": "audio/mpeg"}[suffix],
        "channels": 2,
        "duration_milliseconds": 42_000,
        "archived_at": SEEN,
    } | changes


def archived(suffix: str = "wav", **changes: Any) -> Row:
    """Return the row of a recording that was asked for, completed and archived."""
    answer = Facts(SID, ACCOUNT, "in-progress", SEEN, TOLD)
    asked = answer.asked_for(by=BY_HTTP, callback_url=CALLBACK, intent="http#key", call_sid=CALL)
    row = merge(None, asked, retention_days=400)
    row = merge(row, Facts(SID, ACCOUNT, "completed", SEEN, TOLD), retention_days=400)
    uploads = {f"archive/{folder(row)}": SEEN}
    return merge(row, Facts.about(row, uploads=uploads, archive=proof(row, suffix, **changes)), retention_days=400)


def test_what_follows_from_the_rest_is_left_out_and_comes_back() -> None:
    row = archived()

    short = stored(row)

    assert short["recording_url"] == "~"
    assert short["callback_url"] == "~https://example.com/recording-status"
    assert short["archive"] == {
        "k": "wav",
        "v": "3HL4kqtJvjVBH40Nrjfkd",
        "b": 1_344_044,
        "s": DIGEST,
        "c": 2,
        "d": 42_000,
        "a": SEEN,
    }
    assert whole(short) == row


def test_of_the_stack_s_own_webhook_its_name_and_region_are_enough() -> None:
    row = archived() | {"callback_url": f"{WEBHOOK_URL}#{RETRY_FRAGMENT}"}

    assert stored(row)["callback_url"] == "~f6g7h8i9j0.us-east-1"


def test_the_fragment_that_is_left_out_is_the_one_that_callbacks_are_asked_for_with() -> None:
    """Where it changes, rows keep the new one, and `stored` must go on to mean the old one."""
    assert stored(archived())["callback_url"] != CALLBACK


@pytest.mark.parametrize(
    "changes",
    [
        {"s3_checksum": f"{DIGEST}-2"},
        {"content_type": "audio/wav"},
        {"bucket": "another"},
        {"key": f"{ACCOUNT}/2026/11/22/CA/{SID}.wav"},
        {"sha256": HEXADECIMAL.upper()},
        {"sha256": "90eb"},
        {"sha256": None},
        {"key": 7},
        {"key": "wav"},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_proof_that_does_not_follow_from_the_rest_says_what_it_said(suffix: str, changes: dict[str, Any]) -> None:
    row = archived(suffix, **changes)

    assert whole(stored(row)) == row


def test_a_proof_among_several_places_names_its_own() -> None:
    row = archived()
    row["uploads"] |= {f"archive/2026/11/21/{CALL}": SEEN}

    assert stored(row)["archive"] == row["archive"]
    assert whole(stored(row)) == row


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recording_url", f"https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/{SID}"),
        ("recording_url", "https://api.twilio.com"),
        ("recording_url", f"{URL}.wav"),
        ("callback_url", "https://example.com/~"),
        ("callback_url", "https://example.com/#rc=1"),
        ("callback_url", ""),
        ("callback_url", f"{WEBHOOK_URL}#{RETRY_FRAGMENT}"),
        ("callback_url", WEBHOOK_URL),
        ("callback_url", f"{WEBHOOK_URL}/more#{RETRY_FRAGMENT}"),
        ("callback_url", f"https://a.b.execute-api.x.amazonaws.com/recording-status#{RETRY_FRAGMENT}"),
        ("callback_url", f"https://http123456.execute-api.x.amazonaws.com/recording-status#{RETRY_FRAGMENT}"),
        ("callback_url", f"http#{RETRY_FRAGMENT}"),
    ],
)
def test_whatever_else_there_is_comes_back_too(name: str, value: Any) -> None:
    row = archived() | {name: value}

    assert whole(stored(row)) == row


@pytest.mark.parametrize(
    "odd", [None, 7, "", "~", "*", "wav", b"x", [], {}, {"a", "b"}, {"*": "x"}, {"key": "~"}, Binary(b"x")], ids=repr
)
def test_a_row_that_somebody_edited_is_read_and_shown_whatever_is_in_it(odd: Any) -> None:
    for name in ATTRIBUTES:
        for row in (archived(), stored(archived())):
            assert public(whole(row | {name: odd})).keys() >= public(row).keys() - {name}
            row.pop(name, None)
            public(whole(row))
        assert public(whole({name: odd})).keys() <= {name}


# --- rows of a version before ------------------------------------------------------------------------


def test_a_row_of_before_is_what_it_was_and_becomes_short_when_something_is_new(table: RecordingsTable) -> None:
    """That version wrote all of it, and one partition of `by-account-day` for all that an account has of a day."""
    row = archived() | {"account_day": f"{ACCOUNT}#2026-11-22"}
    table.client.put_item(TableName=table.name, Item=attributes(row))

    assert table.reader.one(SID) == row == whole(row)
    table.record(Facts.from_fetched(_Resource(sid=SID, account_sid=ACCOUNT, status="completed", price="-0.0025")))

    now = table.reader.one(SID)
    assert (now["price"], public(now)) == ("-0.0025", public(row) | {"price": "-0.0025"})
    assert table.reader.get_stored(SID) == stored(now)


def test_a_short_row_is_written_into_without_being_read_as_a_row_of_before_is(table: RecordingsTable) -> None:
    answer = Facts(SID, ACCOUNT, "in-progress", SEEN, TOLD)
    table.record(answer.asked_for(by=BY_HTTP, callback_url=CALLBACK, intent="http#key", call_sid=CALL))
    sent: list[str] = []
    table.client.meta.events.register("before-call.dynamodb", lambda model, **_: sent.append(model.name))

    table.record(Facts(SID, ACCOUNT, "completed", SEEN, TOLD))

    assert sent == ["UpdateItem"]
    assert (table.reader.get_stored(SID) or {})["recording_url"] == "~"


def test_the_call_that_was_asked_for_stays_when_twilio_names_another(table: RecordingsTable) -> None:
    answer = Facts(SID, ACCOUNT, "in-progress", SEEN, TOLD)
    table.record(answer.asked_for(by=BY_HTTP, callback_url=CALLBACK, intent="http#key", call_sid=CALL))

    table.record(Facts(SID, ACCOUNT, "completed", SEEN, TOLD | {"call_sid": OTHER_CALL}))

    row = table.reader.one(SID)
    assert (row["call_sid"], row["requested_call_sid"], row["requested_other_call_sid"]) == (OTHER_CALL, CALL, CALL)


def test_dynamodb_keeps_a_short_row_as_it_is(table: RecordingsTable) -> None:
    item = attributes(stored(archived()))
    table.client.put_item(TableName=table.name, Item=item)

    assert table.reader.one(SID) == archived() == whole(plain(item))


class _Resource(dict[str, Any]):
    audio_url = URL
