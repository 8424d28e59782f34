"""Where a recording's audio can be, and whether it may be deleted, here or at Twilio: S3 decides; in doubt it stays."""

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
"""More time than any function reserves at its end."""


def until(deadline: Deadline) -> str:
    """Return when an invocation with that deadline has certainly ended, by any clock (ISO 8601, UTC)."""
    left = timedelta(seconds=deadline.remaining_seconds())
    return clock.iso_milliseconds(clock.now() + left + _RESERVE + clock.SKEW)


def is_being_deleted(row: Row) -> bool:
    """Return whether a deletion of the recording is done, or may be in progress."""
    return "deletion" in row or row.get("deleting_until", "") > clock.iso_milliseconds(clock.now())


class _Place(NamedTuple):
    """Where a recording's objects are: a bucket and a prefix of keys."""

    bucket: str
    prefix: str


def _place(row: Row, noted: str) -> _Place:
    bucket, _, within = noted.partition("/")
    return _Place(bucket, object_key(row, within=within))


class _Version(NamedTuple):
    """One version of an object, or a delete marker."""

    bucket: str
    key: str
    version_id: str
    is_marker: bool


class Custody(NamedTuple):
    """Decides about audio. All methods raise ArchiveUnavailableError if S3 refuses or does not answer."""

    archive: Archive

    @property
    def client(self) -> "S3Client":
        """S3."""
        return self.archive.client

    def place(self, row: Row) -> str:
        """Return where to store the recording's audio: bucket, `/` and folder, always the same for a recording.

        Callers note it in the row's `uploads` before they store anything, so that it is found again.
        """
        ours = [place for place in row.get("uploads", {}) if place.startswith(f"{self.archive.bucket}/")]
        return min(ours, default=f"{self.archive.bucket}/{folder(row)}")

    def key(self, row: Row, suffix: str) -> str:
        """Return the key in that place."""
        return _place(row, self.place(row)).prefix + suffix

    def refuse_unless_kept(self, row: Row) -> None:
        """Allow deleting the audio at Twilio only if the verified audio is in the archive and will stay there.

        It must be the current version: the bucket's lifecycle removes noncurrent ones, such as those behind a
        delete marker.

        Raises NotArchivedError if there is none, ArchiveConflictError if it is not the verified one.
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
        """Allow deleting the recording only if Object Lock protects none of its objects, verified or not.

        Audio that is being stored in a bucket that locks everything counts as locked. The caller has set
        `deleting_until` before, so that nobody starts to store it afterwards.

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
        """Delete all objects of the recording's audio, and return whether there were any.

        That is every version and delete marker in all possible places, and every unfinished upload.
        Raises ArchiveLockedError, before it deletes anything, if Object Lock protects a version.
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
        """Return every place where audio of the recording was stored, was going to be stored, or would be stored."""
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
            if error.response["Error"]["Code"] == "AccessDenied":  # by a later lock, or by a policy
                self._refuse_if_locked(version)
            raise ArchiveUnavailableError(version.key) from error
        except BotoCoreError as error:
            raise ArchiveUnavailableError(version.key) from error
