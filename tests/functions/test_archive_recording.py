"""Audio gets into the archive once, whole and proven, or a failure is seen: never a wrong object."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_recording import clients
from call_recording.archive import bucket as archive
from call_recording.archive.custody import Custody
from call_recording.bus import ARCHIVE_FAILED
from call_recording.callbacks.facts import callback_facts
from call_recording.errors import ArchiveUnavailableError, EventNotPublishedError
from call_recording.recordings.facts import Facts
from call_recording.recordings.row import Row
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import TwilioAccount
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.stack import EVENTS
from local.twilio_simulator.audio import mp3, wav
from local.twilio_simulator.faults import MediaFault, RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer
from tests.conftest import (
    BUCKET,
    MOST_RECEIVES,
    Bus,
    Context,
    Time,
    archive_message,
    capture_log,
    load_archive_recording,
    rows,
    written_metrics,
)

KEY = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}"
SECONDS = 42


def complete(twilio: TwilioServer, table: RecordingsTable, *, channels: int = 2, **more: str) -> Recording:
    with twilio.locked() as simulated:
        form = {"RecordingChannels": ["dual" if channels == 2 else "mono"]}
        recording = simulated.record(simulated.calls[CALL_SID], form)
    recording.started_at = 1795332780.0
    recording.status, recording.duration = "completed", SECONDS
    parameters = recording.callback_parameters("completed", base_url=twilio.url) | more
    table.record(callback_facts(parameters.items()))
    return recording


@pytest.fixture
def recording(twilio: TwilioServer, table: RecordingsTable) -> Recording:
    """A completed recording of 42 s on two channels, at Twilio and in the table."""
    return complete(twilio, table)


def message(recording: Recording, received: int = 1) -> dict[str, Any]:
    return archive_message(recording.sid, received=received, call_sid=CALL_SID)


@pytest.fixture
def waits(archive_recording: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long each failed message was told to wait, in seconds."""
    told: list[int] = []
    monkeypatch.setattr(
        clients.sqs(), "change_message_visibility", lambda **asked: told.append(asked["VisibilityTimeout"])
    )
    return told


Deliver = Callable[..., bool]


@pytest.fixture
def deliver(archive_recording: ModuleType, waits: list[int]) -> Deliver:
    """Hand a message over once, as SQS does; tell whether it is done."""

    def once(recording: Recording, received: int = 1, app: ModuleType = archive_recording) -> bool:
        answer = app.handler({"Records": [message(recording, received)]}, Context())
        return bool(answer == {"batchItemFailures": []})

    return once


def objects() -> list[dict[str, Any]]:
    return list(boto3.client("s3").list_object_versions(Bucket=BUCKET).get("Versions", []))  # type: ignore[arg-type]


def unfinished() -> list[Any]:
    return list(boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


def content(key: str) -> bytes:
    return boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()


def sound(recording: Recording, *, channels: int = 2) -> bytes:
    return b"".join(wav(seconds=recording.duration or 0, channels=channels).pieces)


def test_a_completed_recording_is_archived_with_its_proof(
    deliver: Deliver, recording: Recording, twilio: TwilioServer
) -> None:
    assert deliver(recording)

    expected = sound(recording)
    (stored,) = objects()
    assert stored["Key"] == f"{KEY}/{recording.sid}.wav"
    assert content(stored["Key"]) == expected
    (row,) = rows()
    assert row["archive"] == {
        "bucket": BUCKET,
        "key": stored["Key"],
        "version_id": stored["VersionId"],
        "bytes": len(expected),
        "sha256": hashlib.sha256(expected).hexdigest(),
        "s3_checksum": base64.b64encode(hashlib.sha256(expected).digest()).decode(),
        "content_type": "audio/x-wav",
        "channels": 2,
        "duration_milliseconds": SECONDS * 1000,
        "archived_at": "2026-11-22T07:33:01.000Z",
    }
    assert row["status"] == "completed"
    assert not recording.is_deleted


def test_the_object_says_what_it_is(deliver: Deliver, recording: Recording) -> None:
    deliver(recording)

    held = boto3.client("s3").head_object(Bucket=BUCKET, Key=f"{KEY}/{recording.sid}.wav")
    assert held["ContentType"] == "audio/x-wav"
    assert held["Metadata"] == {
        "recording-sid": recording.sid,
        "call-sid": CALL_SID,
        "account-sid": ACCOUNT_SID,
        "duration-seconds": "42",
        "channels": "2",
        "start-time": "2026-11-22T07:33:00Z",
    }


def test_large_audio_goes_up_in_parts_and_is_the_same(
    deliver: Deliver, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PART_BYTES", 5 * 1024 * 1024)
    recording.duration = 400

    assert not deliver(recording), "the table says 42 s"
    boto3.client("dynamodb").update_item(
        TableName="recordings",
        Key={"recording_sid": {"S": recording.sid}},
        UpdateExpression="SET duration_seconds = :seconds",
        ExpressionAttributeValues={":seconds": {"N": "400"}},
    )
    assert deliver(recording)

    expected = sound(recording)
    (stored,) = objects()
    assert content(stored["Key"]) == expected
    (row,) = rows()
    assert row["archive"]["sha256"] == hashlib.sha256(expected).hexdigest()
    assert row["archive"]["s3_checksum"].endswith("-3")
    assert unfinished() == []


@pytest.mark.parametrize(
    ("changes", "recorded", "suffix", "expected"),
    [
        ({"ARCHIVE_CHANNELS": "mono"}, 2, "wav", (wav, 1)),
        ({"ARCHIVE_CHANNELS": "dual"}, 1, "wav", (wav, 1)),
        ({"ARCHIVE_CHANNELS": "dual"}, 2, "wav", (wav, 2)),
        ({"ARCHIVE_FORMAT": "mp3"}, 2, "mp3", (mp3, 2)),
    ],
)
def test_form_and_channels_are_those_of_the_parameters(
    deliver: Deliver,
    bucket: str,
    twilio: TwilioServer,
    table: RecordingsTable,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    recorded: int,
    suffix: str,
    expected: tuple[Any, int],
) -> None:
    app = load_archive_recording(bucket, twilio, monkeypatch, **changes)
    recording = complete(twilio, table, channels=recorded)

    assert deliver(recording, app=app)

    make, channels = expected
    assert content(f"{KEY}/{recording.sid}.{suffix}") == b"".join(make(seconds=SECONDS, channels=channels).pieces)


def test_encrypted_audio_is_archived_as_it_is(
    deliver: Deliver, twilio: TwilioServer, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    app = load_archive_recording(bucket, twilio, monkeypatch, ARCHIVE_FORMAT="mp3")
    details = {"type": "rsa-aes", "public_key_sid": "CR1", "encrypted_cek": "k", "iv": "i"}
    recording = complete(twilio, table, EncryptionDetails=json.dumps(details))

    assert deliver(recording, app=app)

    held = boto3.client("s3").head_object(Bucket=BUCKET, Key=f"{KEY}/{recording.sid}.wav")
    assert json.loads(held["Metadata"]["encryption-details"]) == {
        "type": "rsa-aes",
        "encryption_public_key_sid": "CR1",
        "encryption_cek": "k",
        "encryption_iv": "i",
    }
    assert "duration_milliseconds" not in rows()[0]["archive"], "nobody can look inside"


def test_audio_whose_encryption_a_callback_told_unreadably_is_archived_as_what_twilio_says_that_it_is(
    deliver: Deliver, twilio: TwilioServer, table: RecordingsTable
) -> None:
    recording = complete(twilio, table, EncryptionDetails="{not JSON")
    with twilio.locked():
        recording.public_key_sid = "CR" + "1" * 32

    assert deliver(recording)

    (row,) = rows()
    assert row["encryption_details"]["encryption_public_key_sid"] == recording.public_key_sid
    assert "duration_milliseconds" not in row["archive"], "nobody can look inside"


# --- what goes wrong ------------------------------------------------------------------------------

BROKEN: list[tuple[MediaFault, str]] = [
    ("not-ready", "media-not-ready"),
    ("cut", "twilio-unavailable"),
    ("short", "wrong-media"),
    ("wrong-type", "wrong-media"),
    ("html", "wrong-media"),
    ("empty", "wrong-media"),
]


@pytest.mark.parametrize(("fault", "why"), BROKEN)
def test_what_is_not_the_recording_is_not_stored_and_tried_again(
    deliver: Deliver,
    recording: Recording,
    twilio: TwilioServer,
    waits: list[int],
    archive_recording: ModuleType,
    fault: MediaFault,
    why: str,
) -> None:
    log = capture_log(archive_recording)
    twilio.twilio.faults.media.append(fault)

    assert not deliver(recording)
    assert (objects(), "archive" in rows()[0]) == ([], False)
    assert f'"reason":"{why}"' in log.getvalue()
    assert deliver(recording, received=2)

    assert len(objects()) == 1
    assert waits == [10]


def test_it_waits_longer_each_time_and_never_longer_than_a_quarter_of_an_hour(
    deliver: Deliver, recording: Recording, twilio: TwilioServer, waits: list[int]
) -> None:
    twilio.twilio.faults.media.extend(["not-ready"] * 11)

    for received in range(1, 12):
        assert not deliver(recording, received)

    assert waits == [10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]


def test_a_failure_for_good_is_told_on_the_bus_and_counted(
    deliver: Deliver,
    recording: Recording,
    twilio: TwilioServer,
    bus: Bus,
    waits: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    twilio.twilio.faults.media.append("html")

    assert not deliver(recording, received=MOST_RECEIVES), "the message goes to the dead-letter queue"

    (failed,) = bus.events(ARCHIVE_FAILED)
    assert failed == {
        "recording_sid": recording.sid,
        "account_sid": ACCOUNT_SID,
        "call_sid": CALL_SID,
        "reason": "wrong-media",
        "detail": "the download is not the recording's audio: the content type is 'text/html'",
    }
    counted = [m for m in written_metrics(capsys.readouterr().out) if m["name"] == "RecordingNotArchived"]
    assert [(metric["value"], metric["dimensions"]) for metric in counted] == [(1, {})]
    assert waits == []


@pytest.fixture
def break_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Let the nth call of an S3 operation fail."""

    def arrange(operation: str, number: int) -> None:
        calls = {"left": number}

        def fail(model: Any, **_: Any) -> None:
            calls["left"] -= 1
            if calls["left"] == 0:
                raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, operation)

        clients.s3(read_seconds=clients.UPLOAD_SECONDS).meta.events.register(f"before-call.s3.{operation}", fail)

    return arrange


@pytest.mark.parametrize(
    ("operation", "number"), [("CreateMultipartUpload", 1), ("UploadPart", 2), ("CompleteMultipartUpload", 1)]
)
def test_an_upload_that_fails_in_the_middle_leaves_nothing_behind(
    deliver: Deliver,
    twilio: TwilioServer,
    recording: Recording,
    break_s3: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    number: int,
) -> None:
    monkeypatch.setattr(archive, "PART_BYTES", 500_000)  # moto, like S3, wants 5 MB on completion only
    break_s3(operation, number)

    assert not deliver(recording)

    assert (objects(), unfinished()) == ([], [])
    assert "archive" not in rows()[0]


def test_audio_that_turns_out_wrong_at_its_end_leaves_no_unfinished_upload(
    deliver: Deliver, recording: Recording, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PART_BYTES", 500_000)
    twilio.twilio.faults.media.append("cut")

    assert not deliver(recording)

    assert (objects(), unfinished()) == ([], [])


def test_an_invocation_without_time_leaves_no_unfinished_upload(
    recording: Recording, archive_recording: ModuleType, waits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PART_BYTES", 500_000)

    answer = archive_recording.handler({"Records": [message(recording)]}, Context(remaining_milliseconds=14_000))

    assert answer["batchItemFailures"]
    assert (objects(), unfinished()) == ([], [])


def test_a_message_that_is_delivered_again_stores_nothing_more(
    deliver: Deliver, recording: Recording, twilio: TwilioServer
) -> None:
    assert deliver(recording)
    asked = len(twilio.twilio.requests)
    assert deliver(recording)

    assert len(objects()) == 1
    assert len(twilio.twilio.requests) == asked


def test_an_object_whose_proof_was_lost_is_proven_again(
    deliver: Deliver, recording: Recording, table: RecordingsTable
) -> None:
    assert deliver(recording)
    (before,) = rows()
    table.client.update_item(
        TableName=table.name,
        Key={"recording_sid": {"S": recording.sid}},
        UpdateExpression="REMOVE #archive",
        ExpressionAttributeNames={"#archive": "archive"},
    )

    assert deliver(recording)

    (row,) = rows()
    assert row["archive"] == before["archive"]
    assert len(objects()) == 1


def test_something_else_under_the_recordings_name_is_left_and_told(
    deliver: Deliver, recording: Recording, bus: Bus
) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{KEY}/{recording.sid}.wav", Body=b"other")

    assert not deliver(recording, received=MOST_RECEIVES)

    assert [failed["reason"] for failed in bus.events(ARCHIVE_FAILED)] == ["archive-conflict"]
    assert content(f"{KEY}/{recording.sid}.wav") == b"other"
    assert "archive" not in rows()[0]


def store_and_delete(table: RecordingsTable, recording: Recording) -> Callable[..., archive.Stored]:
    """Return a way to store after which somebody has deleted the recording."""
    store = archive.Archive.store

    def both(self: archive.Archive, *args: Any, **more: Any) -> archive.Stored:
        stored = store(self, *args, **more)
        table.record(gone(recording))
        return stored

    return both


def test_a_recording_that_is_deleted_while_it_is_archived_leaves_no_object(
    deliver: Deliver, recording: Recording, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive.Archive, "store", store_and_delete(table, recording))

    assert deliver(recording)

    assert objects() == []
    (row,) = rows()
    assert (row["status"], "archive" in row) == ("deleted", False)


@pytest.fixture
def asked_of_s3(archive_recording: ModuleType) -> list[str]:
    """The names of the operations that S3 is asked for."""
    asked: list[str] = []
    events = clients.s3(read_seconds=clients.UPLOAD_SECONDS).meta.events
    events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    return asked


def test_while_somebody_deletes_it_nothing_is_uploaded(
    deliver: Deliver,
    recording: Recording,
    table: RecordingsTable,
    asked_of_s3: list[str],
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "PART_BYTES", 500_000)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 500_000)
    table.note(table.reader.one(recording.sid), deleting_until="2026-11-22T07:33:02.000Z")

    assert not deliver(recording)
    assert asked_of_s3 == []

    time.turn(2)
    assert deliver(recording, received=2), "nobody did"


@pytest.mark.parametrize("kind", ["deleted", "being deleted"])
def test_what_is_deleted_while_it_passes_never_becomes_an_object(
    deliver: Deliver,
    recording: Recording,
    table: RecordingsTable,
    asked_of_s3: list[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Object Lock could keep it."""
    monkeypatch.setattr(archive, "PART_BYTES", 500_000)

    def delete(**_: Any) -> None:
        if kind == "deleted":
            table.record(gone(recording))
        else:
            table.note(table.reader.one(recording.sid), deleting_until="2026-11-22T07:34:00.000Z")

    events = clients.s3(read_seconds=clients.UPLOAD_SECONDS).meta.events
    events.register("before-call.s3.CreateMultipartUpload", delete)

    assert deliver(recording) == (kind == "deleted"), "which is the end of it"

    assert not {"CompleteMultipartUpload", "PutObject"} & set(asked_of_s3)
    assert (objects(), unfinished()) == ([], [])


def test_an_object_that_could_not_be_taken_back_is_taken_back_by_the_next_delivery(
    deliver: Deliver, recording: Recording, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Custody, row: Row) -> bool:
        raise ArchiveUnavailableError(row["recording_sid"])

    with monkeypatch.context() as broken:
        broken.setattr(archive.Archive, "store", store_and_delete(table, recording))
        broken.setattr(Custody, "remove", refuse)
        assert not deliver(recording)
    assert len(objects()) == 1

    assert deliver(recording, received=2)

    assert objects() == []


def test_whatever_goes_wrong_at_last_is_told(
    deliver: Deliver, recording: Recording, bus: Bus, archive_recording: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(archive.Archive, "store", fail)

    assert not deliver(recording, received=MOST_RECEIVES)

    (failed,) = bus.events(ARCHIVE_FAILED)
    assert (failed["recording_sid"], failed["reason"]) == (recording.sid, "internal")
    schema = json.loads((EVENTS / "schemas/CallRecordingArchiveFailed.json").read_text())
    assert set(schema["properties"]["detail"]["required"]) <= failed.keys()
    assert "a defect of ours" not in failed["detail"], "what an exception says is for the log"


def gone(recording: Recording) -> Facts:
    receipt = {"deleted_at": "2026-11-22T07:33:01.000Z"}
    return Facts.gone(recording.sid, ACCOUNT_SID, deletion=receipt)


def test_a_recording_that_is_not_completed_is_none_of_ours(
    deliver: Deliver, recording: Recording, table: RecordingsTable, twilio: TwilioServer
) -> None:
    table.record(gone(recording))

    assert deliver(recording)

    assert twilio.twilio.requests == []


def test_a_length_that_no_callback_told_is_asked_for(
    deliver: Deliver, recording: Recording, table: RecordingsTable
) -> None:
    table.client.update_item(
        TableName=table.name, Key={"recording_sid": {"S": recording.sid}}, UpdateExpression="REMOVE duration_seconds"
    )

    assert deliver(recording)

    assert rows()[0]["duration_seconds"] == SECONDS


def tell(table: RecordingsTable, recording: Recording, status: str, *without: str, **more: str) -> None:
    parameters = recording.callback_parameters(status, base_url="https://api.twilio.com") | more
    table.record(callback_facts((name, value) for name, value in parameters.items() if name not in without))


@pytest.mark.parametrize("told_before", [{}, {"RecordingChannels": "1", "RecordingDuration": "1"}])
@pytest.mark.parametrize(
    "missing", [("RecordingChannels",), ("RecordingDuration",), ("RecordingChannels", "RecordingDuration")]
)
def test_what_the_report_of_the_end_does_not_say_is_asked_for(
    deliver: Deliver,
    table: RecordingsTable,
    twilio: TwilioServer,
    missing: tuple[str, ...],
    told_before: dict[str, str],
) -> None:
    """Otherwise a recording on two channels would be kept as a mix of both."""
    recording = complete(twilio, table)
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": recording.sid}})
    if told_before:
        tell(table, recording, "in-progress", **told_before)
    tell(table, recording, "completed", *missing)

    assert deliver(recording)

    assert content(f"{KEY}/{recording.sid}.wav") == sound(recording)
    assert rows()[0]["archive"]["channels"] == 2


@pytest.mark.parametrize("name", ["channels", "duration"])
def test_what_twilio_does_not_tell_either_is_not_made_up(
    deliver: Deliver, table: RecordingsTable, twilio: TwilioServer, bus: Bus, name: str
) -> None:
    recording = complete(twilio, table)
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": recording.sid}})
    tell(table, recording, "completed", f"Recording{name.title()}")
    setattr(recording, name, 0 if name == "channels" else None)

    assert not deliver(recording, received=MOST_RECEIVES)

    assert [failed["reason"] for failed in bus.events(ARCHIVE_FAILED)] == ["wrong-media"]
    assert objects() == []


def test_for_a_mix_nobody_needs_to_know_what_is_mixed(
    deliver: Deliver, table: RecordingsTable, twilio: TwilioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load_archive_recording(bucket, twilio, monkeypatch, ARCHIVE_CHANNELS="mono")
    recording = complete(twilio, table)
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": recording.sid}})
    tell(table, recording, "completed", "RecordingChannels")

    assert deliver(recording, app=app)

    assert [request.path[-4:] for request in twilio.twilio.requests] == [".wav"]


def test_a_row_that_is_removed_meanwhile_does_not_come_back(
    deliver: Deliver, recording: Recording, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = archive.Archive.store

    def remove_and_store(self: archive.Archive, *args: Any, **more: Any) -> archive.Stored:
        table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": recording.sid}})
        return store(self, *args, **more)

    with monkeypatch.context() as late:
        late.setattr(archive.Archive, "store", remove_and_store)
        assert not deliver(recording)

    assert rows() == [], "and nothing is announced"


def test_audio_that_is_compressed_on_the_way_is_archived_as_it_was(
    deliver: Deliver, recording: Recording, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = gzip.compress(sound(recording))
    answer = Answer(200, body, content_type="audio/x-wav", headers={"Content-Encoding": "gzip"})
    monkeypatch.setattr(twilio.twilio, "_media", lambda *_, **__: answer)

    assert deliver(recording)

    assert content(f"{KEY}/{recording.sid}.wav") == sound(recording)


# --- what never comes ------------------------------------------------------------------------------

BUCKET_URL = "https://audio.s3.eu-west-1.amazonaws.com/calls/RE1.wav"


def without_media(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, status: int = 404, **resource: Any) -> None:
    """Let Twilio refuse the audio, and say that of the recording."""
    answer = Answer(status, b"<Error/>", content_type="application/xml")
    monkeypatch.setattr(twilio.twilio, "_media", lambda *_, **__: answer)
    shown = Recording.resource
    monkeypatch.setattr(Recording, "resource", lambda self, **more: shown(self, **more) | resource)
    if not isinstance(resource.get("media_url"), str | None):
        twilio.twilio.observe = lambda *_: None  # what nobody described


@pytest.mark.parametrize(
    ("media_url", "told"),
    [
        (BUCKET_URL, BUCKET_URL),
        (f"{BUCKET_URL}?X-Amz-Signature=secret#part", BUCKET_URL),
        ("https://user:secret@s3.amazonaws.com/audio/RE1.wav", "https://s3.amazonaws.com/audio/RE1.wav"),
        ("s3://audio/calls/RE1.wav", "s3://audio/calls/RE1.wav"),
        ("https://api.twilio.com.s3.amazonaws.com/RE1", "https://api.twilio.com.s3.amazonaws.com/RE1"),
        ("https://nottwilio.com/RE1", "https://nottwilio.com/RE1"),
    ],
)
@pytest.mark.parametrize("status", [404, 403])
def test_audio_that_the_account_stores_itself_ends_at_once_and_the_row_says_where(
    deliver: Deliver,
    recording: Recording,
    twilio: TwilioServer,
    bus: Bus,
    waits: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    media_url: str,
    told: str,
) -> None:
    without_media(twilio, monkeypatch, status, media_url=media_url)

    assert deliver(recording)

    (failed,) = bus.events(ARCHIVE_FAILED)
    assert (failed["recording_sid"], failed["reason"]) == (recording.sid, "stored-elsewhere")
    (row,) = rows()
    assert (row["status"], row["stored_elsewhere"], "archive" in row) == ("completed", told, False)
    assert (waits, objects(), recording.is_deleted) == ([], [], False)
    printed = capsys.readouterr().out
    assert "RecordingNotArchived" not in {metric["name"] for metric in written_metrics(printed)}, "no alarm"
    assert "secret" not in printed


@pytest.mark.parametrize(
    "media_url",
    [
        None,
        "",
        7,
        "http://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
        "https://API.dublin.ie1.twilio.com:443/2010-04-01/Accounts/AC1/Recordings/RE1",
        "https://api.twilio.com./2010-04-01",
        "/2010-04-01/Accounts/AC1/Recordings/RE1",
        "http://127.0.0.1/2010-04-01",
        "https://[half",
        "audio",
        "data:audio/wav,x",
    ],
)
def test_audio_that_is_not_surely_elsewhere_is_only_not_there_yet(
    deliver: Deliver,
    recording: Recording,
    twilio: TwilioServer,
    waits: list[int],
    bus: Bus,
    monkeypatch: pytest.MonkeyPatch,
    media_url: Any,
) -> None:
    without_media(twilio, monkeypatch, media_url=media_url)

    assert not deliver(recording)

    assert (waits, bus.events(ARCHIVE_FAILED), "stored_elsewhere" in rows()[0]) == ([10], [], False)


def test_a_recording_that_somebody_deleted_at_twilio_before_ends_at_once_and_its_row_says_so(
    deliver: Deliver, recording: Recording, twilio: TwilioServer, bus: Bus, waits: list[int]
) -> None:
    recording.is_deleted = True

    assert deliver(recording)

    (row,) = rows()
    assert (row["status"], "deletion" in row, "recording_url" in row) == ("deleted", False, False)
    assert (waits, bus.events(ARCHIVE_FAILED)) == ([], [])
    assert [request.method for request in twilio.twilio.requests] == ["GET", "GET"], "the recording itself once"


def test_a_recording_that_is_being_deleted_through_this_stack_waits_for_its_receipt(
    deliver: Deliver, recording: Recording, table: RecordingsTable, time: Time
) -> None:
    table.note(table.reader.one(recording.sid), deleting_until="2026-11-22T07:33:02.000Z")
    recording.is_deleted = True

    assert not deliver(recording)
    assert rows()[0]["status"] == "completed"

    time.turn(2)
    assert deliver(recording, received=2), "nobody wrote one"
    assert rows()[0]["status"] == "deleted"


def test_a_recording_that_another_delivery_archived_and_deleted_meanwhile_stays_completed(
    deliver: Deliver, recording: Recording, deleting: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = TwilioAccount.media

    def archive_first(self: TwilioAccount, *args: Any, **more: Any) -> Any:
        monkeypatch.setattr(TwilioAccount, "media", media)
        assert deliver(recording, app=deleting)
        return media(self, *args, **more)

    monkeypatch.setattr(TwilioAccount, "media", archive_first)

    assert deliver(recording, app=deleting)

    (row,) = rows()
    assert (row["status"], "archive" in row, recording.is_deleted) == ("completed", True, True)


@pytest.mark.parametrize("status", ["absent", "failed"])
def test_a_recording_that_ended_without_audio_after_all_ends_at_once_and_is_told(
    deliver: Deliver,
    recording: Recording,
    bus: Bus,
    waits: list[int],
    capsys: pytest.CaptureFixture[str],
    status: str,
) -> None:
    recording.status = status

    assert deliver(recording)

    assert ([failed["reason"] for failed in bus.events(ARCHIVE_FAILED)], waits) == (["no-audio"], [])
    assert "RecordingNotArchived" in {metric["name"] for metric in written_metrics(capsys.readouterr().out)}


def test_what_the_bus_does_not_take_is_told_by_the_next_delivery(
    deliver: Deliver,
    recording: Recording,
    twilio: TwilioServer,
    archive_recording: ModuleType,
    bus: Bus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_media(twilio, monkeypatch, media_url=BUCKET_URL)

    def refuse(*_: Any) -> None:
        raise EventNotPublishedError("InternalFailure")

    with monkeypatch.context() as broken:
        broken.setattr(type(archive_recording.bus()), "publish", refuse)
        assert not deliver(recording)
    assert deliver(recording, received=2)

    assert [failed["reason"] for failed in bus.events(ARCHIVE_FAILED)] == ["stored-elsewhere"]


def test_what_twilio_does_not_show_at_all_may_be_in_another_region(
    deliver: Deliver, recording: Recording, twilio: TwilioServer, bus: Bus, waits: list[int]
) -> None:
    del twilio.twilio.recordings[recording.sid]

    assert not deliver(recording)
    assert not deliver(recording, received=MOST_RECEIVES)

    assert (waits, [failed["reason"] for failed in bus.events(ARCHIVE_FAILED)]) == ([10], ["media-not-ready"])
    assert rows()[0]["status"] == "completed"


def test_what_is_missing_is_asked_for_and_may_be_that_it_never_comes(
    deliver: Deliver, table: RecordingsTable, twilio: TwilioServer, bus: Bus
) -> None:
    recording = complete(twilio, table)
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": recording.sid}})
    tell(table, recording, "completed", "RecordingChannels")
    recording.is_deleted = True

    assert deliver(recording)

    assert (rows()[0]["status"], bus.events(ARCHIVE_FAILED)) == ("deleted", [])


# --- channels ---------------------------------------------------------------------------------------


def channels_at_twilio(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, has: int, *, refuses: bool) -> list[str]:
    """Let Twilio have that many channels, whatever it tells; return which it is asked for."""
    asked: list[str] = []

    def media(request: Any, *, recording: str, **_: Any) -> Answer:
        asked.append(request.query.rpartition("=")[2])
        if int(asked[-1]) > has and refuses:
            return Answer(400, json.dumps({"code": 16113, "message": "channels", "status": 400}).encode())
        sound = wav(seconds=twilio.twilio.recordings[recording].duration or 0, channels=min(int(asked[-1]), has))
        return Answer(200, content_type="audio/x-wav", audio=sound)

    monkeypatch.setattr(twilio.twilio, "_media", media)
    return asked


@pytest.mark.parametrize(
    ("wanted", "told", "has", "refuses", "asked", "kept"),
    [
        ("dual", 1, 2, True, ["2"], 2),
        ("dual", 1, 1, True, ["2", "1"], 1),
        ("dual", 2, 1, True, ["2", "1"], 1),
        ("dual", 1, 1, False, ["2", "1"], 1),
        ("dual", 4, 2, True, ["2"], 2),
        ("as-recorded", 2, 1, True, ["2", "1"], 1),
        ("as-recorded", 4, 2, True, ["4", "2"], 2),
        ("as-recorded", 1, 2, True, ["1"], 1),
        ("mono", 2, 2, True, ["1"], 1),
        # It has two, says it, and sends a mix.
        ("as-recorded", 2, 1, False, ["2"], None),
        ("dual", 2, 1, False, ["2"], None),
    ],
)
def test_as_many_channels_are_kept_as_there_are_and_never_a_mix_for_want_of_knowing(
    bucket: str,
    deliver: Deliver,
    table: RecordingsTable,
    twilio: TwilioServer,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    told: int,
    has: int,
    asked: list[str],
    kept: int | None,
    *,
    refuses: bool,
) -> None:
    app = load_archive_recording(bucket, twilio, monkeypatch, ARCHIVE_CHANNELS=wanted)
    recording = complete(twilio, table, RecordingChannels=str(told))
    requested = channels_at_twilio(twilio, monkeypatch, has, refuses=refuses)

    assert deliver(recording, app=app) is (kept is not None)

    assert requested == asked
    if kept:
        assert rows()[0]["archive"]["channels"] == kept
        key = f"{KEY}/{recording.sid}.wav"
        assert content(key) == sound(recording, channels=kept)
        assert boto3.client("s3").head_object(Bucket=BUCKET, Key=key)["Metadata"]["channels"] == str(kept)
    else:
        assert objects() == []


# --- deleting at Twilio ----------------------------------------------------------------------------


@pytest.fixture
def deleting(
    bucket: str, twilio: TwilioServer, archive_recording: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    return load_archive_recording(bucket, twilio, monkeypatch, DELETE_AT_TWILIO_AFTER_ARCHIVING="true")


def test_it_is_deleted_at_twilio_once_the_proof_is_in_the_table(
    deliver: Deliver, recording: Recording, deleting: ModuleType
) -> None:
    assert deliver(recording, app=deleting)

    assert recording.is_deleted
    (row,) = rows()
    assert (row["status"], row["deleted_at_twilio"]) == ("completed", "2026-11-22T07:33:01.000Z")
    assert row["archive"]["bytes"] > 0


def test_without_proof_nothing_is_deleted_at_twilio(
    deliver: Deliver, recording: Recording, deleting: ModuleType, twilio: TwilioServer
) -> None:
    for fault, _ in BROKEN:
        twilio.twilio.faults.media.append(fault)
        assert not deliver(recording, app=deleting)

    assert not recording.is_deleted
    assert "DELETE" not in {request.method for request in twilio.twilio.requests}


def test_a_deletion_that_failed_is_done_by_the_next_delivery(
    deliver: Deliver, recording: Recording, deleting: ModuleType, twilio: TwilioServer
) -> None:
    twilio.twilio.faults.requests.extend([None, RequestFault(500, after_acting=True)])

    assert not deliver(recording, app=deleting)
    assert deliver(recording, app=deleting)

    assert recording.is_deleted
    assert "deleted_at_twilio" in rows()[0]
    assert len(objects()) == 1


def remove_object(proof: dict[str, Any]) -> None:
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=proof["key"], VersionId=proof["version_id"])


def expire_object(proof: dict[str, Any]) -> None:
    """As `ArchiveRetentionDays` does; the former version goes seven days later."""
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=proof["key"])


def overwrite_object(proof: dict[str, Any]) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=proof["key"], Body=b"other", ChecksumAlgorithm="SHA256")


def refuse_to_say(_: dict[str, Any]) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": ""}}, "HeadObject")

    clients.s3(read_seconds=clients.UPLOAD_SECONDS).meta.events.register("before-call.s3.HeadObject", refuse)


@pytest.mark.parametrize(
    ("happen", "why"),
    [
        (remove_object, "not-archived"),
        (expire_object, "not-archived"),
        (overwrite_object, "archive-conflict"),
        (refuse_to_say, "archive-unavailable"),
    ],
)
def test_what_is_not_in_the_archive_any_more_is_not_deleted_at_twilio(
    deliver: Deliver,
    recording: Recording,
    twilio: TwilioServer,
    bus: Bus,
    monkeypatch: pytest.MonkeyPatch,
    happen: Callable[[dict[str, Any]], None],
    why: str,
) -> None:
    """Whatever the row says: it was archived, and the event comes once more."""
    assert deliver(recording)
    happen(rows()[0]["archive"])
    deleting = load_archive_recording(BUCKET, twilio, monkeypatch, DELETE_AT_TWILIO_AFTER_ARCHIVING="true")

    assert not deliver(recording, received=MOST_RECEIVES, app=deleting)

    assert not recording.is_deleted
    assert [failed["reason"] for failed in bus.events(ARCHIVE_FAILED)] == [why]


# --- whatever goes wrong, in whatever order -------------------------------------------------------

_faults = st.lists(
    st.sampled_from([None, "not-ready", "cut", "short", "wrong-type", "html", "empty", 429, 500, "s3"]), max_size=14
)


@pytest.mark.parametrize("is_twice", [False, True], ids=["delivered once", "delivered twice"])
@given(faults=_faults)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_goes_wrong_there_is_one_right_object_or_a_failure_that_is_seen(
    deliver: Deliver,
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    deleting: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    faults: list[Any],
    *,
    is_twice: bool,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(deleting, "give_up", lambda _, error: told.append(error))
    monkeypatch.setattr(archive, "PART_BYTES", 500_000)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 500_000)
    recording = complete(twilio, table)
    deliveries = iter(faults)

    for received in range(1, MOST_RECEIVES + 1):
        with arranged(twilio, next(deliveries, None)):
            is_done = deliver(recording, received, app=deleting)
        if is_done:
            break
    if is_twice:
        deliver(recording, app=deleting)

    (row,) = [row for row in rows() if row["recording_sid"] == recording.sid]
    found = [stored for stored in objects() if recording.sid in stored["Key"]]
    assert unfinished() == []
    assert bool(told) == (not is_done)
    assert len(found) == int("archive" in row)
    for stored in found:
        assert content(stored["Key"]) == sound(recording)
    assert recording.is_deleted or not is_done
    if recording.is_deleted:
        assert "archive" in row


class arranged:  # noqa: N801 (used like a function)
    """What goes wrong during one delivery."""

    def __init__(self, twilio: TwilioServer, fault: Any) -> None:
        self.faults, self.fault = twilio.twilio.faults, fault

    def __enter__(self) -> None:
        if isinstance(self.fault, int):
            self.faults.requests.append(RequestFault(self.fault))
        elif self.fault == "s3":
            clients.s3(read_seconds=clients.UPLOAD_SECONDS).meta.events.register("before-call.s3.UploadPart", fail_s3)
        elif self.fault:
            self.faults.media.append(self.fault)

    def __exit__(self, *_: object) -> None:
        clients.s3(read_seconds=clients.UPLOAD_SECONDS).meta.events.unregister("before-call.s3.UploadPart", fail_s3)
        self.faults.requests.clear()
        self.faults.media.clear()


def fail_s3(**_: Any) -> None:
    raise ClientError({"Error": {"Code": "InternalError", "Message": ""}}, "UploadPart")


@pytest.fixture(autouse=True)
def no_handlers_left() -> Iterator[None]:
    yield
    clients.s3.cache_clear()
