"""Copies a recording's audio into the archive, verified, once."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import quote

from aws_lambda_powertools import Logger
from urllib3 import HTTPResponse

from call_recording import clock, metrics
from call_recording.archive.audio import Audio, AudioReader, Mp3Reader, WavReader
from call_recording.archive.bucket import Archive, HeldAudio
from call_recording.archive.custody import Custody, is_being_deleted, until
from call_recording.deadline import Deadline
from call_recording.errors import (
    ChannelsRefusedError,
    CredentialsRefusedError,
    MediaNotReadyError,
    NoAudioError,
    NoTimeLeftError,
    RateLimitedError,
    RecordingBeingDeletedError,
    StoredElsewhereError,
    TwilioNotFoundError,
    TwilioRefusedError,
    WrongChannelsError,
    WrongMediaError,
)
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import told_at
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import WITHOUT_AUDIO, rank
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import Media, Twilio, TwilioAccount

_PIECE_BYTES: Final = 256 * 1024
_FARTHEST_SECONDS: Final = 2.0
_FARTHEST_RATIO: Final = 0.01
_FARTHEST_EVER_SECONDS: Final = 5.0
"""How far the audio's own length may differ from Twilio's whole seconds: 2 s, or 1 % up to 5 s."""
_FOLLOWED_SECONDS: Final = 1.0
"""The same if something follows the sound: an error page must not stand for missing audio."""
_MOST_METADATA_BYTES: Final = 1900
"""S3 accepts 2 KB of metadata, names included."""
_SHORTEST_SECONDS: Final = 10.0
"""With less time than this left an upload is aborted, so that its parts can still be removed."""

logger = Logger(child=True)


@dataclass(frozen=True)
class Format:
    """A format in which Twilio returns audio."""

    suffix: str
    content_types: frozenset[str]
    reader: type[WavReader] | type[Mp3Reader]


FORMATS: Final[Mapping[str, Format]] = {
    "wav": Format("wav", frozenset({"audio/x-wav", "audio/wav", "audio/wave", "audio/vnd.wave"}), WavReader),
    "mp3": Format("mp3", frozenset({"audio/mpeg", "audio/mp3"}), Mp3Reader),
}
_ENCRYPTED: Final = frozenset({"application/octet-stream", "binary/octet-stream"})


@dataclass(frozen=True)
class Archiver:
    """Everything that archiving needs. `channels` is `as-recorded`, `mono` or `dual`."""

    archive: Archive
    recordings: RecordingsTable
    twilio: Twilio
    format: Format
    channels: str
    delete_at_twilio: bool

    @property
    def custody(self) -> Custody:
        """Decides where audio is stored and whether it may be deleted."""
        return Custody(self.archive)

    def process(self, recording_sid: str, *, deadline: Deadline) -> None:
        """Archive a completed recording's audio and store its proof in the row, whatever was done before.

        Raises RecordingNotFoundError, RecordingBeingDeletedError, MediaNotReadyError, WrongMediaError,
        NotArchivedError, ArchiveUnavailableError, ArchiveConflictError, ArchiveLockedError, NoTimeLeftError,
        or what requests to Twilio and writes of the row raise. After each of them a retry may succeed. Raises
        StoredElsewhereError or NoAudioError if a retry cannot succeed.
        """
        row = self.recordings.reader.one(recording_sid)
        if not self._is_wanted(row):
            return
        twilio = self.twilio.of(row["account_sid"])
        if "archive" not in row:
            try:
                # Before anything is noted: each note makes a deletion wait, if Object Lock could protect the object.
                _refuse_if_being_deleted(row)
                row = self._told(twilio, row, deadline)
                if self._is_to_be_fetched(row):
                    row = self._archive_or_say_why(twilio, row, deadline)
            except RecordingBeingDeletedError:
                row = self.recordings.reader.one(recording_sid)
                if "deletion" not in row:
                    raise
            if not self._is_wanted(row):  # since, and without knowing of the object
                return
        if self.delete_at_twilio and "deleted_at_twilio" not in row:
            self._delete_at_twilio(twilio, row, deadline)

    def _is_wanted(self, row: Row) -> bool:
        """Return whether the recording's audio belongs in the archive, and remove it if the recording was deleted.

        Without our receipt nobody asked this stack to delete it, even if Twilio has deleted it: then the
        archive may have the only copy.
        """
        if "deletion" in row:
            self.custody.remove(row)
        return bool(row["status"] == "completed")

    @staticmethod
    def _is_to_be_fetched(row: Row) -> bool:
        return "archive" not in row and bool(row["status"] == "completed")

    def _archive_or_say_why(self, twilio: TwilioAccount, row: Row, deadline: Deadline) -> Row:
        """Archive the audio; if Twilio does not return it, find out whether it ever will."""
        try:
            return self._archive(twilio, row, deadline)
        except (CredentialsRefusedError, RateLimitedError):
            raise
        except (MediaNotReadyError, TwilioRefusedError) as refusal:
            try:
                row = self._fetched(twilio, row, deadline)
            except TwilioNotFoundError:  # the region may be wrong
                raise refusal from None
            if self._is_to_be_fetched(row):
                raise
            return row

    def _archive(self, twilio: TwilioAccount, row: Row, deadline: Deadline) -> Row:
        """Store the audio with as many of the wanted channels as there are."""
        *more, fewest = self._channels(row)
        for wanted in more:
            try:
                return self._store(twilio, row, wanted, deadline)
            except ChannelsRefusedError:
                logger.info("audio has fewer channels", recording_sid=row["recording_sid"], wanted=wanted)
            except WrongChannelsError as error:
                # More channels were requested than recorded, and all recorded ones arrived: a mix would have fewer.
                if error.channels != row["channels"]:
                    raise
        return self._store(twilio, row, fewest, deadline)

    def _store(self, twilio: TwilioAccount, row: Row, wanted: int, deadline: Deadline) -> Row:
        """Store the audio with that many channels, verify it, and return the row."""
        form = FORMATS["wav"] if _is_encrypted(row) else self.format
        with twilio.media(row["recording_sid"], suffix=form.suffix, channels=wanted, deadline=deadline) as media:
            return self._keep(_Passing(media, row, form, wanted), deadline)

    def _proven_again(self, row: Row, deadline: Deadline) -> Row:
        """Return the row with the proof of audio that an earlier attempt stored, if there is any.

        That attempt could not write its proof, and now the archive may have the only copy.
        """
        if not self._missing(row):
            for form in FORMATS.values():
                with self.archive.audio(self.custody.key(row, form.suffix)) as held, suppress(WrongMediaError):
                    if held and held.channels:
                        return self._keep(_Passing(held, row, form, held.channels), deadline)
        return row

    def _keep(self, passing: "_Passing", deadline: Deadline) -> Row:
        """Store the audio, unless it is there already, verify it, and return the row."""
        row, media = passing.row, passing.media
        recording_sid = row["recording_sid"]

        def check() -> None:
            passing.check()
            # A recording that is deleted meanwhile must not become an object, which Object Lock could protect.
            _refuse_if_being_deleted(self.recordings.reader.one(recording_sid))

        # Note the place before storing anything, so that a deletion finds it even if this function is killed.
        row = self.recordings.note(row, uploads={self.custody.place(row): until(deadline)})
        if "archive" in row:  # by another delivery
            return row
        _refuse_if_being_deleted(row)
        stored = self.archive.store(
            self.custody.key(row, passing.form.suffix),
            passing.pieces(deadline),
            content_type=media.content_type,
            metadata=_metadata(row, passing.channels),
            check=check,
        )
        metrics.ARCHIVED_BYTES.add(stored.bytes)
        logger.info("audio archived", recording_sid=recording_sid, bytes=stored.bytes)
        proof = {
            **asdict(stored),
            "content_type": media.content_type,
            "channels": passing.channels,
            **({"duration_milliseconds": passing.milliseconds} if passing.milliseconds is not None else {}),
            "archived_at": clock.iso_milliseconds(clock.now()),
        }
        return self.recordings.note(row, archive=proof)

    def _channels(self, row: Row) -> list[int]:
        """Return the numbers of channels to request, until Twilio has that many.

        It can have two for a recording that it reports with one. Encrypted audio does not show the number.
        """
        if self.channels == "mono":
            return [1]
        most = int(row["channels"])
        if self.channels == "dual":
            most = min(most, 2) if _is_encrypted(row) else 2
        return [number for number in dict.fromkeys((most, 2, 1)) if number <= most]

    def _told(self, twilio: TwilioAccount, row: Row, deadline: Deadline) -> Row:
        """Return the row with everything that is needed to fetch and check the audio, as of the completed recording.

        Values from before it was completed may have changed, and a guessed start would make another key.
        """
        # Unreadable encryption details of a callback must not make the recording count as unencrypted.
        is_odd = "EncryptionDetails" in row.get("metadata", {}) and "encryption_details" not in row
        if self._missing(row) or told_at(row, "start_time") < 0 or is_odd:
            row = self._fetched(twilio, row, deadline)
            if self._is_to_be_fetched(row) and (missing := self._missing(row)):
                raise WrongMediaError(f"Twilio does not report its {missing[0]}")
        return row

    def _fetched(self, twilio: TwilioAccount, row: Row, deadline: Deadline) -> Row:
        """Return the row, updated with Twilio's current data.

        Raises StoredElsewhereError or NoAudioError if Twilio does not have its audio, and never will.
        """
        recording_sid = row["recording_sid"]
        fetched = twilio.fetch_recording(recording_sid, deadline=deadline)
        if fetched["status"] == "deleted":
            row = self.recordings.reader.one(recording_sid)
            if "archive" in row:  # by another delivery, which then deleted it there
                return row
            _refuse_if_being_deleted(row)  # the receipt follows, and the event of the deletion must contain it
            self._proven_again(row, deadline)
        facts = Facts.from_fetched(fetched)
        self.recordings.record(facts, needs_row=True)
        if fetched["status"] in WITHOUT_AUDIO:
            raise NoAudioError(recording_sid)
        if fetched["status"] != "deleted" and "stored_elsewhere" in facts.told:
            raise StoredElsewhereError(recording_sid)
        return self.recordings.reader.one(recording_sid)

    def _missing(self, row: Row) -> list[str]:
        needed = ("duration_seconds",) if self.channels == "mono" else ("duration_seconds", "channels")
        return [name for name in needed if told_at(row, name) < rank("completed")]

    def _delete_at_twilio(self, twilio: TwilioAccount, row: Row, deadline: Deadline) -> None:
        self.custody.refuse_unless_kept(row)
        try:
            twilio.delete_recording(row["recording_sid"], deadline=deadline)
        except TwilioNotFoundError:
            logger.info("recording was already deleted at Twilio", recording_sid=row["recording_sid"])
        self.recordings.note(row, deleted_at_twilio=clock.iso_milliseconds(clock.now()))


def _refuse_if_being_deleted(row: Row) -> None:
    if is_being_deleted(row):
        raise RecordingBeingDeletedError(row["recording_sid"])


class _Passing:
    """Audio that streams to S3, from Twilio or from S3 itself, and is checked on the way.

    Encrypted audio cannot be checked: only the headers of the answer can.
    """

    def __init__(self, media: Media | HeldAudio, row: Row, form: Format, channels: int) -> None:
        self.media = media
        self.row = row
        self.form = form
        self.channels = channels
        self.seen = 0
        self.milliseconds: int | None = None
        self.reader: AudioReader | None = None if _is_encrypted(row) else form.reader()
        allowed = form.content_types if self.reader else form.content_types | _ENCRYPTED
        if media.content_type not in allowed:
            raise WrongMediaError(f"the content type is {media.content_type[:100]!r}")
        if media.encoding and (not self.reader or media.encoding not in HTTPResponse.CONTENT_DECODERS):
            raise WrongMediaError(f"the content encoding is {media.encoding[:100]!r}")

    def pieces(self, deadline: Deadline) -> Iterator[bytes]:
        for piece in self.media.pieces(_PIECE_BYTES):
            if deadline.remaining_seconds() < _SHORTEST_SECONDS:
                raise NoTimeLeftError
            self.seen += len(piece)
            if self.reader:
                self.reader.feed(piece)
            yield piece

    def check(self) -> None:
        """Raise WrongMediaError unless the stream was the whole recording."""
        if self.media.length is not None and self.media.came != self.media.length:
            raise WrongMediaError(f"{self.media.came} of {self.media.length} bytes arrived")
        if not self.seen:
            raise WrongMediaError("it is empty")
        # A compressed transfer can be cut off without any sign.
        has_all_come = self.media.is_bounded and not self.media.encoding
        audio = self.reader.finish(has_all_come=has_all_come) if self.reader else None
        if not self.media.is_bounded and not (audio and audio.is_bounded):
            raise WrongMediaError("nothing marks its end")
        if audio:
            self._check_audio(audio)

    def _check_audio(self, audio: Audio) -> None:
        told = float(self.row["duration_seconds"])
        farthest = min(max(_FARTHEST_SECONDS, _FARTHEST_RATIO * told), _FARTHEST_EVER_SECONDS)
        if audio.is_followed:
            farthest = min(farthest, _FOLLOWED_SECONDS)
        announced = audio.announced_seconds
        if announced is not None and abs(announced - told) < abs(audio.duration_seconds - told):
            raise WrongMediaError(f"it is {audio.duration_seconds:.1f} s long instead of {announced:.1f} s")
        if abs(audio.duration_seconds - told) > farthest:
            raise WrongMediaError(f"it is {audio.duration_seconds:.1f} s long, but Twilio reports {told:.0f} s")
        if audio.channels != self.channels:
            raise WrongChannelsError(audio.channels, self.channels)
        self.milliseconds = round(audio.duration_seconds * 1000)


def _is_encrypted(row: Row) -> bool:
    """Return whether the audio is encrypted: without details for decryption, it counts as unencrypted."""
    return bool(row.get("encryption_details", {}).get("encryption_cek"))


def _metadata(row: Row, channels: int) -> dict[str, str]:
    """Return the object's metadata, which must be ASCII for S3: `reference` is percent-encoded, as in a URL.

    Entries that do not fit are left out: the row has them.
    """
    told = {
        "recording-sid": row["recording_sid"],
        "call-sid": row.get("call_sid"),
        "account-sid": row["account_sid"],
        "duration-seconds": row["duration_seconds"],
        "channels": channels,
        "start-time": row["start_time"],
        "encryption-details": json.dumps(row["encryption_details"]) if "encryption_details" in row else None,
        "reference": quote(row["reference"]) if "reference" in row else None,
    }
    kept: dict[str, str] = {}
    for name, value in told.items():
        if value is not None and sum(map(len, (*kept, *kept.values(), name, str(value)))) <= _MOST_METADATA_BYTES:
            kept[name] = str(value)
    return kept
