"""Of a recording that is deleted nothing is left, and of one that is locked nothing goes, whenever the two meet."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from types import ModuleType
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from call_recording import clients
from call_recording.archive import bucket as archive_bucket
from call_recording.callbacks.facts import callback_facts
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.audio import wav
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import BUCKET, Context, Time, archive_message, load_archive_recording, rows

Api = Callable[..., dict[str, Any]]
DELETE = "delete-rest-api.json"
STARTED = 1795332780.0
"""2026-11-22T07:33:00Z."""

WAIT_SECONDS = 900.0
"""Longer than any message waits, and any function runs."""


def tell(table: RecordingsTable, recording: Recording, *without: str, **more: str) -> None:
    parameters = recording.callback_parameters("completed", base_url="https://api.twilio.com") | more
    table.record(callback_facts((name, value) for name, value in parameters.items() if name not in without))


@pytest.fixture
def recording(twilio: TwilioServer) -> Recording:
    """A completed recording of which the table knows nothing yet."""
    with twilio.locked() as simulated:
        made = simulated.record(simulated.calls[CALL_SID], {"RecordingChannels": ["dual"]})
    made.started_at, made.status, made.duration = STARTED, "completed", 2
    return made


@pytest.fixture
def app(recordings_api: ModuleType, archive_recording: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The archiving function, beside the one that deletes."""
    monkeypatch.setattr(clients.sqs(), "change_message_visibility", lambda **_: None)
    return archive_recording


def archive(app: ModuleType, recording: Recording, received: int = 1) -> bool:
    message = archive_message(recording.sid, received=received, call_sid=CALL_SID)
    return bool(app.handler({"Records": [message]}, Context()) == {"batchItemFailures": []})


def delete(api: Api, recording: Recording) -> dict[str, Any]:
    return api(DELETE, path={"RecordingSid": recording.sid})


def somebody_deletes(recording: Recording) -> None:
    """Delete it at Twilio, without this stack."""
    recording.is_deleted = True


def left() -> list[str]:
    """Return everything that S3 still has: versions, markers and uploads that were not finished."""
    s3: Any = boto3.client("s3")
    listed = s3.list_object_versions(Bucket=BUCKET)
    found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    return [each["Key"] for each in [*found, *s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]]


@contextmanager
def proof_is_lost() -> Iterator[None]:
    """Let DynamoDB refuse the proof, and nothing else."""

    def refuse(params: dict[str, Any], **_: Any) -> None:
        if b'"key": {' in params["body"]:  # where the proof's key begins
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, "UpdateItem")

    events = clients.dynamodb().meta.events
    events.register("before-call.dynamodb.UpdateItem", refuse, unique_id="proof")
    yield
    events.unregister("before-call.dynamodb.UpdateItem", unique_id="proof")


# --- an object without a proof ----------------------------------------------------------------------


def test_it_is_deleted_before_anything_is_delivered_again(
    api: Api, app: ModuleType, recording: Recording, table: RecordingsTable
) -> None:
    tell(table, recording)
    with proof_is_lost():
        assert not archive(app, recording)
    assert len(left()) == 1

    receipt = delete(api, recording)["json"]

    assert (receipt["removed"], left()) == ({"twilio": "removed", "archive": "removed"}, [])
    assert archive(app, recording, received=2)
    assert left() == []


def test_it_is_deleted_in_the_format_of_an_earlier_deployment_too(
    api: Api,
    app: ModuleType,
    recording: Recording,
    table: RecordingsTable,
    twilio: TwilioServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell(table, recording)
    with proof_is_lost():
        assert not archive(app, recording)
    as_mp3 = load_archive_recording(BUCKET, twilio, monkeypatch, ARCHIVE_FORMAT="mp3")
    assert archive(as_mp3, recording, received=2)
    assert [key[-4:] for key in left()] == [".mp3", ".wav"]

    assert delete(api, recording)["json"]["removed"]["archive"] == "removed"

    assert left() == []


@pytest.mark.parametrize("part_bytes", [1 << 20, 4_000], ids=["in one", "in parts"])
@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_audio_that_only_the_archive_still_has_is_proven_from_there(
    api: Api,
    bucket: str,
    app: ModuleType,
    recording: Recording,
    table: RecordingsTable,
    twilio: TwilioServer,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    part_bytes: int,
) -> None:
    """Somebody deletes it at Twilio before the attempt whose proof was lost is made again."""
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr(archive_bucket, "PART_BYTES", part_bytes)
    stored_as = load_archive_recording(bucket, twilio, monkeypatch, ARCHIVE_FORMAT=suffix)
    tell(table, recording)
    with proof_is_lost():
        assert not archive(stored_as, recording)
    somebody_deletes(recording)

    assert archive(app, recording, received=2)

    (row,) = rows()
    assert (row["status"], row["archive"]["key"], len(left())) == ("deleted", left()[0], 1)
    held = boto3.client("s3").get_object(Bucket=bucket, Key=left()[0])["Body"].read()
    assert row["archive"]["sha256"] == hashlib.sha256(held).hexdigest()
    assert row["archive"]["channels"] == 2
    assert row["archive"]["duration_milliseconds"] == pytest.approx(2000, abs=50)
    assert api("media-rest-api.json", path={"RecordingSid": recording.sid})["statusCode"] == 302
    assert delete(api, recording)["json"]["removed"] == {"twilio": "gone-before", "archive": "removed"}
    assert left() == []


ENCRYPTED = {"EncryptionDetails": '{"encrypted_cek": "k", "iv": "i", "public_key_sid": "CR1"}'}


@pytest.mark.parametrize(
    ("more", "metadata"),
    [({}, {}), ({}, {"channels": "2"}), (ENCRYPTED, {}), (ENCRYPTED, {"channels": "two"})],
)
def test_what_is_not_its_audio_is_no_proof_of_a_recording_that_twilio_has_lost(
    bucket: str,
    app: ModuleType,
    recording: Recording,
    table: RecordingsTable,
    more: dict[str, str],
    metadata: dict[str, str],
) -> None:
    tell(table, recording, **more)
    key = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}/{recording.sid}.wav"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"no audio", Metadata=metadata)
    somebody_deletes(recording)

    assert archive(app, recording)

    (row,) = rows()
    assert row["status"] == "deleted"
    assert "archive" not in row


def test_audio_whose_length_nobody_told_is_not_proven_from_the_archive(
    bucket: str, app: ModuleType, recording: Recording, table: RecordingsTable
) -> None:
    tell(table, recording, "RecordingDuration")
    key = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}/{recording.sid}.wav"
    sound = b"".join(wav(seconds=2, channels=2).pieces)
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=sound, Metadata={"channels": "2"})
    somebody_deletes(recording)

    assert archive(app, recording)

    (row,) = rows()
    assert (row["status"], row["duration_seconds"]) == ("deleted", 2)
    assert "archive" not in row


def test_a_start_that_is_guessed_names_no_key(
    api: Api, app: ModuleType, recording: Recording, table: RecordingsTable
) -> None:
    recording.started_at = STARTED - 86_400
    tell(table, recording, "RecordingStartTime")
    assert rows()[0]["start_time"][:10] == "2026-11-22"
    with proof_is_lost():
        assert not archive(app, recording)

    assert [key.partition("/CA")[0] for key in left()] == [f"{ACCOUNT_SID}/2026/11/21"]
    tell(table, recording)
    assert delete(api, recording)["json"]["removed"]["archive"] == "removed"
    assert left() == []


@pytest.mark.parametrize("is_delivered_again", [True, False])
def test_it_is_found_under_the_day_on_which_it_was_stored(
    api: Api, app: ModuleType, recording: Recording, table: RecordingsTable, *, is_delivered_again: bool
) -> None:
    tell(table, recording)
    with proof_is_lost():
        assert not archive(app, recording)
    tell(table, recording, RecordingStartTime="Mon, 23 Nov 2026 00:00:10 +0000")
    assert rows()[0]["start_time"][:10] == "2026-11-23"
    if is_delivered_again:
        assert archive(app, recording, received=2)
        assert len(left()) == 1, "and not a second time under the other day"

    assert delete(api, recording)["json"]["removed"]["archive"] == "removed"

    assert left() == []


def test_what_is_noted_of_it_is_no_proof(
    app: ModuleType, api: Api, recording: Recording, table: RecordingsTable
) -> None:
    tell(table, recording)
    with proof_is_lost():
        assert not archive(app, recording)

    shown = api("get-rest-api.json", path={"RecordingSid": recording.sid})["json"]
    assert not {"archive", "uploads", "deleting_until"} & shown.keys()
    assert api("media-rest-api.json", path={"RecordingSid": recording.sid})["statusCode"] == 404


# --- Object Lock --------------------------------------------------------------------------------------


@pytest.fixture
def locking(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The archiving function, on a bucket that locks all that is put there, as with `ArchiveLockDays`."""
    s3 = boto3.client("s3")
    s3.delete_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    rule: Any = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    return app


def test_what_is_locked_is_deleted_nowhere_although_its_proof_was_lost(
    api: Api, locking: ModuleType, recording: Recording, table: RecordingsTable, time: Time
) -> None:
    tell(table, recording)
    with proof_is_lost():
        assert not archive(locking, recording)

    answer = delete(api, recording)

    assert (answer["statusCode"], answer["json"]["type"]) == (409, "urn:problem:call-recording:archive-locked")
    assert (recording.is_deleted, len(left()), rows()[0]["status"]) == (False, 1, "completed")
    time.turn(86_400 + 120)
    assert delete(api, recording)["json"]["removed"] == {"twilio": "removed", "archive": "removed"}
    assert left() == []


def test_a_deletion_that_a_lock_refuses_does_not_keep_audio_from_being_archived(
    api: Api, locking: ModuleType, recording: Recording, table: RecordingsTable, time: Time
) -> None:
    tell(table, recording)
    with proof_is_lost():
        assert not archive(locking, recording)
    assert delete(api, recording)["statusCode"] == 409
    time.turn(WAIT_SECONDS)

    assert archive(locking, recording, received=2)

    assert "archive" in rows()[0]


def test_a_deletion_that_is_repeated_does_not_wait_for_attempts_that_it_prevents_itself(
    api: Api, locking: ModuleType, recording: Recording, table: RecordingsTable, twilio: TwilioServer, time: Time
) -> None:
    tell(table, recording)
    with twilio.locked() as simulated:
        simulated.faults.media.append("cut")
    assert not archive(locking, recording)

    answers = [delete(api, recording)["statusCode"]]
    for _ in range(17):  # minutes, as the documents say
        time.turn(60)
        archive(locking, recording, received=2)
        answers.append(delete(api, recording)["statusCode"])

    assert answers[0] == 409, "the first attempt can still be under way"
    assert (answers[-1], recording.is_deleted, left()) == (200, True, [])


# --- every moment at which they can meet -------------------------------------------------------------------


class KilledError(BaseException):
    """The function is gone: nothing that it would still do is done."""


class Steps:
    """What a function asks of AWS and Twilio, one by one: something happens before one, and it is killed before one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._happens_at = self._killed_at = -1
        self._happens: Callable[[], object] = lambda: None
        self._is_counting = self._has_happened = False
        self.before_deleting_at_twilio: Callable[[], object] = lambda: None
        for client in (clients.dynamodb(), clients.s3(), clients.s3(read_seconds=clients.UPLOAD_SECONDS)):
            client.meta.events.register("before-call", self._step)
        send = requests.Session.send

        def step_and_send(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> Any:
            self._step()
            if request.method == "DELETE":
                self.before_deleting_at_twilio()
            return send(session, request, **how)

        monkeypatch.setattr(requests.Session, "send", step_and_send)

    def _step(self, **_: Any) -> None:
        if not self._is_counting:
            return
        if self.count == self._happens_at:
            self._is_counting, self._has_happened = False, True
            self._happens()
            self._is_counting = True
        if 0 <= self._killed_at <= self.count:
            raise KilledError
        self.count += 1

    def run(self, work: Callable[[], Any], *, happens: Callable[[], object], at: int, killed_at: int = -1) -> bool:
        """Do the work, unless it is killed; return whether the other thing happened."""
        self.count, self._happens, self._happens_at, self._killed_at = 0, happens, at, killed_at
        self._is_counting, self._has_happened = True, False
        with suppress(KilledError):
            work()
        self._is_counting = False
        return self._has_happened


@pytest.fixture
def steps(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    yield Steps(monkeypatch)
    clients.s3.cache_clear()
    clients.dynamodb.cache_clear()


@pytest.fixture
def another(twilio: TwilioServer, table: RecordingsTable) -> Callable[[], Recording]:
    """Make a completed recording, at Twilio and in the table."""

    def make() -> Recording:
        with twilio.locked() as simulated:
            made = simulated.record(simulated.calls[CALL_SID], {"RecordingChannels": ["dual"]})
        made.started_at, made.status, made.duration = STARTED, "completed", 2
        tell(table, made)
        return made

    return make


NEVER = -1
IN_PARTS = pytest.mark.parametrize("part_bytes", [1 << 20, 30_000], ids=["in one", "in parts"])


@IN_PARTS
def test_whenever_a_recording_is_deleted_while_it_is_archived_nothing_is_left(
    api: Api,
    app: ModuleType,
    steps: Steps,
    another: Callable[[], Recording],
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    part_bytes: int,
) -> None:
    monkeypatch.setattr(archive_bucket, "PART_BYTES", part_bytes)
    answers: list[int] = []

    def ask_to_delete(recording: Recording) -> None:
        answers.append(delete(api, recording)["statusCode"])

    for later in (NEVER, 0, 2):
        for at in count():
            recording = another()
            killed_at = NEVER if later == NEVER else at + later
            is_met = steps.run(
                partial(archive, app, recording),
                happens=partial(ask_to_delete, recording),
                at=at,
                killed_at=killed_at,
            )
            if later == NEVER and is_met:
                assert left() == [], f"after step {at}"
            time.turn(WAIT_SECONDS)
            archive(app, recording, received=2)
            if not is_met:
                assert at > 9, "there are that many moments"
                ask_to_delete(recording)
            assert (recording.is_deleted, left()) == (True, []), f"deleted at step {at}, killed at {killed_at}"
            if not is_met:
                break
    assert set(answers) == {200}


@IN_PARTS
def test_whenever_a_recording_is_archived_while_it_is_deleted_nothing_is_left(
    api: Api,
    app: ModuleType,
    steps: Steps,
    another: Callable[[], Recording],
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    part_bytes: int,
) -> None:
    monkeypatch.setattr(archive_bucket, "PART_BYTES", part_bytes)
    for is_killed in (False, True):
        for at in count():
            recording = another()
            is_met = steps.run(
                partial(delete, api, recording),
                happens=partial(archive, app, recording),
                at=at,
                killed_at=at if is_killed else NEVER,
            )
            if not is_killed:
                assert left() == [], f"after step {at}"
            time.turn(WAIT_SECONDS)
            archive(app, recording, received=2)
            assert delete(api, recording)["statusCode"] == 200
            assert (recording.is_deleted, left()) == (True, []), f"archived at step {at}"
            if not is_met:
                assert at > 6, "there are that many moments"
                break


@pytest.mark.parametrize("is_archiving_first", [True, False])
def test_whenever_a_lock_comes_the_recording_goes_nowhere_or_everywhere(
    api: Api,
    locking: ModuleType,
    steps: Steps,
    another: Callable[[], Recording],
    table: RecordingsTable,
    time: Time,
    *,
    is_archiving_first: bool,
) -> None:
    for later in (NEVER, 1):
        for at in count():
            recording = another()
            archiving, deleting = partial(archive, locking, recording), partial(delete, api, recording)
            first, second = (archiving, deleting) if is_archiving_first else (deleting, archiving)
            killed_at = NEVER if later == NEVER else at + later
            is_met = steps.run(first, happens=second, at=at, killed_at=killed_at)
            if left():
                assert not recording.is_deleted, f"locked and gone at Twilio: step {at}, killed at {killed_at}"
            time.turn(WAIT_SECONDS)
            archive(locking, recording, received=2)
            if not recording.is_deleted:
                assert "archive" in table.reader.one(recording.sid), "nobody's deletion was carried out"
                assert delete(api, recording)["statusCode"] == 409
                time.turn(86_400 + 120)
            assert delete(api, recording)["statusCode"] == 200
            assert (recording.is_deleted, left()) == (True, [])
            if not is_met:
                break


def versions_of(recording: Recording) -> list[str]:
    prefix = f"{ACCOUNT_SID}/2026/11/22/{CALL_SID}/{recording.sid}."
    listed = boto3.client("s3").list_object_versions(Bucket=BUCKET, Prefix=prefix)
    return [found["VersionId"] for found in listed.get("Versions", [])]


@IN_PARTS
def test_whenever_somebody_deletes_it_at_twilio_what_is_in_the_archive_is_proven(
    app: ModuleType,
    steps: Steps,
    another: Callable[[], Recording],
    table: RecordingsTable,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    part_bytes: int,
) -> None:
    monkeypatch.setattr(archive_bucket, "PART_BYTES", part_bytes)
    is_kept: set[bool] = set()
    for later in (NEVER, 0, 1, 2):
        for at in count():
            recording = another()
            killed_at = NEVER if later == NEVER else at + later
            is_met = steps.run(
                partial(archive, app, recording),
                happens=partial(somebody_deletes, recording),
                at=at,
                killed_at=killed_at,
            )
            somebody_deletes(recording)
            time.turn(WAIT_SECONDS)
            assert archive(app, recording, received=2)
            row = table.reader.one(recording.sid)
            proven = [row["archive"]["version_id"]] if "archive" in row else []
            assert versions_of(recording) == proven, f"deleted at step {at}, killed at {killed_at}"
            is_kept.add("archive" in row)
            if not is_met:
                break
    assert is_kept == {True, False}


def test_whenever_two_archive_a_recording_it_is_never_gone_from_both(
    app: ModuleType,
    steps: Steps,
    another: Callable[[], Recording],
    table: RecordingsTable,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = load_archive_recording(BUCKET, twilio, monkeypatch, DELETE_AT_TWILIO_AFTER_ARCHIVING="true")
    held: list[int] = []
    recording: Recording

    def look() -> None:
        held.append(len(versions_of(recording)))

    steps.before_deleting_at_twilio = look
    for later in (NEVER, 1):
        for at in count():
            recording = another()
            is_met = steps.run(
                partial(archive, app, recording),
                happens=partial(archive, app, recording),
                at=at,
                killed_at=NEVER if later == NEVER else at + later,
            )
            time.turn(WAIT_SECONDS)
            assert archive(app, recording, received=2)
            row = table.reader.one(recording.sid)
            assert (recording.is_deleted, row["status"], "archive" in row) == (True, "completed", True)
            assert versions_of(recording) == [row["archive"]["version_id"]]
            assert set(held) == {1}, "what is to go at Twilio is in the archive, once"
            if not is_met:
                break
