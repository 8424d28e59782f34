"""Deleting, at Twilio and in the archive, with a receipt; and links to audio that is there."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from botocore.credentials import RefreshableCredentials

from call_recording import clients, clock
from call_recording.archive.bucket import Archive
from call_recording.callbacks.facts import callback_facts
from call_recording.errors import TableUnavailableError
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer
from tests.conftest import AUDIT_LOG_GROUP, Time, capture_log, rows

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
    recording.started_at = 1795332780.0
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
        "removed": {"twilio": "removed", "archive": "never-there"},
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

    assert (answer["statusCode"], answer["json"]["removed"]) == (
        200,
        {"twilio": "gone-before", "archive": "never-there"},
    )
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

    assert delete(api, recording)["json"]["removed"] == {"twilio": "gone-before", "archive": "never-there"}
    assert [row["status"] for row in rows()] == ["deleted"]
    assert clock.now().isoformat().startswith("2027-01-02")


def test_refused_credentials_are_502_and_remove_nothing(api: Api, recording: Recording, twilio: TwilioServer) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"

    assert delete(api, recording)["statusCode"] == 502
    assert [row["status"] for row in rows()] == ["completed"]


NEVER_THERE = {"twilio": "never-there", "archive": "never-there"}


@pytest.mark.parametrize("status", ["absent", "failed"])
@pytest.mark.parametrize("refusal", [(400, 20409), (404, 20404), (422, None)])
@pytest.mark.parametrize("knows", ["row", "Twilio", "only Twilio"])
def test_a_recording_that_ended_without_audio_leaves_a_tombstone_and_nothing_was_there(
    api: Api,
    running: Recording,
    table: RecordingsTable,
    twilio: TwilioServer,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    refusal: tuple[int, int | None],
    knows: str,
) -> None:
    """Twilio deletes completed recordings only."""
    running.status = status
    if knows == "row":
        table.record(callback(running, status))
    elif knows == "only Twilio":
        table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": running.sid}})
    refuse_to_delete(twilio, monkeypatch, *refusal)

    first = delete(api, running)
    again = delete(api, running)

    assert (first["statusCode"], first["json"]["removed"]) == (200, NEVER_THERE)
    assert again["json"] == first["json"]
    (row,) = rows()
    assert (row["status"], row["deletion"]["removed"]) == ("deleted", NEVER_THERE)


def refuse_to_delete(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, status: int, code: int | None) -> None:
    body = json.dumps({"code": code, "message": "no", "status": status} if code else {}).encode()
    if not code:
        twilio.twilio.observe = lambda *_: None  # a proxy's answer, which nobody described
    monkeypatch.setattr(twilio.twilio, "_delete", lambda *_, **__: Answer(status, body))


def test_a_row_without_audio_that_twilio_has_forgotten_leaves_a_tombstone_too(
    api: Api, running: Recording, table: RecordingsTable, twilio: TwilioServer
) -> None:
    table.record(callback(running, "absent"))
    del twilio.twilio.recordings[running.sid]

    assert delete(api, running)["json"]["removed"] == NEVER_THERE


def test_audio_that_is_there_although_the_row_says_absent_is_removed(
    api: Api, running: Recording, table: RecordingsTable
) -> None:
    table.record(callback(running, "absent"))
    finish(running)

    assert delete(api, running)["json"]["removed"]["twilio"] == "removed"
    assert running.is_deleted


def test_what_twilio_is_still_at_although_the_row_says_absent_is_not_finished(
    api: Api, running: Recording, table: RecordingsTable
) -> None:
    table.record(callback(running, "absent"))

    answer = delete(api, running)

    assert (answer["statusCode"], answer["json"]["type"]) == (409, "urn:problem:call-recording:not-finished")


@pytest.mark.parametrize("refusal", [(400, 20409), (404, 20404), (422, None)])
@pytest.mark.parametrize("status", ["in-progress", "paused", "stopped", "processing"])
def test_a_recording_that_is_not_finished_is_409_however_twilio_refuses(
    api: Api,
    running: Recording,
    twilio: TwilioServer,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    refusal: tuple[int, int],
) -> None:
    running.status = status
    refuse_to_delete(twilio, monkeypatch, *refusal)

    answer = delete(api, running)

    assert (answer["statusCode"], answer["json"]["type"]) == (409, "urn:problem:call-recording:not-finished")
    assert "deletion" not in rows()[0]


def test_a_recording_whose_audio_the_account_stores_itself_is_deleted_at_twilio_and_forgotten_here(
    api: Api, recording: Recording, table: RecordingsTable
) -> None:
    table.record(stored_elsewhere(recording))

    assert delete(api, recording)["json"]["removed"] == {"twilio": "removed", "archive": "never-there"}

    assert recording.is_deleted
    assert "s3.amazonaws.com" not in str(rows())


def stored_elsewhere(recording: Recording) -> Facts:
    resource = recording.resource() | {"media_url": "https://audio.s3.amazonaws.com/RE1.wav"}
    return Facts.from_fetched(RecordingResource(resource, api_url="https://api.twilio.com"))


# --- in the archive ---------------------------------------------------------------------------------


@pytest.fixture
def audio(recording: Recording, table: RecordingsTable, bucket: str) -> str:
    """Archived audio of the recording, in two versions; its key."""
    key = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}/{recording.sid}.wav"
    s3 = boto3.client("s3")
    version_id = ""
    for body in (b"old", b"new"):
        version_id = s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
    (row,) = rows()
    proof = {"bucket": bucket, "key": key, "version_id": version_id, "archived_at": "2026-11-22T07:33:01.000Z"}
    table.record(Facts.about(row, archive=proof))
    return key


def versions(bucket: str) -> list[Any]:
    listed = boto3.client("s3").list_object_versions(Bucket=bucket)
    return [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]


def test_every_version_of_the_audio_is_removed_from_the_archive(
    api: Api, recording: Recording, audio: str, bucket: str
) -> None:
    boto3.client("s3").delete_object(Bucket=bucket, Key=audio)  # a marker in front of them

    assert delete(api, recording)["json"]["removed"] == {"twilio": "removed", "archive": "removed"}

    assert versions(bucket) == []
    assert "archive" not in rows()[0]


def test_the_audio_of_other_recordings_stays(api: Api, recording: Recording, audio: str, bucket: str) -> None:
    other = audio.replace(recording.sid, "RE" + "9" * 32)
    boto3.client("s3").put_object(Bucket=bucket, Key=other, Body=b"other")

    delete(api, recording)

    assert [version["Key"] for version in versions(bucket)] == [other]


@pytest.mark.parametrize(
    "lock",
    [
        {"ObjectLockRetainUntilDate": datetime(2027, 1, 1, tzinfo=UTC), "ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockLegalHoldStatus": "ON"},
    ],
    ids=["retention", "legal hold"],
)
def test_what_object_lock_keeps_is_deleted_nowhere(
    api: Api, recording: Recording, audio: str, bucket: str, monkeypatch: pytest.MonkeyPatch, lock: dict[str, Any]
) -> None:
    monkeypatch.setattr(clients.s3(), "head_object", lambda **_: lock)

    answer = delete(api, recording)

    assert (answer["statusCode"], answer["json"]["type"]) == (409, "urn:problem:call-recording:archive-locked")
    assert not recording.is_deleted
    assert len(versions(bucket)) == 2
    assert rows()[0]["status"] == "completed"


def test_a_deletion_that_twilio_refuses_leaves_the_archive_as_it_is(
    api: Api, recording: Recording, audio: str, bucket: str, twilio: TwilioServer
) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"

    assert delete(api, recording)["statusCode"] == 502

    assert len(versions(bucket)) == 2
    assert "archive" in rows()[0]


def test_a_receipt_says_of_audio_that_an_earlier_try_removed_that_it_was_there(
    api: Api, recording: Recording, audio: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RecordingsTable.record

    def refuse_tombstones(self: RecordingsTable, facts: Facts, **more: bool) -> None:
        if facts.status == "deleted":
            raise TableUnavailableError(facts.recording_sid)
        record(self, facts, **more)

    with monkeypatch.context() as broken:
        broken.setattr(RecordingsTable, "record", refuse_tombstones)
        assert delete(api, recording)["statusCode"] == 503

    assert delete(api, recording)["json"]["removed"] == {"twilio": "gone-before", "archive": "gone-before"}


def test_audio_that_arrives_while_it_is_deleted_is_swept_away(
    api: Api, recording: Recording, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}/{recording.sid}.wav"
    record = RecordingsTable.record

    def store_and_record(self: RecordingsTable, facts: Facts) -> None:
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"late")
        record(self, facts)

    monkeypatch.setattr(RecordingsTable, "record", store_and_record)

    assert delete(api, recording)["statusCode"] == 200

    assert versions(bucket) == []


def test_a_deletion_is_in_the_audit_trail(api: Api, recording: Recording) -> None:
    delete(api, recording)

    assert [(entry["what"], entry["recording_sid"], entry["caller"]) for entry in audit_entries()] == [
        ("deletion-asked-for", recording.sid, CALLER),
        ("deletion", recording.sid, CALLER),
    ]


def test_without_an_audit_trail_nothing_is_deleted(api: Api, recording: Recording, audio: str, bucket: str) -> None:
    boto3.client("logs").delete_log_group(logGroupName=AUDIT_LOG_GROUP)

    assert delete(api, recording)["statusCode"] == 503

    assert not recording.is_deleted
    assert len(versions(bucket)) == 2


def test_deleting_again_takes_away_what_was_archived_since(api: Api, recording: Recording, bucket: str) -> None:
    first = delete(api, recording)["json"]
    key = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}/{recording.sid}.wav"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"late")

    assert delete(api, recording)["json"] == first

    assert versions(bucket) == []


def audit_entries() -> list[dict[str, Any]]:
    logs = boto3.client("logs")
    streams = logs.describe_log_streams(logGroupName=AUDIT_LOG_GROUP)["logStreams"]
    events = [logs.get_log_events(logGroupName=AUDIT_LOG_GROUP, logStreamName=s["logStreamName"]) for s in streams]
    return [json.loads(event["message"]) for answer in events for event in answer["events"]]


# --- audio ------------------------------------------------------------------------------------------

MEDIA = "media-rest-api.json"


def media(api: Api, recording: Recording, **query: str) -> dict[str, Any]:
    return api(MEDIA, path={"RecordingSid": recording.sid}, query=query)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_link_names_the_regions_own_host_so_that_nothing_redirects(
    bucket: str, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    boto3.client("s3").put_object(Bucket=bucket, Key="k", Body=b"x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    clients.s3.cache_clear()
    version = versions(bucket)[0]["VersionId"]

    link = Archive(clients.s3(), bucket).link("RE1", {"bucket": bucket, "key": "k", "version_id": version}, seconds=60)

    assert urlsplit(link).hostname == f"archive.s3.{region}.amazonaws.com"


def test_a_link_to_the_audio_lives_for_minutes(api: Api, recording: Recording, audio: str) -> None:
    answer = media(api, recording)

    assert (answer["statusCode"], answer["json"]) == (302, {"expires_in_seconds": 300})
    assert answer["headers"]["Cache-Control"] == "no-store"
    link = urlsplit(answer["headers"]["Location"])
    query = parse_qs(link.query)
    assert link.path == f"/{audio}"
    assert query["X-Amz-Expires"] == ["300"]
    assert query["versionId"] == [rows()[0]["archive"]["version_id"]]
    assert requests.get(answer["headers"]["Location"], timeout=5).content == b"new"


@pytest.mark.parametrize("seconds", [60, 900, 3600])
def test_a_link_lives_as_long_as_it_is_asked_for(api: Api, recording: Recording, audio: str, seconds: int) -> None:
    answer = media(api, recording, ExpiresIn=str(seconds))

    assert (answer["statusCode"], answer["json"]) == (302, {"expires_in_seconds": seconds})
    assert parse_qs(urlsplit(answer["headers"]["Location"]).query)["X-Amz-Expires"] == [str(seconds)]
    assert [entry["link_seconds"] for entry in audit_entries()] == [seconds]


@pytest.mark.parametrize("seconds", ["", "0", "59", "3601", "-60", "60.5", "1e3", "an hour", "9" * 40])
def test_a_link_lives_a_minute_to_an_hour(api: Api, recording: Recording, audio: str, seconds: str) -> None:
    answer = media(api, recording, ExpiresIn=seconds)

    assert (answer["statusCode"], [error["field"] for error in answer["json"]["errors"]]) == (400, ["ExpiresIn"])
    assert audit_entries() == []


@pytest.mark.parametrize(
    ("asked", "left_seconds", "status"),
    [({"ExpiresIn": "3600"}, 3000, 400), ({"ExpiresIn": "2900"}, 3000, 302), ({}, 3000, 302), ({}, 200, 400)],
)
def test_a_link_does_not_outlive_the_credentials_that_sign_it(
    api: Api,
    recording: Recording,
    audio: str,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
    left_seconds: int,
    status: int,
) -> None:
    """As of a function that starts from a snapshot: its credentials come from an endpoint, which says when they end."""
    ends = datetime.now(UTC) + timedelta(seconds=left_seconds)
    held = RefreshableCredentials("key", "secret", "token", ends, lambda: None, "container-role")
    monkeypatch.setattr(held, "_refresh", lambda: None)
    monkeypatch.setattr(clients.s3()._request_signer, "_credentials", held)  # type: ignore[attr-defined]  # noqa: SLF001 (as S3's client holds them)

    answer = media(api, recording, **asked)

    assert answer["statusCode"] == status
    if status == 400:
        assert [error["field"] for error in answer["json"]["errors"]] == ["ExpiresIn"]
        assert (audit_entries(), "Location" in answer["headers"]) == ([], False)


def test_who_got_audio_when_and_why_is_in_the_audit_trail_and_nowhere_else(
    api: Api, recording: Recording, audio: str, recordings_api: ModuleType
) -> None:
    log = capture_log(recordings_api)

    answer = media(api, recording, Reason="Complaint 4711")

    assert audit_entries() == [
        {
            "at": "2026-11-22T07:33:01.000Z",
            "what": "media",
            "recording_sid": recording.sid,
            "account_sid": ACCOUNT_SID,
            "call_sid": CALL_SID,
            "reason": "Complaint 4711",
            "key": audio,
            "link_seconds": 300,
            "caller": CALLER,
            "source_ip": "192.0.2.10",
            "request_id": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        }
    ]
    assert "4711" not in log.getvalue()
    assert "X-Amz-Signature" not in log.getvalue()
    assert "X-Amz-Signature" in answer["headers"]["Location"]


def test_without_an_audit_trail_there_is_no_link(api: Api, recording: Recording, audio: str) -> None:
    boto3.client("logs").delete_log_group(logGroupName=AUDIT_LOG_GROUP)

    answer = media(api, recording)

    assert (answer["statusCode"], answer["json"]["type"]) == (503, "urn:problem:call-recording:audit-unavailable")
    assert "Location" not in answer["headers"]


@pytest.mark.parametrize("reason", ["", "x" * 201, "line\nbreak"])
def test_a_reason_is_one_line_of_text(api: Api, recording: Recording, audio: str, reason: str) -> None:
    answer = media(api, recording, Reason=reason)

    assert [error["field"] for error in answer["json"]["errors"]] == ["Reason"]
    assert audit_entries() == []


def test_audio_that_is_not_archived_is_404(api: Api, recording: Recording) -> None:
    answer = media(api, recording)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:not-archived")


def test_audio_whose_retention_has_ended_is_404_and_not_a_dead_link(
    api: Api, recording: Recording, audio: str, bucket: str
) -> None:
    for version in versions(bucket):
        boto3.client("s3").delete_object(Bucket=bucket, Key=audio, VersionId=version["VersionId"])

    answer = media(api, recording)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:not-archived")


def test_audio_that_the_account_stores_itself_is_404_by_that_name(
    api: Api, recording: Recording, table: RecordingsTable
) -> None:
    table.record(stored_elsewhere(recording))

    answer = media(api, recording)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:stored-elsewhere")
    shown = api(ONE, path={"RecordingSid": recording.sid})["json"]
    assert shown["stored_elsewhere"] == "https://audio.s3.amazonaws.com/RE1.wav"


def test_audio_that_was_archived_before_is_given_wherever_else_it_is(
    api: Api, recording: Recording, audio: str, table: RecordingsTable
) -> None:
    table.record(stored_elsewhere(recording))

    assert media(api, recording)["statusCode"] == 302
