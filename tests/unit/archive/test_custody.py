"""Audio may go only where S3 itself says that it may: version and checksum compared, every lock looked at."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from call_recording import clock
from call_recording.archive import bucket as archive_bucket
from call_recording.archive.bucket import Archive
from call_recording.archive.custody import _RESERVE, Custody, is_being_deleted, until
from call_recording.deadline import Deadline
from call_recording.errors import ArchiveConflictError, ArchiveLockedError, ArchiveUnavailableError, NotArchivedError
from call_recording.recordings.row import Row
from tests.conftest import BUCKET, Time

ACCOUNT, CALL, SID = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32
STEM = f"{ACCOUNT}/2026/11/22/{CALL}/{SID}."
OTHER_DAY = f"{ACCOUNT}/2026/11/21/{CALL}/{SID}."
FOLDER, OTHER_FOLDER = f"2026/11/22/{CALL}", f"2026/11/21/{CALL}"
OTHER_BUCKET = "a-former-stack-s"
LATER, NOW, BEFORE = "2026-11-22T07:50:00.000Z", "2026-11-22T07:33:01.000Z", "2026-11-22T07:33:00.000Z"
TO_COME = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2026, 11, 23, tzinfo=UTC)}


@pytest.fixture
def s3(aws: None, time: Time) -> Any:
    return boto3.client("s3")


@pytest.fixture
def custody(s3: Any) -> Custody:
    """A bucket that can lock objects, as the template makes it with `ArchiveLockDays`, but locks none by itself."""
    for name in (BUCKET, OTHER_BUCKET):
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return Custody(Archive(s3, BUCKET))


def row(**more: Any) -> Row:
    told = {"recording_sid": SID, "account_sid": ACCOUNT, "call_sid": CALL, "status": "completed"}
    return told | {"start_time": "2026-11-22T07:33:00Z"} | more


def store(custody: Custody, body: bytes = b"audio", key: str = f"{STEM}wav") -> dict[str, Any]:
    """Store audio and return its proof."""
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    stored = custody.archive.store(key, pieces, content_type="audio/x-wav", metadata={}, check=lambda: None)
    return vars(stored) | {"archived_at": BEFORE}


def put(s3: Any, key: str, *, bucket: str = BUCKET, body: bytes = b"other") -> str:
    return str(s3.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256")["VersionId"])


def keys(s3: Any, bucket: str = BUCKET) -> list[str]:
    listed = s3.list_object_versions(Bucket=bucket)
    return sorted(found["Key"] for kind in ("Versions", "DeleteMarkers") for found in listed.get(kind, []))


@contextmanager
def failing(s3: Any, operation: str, error: Exception) -> Iterator[None]:
    def fail(**_: Any) -> None:
        raise error

    s3.meta.events.register(f"before-call.s3.{operation}", fail, unique_id="fail")
    yield
    s3.meta.events.unregister(f"before-call.s3.{operation}", unique_id="fail")


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Operation")


NOT_ANSWERED: list[Exception] = [
    refused("403"),
    refused("SlowDown"),
    EndpointConnectionError(endpoint_url="https://s3"),
]


# --- whether Twilio's may go ------------------------------------------------------------------------


@pytest.mark.parametrize("part_bytes", [16 * 1024 * 1024, 5_000])
def test_what_is_there_as_it_was_proven_is_kept(
    custody: Custody, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(archive_bucket, "PART_BYTES", part_bytes)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)

    custody.refuse_unless_kept(row(archive=store(custody, bytes(12_000))))


def test_in_a_bucket_without_versions_what_was_proven_is_kept_until_it_is_replaced(s3: Any, custody: Custody) -> None:
    s3.create_bucket(Bucket="plain")
    plain = Custody(Archive(s3, "plain"))
    proven = row(archive=store(plain))

    plain.refuse_unless_kept(proven)

    put_other = {"Bucket": "plain", "Key": f"{STEM}wav", "ChecksumAlgorithm": "SHA256"}
    s3.put_object(**put_other, Body=b"other")
    with pytest.raises(ArchiveConflictError):
        plain.refuse_unless_kept(proven)


def test_what_has_no_proof_is_not_kept(custody: Custody) -> None:
    store(custody)

    with pytest.raises(NotArchivedError):
        custody.refuse_unless_kept(row())


def remove(s3: Any, proof: dict[str, Any]) -> None:
    s3.delete_object(Bucket=BUCKET, Key=proof["key"], VersionId=proof["version_id"])


def expire(s3: Any, proof: dict[str, Any]) -> None:
    """As `ArchiveRetentionDays` does: a former version is still there, for seven days."""
    s3.delete_object(Bucket=BUCKET, Key=proof["key"])


@pytest.mark.parametrize("happen", [remove, expire])
def test_what_is_gone_or_going_is_not_kept(s3: Any, custody: Custody, happen: Callable[..., None]) -> None:
    proof = store(custody)
    happen(s3, proof)

    with pytest.raises(NotArchivedError, match=SID):
        custody.refuse_unless_kept(row(archive=proof))


def test_what_lies_behind_other_audio_is_not_kept(s3: Any, custody: Custody) -> None:
    proof = store(custody)
    put(s3, proof["key"])

    with pytest.raises(ArchiveConflictError):
        custody.refuse_unless_kept(row(archive=proof))


OTHERS: dict[str, dict[str, Any]] = {
    "another version": {"version_id": "x"},
    "another checksum": {"s3_checksum": base64.b64encode(hashlib.sha256(b"x").digest()).decode()},
    "another size": {"bytes": 4},
    "no version": {"version_id": None},
    "no checksum": {"s3_checksum": None},
    "no size": {"bytes": None},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_is_not_what_was_proven_is_not_kept(custody: Custody, change: dict[str, Any]) -> None:
    with pytest.raises(ArchiveConflictError):
        custody.refuse_unless_kept(row(archive=store(custody) | change))


def test_an_object_whose_checksum_s3_does_not_know_is_not_kept(s3: Any, custody: Custody) -> None:
    version = s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", ChecksumAlgorithm="CRC32")["VersionId"]

    with pytest.raises(ArchiveConflictError):
        custody.refuse_unless_kept(row(archive={"key": "k", "version_id": version, "bytes": 1}))


@pytest.mark.parametrize("error", NOT_ANSWERED)
def test_while_s3_does_not_say_nothing_goes_at_twilio(s3: Any, custody: Custody, error: Exception) -> None:
    proof = store(custody)

    with failing(s3, "HeadObject", error), pytest.raises(ArchiveUnavailableError):
        custody.refuse_unless_kept(row(archive=proof))


def test_the_bucket_of_the_proof_is_asked_and_no_other(s3: Any, custody: Custody) -> None:
    elsewhere = Custody(Archive(s3, OTHER_BUCKET))
    proof = store(elsewhere)

    custody.refuse_unless_kept(row(archive=proof))

    remove(s3, proof | {"version_id": store(custody)["version_id"]})
    s3.delete_object(Bucket=OTHER_BUCKET, Key=proof["key"], VersionId=proof["version_id"])
    with pytest.raises(NotArchivedError):
        custody.refuse_unless_kept(row(archive=proof))


# --- whether something is locked ----------------------------------------------------------------------


def retain(s3: Any, key: str, version: str) -> None:
    s3.put_object_retention(Bucket=BUCKET, Key=key, VersionId=version, Retention=TO_COME)


def hold(s3: Any, key: str, version: str) -> None:
    s3.put_object_legal_hold(Bucket=BUCKET, Key=key, VersionId=version, LegalHold={"Status": "ON"})


LOCKS = pytest.mark.parametrize("lock", [retain, hold])
Lock = Callable[[Any, str, str], None]


@LOCKS
@pytest.mark.parametrize("key", [f"{STEM}wav", f"{STEM}mp3", f"{OTHER_DAY}wav"])
def test_a_lock_counts_wherever_audio_can_be_also_without_proof(
    s3: Any, custody: Custody, key: str, lock: Lock
) -> None:
    lock(s3, key, put(s3, key))

    with pytest.raises(ArchiveLockedError):
        custody.refuse_if_locked(row(uploads={f"{BUCKET}/{OTHER_FOLDER}": BEFORE}))


def test_a_lock_in_the_bucket_of_a_former_stack_counts(s3: Any, custody: Custody) -> None:
    version = put(s3, f"{STEM}wav", bucket=OTHER_BUCKET)
    put_hold = {"Bucket": OTHER_BUCKET, "Key": f"{STEM}wav", "VersionId": version}
    s3.put_object_legal_hold(**put_hold, LegalHold={"Status": "ON"})

    with pytest.raises(ArchiveLockedError):
        custody.refuse_if_locked(row(uploads={f"{OTHER_BUCKET}/{FOLDER}": BEFORE}))


@LOCKS
def test_a_lock_of_a_former_version_behind_a_marker_counts(s3: Any, custody: Custody, lock: Lock) -> None:
    proof = store(custody)
    lock(s3, proof["key"], proof["version_id"])
    remove(s3, proof | {"version_id": put(s3, proof["key"])})
    expire(s3, proof)

    with pytest.raises(ArchiveLockedError):
        custody.refuse_if_locked(row(archive=proof))


def test_a_lock_beyond_the_first_page_counts(s3: Any, custody: Custody) -> None:
    first = put(s3, f"{STEM}wav")
    for _ in range(4):
        put(s3, f"{STEM}wav")
    hold(s3, f"{STEM}wav", first)  # listed last
    s3.meta.events.register("provide-client-params.s3.ListObjectVersions", one_by_one)

    with pytest.raises(ArchiveLockedError):
        custody.refuse_if_locked(row())


def one_by_one(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return params | {"MaxKeys": 1}


@pytest.mark.parametrize(("seconds", "is_locked"), [(60, True), (-64, True), (-65, False), (-120, False)])
def test_a_lock_that_may_still_hold_by_another_clock_holds(
    s3: Any, custody: Custody, seconds: int, *, is_locked: bool
) -> None:
    version = put(s3, f"{STEM}wav")
    ends = datetime(2026, 11, 22, 7, 33, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    locked = {"Mode": "GOVERNANCE", "RetainUntilDate": ends}
    s3.put_object_retention(Bucket=BUCKET, Key=f"{STEM}wav", VersionId=version, Retention=locked)

    if is_locked:
        with pytest.raises(ArchiveLockedError):
            custody.refuse_if_locked(row())
    else:
        custody.refuse_if_locked(row())


@pytest.mark.parametrize("operation", ["ListObjectVersions", "HeadObject"])
@pytest.mark.parametrize("error", NOT_ANSWERED)
def test_what_s3_does_not_say_is_not_taken_for_unlocked(
    s3: Any, custody: Custody, operation: str, error: Exception
) -> None:
    put(s3, f"{STEM}wav")

    with failing(s3, operation, error), pytest.raises(ArchiveUnavailableError):
        custody.refuse_if_locked(row())


@pytest.mark.parametrize("by_default", [True, False])
@pytest.mark.parametrize("ends", [BEFORE, NOW, LATER])
def test_what_may_be_being_stored_where_all_is_locked_counts_as_locked(
    s3: Any, custody: Custody, ends: str, *, by_default: bool
) -> None:
    if by_default:
        lock_everything(s3)
    storing = row(uploads={f"{BUCKET}/{FOLDER}": ends})

    if by_default and ends == LATER:
        with pytest.raises(ArchiveLockedError) as caught:
            custody.refuse_if_locked(storing)
        assert caught.value.key == STEM
    else:
        custody.refuse_if_locked(storing)


def lock_everything(s3: Any) -> None:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )


def test_a_bucket_that_cannot_lock_is_asked_in_vain(s3: Any, custody: Custody) -> None:
    s3.create_bucket(Bucket="plain")

    Custody(Archive(s3, "plain")).refuse_if_locked(row(uploads={f"plain/{FOLDER}": LATER}))


@pytest.mark.parametrize("error", NOT_ANSWERED)
def test_a_bucket_that_does_not_say_whether_it_locks_may_lock(s3: Any, custody: Custody, error: Exception) -> None:
    with failing(s3, "GetObjectLockConfiguration", error), pytest.raises(ArchiveUnavailableError) as caught:
        custody.refuse_if_locked(row(uploads={f"{BUCKET}/{FOLDER}": LATER}))

    assert caught.value.key == BUCKET


# --- removing ---------------------------------------------------------------------------------------


def test_everything_goes_wherever_it_can_be_and_nothing_of_others(s3: Any, custody: Custody) -> None:
    proof = store(custody)
    others = [f"{STEM[:-1]}0.wav", f"{ACCOUNT}/2026/11/22/{CALL}/{SID.replace('1', '2')}.wav"]
    for key in (proof["key"], f"{STEM}mp3", f"{OTHER_DAY}wav", *others):
        put(s3, key)
    expire(s3, proof)
    put(s3, f"{STEM}wav", bucket=OTHER_BUCKET)
    ended = row(archive=proof, uploads={f"{BUCKET}/{OTHER_FOLDER}": BEFORE, f"{OTHER_BUCKET}/{FOLDER}": BEFORE})
    s3.meta.events.register("provide-client-params.s3.ListObjectVersions", one_by_one)

    assert custody.remove(ended)

    s3.meta.events.unregister("provide-client-params.s3.ListObjectVersions", one_by_one)
    assert keys(s3) == sorted(others)
    assert keys(s3, OTHER_BUCKET) == []
    assert not custody.remove(ended)


def test_the_key_of_the_proof_leads_to_all_of_its_forms(s3: Any, custody: Custody) -> None:
    """Whatever the row's start and call are by now."""
    proof = store(custody, key=f"{OTHER_DAY}mp3")
    put(s3, f"{OTHER_DAY}wav")

    assert custody.remove(row(archive=proof))

    assert keys(s3) == []


def test_a_marker_alone_was_no_audio(s3: Any, custody: Custody) -> None:
    s3.delete_object(Bucket=BUCKET, Key=f"{STEM}wav")

    assert not custody.remove(row())

    assert keys(s3) == []


def test_uploads_that_were_never_finished_go_too(s3: Any, custody: Custody) -> None:
    begun = [
        s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"] for key in (f"{STEM}wav", f"{OTHER_DAY}wav")
    ]
    for upload, key in zip(begun, (f"{STEM}wav", f"{OTHER_DAY}wav"), strict=True):
        s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"audio")
    another = s3.create_multipart_upload(Bucket=BUCKET, Key="another")["UploadId"]

    custody.remove(row(uploads={f"{BUCKET}/{OTHER_FOLDER}": BEFORE}))

    left = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [upload["UploadId"] for upload in left] == [another]


def test_an_upload_that_is_finished_or_aborted_just_then_is_no_failure(s3: Any, custody: Custody) -> None:
    s3.create_multipart_upload(Bucket=BUCKET, Key=f"{STEM}wav")

    with failing(s3, "AbortMultipartUpload", refused("NoSuchUpload")):
        custody.remove(row())
    with failing(s3, "AbortMultipartUpload", refused("AccessDenied")), pytest.raises(ArchiveUnavailableError):
        custody.remove(row())


@LOCKS
def test_where_one_version_is_locked_none_goes(s3: Any, custody: Custody, lock: Lock) -> None:
    put(s3, f"{STEM}mp3")
    lock(s3, f"{STEM}wav", put(s3, f"{STEM}wav"))
    put(s3, f"{STEM}wav")

    with pytest.raises(ArchiveLockedError):
        custody.remove(row())

    assert len(keys(s3)) == 3


def test_a_refusal_that_is_no_lock_is_not_called_one(s3: Any, custody: Custody) -> None:
    put(s3, f"{STEM}wav")

    with failing(s3, "DeleteObject", refused("AccessDenied")), pytest.raises(ArchiveUnavailableError):
        custody.remove(row())


def test_a_lock_that_is_put_on_just_then_is_called_one(s3: Any, custody: Custody) -> None:
    version = put(s3, f"{STEM}wav")
    s3.meta.events.register("before-call.s3.DeleteObject", lambda **_: hold(s3, f"{STEM}wav", version))

    with pytest.raises(ArchiveLockedError):
        custody.remove(row())


# --- where it is stored -------------------------------------------------------------------------------


def test_audio_is_stored_where_it_was_to_be_stored_first(custody: Custody) -> None:
    begun = row(uploads={f"{BUCKET}/{OTHER_FOLDER}": BEFORE})

    assert (custody.place(row()), custody.key(row(), "wav")) == (f"{BUCKET}/{FOLDER}", f"{STEM}wav")
    assert (custody.place(begun), custody.key(begun, "wav")) == (f"{BUCKET}/{OTHER_FOLDER}", f"{OTHER_DAY}wav")


def test_audio_is_not_stored_in_the_bucket_of_another_stack(custody: Custody) -> None:
    assert custody.place(row(uploads={f"{OTHER_BUCKET}/{OTHER_FOLDER}": BEFORE})) == f"{BUCKET}/{FOLDER}"


# --- while somebody deletes it ----------------------------------------------------------------------


def test_an_invocation_is_over_when_its_time_is_by_every_clock(time: Time) -> None:
    assert until(Deadline(10)) == clock.iso_milliseconds(clock.now() + timedelta(seconds=10) + _RESERVE + clock.SKEW)
    assert until(Deadline(10)) < until(Deadline(20))


def test_a_recording_is_being_deleted_from_the_note_of_it_until_its_time_is_over_or_for_ever(time: Time) -> None:
    now = clock.iso_milliseconds(clock.now())

    assert not is_being_deleted(row())
    assert not is_being_deleted(row(deleting_until=BEFORE))
    assert not is_being_deleted(row(deleting_until=now))
    assert is_being_deleted(row(deleting_until=LATER))
    assert is_being_deleted(row(deletion={}))
    assert is_being_deleted(row(deletion={}, deleting_until=BEFORE))


@pytest.mark.parametrize("error", [refused("SlowDown"), EndpointConnectionError(endpoint_url="https://s3")])
@pytest.mark.parametrize(
    "operation", ["ListObjectVersions", "ListMultipartUploads", "AbortMultipartUpload", "DeleteObject"]
)
def test_whoever_looks_after_a_failure_learns_which_object_it_was(
    s3: Any, custody: Custody, operation: str, error: Exception
) -> None:
    key = f"{STEM}wav"
    put(s3, key)
    s3.create_multipart_upload(Bucket=BUCKET, Key=key)

    with failing(s3, operation, error), pytest.raises(ArchiveUnavailableError) as caught:
        custody.remove(row())

    assert caught.value.key == (STEM if operation.startswith("List") else key)


def test_whoever_looks_after_a_refusal_learns_which_object_it_was(s3: Any, custody: Custody) -> None:
    proof = store(custody)

    with pytest.raises(ArchiveConflictError) as conflict:
        custody.refuse_unless_kept(row(archive=proof | {"bytes": 1}))
    s3.put_object_retention(Bucket=BUCKET, Key=proof["key"], VersionId=proof["version_id"], Retention=TO_COME)
    with pytest.raises(ArchiveLockedError) as locked:
        custody.refuse_if_locked(row(archive=proof))

    assert (conflict.value.key, locked.value.key) == (proof["key"], proof["key"])


def test_audio_that_a_former_stack_proved_elsewhere_is_looked_for_there(s3: Any, custody: Custody) -> None:
    put(s3, "a.b/former.wav", bucket=OTHER_BUCKET)
    put(s3, "a.c", bucket=OTHER_BUCKET)

    assert custody.remove(row(archive={"bucket": OTHER_BUCKET, "key": "a.b/former.wav"}))

    assert keys(s3, OTHER_BUCKET) == ["a.c"]


def test_a_proof_that_names_no_bucket_is_of_this_one(s3: Any, custody: Custody) -> None:
    put(s3, "former")

    assert custody.remove(row(archive={"key": "former"}))

    assert keys(s3) == []
