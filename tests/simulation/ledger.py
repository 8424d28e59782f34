"""Where each recording's audio is, at every moment: at Twilio, in the archive, in both, or nowhere."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from local.twilio_simulator.audio import mp3, wav
from tests.simulation.witness import Witness

WAV_RATE_HZ: Final = 80
"""A hundredth of Twilio's, because every second of sound is hashed many times."""

_FARTHEST_SECONDS: Final = 2


@dataclass(eq=False)
class Version:
    """An object of the archive."""

    key: str
    recording_sid: str
    is_whole: bool
    """Whether it holds what Twilio has."""

    stored_at: float
    is_locked: bool
    is_marker: bool = False
    is_short: bool = False
    """Whether Twilio has up to two seconds more."""


class Ledger:
    """Every version in the bucket, and who wanted what deleted; `broken` is what must not have happened."""

    def __init__(self, twilio: Witness, *, is_locked: bool) -> None:
        self.twilio = twilio
        self.is_locked = is_locked
        self.versions: dict[tuple[str, str], Version] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes], dict[str, str]]] = {}
        self.to_be_deleted: dict[str, float] = {}
        """When somebody first asked, here or at Twilio, that a recording be deleted."""

        self.broken: list[str] = []
        twilio.on_deletion = self._gone_at_twilio

    def wants_deleted(self, recording_sid: str) -> None:
        """Note that somebody wants a recording deleted."""
        self.to_be_deleted.setdefault(recording_sid, self.twilio.now())

    def receipt(self, recording_sid: str, *, asked_at: float) -> None:
        """Note that there is a receipt, as was asked for then: what was there before is gone by now."""
        recording = self.twilio.recordings[recording_sid]
        if recording.status == "completed" and not recording.is_deleted:
            self.broken.append(f"Twilio has {recording_sid}, of which there is a receipt")
        for version in self.held(recording_sid):
            if version.stored_at < asked_at:
                self.broken.append(f"{version.key} is in the archive, and there is a receipt of its deletion")

    def note(self, operation: str, arguments: dict[str, Any], result: dict[str, Any]) -> None:
        """Take note of what S3 did."""
        key = arguments.get("Key", "")
        match operation:
            case "PutObject":
                self._store(key, result, arguments["Body"], arguments["Metadata"])
            case "CreateMultipartUpload":
                self.uploads[result["UploadId"]] = key, {}, arguments["Metadata"]
            case "UploadPart":
                self.uploads[arguments["UploadId"]][1][arguments["PartNumber"]] = bytes(arguments["Body"])
            case "CompleteMultipartUpload":
                _, parts, metadata = self.uploads.pop(arguments["UploadId"])
                self._store(key, result, b"".join(parts[number] for number in sorted(parts)), metadata)
            case "AbortMultipartUpload":
                self.uploads.pop(arguments["UploadId"], None)
            case "DeleteObject":
                self._deleted(key, arguments.get("VersionId"), result)

    def held(self, recording_sid: str) -> list[Version]:
        """Return the objects of a recording, whole or not."""
        return [version for version in self.versions.values() if version.recording_sid == recording_sid]

    def is_archived(self, recording_sid: str) -> bool:
        """Tell whether a whole recording is in the archive, to be read."""
        hidden = {version.key for version in self.versions.values() if version.is_marker}
        return any(version.is_whole and version.key not in hidden for version in self.held(recording_sid))

    def expire(self, recording_sid: str) -> list[tuple[str, str]]:
        """Return which versions the bucket's lifecycle may take away of a recording that Twilio still has."""
        if self.is_locked or self.twilio.recordings[recording_sid].is_deleted:
            return []
        return [where for where, version in self.versions.items() if version.recording_sid == recording_sid]

    def _store(self, key: str, result: dict[str, Any], body: bytes, metadata: dict[str, str]) -> None:
        sid, suffix = _recording_of(key), key.rpartition(".")[2]
        recording = self.twilio.recordings.get(sid)
        channels, seconds = int(metadata["channels"]), recording.duration or 0 if recording else 0
        is_whole = recording is not None and _digest(body) in {
            _expected(length, channels, suffix) for length in _as_good_as(seconds)
        }
        if recording and recording.call.account_sid == self.twilio.poisoned_account_sid:
            is_whole = True  # It says that it is encrypted, and so nobody can look into it.
        version = Version(key, sid, is_whole, self.twilio.now(), self.is_locked)
        version.is_short = is_whole and _digest(body) != _expected(seconds, channels, suffix)
        self.versions[key, result["VersionId"]] = version
        if not is_whole:
            self.broken.append(f"{key} is in the archive and is not what Twilio has")
        elif recording and recording.channels != channels:
            self.broken.append(f"{key} has not the channels that were recorded")

    def _deleted(self, key: str, version_id: str | None, result: dict[str, Any]) -> None:
        if version_id is None:
            self.versions[key, result["VersionId"]] = Version(
                key, "", is_whole=False, stored_at=self.twilio.now(), is_locked=False, is_marker=True
            )
            self._check(_recording_of(key))
            return
        version = self.versions.pop((key, version_id), None)
        if version and version.is_locked:
            self.broken.append(f"{key} was deleted while it was locked")
        if version and not version.is_marker:
            self._check(version.recording_sid)

    def _gone_at_twilio(self, recording_sid: str) -> None:
        by = self.twilio.deleted_by[recording_sid]
        if by is None:
            self.wants_deleted(recording_sid)
        elif by.function == "recordings_api" and self._is_locked(recording_sid, before=by.began):
            self.broken.append(f"{recording_sid} was deleted at Twilio while its object was locked")
        self._check(recording_sid)

    def _is_locked(self, recording_sid: str, *, before: float) -> bool:
        return any(version.is_locked and version.stored_at < before for version in self.held(recording_sid))

    def _check(self, recording_sid: str) -> None:
        recording = self.twilio.recordings.get(recording_sid)
        if recording is None or recording_sid in self.to_be_deleted or recording.status != "completed":
            return
        if recording.is_deleted and not self.is_archived(recording_sid):
            self.broken.append(f"{recording_sid} is neither at Twilio nor in the archive, and nobody deleted it")


def _as_good_as(seconds: int) -> set[int]:
    """Return how long audio may be, of what the simulated Twilio can give: 2 s less is a documented limit."""
    return {seconds, seconds // 2} if seconds - seconds // 2 <= _FARTHEST_SECONDS else {seconds}


def _recording_of(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@lru_cache(maxsize=256)
def _expected(seconds: int, channels: int, suffix: str) -> str:
    if suffix == "mp3":
        audio = mp3(seconds=seconds, channels=channels)
    else:
        audio = wav(seconds=seconds, channels=channels, rate_hz=WAV_RATE_HZ)
    return _digest(b"".join(audio.pieces))
