"""What one source says of one recording at one moment, in the table's own attribute names."""

import zlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

from call_recording import clock
from call_recording.recordings.row import MOST_DIGITS

# Nothing at run time: making a protocol costs a cold start more than most modules.
if TYPE_CHECKING:

    class Resource(Protocol):
        """A recording resource as Twilio answered it; `audio_url` is where its audio is."""

        audio_url: str

        def get(self, name: str, /) -> Any:
            """Return what the resource says there, or None."""
            ...

        def __getitem__(self, name: str, /) -> Any:
            """Return what the resource says there."""
            ...


_FIRST_YEAR: Final = 2000
"""Nothing was recorded before; and years below 1000 would not be four digits."""

_MOST: Final = 999_999_999
"""More seconds than a call can last, and more channels."""

_STORAGE: Final = frozenset({"https", "http", "s3"})
"""What the address of audio in a storage of the account's own can begin with."""

_DEEPEST: Final = 16
"""Levels of an object that is kept; DynamoDB itself takes 32 of a whole row."""

_ENCRYPTION_NAMES: Final = {
    "public_key_sid": "encryption_public_key_sid",
    "encrypted_cek": "encryption_cek",
    "iv": "encryption_iv",
}
"""A callback's names, and the resource's for the same. Source: Twilio's page on encrypted voice recordings."""

SHARDS: Final = 4
"""Partitions of an index for all that one account has of a day, or with one reference.

A partition takes 1,000 write units a second, and each new recording costs one, two if its start has to be put right.
Source: "Best practices for designing and using partition keys effectively", DynamoDB developer guide.
"""

BY_HTTP: Final = "http"
BY_EVENTBRIDGE: Final = "eventbridge"
BY_TWILIO: Final = "twilio"
"""Nobody asked through this stack: only Twilio knew of the recording."""


class Control(NamedTuple):
    """When Twilio paused, resumed or stopped a recording, so that the later of two answers can be told.

    `changed_at` is Twilio's own time, in whole seconds; within one second `seen_at` decides: when we had
    the answer, but later than `after`, the one that the row had before Twilio was asked. All are ISO 8601,
    UTC. `timer` names what watches over a pause, if anything does, `by` the request. In a row, `rival` is
    the latest `seen_at` of the other answers of the same second.
    """

    changed_at: str
    seen_at: str
    timer: str = ""
    by: str = ""
    after: str = ""
    rival: str = ""

    @property
    def order(self) -> tuple[str, ...]:
        """What decides which of two answers is the later one."""
        return self[:-1]

    @property
    def is_surely_last(self) -> bool:
        """Tell whether Twilio did nothing else in the same second that this may have come before."""
        return self.rival <= self.after

    def merged_with(self, other: Self) -> Self:
        """Return the later one, with the rivals of both."""
        last, first = max(self, other), min(self, other)
        if last.changed_at != first.changed_at or last.order == first.order:
            return last
        return last._replace(rival=max(last.rival, first.rival, first.seen_at))

    def as_dict(self) -> dict[str, str]:
        """Return the attribute `control` of a row."""
        return self._asdict()


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Facts(NamedTuple):
    """A report about a recording.

    `told` holds Twilio's attributes that the report mentions, and only those (`is_told` in `row.ATTRIBUTES`).
    `metadata` holds callback parameters that this version does not know, under Twilio's names.
    `seen_at` is ISO 8601, UTC, with milliseconds. `intent` names the request that the recording was
    started for, if it was started for one through this stack. `control` is there in Twilio's answers
    to pause, resume and stop. `noted` holds what this stack did: `archive` (the proof), `deleted_at_twilio`
    (when we had the archived audio deleted there) and `deletion` (the receipt), each noted once; `uploads`
    (where audio was going to be stored, and until when that can last) and `deleting_until`.
    `timers` and `pauses_ended_at` are what `watches` knows. `requested_call_sid` and `reference` are what the
    request said that the recording was started for: its call, and the caller's own name for it. `created_at`
    stands in for a start that is not told.
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
        """Return what a recording resource says that Twilio answered to create or update."""
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
        """Return what a recording resource says that was fetched or listed.

        There Twilio shows `processing` for everything that is not final, running recordings too. So
        it only says that the recording exists: the lowest status, which overrides nothing.
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
        """Return what a recording resource says that Twilio answered to pause, resume or stop.

        `timer` watches over the pause, or resumes. `by` names the request. `before` is the row as it was
        before Twilio was asked. `is_repeated`: Twilio was asked more than once, and may still be at it.
        """
        # Here, because starts and callbacks wait for cold starts, and control nothing.
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
        """Return what it means that Twilio no longer has the recording."""
        noted = {"deletion": deletion} if deletion else {}
        return cls(recording_sid, account_sid, "deleted", clock.iso_milliseconds(clock.now()), noted=noted)

    @classmethod
    def about(cls, row: Mapping[str, Any], **noted: Any) -> Self:
        """Return what this stack did with a recording whose row says all that Twilio said."""
        seen_at = clock.iso_milliseconds(clock.now())
        return cls(row["recording_sid"], row["account_sid"], row["status"], seen_at, noted=noted)

    @property
    def began_at(self) -> str:
        """When Twilio says it began, or else was created: ISO 8601, UTC; empty where it says neither."""
        return self.told.get("start_time") or self.created_at

    @property
    def began_by(self) -> str:
        """By when it surely had begun: where Twilio says nothing of that, when it was heard of."""
        return self.began_at or f"{self.seen_at[:19]}Z"

    @property
    def need_a_row(self) -> bool:
        """Whether they say nothing by themselves: without its row they would make one that knows nothing else.

        Only a receipt is worth that.
        """
        return bool(self.noted) and not self.told and "deletion" not in self.noted

    def asked_for(
        self, *, by: str, callback_url: str, intent: str, call_sid: str | None = None, reference: str | None = None
    ) -> Self:
        """Return the same facts, with who asked for the recording, by which request, and where it calls back.

        `call_sid` is the call that the request named, which need not be the one that Twilio names.
        """
        return self._replace(
            requested_by=by, callback_url=callback_url, intent=intent, requested_call_sid=call_sid, reference=reference
        )


def _a_moment_later(iso_time: str) -> str:
    return clock.iso_milliseconds(datetime.fromisoformat(iso_time) + timedelta(milliseconds=1)) if iso_time else ""


def mentioned(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that say something: Twilio leaves the others null, empty or out."""
    return {name: value for name, value in told.items() if value is not None}


def text(value: object) -> str | None:
    """Return the value as text, or None when it is missing or blank.

    JSON can hold halves of characters, which no text of DynamoDB's can: they become question marks.
    """
    return str(value).encode(errors="replace").decode() if value is not None and str(value) else None


def count(value: object) -> int | None:
    """Return a whole number; None when missing, unreadable, negative (Twilio's "not known yet") or beyond belief."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if 0 <= number <= _MOST else None


def details(value: object) -> dict[str, Any] | None:
    """Return encryption details, a JSON object, as a row can hold them; None when empty, or they cannot be held.

    Callbacks have other names than the resource; a row has the resource's. Numbers that DynamoDB could not
    keep as they are become text. What is nested deeper than `_DEEPEST`, or holds halves of characters, cannot
    be held.
    """
    try:
        held: dict[str, Any] | None = _held(value, _DEEPEST) if isinstance(value, dict) else None
    except ValueError:
        return None
    # What says nothing must not look like encryption, which nobody can look into.
    held = {name: inner for name, inner in (held or {}).items() if name and inner not in (None, "", {}, [])}
    if not held:
        return None
    # Where both names are there, the resource's counts.
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
        value.encode()  # raises a ValueError where half a character is
    is_kept = not isinstance(value, float) and (not isinstance(value, int) or abs(value) < 10**MOST_DIGITS)
    return value if is_kept else str(value)


def channel_count(value: object) -> int | None:
    """Return the number of channels; None for 0, which Twilio's resource shows until it is known."""
    return count(value) or None


def error_code(value: object) -> str | None:
    """Return Twilio's error code; None for 0, which callbacks send when nothing is wrong."""
    return text(value) if text(value) != "0" else None


def moment(value: object) -> str | None:
    """Return an RFC 2822 time as ISO 8601 in UTC with whole seconds; None when missing or unreadable."""
    utc = clock.from_rfc_2822(value)
    return clock.iso_seconds(utc) if utc and utc.year >= _FIRST_YEAR else None


def elsewhere(media_url: object, audio_url: str) -> str | None:
    """Return where the audio is if that is not at Twilio, without user, query and fragment; None if it is, or unknown.

    "When stored externally, this is the full URL location of the media file." Source: `media_url` of the
    account's Recording resource in Twilio's OpenAPI description. `audio_url` names the API as it was asked.
    """
    if not isinstance(media_url, str):
        return None
    try:
        url = urlsplit(media_url)
        host = (url.hostname or "").rstrip(".")
    except ValueError:  # an address that is none
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
    """Return the recording's own one of the partitions that all recordings with that key are spread over."""
    return shards_of(key)[zlib.crc32(recording_sid.encode()) % SHARDS]


def shards_of(key: str) -> tuple[str, ...]:
    """Return all partitions with that key; none of them looks like a key, so rows of before are in none."""
    return tuple(f"{number}#{key}" for number in range(SHARDS))


def epoch_seconds(iso_time: str) -> int:
    """Return an ISO 8601 time as seconds since 1970, as DynamoDB's TTL wants it."""
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
