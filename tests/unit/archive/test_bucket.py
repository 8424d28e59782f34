"""What is in the bucket was whole: all of it or nothing is stored, with a proof that S3 computes the same."""

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, ConnectTimeoutError

from call_recording.archive import bucket as bucket_module
from call_recording.archive.bucket import Archive, Stored, archived, folder, object_key
from call_recording.errors import (
    ArchiveConflictError,
    ArchiveUnavailableError,
    FieldError,
    InvalidRequestError,
    NotArchivedError,
    StoredElsewhereError,
)
from tests.conftest import BUCKET, Time

KEY = "AC1/2026/11/22/CA1/RE1.wav"
PART = 5 * 1024 * 1024
"""The smallest that S3 takes."""

FAILURES = [ClientError({"Error": {"Code": "SlowDown"}}, "S3"), ConnectTimeoutError(endpoint_url="https://s3")]
ROW = {"account_sid": "AC1", "recording_sid": "RE1", "call_sid": "CA1", "start_time": "2026-11-22T07:33:00Z"}


@pytest.fixture
def archive(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(bucket_module, "PART_BYTES", PART)
    return Archive(boto3.client("s3"), bucket)


def store(archive: Archive, *pieces: bytes, check: Any = lambda: None, key: str = KEY) -> Stored:
    return archive.store(key, pieces, content_type="audio/x-wav", metadata={"recording-sid": "RE1"}, check=check)


def held(archive: Archive) -> dict[str, Any]:
    answer = archive.client.get_object(Bucket=BUCKET, Key=KEY, ChecksumMode="ENABLED")
    return {**answer, "Body": answer["Body"].read()}


def uploads(archive: Archive) -> list[Any]:
    return list(archive.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


def digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def calls(archive: Archive) -> list[tuple[str, dict[str, Any]]]:
    """Return what S3 is asked from now on: operations and their parameters."""
    asked: list[tuple[str, dict[str, Any]]] = []
    archive.client.meta.events.register(
        "provide-client-params.s3", lambda params, model, **_: asked.append((model.name, dict(params)))
    )
    return asked


def test_small_audio_is_one_request_that_writes_over_nothing(archive: Archive) -> None:
    asked = calls(archive)

    stored = store(archive, b"one", b"two")

    ((operation, said),) = asked
    assert operation == "PutObject"
    assert said["IfNoneMatch"] == "*"
    assert said["ChecksumSHA256"] == digest(b"onetwo")
    assert said["ChecksumAlgorithm"] == "SHA256"
    found = held(archive)
    assert (found["Body"], found["ContentType"], found["Metadata"]) == (
        b"onetwo",
        "audio/x-wav",
        {"recording-sid": "RE1"},
    )
    sha256 = hashlib.sha256(b"onetwo").hexdigest()
    assert stored == Stored(BUCKET, KEY, found["VersionId"], 6, sha256, digest(b"onetwo"))


@pytest.mark.parametrize("size", [PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_large_audio_goes_in_parts_that_s3_checks_one_by_one(archive: Archive, size: int) -> None:
    audio = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    asked = calls(archive)

    stored = store(archive, audio[: PART // 2], audio[PART // 2 :])

    parts = [audio[at : at + PART] for at in range(0, size, PART)]
    sent = [said for operation, said in asked if operation == "UploadPart"]
    whole = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    found = held(archive)
    assert found["Body"] == audio
    assert (stored.bytes, stored.sha256) == (size, hashlib.sha256(audio).hexdigest())
    assert stored.version_id == found["VersionId"]
    assert uploads(archive) == []
    assert "AbortMultipartUpload" not in [operation for operation, _ in asked]
    if len(parts) == 1:
        assert sent == []
        assert stored.s3_checksum == digest(audio)
        return
    assert [(said["PartNumber"], said["ChecksumSHA256"]) for said in sent] == [
        (number, digest(part)) for number, part in enumerate(parts, start=1)
    ]
    assert stored.s3_checksum == f"{base64.b64encode(whole).decode()}-{len(parts)}"
    by_name = dict(asked)
    assert by_name["CreateMultipartUpload"]["ContentType"] == "audio/x-wav"
    assert by_name["CreateMultipartUpload"]["Metadata"] == {"recording-sid": "RE1"}
    assert by_name["CreateMultipartUpload"]["ChecksumAlgorithm"] == "SHA256"
    assert by_name["CompleteMultipartUpload"]["IfNoneMatch"] == "*"
    assert by_name["CompleteMultipartUpload"]["ChecksumSHA256"] == stored.s3_checksum
    assert [sorted(part) for part in by_name["CompleteMultipartUpload"]["MultipartUpload"]["Parts"]] == [
        ["ChecksumSHA256", "ETag", "PartNumber"]
    ] * len(parts)


@pytest.mark.parametrize("size", [3, PART + 1])
def test_what_is_not_right_is_not_stored_and_leaves_no_upload(archive: Archive, size: int) -> None:
    with pytest.raises(ZeroDivisionError):
        store(archive, b"x" * size, check=lambda: 1 / 0)

    assert archive.head(KEY) is None
    assert uploads(archive) == []


def test_pieces_that_end_in_the_middle_leave_no_upload(archive: Archive) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (PART + 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        archive.store(KEY, broken(), content_type="audio/x-wav", metadata={}, check=lambda: None)

    assert uploads(archive) == []


@pytest.mark.parametrize(("size", "operation"), [(3, "put_object"), (PART + 1, "upload_part")])
@pytest.mark.parametrize("error", FAILURES, ids=["refused", "no answer"])
def test_while_s3_does_not_do_it_the_archive_is_unavailable(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, size: int, operation: str, error: Exception
) -> None:
    def fail(**_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(archive.client, operation, fail)
        with pytest.raises(ArchiveUnavailableError) as raised:
            store(archive, b"x" * size)

    assert KEY in str(vars(raised.value))
    assert uploads(archive) == []


def test_an_upload_that_cannot_even_be_aborted_is_the_lifecycles(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in FAILURES:

        def fail(error: Exception = error, **_: Any) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(archive.client, "abort_multipart_upload", fail)
            with pytest.raises(ZeroDivisionError):
                store(archive, b"x" * (PART + 1), check=lambda: 1 / 0)


@pytest.mark.parametrize("size", [3, PART + 1])
def test_the_same_audio_that_is_there_already_is_the_proof(archive: Archive, size: int) -> None:
    first = store(archive, b"x" * size)

    assert store(archive, b"x" * size) == first
    assert uploads(archive) == []


@pytest.mark.parametrize("before", [2 * PART, PART], ids=["now in parts", "now in more parts"])
def test_the_same_audio_in_parts_of_another_size_is_the_proof(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """A deployment can change their size, and with it S3's checksum."""
    audio = b"x" * (PART + 2)
    monkeypatch.setattr(bucket_module, "PART_BYTES", before)
    first = store(archive, audio)
    monkeypatch.setattr(bucket_module, "PART_BYTES", PART + 1)

    assert store(archive, audio) == first
    with pytest.raises(ArchiveConflictError):
        store(archive, b"x" * (PART + 1) + b"y")
    assert uploads(archive) == []


@pytest.mark.parametrize("size", [3, PART + 1])
def test_other_audio_that_is_there_already_stays_and_is_told(archive: Archive, size: int) -> None:
    store(archive, b"another")

    with pytest.raises(ArchiveConflictError):
        store(archive, b"x" * size)

    assert held(archive)["Body"] == b"another"
    assert uploads(archive) == []


def test_what_was_there_and_is_gone_when_we_look_is_tried_again_later(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(archive, b"one")
    monkeypatch.setattr(Archive, "head", lambda *_, **__: None)

    with pytest.raises(ArchiveUnavailableError):
        store(archive, b"one")


def test_without_versions_s3_s_own_name_for_none_is_noted(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("s3").create_bucket(Bucket="unversioned")
    plain = Archive(archive.client, "unversioned")

    stored = store(plain, b"one")
    assert stored.version_id == "null"
    assert plain.exists(stored) == stored
    monkeypatch.setattr(archive.client, "complete_multipart_upload", lambda **_: {})
    assert store(plain, b"x" * (PART + 1), key="another").version_id == "null"


def test_only_an_object_with_that_audio_is_it(archive: Archive) -> None:
    one, two = (
        Stored(BUCKET, KEY, "", 3, hashlib.sha256(audio).hexdigest(), digest(audio)) for audio in (b"one", b"two")
    )
    assert archive.exists(one) is None
    stored = store(archive, b"one")

    assert archive.exists(one) == stored
    with pytest.raises(ArchiveConflictError) as raised:
        archive.exists(two)
    assert KEY in str(vars(raised.value))


def test_an_object_of_which_s3_knows_no_checksum_is_not_it(archive: Archive) -> None:
    archive.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"one")

    with pytest.raises(ArchiveConflictError):
        store(archive, b"one")


def test_a_link_gives_that_version_for_that_long(archive: Archive, time: Time) -> None:
    stored = store(archive, b"one")
    archive.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"later")
    proof = {"bucket": BUCKET, "key": KEY, "version_id": stored.version_id}

    link = urlsplit(archive.link("RE1", proof, seconds=77))

    query = parse_qs(link.query)
    assert KEY in link.path
    assert BUCKET in link.geturl()
    assert query["versionId"] == [stored.version_id]
    assert query.get("X-Amz-Expires") == ["77"] or int(query["Expires"][0]) == int(time.seconds) + 77


def test_there_is_no_link_to_a_version_that_is_gone(archive: Archive) -> None:
    stored = store(archive, b"one")
    proof = {"bucket": BUCKET, "key": KEY, "version_id": stored.version_id}
    archive.client.delete_object(Bucket=BUCKET, Key=KEY, VersionId=stored.version_id)
    archive.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"later")

    with pytest.raises(NotArchivedError, match="RE1"):
        archive.link("RE1", proof, seconds=60)


@pytest.mark.parametrize(("seconds", "is_given"), [(2900, True), (3100, False)])
def test_a_link_that_would_outlive_the_credentials_that_sign_it_is_refused(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, seconds: int, *, is_given: bool
) -> None:
    stored = store(archive, b"x")
    proof = {"bucket": BUCKET, "key": KEY, "version_id": stored.version_id}
    ends = datetime.now(UTC) + timedelta(seconds=3000)
    signing = RefreshableCredentials("key", "secret", "token", ends, lambda: None, "container-role")
    monkeypatch.setattr(signing, "_refresh", lambda: None)
    monkeypatch.setattr(archive.client._request_signer, "_credentials", signing)  # type: ignore[attr-defined]  # noqa: SLF001 (as S3's client holds them)

    if is_given:
        assert KEY in archive.link("RE1", proof, seconds=seconds)
    else:
        with pytest.raises(InvalidRequestError) as caught:
            archive.link("RE1", proof, seconds=seconds)
        message = "must be less: the function's own credentials expire before that"
        assert caught.value.errors == (FieldError("ExpiresIn", message),)


def test_the_bucket_of_the_proof_is_asked(archive: Archive) -> None:
    archive.client.create_bucket(Bucket="former")
    archive.client.put_bucket_versioning(Bucket="former", VersioningConfiguration={"Status": "Enabled"})
    former = Archive(archive.client, "former")
    stored = store(former, b"one")

    assert "former" in archive.link(
        "RE1", {"bucket": "former", "key": KEY, "version_id": stored.version_id}, seconds=60
    )
    assert archive.head(KEY) is None
    found = archive.head(KEY, bucket="former", ChecksumMode="ENABLED")
    assert found is not None
    assert found["ChecksumSHA256"] == digest(b"one")


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "NotFound", "NoSuchVersion"])
def test_what_is_not_there_is_none_and_no_failure(archive: Archive, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def missing(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, "HeadObject")

    monkeypatch.setattr(archive.client, "head_object", missing)

    assert archive.head(KEY) is None


@pytest.mark.parametrize("error", FAILURES, ids=["refused", "no answer"])
def test_whether_it_is_there_is_not_known_while_s3_does_not_say(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(archive.client, "head_object", fail)

    with pytest.raises(ArchiveUnavailableError) as raised:
        archive.head(KEY)
    assert KEY in str(vars(raised.value))


def test_what_is_there_can_be_read_again_in_pieces(archive: Archive) -> None:
    with archive.audio(KEY) as missing:
        assert missing is None
    archive.store(KEY, [b"one"], content_type="audio/x-wav", metadata={"channels": "2"}, check=lambda: None)

    with archive.audio(KEY) as held:
        assert held is not None
        assert (held.content_type, held.channels, held.length, held.came) == ("audio/x-wav", 2, 3, 0)
        assert list(held.pieces(2)) == [b"on", b"e"]
        assert held.came == 3


@pytest.mark.parametrize("error", FAILURES, ids=["refused", "no answer"])
def test_while_s3_does_not_say_it_is_not_taken_for_missing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(archive.client, "get_object", fail)

    with pytest.raises(ArchiveUnavailableError), archive.audio(KEY):
        pass


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "2026/11/22/CA1"),
        ({"conference_sid": "CF1"}, "2026/11/22/CA1"),
        ({"call_sid": None, "conference_sid": "CF1"}, "2026/11/22/CF1"),
        ({"call_sid": None}, "2026/11/22/no-call"),
    ],
)
def test_a_folder_is_the_day_and_the_call(changes: dict[str, Any], expected: str) -> None:
    row = {name: value for name, value in (ROW | changes).items() if value}

    assert folder(row) == expected
    assert object_key(row, "wav") == f"AC1/{expected}/RE1.wav"


def test_a_key_without_its_suffix_begins_every_form_of_the_recording() -> None:
    assert object_key(ROW) == "AC1/2026/11/22/CA1/RE1."
    assert object_key(ROW, "mp3", within="elsewhere") == "AC1/elsewhere/RE1.mp3"


def test_a_row_says_where_its_audio_is_or_that_it_is_not() -> None:
    assert archived(ROW | {"archive": {"key": KEY}}, archives=True) == {"key": KEY}
    with pytest.raises(NotArchivedError, match="RE1"):
        archived(ROW | {"status": "completed"}, archives=True)


@pytest.mark.parametrize(
    ("status", "archives", "audio"),
    [
        *(("in-progress", True, "recording"), ("paused", True, "recording"), ("a-later-one", True, "recording")),
        *(("stopped", True, "processing"), ("processing", True, "processing"), ("completed", True, "archiving")),
        *(("absent", True, "none"), ("failed", False, "none"), ("deleted", False, "deleted")),
        *(("in-progress", False, "switched-off"), ("completed", False, "switched-off")),
    ],
)
def test_a_row_without_audio_in_the_archive_says_why(status: str, audio: str, *, archives: bool) -> None:
    with pytest.raises(NotArchivedError, match=f"RE1.*{re.escape(NotArchivedError.sentences[audio])}") as caught:
        archived(ROW | {"status": status}, archives=archives)

    assert caught.value.audio == audio


def test_audio_that_is_elsewhere_is_so_only_where_none_was_archived() -> None:
    with pytest.raises(StoredElsewhereError) as caught:
        archived(ROW | {"stored_elsewhere": "https://example.com/RE1.wav"}, archives=True)
    assert caught.value.recording_sid == "RE1"

    both = ROW | {"stored_elsewhere": "https://example.com/RE1.wav", "archive": {"key": KEY}}
    assert archived(both, archives=False) == {"key": KEY}
