"""Where a recording's audio can be, and whether it may go, here or at Twilio: S3 is asked, and in doubt it stays."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from call_recording import clock
from call_recording.archive.bucket import Archive, archived, folder, object_key
from call_recording.deadline import Deadline
from call_recording.errors import ArchiveConflictError, ArchiveLockedError, ArchiveUnavailableError, NotArchivedError
from call_recording.recordings.row import Row

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RESERVE: Final = timedelta(seconds=10)
"""More than any function keeps back of its time."""


def until(deadline: Deadline) -> str:
    """Return when an invocation that has that deadline is surely over, whoever's clock tells (ISO 8601, UTC)."""
    left = timedelta(seconds=deadline.remaining_seconds())
    return clock.iso_milliseconds(clock.now() + left + _RESERVE + clock.SKEW)


def is_being_deleted(row: Row) -> bool:
    """Tell whether a deletion of the recording is done, or may be under way."""
    return "deletion" in row or row.get("deleting_until", "") > clock.iso_milliseconds(clock.now())


class _Place(NamedTuple):
    """Where a recording's objects are: all keys of the bucket that begin so."""

    bucket: str
    prefix: str


def _place(row: Row, noted: str) -> _Place:
    bucket, _, within = noted.partition("/")
    return _Place(bucket, object_key(row, within=within))


class _Version(NamedTuple):
    """One version of an object, or the marker of one that was deleted."""

    bucket: str
    key: str
    version_id: str
    is_marker: bool


class Custody(NamedTuple):
    """What decides about audio. All methods raise ArchiveUnavailableError when S3 does not do what it is asked."""

    archive: Archive

    @property
    def client(self) -> "S3Client":
        """S3."""
        return self.archive.client

    def place(self, row: Row) -> str:
        """Return where the recording's audio is to be stored: bucket, `/` and folder, the same as ever before.

        Whoever stores there notes it in the row's `uploads` first, so that it is found again.
        """
        ours = [place for place in row.get("uploads", {}) if place.startswith(f"{self.archive.bucket}/")]
        return min(ours, default=f"{self.archive.bucket}/{folder(row)}")

    def key(self, row: Row, suffix: str) -> str:
        """Return the key in that place."""
        return _place(row, self.place(row)).prefix + suffix

    def refuse_unless_kept(self, row: Row) -> None:
        """Let the audio at Twilio go only if the proven audio is in the archive and is going to stay.

        It must be the current version: former ones, such as those behind a delete marker, are removed by the
        bucket's lifecycle.

        Raises NotArchivedError when there is none, ArchiveConflictError when it is another than was proven.
        """
        proof = archived(row, archives=True)
        held = self.archive.head(proof["key"], bucket=proof.get("bucket"), ChecksumMode="ENABLED")
        if held is None:
            raise NotArchivedError(row["recording_sid"], "removed")
        proven = tuple(proof.get(name) for name in ("version_id", "s3_checksum", "bytes"))
        if None in proven or proven != (
            held.get("VersionId", "null"),
            held.get("ChecksumSHA256"),
            held["ContentLength"],
        ):
            raise ArchiveConflictError(proof["key"])

    def refuse_if_locked(self, row: Row) -> None:
        """Let the recording go only if Object Lock keeps nothing of it, proven or not.

        What is being stored just now in a bucket that locks everything counts as locked. Whoever asks has noted
        `deleting_until` before, so that nobody begins to store it afterwards.

        Raises ArchiveLockedError.
        """
        for version in self._versions(row):
            self._refuse_if_locked(version)
        now = clock.iso_milliseconds(clock.now())
        for place, ends in row.get("uploads", {}).items():
            bucket, prefix = _place(row, place)
            if ends > now and self._locks_everything(bucket):
                raise ArchiveLockedError(prefix)

    def remove(self, row: Row) -> bool:
        """Delete all that there is of the recording's audio, and return whether there was any.

        That is every version and marker wherever it can be, and every upload that was not finished.
        Raises ArchiveLockedError, before it deletes a version, when Object Lock keeps one.
        """
        for place in self._places(row):
            self._abort_uploads(place)
        versions = list(self._versions(row))
        for version in versions:
            self._refuse_if_locked(version)
        for version in versions:
            self._delete(version)
        return any(not version.is_marker for version in versions)

    def _places(self, row: Row) -> list[_Place]:
        """Return everywhere that audio of the recording was, was going to be, or would be stored."""
        places = {_place(row, place) for place in (f"{self.archive.bucket}/{folder(row)}", *row.get("uploads", {}))}
        if proof := row.get("archive"):
            key, dot, _ = proof["key"].rpartition(".")
            places.add(_Place(proof.get("bucket", self.archive.bucket), key + dot or proof["key"]))
        return sorted(places)

    def _versions(self, row: Row) -> Iterator[_Version]:
        for bucket, prefix in self._places(row):
            for page in self._pages("list_object_versions", bucket, prefix):
                for kind in ("Versions", "DeleteMarkers"):
                    for found in page.get(kind, []):
                        yield _Version(bucket, found["Key"], found["VersionId"], kind == "DeleteMarkers")

    def _abort_uploads(self, place: _Place) -> None:
        for page in self._pages("list_multipart_uploads", *place):
            for found in page.get("Uploads", []):
                where = {"Bucket": place.bucket, "Key": found["Key"], "UploadId": found["UploadId"]}
                try:
                    self.client.abort_multipart_upload(**where)
                except ClientError as error:
                    if error.response["Error"]["Code"] != "NoSuchUpload":
                        raise ArchiveUnavailableError(found["Key"]) from error
                except BotoCoreError as error:
                    raise ArchiveUnavailableError(found["Key"]) from error

    def _pages(self, operation: Any, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        try:
            yield from self.client.get_paginator(operation).paginate(Bucket=bucket, Prefix=prefix)
        except (ClientError, BotoCoreError) as error:
            raise ArchiveUnavailableError(prefix) from error

    def _refuse_if_locked(self, version: _Version) -> None:
        if version.is_marker:  # never locked
            return
        held = self.archive.head(version.key, bucket=version.bucket, VersionId=version.version_id)
        if held is None:
            return
        lasts = held.get("ObjectLockRetainUntilDate")
        if (lasts and lasts > clock.now() - clock.SKEW) or held.get("ObjectLockLegalHoldStatus") == "ON":
            raise ArchiveLockedError(version.key)

    def _locks_everything(self, bucket: str) -> bool:
        try:
            told = self.client.get_object_lock_configuration(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ObjectLockConfigurationNotFoundError":
                return False
            raise ArchiveUnavailableError(bucket) from error
        except BotoCoreError as error:
            raise ArchiveUnavailableError(bucket) from error
        return "Rule" in told["ObjectLockConfiguration"]

    def _delete(self, version: _Version) -> None:
        try:
            self.client.delete_object(Bucket=version.bucket, Key=version.key, VersionId=version.version_id)
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDenied":  # by a lock since, or by a policy
                self._refuse_if_locked(version)
            raise ArchiveUnavailableError(version.key) from error
        except BotoCoreError as error:
            raise ArchiveUnavailableError(version.key) from error
