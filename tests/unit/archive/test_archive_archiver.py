"""What is asked of Twilio to archive a recording, in which order, and what becomes of each of its answers."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import boto3
import pytest

from call_recording import clock
from call_recording.archive.archiver import FORMATS, Archiver, _metadata, _Passing
from call_recording.archive.audio import Audio
from call_recording.archive.bucket import Archive
from call_recording.archive.custody import until
from call_recording.deadline import Deadline
from call_recording.errors import (
    ArchiveLockedError,
    CallRecordingError,
    ChannelsRefusedError,
    CredentialsRefusedError,
    MediaNotReadyError,
    NoAudioError,
    NotArchivedError,
    NoTimeLeftError,
    RateLimitedError,
    RecordingBeingDeletedError,
    RecordingNotFoundError,
    StoredElsewhereError,
    TwilioNotFoundError,
    TwilioRefusedError,
    WrongChannelsError,
    WrongMediaError,
)
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import Media, RecordingResource, Twilio
from local.twilio_simulator.audio import mp3, wav
from tests.conftest import BUCKET, Time, written_metrics

ACCOUNT, CALL, SID = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32
FOLDER = f"2026/11/22/{CALL}"
KEY = f"{ACCOUNT}/{FOLDER}/{SID}."
SECONDS = 2
TOLD: dict[str, Any] = {
    "call_sid": CALL,
    "channels": 2,
    "duration_seconds": SECONDS,
    "start_time": "2026-11-22T07:33:00Z",
}
DETAILS = {"encryption_cek": "k", "encryption_iv": "i", "encryption_public_key_sid": "CR" + "1" * 32}
COMPLETED = Facts(SID, ACCOUNT, "completed", "2026-11-22T07:33:01.000Z", TOLD)
ENCRYPTED = COMPLETED._replace(told=TOLD | {"encryption_details": DETAILS})

NOT_FOUND = TwilioNotFoundError(http_status=404, code=20404, message="no")
REFUSED = TwilioRefusedError(http_status=400, code=20001, message="no")
NOT_OURS = CredentialsRefusedError(http_status=401, code=20003, message="no")
BUSY = RateLimitedError(retry_after_seconds=1, code=20429, message="no", more_info=None)
NOT_READY = MediaNotReadyError(SID)
NOT_ON_SO_MANY = ChannelsRefusedError(http_status=400, code=16113, message="no")


class Sound:
    """Twilio's answer with audio, as `requests` gives it."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self.body = body
        self.headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        self.raw = self
        self._came = 0

    def tell(self) -> int:
        return self._came

    def iter_content(self, most_bytes: int) -> Iterator[bytes]:
        for start in range(0, len(self.body), most_bytes):
            piece = self.body[start : start + most_bytes]
            self._came += len(piece)
            yield piece


def sound(suffix: str, channels: int, *, seconds: int = SECONDS) -> Sound:
    made = (wav if suffix == "wav" else mp3)(seconds=seconds, channels=channels)
    return Sound(b"".join(made.pieces), made.content_type)


@dataclass
class TwilioStub:
    """One account at Twilio with one recording: what it shows, gives and refuses, and what it was asked."""

    shown: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, Exception] = field(default_factory=dict)
    """By what is asked: `fetch`, `delete`, or `media` with the number of channels."""
    sounds: dict[int, Sound] = field(default_factory=dict)
    """What is given in place of so many channels."""
    asked: list[str] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    before_answering: Callable[[], object] = lambda: None

    def of(self, account_sid: str) -> "TwilioStub":
        assert account_sid == ACCOUNT
        return self

    def _answer(self, what: str, recording_sid: str, deadline: Deadline) -> None:
        assert recording_sid == SID
        self.asked.append(what)
        self.deadlines.append(deadline)
        self.before_answering()
        if what in self.refusals:
            raise self.refusals[what]

    @contextmanager
    def media(self, recording_sid: str, *, suffix: str, channels: int, deadline: Deadline) -> Iterator[Media]:
        self._answer(f"media {channels}", recording_sid, deadline)
        assert suffix in FORMATS
        yield Media(cast("Any", self.sounds.get(channels) or sound(suffix, channels)))

    def fetch_recording(self, recording_sid: str, *, deadline: Deadline) -> RecordingResource:
        self._answer("fetch", recording_sid, deadline)
        told = {"sid": SID, "account_sid": ACCOUNT, "call_sid": CALL, "status": "completed"}
        times = {"start_time": "Sun, 22 Nov 2026 07:33:00 +0000", "duration": str(SECONDS), "channels": 2}
        return RecordingResource(told | times | self.shown, api_url="https://api.twilio.com")

    def delete_recording(self, recording_sid: str, *, deadline: Deadline) -> None:
        self._answer("delete", recording_sid, deadline)


@pytest.fixture
def twilio() -> TwilioStub:
    return TwilioStub()


Make = Callable[..., Archiver]


@pytest.fixture
def archiver(table: RecordingsTable, bucket: str, twilio: TwilioStub, time: Time) -> Make:
    """Return a function that makes an archiver as the template's parameters say."""

    def make(*, form: str = "wav", channels: str = "as-recorded", delete_at_twilio: bool = False) -> Archiver:
        archive = Archive(boto3.client("s3"), bucket)
        return Archiver(archive, table, cast("Twilio", twilio), FORMATS[form], channels, delete_at_twilio)

    return make


def process(archiver: Archiver, seconds: float = 60) -> None:
    archiver.process(SID, deadline=Deadline(seconds))


def row(table: RecordingsTable) -> dict[str, Any]:
    return table.reader.one(SID)


def keys() -> list[str]:
    return [found["Key"] for found in boto3.client("s3").list_object_versions(Bucket=BUCKET).get("Versions", [])]


# --- what is archived ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["wav", "mp3"])
def test_audio_is_stored_in_the_form_that_was_asked_for_with_all_that_proves_it(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, form: str
) -> None:
    table.record(COMPLETED)

    process(archiver(form=form))

    body = sound(form, 2).body
    proof = row(table)["archive"]
    assert proof.pop("version_id")
    assert proof == {
        "bucket": BUCKET,
        "key": f"{KEY}{form}",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "s3_checksum": b64encode(hashlib.sha256(body).digest()).decode(),
        "content_type": {"wav": "audio/x-wav", "mp3": "audio/mpeg"}[form],
        "channels": 2,
        "duration_milliseconds": {"wav": 2000, "mp3": 1992}[form],
        "archived_at": "2026-11-22T07:33:01.000Z",
    }
    assert (twilio.asked, keys()) == (["media 2"], [f"{KEY}{form}"])
    held = boto3.client("s3").head_object(Bucket=BUCKET, Key=f"{KEY}{form}")
    assert (held["Metadata"]["recording-sid"], held["Metadata"]["channels"]) == (SID, "2")


def test_of_encrypted_audio_nobody_knows_how_long_it_is_and_it_is_no_mp3(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(ENCRYPTED)
    twilio.sounds[2] = Sound(b"nobody can read this", "application/octet-stream")

    process(archiver(form="mp3"))

    proof = row(table)["archive"]
    assert (proof["key"], proof["content_type"], proof["bytes"]) == (f"{KEY}wav", "application/octet-stream", 20)
    assert "duration_milliseconds" not in proof


def test_how_much_was_archived_is_counted(
    archiver: Make, table: RecordingsTable, capsys: pytest.CaptureFixture[str]
) -> None:
    table.record(COMPLETED)

    process(archiver())

    (counted,) = [one for one in written_metrics(capsys.readouterr().out) if one["name"] == "ArchivedBytes"]
    assert counted["value"] == len(sound("wav", 2).body)


@pytest.mark.parametrize("status", ["in-progress", "processing", "absent", "deleted", "new"])
@pytest.mark.parametrize("delete_at_twilio", [True, False])
def test_of_a_recording_that_is_not_completed_nothing_is_asked(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, status: str, *, delete_at_twilio: bool
) -> None:
    table.record(COMPLETED._replace(status=status))

    process(archiver(delete_at_twilio=delete_at_twilio))

    assert (twilio.asked, keys()) == ([], [])


def test_what_was_archived_and_deleted_at_twilio_is_asked_for_no_more(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, time: Time
) -> None:
    table.record(COMPLETED)

    process(archiver(delete_at_twilio=True))
    held = row(table)
    time.turn(60)
    process(archiver(delete_at_twilio=True))

    assert twilio.asked == ["media 2", "delete"]
    assert (held["deleted_at_twilio"], row(table)) == ("2026-11-22T07:33:01.000Z", held)


def test_of_what_is_archived_nothing_is_asked_whatever_its_row_does_not_say(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED._replace(told={}))
    table.note(row(table), archive={"bucket": BUCKET, "key": f"{KEY}wav", "archived_at": "2026"})

    process(archiver())

    assert twilio.asked == []


def test_everything_that_twilio_is_asked_ends_with_the_time_there_is(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED._replace(told={"call_sid": CALL}))
    deadline = Deadline(60)

    archiver(delete_at_twilio=True).process(SID, deadline=deadline)

    assert twilio.asked == ["fetch", "media 2", "delete"]
    assert {id(given) for given in twilio.deadlines} == {id(deadline)}


def test_why_there_is_no_audio_is_asked_in_the_time_there_is_too(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    twilio.refusals = {"media 2": NOT_READY}
    deadline = Deadline(60)

    with pytest.raises(MediaNotReadyError):
        archiver().process(SID, deadline=deadline)

    assert twilio.asked == ["media 2", "fetch"]
    assert {id(given) for given in twilio.deadlines} == {id(deadline)}


def test_where_audio_is_going_to_be_is_noted_before_it_is_there_and_for_as_long_as_it_can_take(
    archiver: Make, table: RecordingsTable, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)
    deadline, noted = Deadline(60), list[Any]()
    store = Archive.store

    def look_and_store(self: Archive, *args: Any, **named: Any) -> Any:
        noted.append(row(table)["uploads"])
        return store(self, *args, **named)

    monkeypatch.setattr(Archive, "store", look_and_store)

    archiver().process(SID, deadline=deadline)

    assert noted == [{f"{BUCKET}/{FOLDER}": until(deadline)}]


@pytest.mark.parametrize(("seconds", "is_stored"), [(9.9, False), (10, True)])
def test_what_could_not_be_taken_back_any_more_is_not_begun(
    archiver: Make, table: RecordingsTable, seconds: float, *, is_stored: bool
) -> None:
    table.record(COMPLETED)

    if is_stored:
        process(archiver(), seconds)
    else:
        with pytest.raises(NoTimeLeftError):
            process(archiver(), seconds)
    assert bool(keys()) == is_stored


# --- on how many channels -----------------------------------------------------------------------------------

ASKED: list[tuple[str, int, bool, list[int]]] = [
    ("mono", 2, False, [1]),
    ("mono", 2, True, [1]),
    ("as-recorded", 1, False, [1]),
    ("as-recorded", 2, False, [2, 1]),
    ("as-recorded", 3, False, [3, 2, 1]),
    ("as-recorded", 4, True, [4, 2, 1]),
    ("dual", 1, False, [2, 1]),
    ("dual", 1, True, [1]),
    ("dual", 2, True, [2, 1]),
    ("dual", 4, False, [2, 1]),
    ("dual", 4, True, [2, 1]),
]


@pytest.mark.parametrize(("channels", "recorded", "is_encrypted", "asked"), ASKED)
def test_it_is_asked_for_on_fewer_channels_until_twilio_has_so_many(
    archiver: Make,
    table: RecordingsTable,
    twilio: TwilioStub,
    channels: str,
    recorded: int,
    asked: list[int],
    *,
    is_encrypted: bool,
) -> None:
    facts = ENCRYPTED if is_encrypted else COMPLETED
    table.record(facts._replace(told={**facts.told, "channels": recorded}))
    twilio.refusals = {f"media {number}": NOT_ON_SO_MANY for number in asked[:-1]}

    process(archiver(channels=channels))

    assert twilio.asked == [f"media {number}" for number in asked]
    assert row(table)["archive"]["channels"] == asked[-1]


def test_where_twilio_has_it_on_no_number_of_channels_it_may_be_asked_later(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    twilio.refusals = {"media 2": NOT_ON_SO_MANY, "media 1": NOT_ON_SO_MANY}

    with pytest.raises(ChannelsRefusedError):
        process(archiver())

    assert twilio.asked == ["media 2", "media 1", "fetch"]


@pytest.mark.parametrize(("recorded", "is_stored"), [(1, True), (2, False)])
def test_what_comes_with_fewer_channels_than_asked_for_is_kept_only_where_no_more_were_recorded(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, recorded: int, *, is_stored: bool
) -> None:
    table.record(COMPLETED._replace(told=TOLD | {"channels": recorded}))
    twilio.sounds[2] = sound("wav", 1)

    if is_stored:
        process(archiver(channels="dual"))
        assert (twilio.asked, row(table)["archive"]["channels"]) == (["media 2", "media 1"], 1)
    else:
        with pytest.raises(WrongChannelsError, match="1 channels instead of 2"):
            process(archiver(channels="dual"))
        assert keys() == []


# --- what Twilio is asked first ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["as-recorded", "dual", "mono"])
@pytest.mark.parametrize("missing", ["duration_seconds", "channels", "start_time", None])
@pytest.mark.parametrize("earlier", ["in-progress", "new", None])
def test_what_was_not_told_of_the_completed_recording_is_asked_for(
    archiver: Make,
    table: RecordingsTable,
    twilio: TwilioStub,
    channels: str,
    missing: str | None,
    earlier: str | None,
) -> None:
    """When it began does not change; how long it is and on how many channels is known in the end alone."""
    told = {name: value for name, value in TOLD.items() if name != missing}
    if earlier and missing:
        table.record(COMPLETED._replace(status=earlier, told={missing: TOLD[missing]}))
    table.record(COMPLETED._replace(told=told))

    process(archiver(channels=channels))

    needed = {"duration_seconds"} | ({"channels"} if channels != "mono" else set())
    is_asked = missing in needed or (missing == "start_time" and not earlier)
    assert ("fetch" in twilio.asked) == is_asked
    assert keys() == [f"{KEY}wav"]


@pytest.mark.parametrize(
    ("held", "is_asked"), [({}, True), ({"encryption_details": DETAILS}, False)], ids=["unread", "read"]
)
def test_encryption_that_nobody_could_read_is_asked_for(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, held: dict[str, Any], *, is_asked: bool
) -> None:
    table.record(COMPLETED._replace(told=TOLD | held, metadata={"EncryptionDetails": "{not JSON"}))

    process(archiver())

    assert ("fetch" in twilio.asked) == is_asked


@pytest.mark.parametrize("name", ["duration", "channels"])
def test_what_twilio_does_not_say_either_is_named(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, name: str
) -> None:
    table.record(COMPLETED._replace(told={"start_time": TOLD["start_time"]}))
    twilio.shown = {name: None}

    with pytest.raises(WrongMediaError, match=name):
        process(archiver())

    assert twilio.asked == ["fetch"]


ENDS: dict[str, tuple[dict[str, Any], type[CallRecordingError] | None, str]] = {
    "absent": ({"status": "absent"}, NoAudioError, "completed"),
    "failed": ({"status": "failed"}, NoAudioError, "completed"),
    "deleted": ({"status": "deleted"}, None, "deleted"),
    "elsewhere": ({"media_url": "https://audio.s3.amazonaws.com/RE1.wav"}, StoredElsewhereError, "completed"),
    "deleted elsewhere": (
        {"status": "deleted", "media_url": "https://audio.s3.amazonaws.com/RE1.wav"},
        None,
        "deleted",
    ),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("shown", "error", "status"), ENDS.values(), ids=ENDS)
def test_what_twilio_says_of_a_recording_that_it_gives_no_audio_of_counts(
    archiver: Make,
    table: RecordingsTable,
    twilio: TwilioStub,
    when: str,
    shown: dict[str, Any],
    error: type[CallRecordingError] | None,
    status: str,
) -> None:
    """Whether it is asked before, because the row does not know enough, or after it gave none."""
    table.record(COMPLETED._replace(told=TOLD if when == "after" else {"call_sid": CALL}))
    twilio.shown, twilio.refusals = shown, {"media 2": NOT_READY}

    if error:
        with pytest.raises(error) as caught:
            process(archiver(delete_at_twilio=True))
        assert getattr(caught.value, "recording_sid", None) == SID
    else:
        process(archiver(delete_at_twilio=True))
    assert twilio.asked == (["media 2", "fetch"] if when == "after" else ["fetch"])
    assert (row(table)["status"], keys()) == (status, [])


@pytest.mark.parametrize("refusal", [NOT_READY, REFUSED])
@pytest.mark.parametrize("shown", [{}, NOT_FOUND])
def test_audio_that_twilio_may_give_later_is_asked_for_later(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, refusal: Exception, shown: Any
) -> None:
    """A recording that it does not show may be in another region."""
    table.record(COMPLETED)
    twilio.refusals = {"media 2": refusal} | ({"fetch": shown} if shown else {})

    with pytest.raises(type(refusal)) as caught:
        process(archiver())

    assert (caught.value, twilio.asked) == (refusal, ["media 2", "fetch"])


@pytest.mark.parametrize("refusal", [NOT_OURS, BUSY])
def test_a_refusal_that_says_nothing_of_the_audio_is_no_reason_to_ask_more(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, refusal: Exception
) -> None:
    table.record(COMPLETED)
    twilio.refusals = {"media 2": refusal}

    with pytest.raises(type(refusal)):
        process(archiver())

    assert twilio.asked == ["media 2"]


def test_a_row_that_is_removed_while_twilio_is_asked_does_not_come_back(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED._replace(told={}))
    key = {"recording_sid": {"S": SID}}
    twilio.before_answering = lambda: table.client.delete_item(TableName=table.name, Key=key)

    with pytest.raises(RecordingNotFoundError):
        process(archiver())

    assert (twilio.asked, table.reader.get(SID)) == (["fetch"], None)


# --- while somebody deletes it, or another delivery archives it ----------------------------------------------

RECEIPT = {"recording_sid": SID, "deleted_at": "2026-11-22T07:33:01.000Z"}


def begin_to_delete(table: RecordingsTable) -> None:
    table.note(row(table), deleting_until=clock.iso_milliseconds(clock.now() + timedelta(minutes=1)))


def delete(table: RecordingsTable) -> None:
    table.record(Facts.gone(SID, ACCOUNT, deletion=RECEIPT))


@pytest.mark.parametrize("word", ["media 2", "fetch"])
@pytest.mark.parametrize("happens", [begin_to_delete, delete])
def test_what_is_deleted_while_twilio_is_asked_is_neither_read_nor_stored(
    archiver: Make,
    table: RecordingsTable,
    twilio: TwilioStub,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    happens: Callable[[RecordingsTable], None],
) -> None:
    monkeypatch.setattr(Sound, "iter_content", lambda *_: pytest.fail("it was read"))
    table.record(COMPLETED._replace(told=TOLD if word == "media 2" else {}))
    twilio.shown = {"status": "deleted"}
    twilio.before_answering = lambda: happens(table)

    if happens is begin_to_delete:
        with pytest.raises(RecordingBeingDeletedError) as caught:
            process(archiver(delete_at_twilio=True))
        assert caught.value.recording_sid == SID
    else:
        process(archiver(delete_at_twilio=True))
    assert (twilio.asked, keys()) == ([word], [])


def test_what_begins_to_be_deleted_before_is_not_even_asked_for(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    begin_to_delete(table)

    with pytest.raises(RecordingBeingDeletedError):
        process(archiver())

    assert (twilio.asked, "uploads" in row(table)) == ([], False)


def test_what_is_deleted_while_it_passes_never_becomes_an_object(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)
    pieces = Sound.iter_content

    def delete_in_the_end(self: Sound, most_bytes: int) -> Iterator[bytes]:
        yield from pieces(self, most_bytes)
        begin_to_delete(table)

    monkeypatch.setattr(Sound, "iter_content", delete_in_the_end)

    with pytest.raises(RecordingBeingDeletedError):
        process(archiver())

    assert keys() == []


def test_what_lies_in_the_archive_of_a_deleted_recording_is_taken_out(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, bucket: str
) -> None:
    table.record(COMPLETED)
    delete(table)
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{KEY}wav", Body=b"late")

    process(archiver())

    assert (keys(), twilio.asked) == ([], [])


def test_what_is_gone_at_twilio_without_a_receipt_stays_in_the_archive(
    archiver: Make, table: RecordingsTable, bucket: str
) -> None:
    table.record(COMPLETED)
    table.record(Facts.gone(SID, ACCOUNT))
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{KEY}wav", Body=b"the only copy")

    process(archiver())

    assert keys() == [f"{KEY}wav"]


def test_what_another_delivery_archived_meanwhile_is_not_stored_again(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)

    def archive_first() -> None:
        twilio.before_answering = lambda: None
        process(archiver())
        monkeypatch.setattr(Archive, "store", lambda *_, **__: pytest.fail("there is one already"))

    twilio.before_answering = archive_first

    process(archiver())

    assert twilio.asked == ["media 2", "media 2"]


def test_what_another_delivery_archived_and_deleted_at_twilio_stays_completed(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)

    def archive_first() -> None:
        twilio.before_answering = lambda: None
        process(archiver(delete_at_twilio=True))
        twilio.refusals, twilio.shown = {"media 2": NOT_READY}, {"status": "deleted"}

    twilio.before_answering = archive_first

    process(archiver(delete_at_twilio=True))

    assert twilio.asked == ["media 2", "media 2", "delete", "fetch"]
    assert row(table)["status"] == "completed"


# --- deleting at Twilio --------------------------------------------------------------------------------------


def test_what_was_deleted_at_twilio_before_is_noted_too(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    twilio.refusals = {"delete": NOT_FOUND}

    process(archiver(delete_at_twilio=True))

    assert row(table)["deleted_at_twilio"] == "2026-11-22T07:33:01.000Z"


def test_what_twilio_does_not_delete_is_not_noted_and_asked_for_again(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    twilio.refusals = {"delete": REFUSED}

    for _ in range(2):
        with pytest.raises(TwilioRefusedError):
            process(archiver(delete_at_twilio=True))

    assert twilio.asked == ["media 2", "delete", "delete"]
    assert "deleted_at_twilio" not in row(table)


def test_what_is_not_in_the_archive_any_more_is_not_deleted_at_twilio(
    archiver: Make, table: RecordingsTable, twilio: TwilioStub, bucket: str
) -> None:
    table.record(COMPLETED)
    process(archiver())
    boto3.client("s3").delete_object(Bucket=bucket, Key=f"{KEY}wav")

    with pytest.raises(NotArchivedError):
        process(archiver(delete_at_twilio=True))

    assert twilio.asked == ["media 2"]


# --- what is whole, and what an object says of itself ---------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "farthest"), [(0, 2), (2, 2), (200, 2), (250, 2.5), (300, 3), (500, 5), (501, 5), (36_000, 5)]
)
@pytest.mark.parametrize("is_followed", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_audio_may_be_so_much_longer_or_shorter_than_twilio_says_and_no_more(
    told: int, farthest: float, sign: int, *, is_followed: bool
) -> None:
    farthest = 1 if is_followed else farthest
    passing = _Passing(Media(cast("Any", sound("wav", 2))), {"duration_seconds": told}, FORMATS["wav"], 2)

    def look(seconds: float) -> None:
        passing._check_audio(Audio(told + sign * seconds, 2, is_bounded=True, is_followed=is_followed))  # noqa: SLF001 (hours of sound)

    look(farthest)
    assert passing.milliseconds == round((told + sign * farthest) * 1000)
    with pytest.raises(WrongMediaError, match="Twilio reports"):
        look(farthest + 0.01)


@pytest.mark.parametrize(
    ("announced", "is_whole"), [(None, True), (41, True), (43, True), (41.01, False), (42, False), (42.99, False)]
)
def test_audio_that_announced_what_twilio_says_and_is_shorter_is_cut(
    announced: float | None, *, is_whole: bool
) -> None:
    passing = _Passing(Media(cast("Any", sound("wav", 2))), {"duration_seconds": 42}, FORMATS["wav"], 2)
    audio = Audio(41, 2, is_bounded=True, announced_seconds=announced)

    if is_whole:
        passing._check_audio(audio)  # noqa: SLF001 (an announcement alone)
    else:
        with pytest.raises(WrongMediaError, match="instead of"):
            passing._check_audio(audio)  # noqa: SLF001 (an announcement alone)


def test_an_object_says_what_it_is(table: RecordingsTable) -> None:
    facts = ENCRYPTED.asked_for(by="x", callback_url="https://x", intent="i", reference="Ärger 4711")
    table.record(facts)

    assert _metadata(row(table), 1) == {
        "recording-sid": SID,
        "call-sid": CALL,
        "account-sid": ACCOUNT,
        "duration-seconds": "2",
        "channels": "1",
        "start-time": "2026-11-22T07:33:00Z",
        "encryption-details": json.dumps(DETAILS),
        "reference": "%C3%84rger%204711",
    }


def test_an_object_does_not_say_what_its_row_does_not(table: RecordingsTable) -> None:
    table.record(COMPLETED._replace(told={name: TOLD[name] for name in ("duration_seconds", "start_time")}))

    assert _metadata(row(table), 2) == {
        "recording-sid": SID,
        "account-sid": ACCOUNT,
        "duration-seconds": "2",
        "channels": "2",
        "start-time": "2026-11-22T07:33:00Z",
    }


def test_an_object_says_as_much_as_there_is_room_for(table: RecordingsTable) -> None:
    table.record(COMPLETED)
    held = row(table)
    without = sum(len(name) + len(value) for name, value in _metadata(held, 2).items())
    most = 1900 - without - len("reference")

    fits, does_not = (_metadata(held | {"reference": "x" * (most + more)}, 2) for more in (0, 1))
    besides = _metadata(held | {"encryption_details": {"key": "x" * 2000}, "reference": "short"}, 2)

    assert (len(fits["reference"]), "reference" in does_not) == (most, False)
    assert ("encryption-details" in besides, besides["reference"]) == (False, "short")


def test_a_lock_on_a_deleted_recordings_audio_is_told(
    archiver: Make, table: RecordingsTable, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)
    delete(table)
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{KEY}wav", Body=b"locked")
    made = archiver()
    monkeypatch.setattr(made.archive.client, "head_object", lambda **_: {"ObjectLockLegalHoldStatus": "ON"})

    with pytest.raises(ArchiveLockedError):
        process(made)
