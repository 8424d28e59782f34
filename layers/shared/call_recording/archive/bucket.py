"""The bucket that stores audio: every object is complete, and S3 has verified every byte."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from call_recording.errors import (
    ArchiveConflictError,
    ArchiveUnavailableError,
    FieldError,
    InvalidRequestError,
    NotArchivedError,
    StoredElsewhereError,
)
from call_recording.recordings import statuses
from call_recording.recordings.row import Row

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectOutputTypeDef, HeadObjectOutputTypeDef

PART_BYTES: Final = 16 * 1024 * 1024
"""The part size, held in memory; S3 accepts at most 10,000 parts, so 160 GB, more than any recording.

Audio of up to one part, eight minutes of two-channel WAV, is one request to S3, which charges for each request and
accepts 3,500 per second under one prefix.
"""

LINK_SECONDS: Final = 300
"""How long a link to audio is valid by default."""

_NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})


@dataclass(frozen=True)
class Stored:
    """An object and its proof. `s3_checksum` is S3's own checksum: of the object, or of its parts' checksums."""

    bucket: str
    key: str
    version_id: str
    bytes: int
    sha256: str
    s3_checksum: str


class HeldAudio(NamedTuple):
    """Audio as S3 returns it: what `twilio.api.Media` is for Twilio."""

    answer: "GetObjectOutputTypeDef"
    encoding: str = ""
    is_bounded: bool = True

    @property
    def content_type(self) -> str:
        """The content type."""
        return self.answer["ContentType"]

    @property
    def channels(self) -> int:
        """The number of channels with which it was stored; 0 if this application did not store it."""
        told = self.answer["Metadata"].get("channels", "")
        return int(told) if told.isdecimal() else 0

    @property
    def length(self) -> int:
        """The announced number of bytes."""
        return self.answer["ContentLength"]

    @property
    def came(self) -> int:
        """The number of received bytes."""
        return self.answer["Body"].tell()

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the audio in pieces of at most that size. Raises BotoCoreError if it stops in the middle."""
        yield from self.answer["Body"].iter_chunks(most_bytes)


def folder(row: Mapping[str, Any]) -> str:
    """Return the part of a key that depends on the recording's start and call: `yyyy/mm/dd/CA…`."""
    day = row["start_time"][:10].replace("-", "/")
    return f"{day}/{row.get('call_sid') or row.get('conference_sid') or 'no-call'}"


def object_key(row: Mapping[str, Any], suffix: str = "", *, within: str | None = None) -> str:
    """Return the key of a recording's audio: `AC…/yyyy/mm/dd/CA…/RE….wav`; without a suffix, the key's prefix.

    `within` overrides the folder that follows from the row.
    """
    return f"{row['account_sid']}/{within or folder(row)}/{row['recording_sid']}.{suffix}"


@dataclass(frozen=True)
class Archive:
    """A versioned bucket. All methods raise ArchiveUnavailableError if S3 refuses or does not answer."""

    client: "S3Client"
    bucket: str

    def store(
        self,
        key: str,
        pieces: Iterable[bytes],
        *,
        content_type: str,
        metadata: Mapping[str, str],
        check: Callable[[], object],
    ) -> Stored:
        """Store the pieces as an object, unless the key exists already, and return the proof.

        Memory use does not grow with the audio. `check` is called after the last piece and raises
        if the audio is wrong: then nothing is stored, and no unfinished upload is left.

        An existing object stays; it is the proof if its checksum matches that of the pieces.
        Raises ArchiveConflictError if it does not.
        """
        upload = _Upload(self, key, content_type, dict(metadata))
        try:
            for piece in pieces:
                upload.add(piece)
            check()
            return upload.finish()
        except (ClientError, BotoCoreError) as error:
            raise ArchiveUnavailableError(key) from error
        finally:
            upload.abort_unless_finished()

    @contextmanager
    def audio(self, key: str, **more: Any) -> Iterator[HeldAudio | None]:
        """Yield the object as a stream, and close it at the end; None if there is no object."""
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **more)
        except (ClientError, BotoCoreError) as error:
            if not _is_not_found(error):
                raise ArchiveUnavailableError(key) from error
            yield None
            return
        with closing(answer["Body"]):
            yield HeldAudio(answer)

    def link(self, recording_sid: str, archived: Mapping[str, Any], *, seconds: int) -> str:
        """Return a URL with which anybody can download the recording's audio, for that long.

        A link also expires with the credentials that signed it. If their expiry is known, as in functions that start
        from a snapshot, a longer link is refused; the environment of other functions does not contain it.
        Source: "Sharing objects with presigned URLs", Amazon S3 user guide.

        Raises NotArchivedError if the object no longer exists, InvalidRequestError if the link would expire
        too early.
        """
        key, version_id = archived["key"], archived["version_id"]
        if self.head(key, bucket=archived["bucket"], VersionId=version_id) is None:
            raise NotArchivedError(recording_sid, "removed")
        where = {"Bucket": archived["bucket"], "Key": key, "VersionId": version_id}
        link = self.client.generate_presigned_url("get_object", Params=where, ExpiresIn=seconds)
        credentials: Any = self.client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001 (said nowhere else)
        if isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed(seconds):
            message = "must be less: the function's own credentials expire before that"
            raise InvalidRequestError([FieldError("ExpiresIn", message)])
        return link

    def exists(self, stored: Stored) -> Stored | None:
        """Return the proof of the existing object with that audio, or None if there is no object.

        In parts of another size, as before another deployment, the same audio has another checksum.
        """
        held = self.head(stored.key, ChecksumMode="ENABLED")
        if held is None:
            return None
        s3_checksum = held.get("ChecksumSHA256")
        found = replace(stored, version_id=held.get("VersionId", "null"), s3_checksum=s3_checksum or "")
        is_as_long = s3_checksum and held["ContentLength"] == stored.bytes
        if s3_checksum == stored.s3_checksum or (is_as_long and self._holds(found)):
            return found
        raise ArchiveConflictError(stored.key)

    def _holds(self, found: Stored) -> bool:
        """Return whether the object has that SHA-256; S3 may know only the one of its parts' checksums."""
        sha256 = hashlib.sha256()
        with self.audio(found.key, VersionId=found.version_id) as held:
            for piece in held.pieces(PART_BYTES) if held else ():
                sha256.update(piece)
        return sha256.hexdigest() == found.sha256

    def head(self, key: str, *, bucket: str | None = None, **more: Any) -> "HeadObjectOutputTypeDef | None":
        """Return S3's metadata of an object, or None if it does not exist.

        `bucket` is another bucket, such as a former stack's that a restored row names.
        """
        try:
            return self.client.head_object(Bucket=bucket or self.bucket, Key=key, **more)
        except (ClientError, BotoCoreError) as error:
            if _is_not_found(error):
                return None
            raise ArchiveUnavailableError(key) from error


def _is_not_found(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _NOT_FOUND


@dataclass
class _Upload:
    """The upload of one object: small ones in one request, large ones part by part."""

    archive: Archive
    key: str
    content_type: str
    metadata: dict[str, str]
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _bytes: int = field(default=0, init=False)
    _upload_id: str | None = field(default=None, init=False)
    _parts: "list[CompletedPartTypeDef]" = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._of_parts = hashlib.sha256()
        self._where: dict[str, Any] = {"Bucket": self.archive.bucket, "Key": self.key}

    def add(self, piece: bytes) -> None:
        self._sha256.update(piece)
        self._bytes += len(piece)
        self._buffer += piece
        while len(self._buffer) > PART_BYTES:
            part = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._send_part(part)

    def finish(self) -> Stored:
        rest = bytes(self._buffer)
        if self._upload_id is None:
            s3_checksum = base64.b64encode(self._sha256.digest()).decode()
        else:
            self._send_part(rest)
            s3_checksum = f"{base64.b64encode(self._of_parts.digest()).decode()}-{len(self._parts)}"
        stored = Stored(self.archive.bucket, self.key, "", self._bytes, self._sha256.hexdigest(), s3_checksum)
        try:
            version_id = self._complete(s3_checksum) if self._upload_id else self._put(rest, s3_checksum)
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            found = self.archive.exists(stored)
            if found is None:
                raise
            return found
        return replace(stored, version_id=version_id)

    def abort_unless_finished(self) -> None:
        if self._upload_id is not None:
            # If even that fails, the bucket's lifecycle rule removes it.
            with suppress(ClientError, BotoCoreError):
                self.archive.client.abort_multipart_upload(**self._where, UploadId=self._upload_id)

    def _put(self, body: bytes, s3_checksum: str) -> str:
        answer = self.archive.client.put_object(
            **self._where,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=s3_checksum,
            ContentType=self.content_type,
            Metadata=self.metadata,
            IfNoneMatch="*",
        )
        return answer.get("VersionId", "null")

    def _send_part(self, part: bytes) -> None:
        client = self.archive.client
        if self._upload_id is None:
            answer = client.create_multipart_upload(
                **self._where, ContentType=self.content_type, Metadata=self.metadata, ChecksumAlgorithm="SHA256"
            )
            self._upload_id = answer["UploadId"]
        digest = hashlib.sha256(part).digest()
        self._of_parts.update(digest)
        number, checksum = len(self._parts) + 1, base64.b64encode(digest).decode()
        sent = client.upload_part(
            **self._where, UploadId=self._upload_id, PartNumber=number, Body=part, ChecksumSHA256=checksum
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum})

    def _complete(self, s3_checksum: str) -> str:
        answer = self.archive.client.complete_multipart_upload(
            **self._where,
            UploadId=str(self._upload_id),
            MultipartUpload={"Parts": self._parts},
            ChecksumSHA256=s3_checksum,
            IfNoneMatch="*",
        )
        self._upload_id = None
        return answer.get("VersionId", "null")


def archived(row: Row, *, archives: bool) -> dict[str, Any]:
    """Return where the recording's audio is, and its proof; `archives` says whether this stack archives audio.

    Raises NotArchivedError, or StoredElsewhereError if it can never be archived.
    """
    found: dict[str, Any] | None = row.get("archive")
    if found is None:
        if "stored_elsewhere" in row:
            raise StoredElsewhereError(row["recording_sid"])
        raise NotArchivedError(row["recording_sid"], _why_not(row["status"], archives=archives))
    return found


def _why_not(status: str, *, archives: bool) -> str:
    """Return why the audio is not in the archive: see NotArchivedError."""
    if status == "deleted":
        return "deleted"
    if status in statuses.WITHOUT_AUDIO:
        return "none"
    if not archives:
        return "switched-off"
    if statuses.may_be_active(status):
        return "recording"
    return "archiving" if status == "completed" else "processing"
