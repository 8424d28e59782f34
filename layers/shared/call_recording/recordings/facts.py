"""What one source reports about one recording at one moment, with the table's attribute names."""

import zlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

from call_recording import clock
from call_recording.recordings.row import MOST_DIGITS

# Only for type checking: creating a protocol costs more of a cold start than most modules.
if TYPE_CHECKING:

    class Resource(Protocol):
        """A recording resource from Twilio; `audio_url` is the URL of its audio."""

        audio_url: str

        def get(self, name: str, /) -> Any:
            """Return what the resource says there, or None."""
            ...

        def __getitem__(self, name: str, /) -> Any:
            """Return what the resource says there."""
            ...


_FIRST_YEAR: Final = 2000
"""Nothing was recorded before; also, years below 1000 would not have four digits."""

_MOST: Final = 999_999_999
"""Upper limits: more seconds than a call can last, and more channels than it can have."""

_STORAGE: Final = frozenset({"https", "http", "s3"})
"""Prefixes of URLs of audio in the account's own storage."""

_DEEPEST: Final = 16
"""The most nesting levels of an object that is stored; DynamoDB itself allows 32 for a whole row."""

_ENCRYPTION_NAMES: Final = {
    "public_key_sid": "encryption_public_key_sid",
    "encrypted_cek": "encryption_cek",
    "iv": "encryption_iv",
}
"""A callback's names, and the resource's names for the same. Source: Twilio's page on encrypted voice recordings."""

SHARDS: Final = 4
"""Partitions of an index for one account's recordings of a day, or with one reference.

A partition accepts 1,000 write units per second; each new recording costs one, or two if its start must be corrected.
Source: "Best practices for designing and using partition keys effectively", DynamoDB developer guide.
"""

BY_HTTP: Final = "http"
BY_EVENTBRIDGE: Final = "eventbridge"
BY_TWILIO: Final = "twilio"
"""The recording was not requested through this stack: only Twilio had it."""


class Control(NamedTuple):
    """When Twilio paused, resumed or stopped a recording, to find the later of two answers.

    `changed_at` is Twilio's own time, in whole seconds; within one second `seen_at` decides: when we got
    the answer, but later than `after`, the row's value before Twilio was asked. All are ISO 8601,
    UTC. `timer` is the timer that monitors the pause, if there is one, `by` the request, or the pause of
    everything. In a row, `rival` is the latest `seen_at` of the answers of the same second to others.
    """

    changed_at: str
    seen_at: str
    timer: str = ""
    by: str = ""
    after: str = ""
    rival: str = ""

    @property
    def order(self) -> tuple[str, ...]:
        """The key that decides which of two answers is the later one."""
        return self[:-1]

    @property
    def is_surely_last(self) -> bool:
        """Return whether Twilio certainly made no later change in the same second for somebody else."""
        return self.rival <= self.after

    @property
    def is_of_everything(self) -> bool:
        """Return whether a pause of everything made the change: only the end of its name has a hyphen."""
        return "-" in self.by

    def merged_with(self, other: Self, *, is_same: bool) -> Self:
        """Return the later one, with the rivals of both. `is_same`: both made it the same, such as paused."""
        last, first = max(self, other), min(self, other)
        if last.changed_at != first.changed_at or last.order == first.order:
            return last
        # Several attempts of one request are no rivals, nor are several pauses of everything.
        is_one_request = bool(last.by) and last.by == first.by
        are_of_everything = is_same and last.is_of_everything and first.is_of_everything
        rival = "" if is_one_request or are_of_everything else first.seen_at
        return last._replace(rival=max(last.rival, first.rival, rival))

    def as_dict(self) -> dict[str, str]:
        """Return the attribute `control` of a row."""
        return self._asdict()


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Facts(NamedTuple):
    """A report about a recording.

    `told` contains only those of Twilio's attributes that the report mentions (`is_told` in `row.ATTRIBUTES`).
    `metadata` contains callback parameters that this version does not know, under Twilio's names.
    `seen_at` is ISO 8601, UTC, with milliseconds. `intent` names the request that the recording was
    started for, if it was started for one through this stack. `control` is there in Twilio's answers
    to pause, resume and stop. `noted` contains what this stack did: `archive` (the proof), `deleted_at_twilio`
    (when this stack deleted the archived audio there) and `deletion` (the receipt), each set once; `uploads`
    (where audio was going to be stored, and until when that can take) and `deleting_until`.
    `timers` and `pauses_ended_at` are explained in `watches`. `requested_call_sid` and `reference` are from the
    request that started the recording: its call, and the caller's own name for it. `created_at`
    replaces a missing start.
    """

    recording_sid: str
    account_sid: str
    status: str
    seen_at: str
    told: Mapping[str, Any] = _NOTHING
    metadata: Mapping[str, str] = _NOTHING
    requested_by: str = BY_TWILIO
    callback_url: str | None = None
    intent: str | None = None
    control: Control | None = None
    noted: Mapping[str, Any] = _NOTHING
    timers: Mapping[str, str] = _NOTHING
    pauses_ended_at: str = ""
    requested_call_sid: str | None = None
    reference: str | None = None
    created_at: str = ""

    @classmethod
    def from_recording(cls, recording: "Resource") -> Self:
        """Return the facts of a recording resource in Twilio's answer to create or update."""
        told = {name: read(recording.get(source)) for name, (source, read) in _RESOURCE_FIELDS.items()}
        told["recording_url"] = recording.audio_url
        told["stored_elsewhere"] = elsewhere(recording.get("media_url"), recording.audio_url)
        return cls(
            recording_sid=recording["sid"],
            account_sid=recording["account_sid"],
            status=text(recording["status"]) or "",
            seen_at=clock.iso_milliseconds(clock.now()),
            told=mentioned(told),
            created_at=moment(recording.get("date_created")) or "",
        )

    @classmethod
    def from_fetched(cls, recording: "Resource") -> Self:
        """Return the facts of a recording resource that was fetched or listed.

        There Twilio shows `processing` for everything that is not final, including running recordings. So
        it only shows that the recording exists: the lowest status, which overrides nothing.
        """
        facts = cls.from_recording(recording)
        return facts._replace(status="in-progress") if facts.status == "processing" else facts

    @classmethod
    def from_updated(
        cls,
        recording: "Resource",
        *,
        timer: str = "",
        by: str = "",
        before: Mapping[str, Any] | None = None,
        is_repeated: bool = False,
    ) -> Self:
        """Return the facts of a recording resource in Twilio's answer to pause, resume or stop.

        `timer` monitors the pause, or resumes. `by` is the request. `before` is the row before Twilio
        was asked. `is_repeated`: Twilio was asked more than once, and may still be working on it.
        """
        # Imported here to shorten cold starts: starts and callbacks control nothing.
        from call_recording.recordings import watches  # noqa: PLC0415

        facts = cls.from_recording(recording)
        changed_at = moment(recording.get("date_updated"))
        after = before["control"]["seen_at"] if before and "control" in before else ""
        seen_at = max(facts.seen_at, _a_moment_later(after))
        control = Control(changed_at or f"{seen_at[:19]}Z", seen_at, timer, by, after)
        facts = facts._replace(control=control)
        if facts.status == "paused" and not timer:
            return facts
        timers = watches.ended_by(control.changed_at, before)
        if timer and facts.status != "paused":
            timers[timer] = watches.RESUMED
        elif timer and changed_at:
            late = watches.ACTS_LATE if is_repeated else timedelta()
            timers[timer] = clock.iso_seconds(datetime.fromisoformat(changed_at) + late)
        return facts._replace(timers=timers, pauses_ended_at=changed_at or "")

    @classmethod
    def gone(cls, recording_sid: str, account_sid: str, *, deletion: Mapping[str, Any] | None = None) -> Self:
        """Return the facts of a recording that Twilio no longer has."""
        noted = {"deletion": deletion} if deletion else {}
        return cls(recording_sid, account_sid, "deleted", clock.iso_milliseconds(clock.now()), noted=noted)

    @classmethod
    def about(cls, row: Mapping[str, Any], **noted: Any) -> Self:
        """Return facts about what this stack did with a recording, without a report of Twilio."""
        seen_at = clock.iso_milliseconds(clock.now())
        return cls(row["recording_sid"], row["account_sid"], row["status"], seen_at, noted=noted)

    @property
    def began_at(self) -> str:
        """When it began or else was created, according to Twilio: ISO 8601, UTC; empty if Twilio reports neither."""
        return self.told.get("start_time") or self.created_at

    @property
    def began_by(self) -> str:
        """By when it had certainly begun: if Twilio does not report that, when it was first reported."""
        return self.began_at or f"{self.seen_at[:19]}Z"

    @property
    def need_a_row(self) -> bool:
        """Whether they need an existing row: without one they would create a row with nothing else.

        Only a receipt justifies that.
        """
        return bool(self.noted) and not self.told and "deletion" not in self.noted

    def asked_for(
        self, *, by: str, callback_url: str, intent: str, call_sid: str | None = None, reference: str | None = None
    ) -> Self:
        """Return the same facts with the source of the request, its intent, and the callback URL.

        `call_sid` is the call in the request, which can differ from the one that Twilio reports.
        """
        return self._replace(
            requested_by=by, callback_url=callback_url, intent=intent, requested_call_sid=call_sid, reference=reference
        )


def _a_moment_later(iso_time: str) -> str:
    return clock.iso_milliseconds(datetime.fromisoformat(iso_time) + timedelta(milliseconds=1)) if iso_time else ""


def mentioned(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes with a value: Twilio leaves the others null, empty or out."""
    return {name: value for name, value in told.items() if value is not None}


def text(value: object) -> str | None:
    """Return the value as text, or None if it is missing or blank.

    JSON can contain lone surrogates, which DynamoDB does not support: they become question marks.
    """
    return str(value).encode(errors="replace").decode() if value is not None and str(value) else None


def count(value: object) -> int | None:
    """Return a whole number; None if missing, unreadable, negative (Twilio's "not known yet") or impossibly large."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if 0 <= number <= _MOST else None


def details(value: object) -> dict[str, Any] | None:
    """Return encryption details, a JSON object, in a form for the row; None if empty or not storable.

    Callbacks have other names than the resource; a row has the resource's. Numbers that DynamoDB would
    change become text. Objects that are nested deeper than `_DEEPEST`, or contain lone surrogates, are not
    storable.
    """
    try:
        held: dict[str, Any] | None = _held(value, _DEEPEST) if isinstance(value, dict) else None
    except ValueError:
        return None
    # Empty details must not make the audio count as encrypted, because encrypted audio is not checked.
    held = {name: inner for name, inner in (held or {}).items() if name and inner not in (None, "", {}, [])}
    if not held:
        return None
    # If both names exist, the resource's counts.
    return {
        _ENCRYPTION_NAMES.get(name, name): inner
        for name, inner in held.items()
        if _ENCRYPTION_NAMES.get(name) not in held
    }


def _held(value: Any, levels: int = 0) -> Any:
    if isinstance(value, dict | list) and not levels:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {_held(name): _held(inner, levels - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_held(inner, levels - 1) for inner in value]
    if isinstance(value, str):
        value.encode()  # raises ValueError for a lone surrogate
    is_kept = not isinstance(value, float) and (not isinstance(value, int) or abs(value) < 10**MOST_DIGITS)
    return value if is_kept else str(value)


def channel_count(value: object) -> int | None:
    """Return the number of channels; None for 0, which Twilio's resource shows until it is known."""
    return count(value) or None


def error_code(value: object) -> str | None:
    """Return Twilio's error code; None for 0, which callbacks send when nothing is wrong."""
    return text(value) if text(value) != "0" else None


def moment(value: object) -> str | None:
    """Return an RFC 2822 time as ISO 8601 in UTC with whole seconds; None if missing or unreadable."""
    utc = clock.from_rfc_2822(value)
    return clock.iso_seconds(utc) if utc and utc.year >= _FIRST_YEAR else None


def elsewhere(media_url: object, audio_url: str) -> str | None:
    """Return the audio's URL if it is not at Twilio, without user, query and fragment; None otherwise, or if unknown.

    "When stored externally, this is the full URL location of the media file." Source: `media_url` of the
    account's Recording resource in Twilio's OpenAPI description. `audio_url` has the host of the API that was used.
    """
    if not isinstance(media_url, str):
        return None
    try:
        url = urlsplit(media_url)
        host = (url.hostname or "").rstrip(".")
    except ValueError:  # an invalid URL
        return None
    is_twilios = host == "twilio.com" or host.endswith(".twilio.com") or host == urlsplit(audio_url).hostname
    if not host or url.scheme not in _STORAGE or (is_twilios and url.scheme != "s3"):
        return None
    return text(f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}")


def account_day(account_sid: str, start_time: str) -> str:
    """Return the key of index `by-account-day`, to be sharded: the account and the UTC day of an ISO 8601 time."""
    return f"{account_sid}#{start_time[:10]}"


def account_reference(account_sid: str, reference: str) -> str:
    """Return the key of index `by-reference`, to be sharded: references are an account's own."""
    return f"{account_sid}#{reference}"


def sharded(key: str, recording_sid: str) -> str:
    """Return the recording's partition, of those over which all recordings with that key are spread."""
    return shards_of(key)[zlib.crc32(recording_sid.encode()) % SHARDS]


def shards_of(key: str) -> tuple[str, ...]:
    """Return all partitions with that key; rows from before sharding are in none of them."""
    return tuple(f"{number}#{key}" for number in range(SHARDS))


def epoch_seconds(iso_time: str) -> int:
    """Return an ISO 8601 time as seconds since 1970, for DynamoDB's TTL."""
    return int(datetime.fromisoformat(iso_time).timestamp())


_RESOURCE_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "call_sid": ("call_sid", text),
    "conference_sid": ("conference_sid", text),
    "duration_seconds": ("duration", count),
    "channels": ("channels", channel_count),
    "source": ("source", text),
    "track": ("track", text),
    "start_time": ("start_time", moment),
    "error_code": ("error_code", error_code),
    "price": ("price", text),
    "price_unit": ("price_unit", text),
    "encryption_details": ("encryption_details", details),
}
