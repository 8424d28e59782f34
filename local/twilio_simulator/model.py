"""Accounts, calls, conferences and recordings as Twilio has them, and how it shows a recording.

Source, unless something else is named: Twilio's documentation of the Recordings resource, and its OpenAPI description.
"""

import json
import random
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Literal

API_VERSION: Final = "2010-04-01"
ACTIVE: Final = frozenset({"in-progress", "paused"})
BY_CALL_API: Final = "StartCallRecordingAPI"
BY_TWIML: Final = "StartCallRecordingTwiML"
"""`<Start><Recording>`. Source: live tests; Twilio's description does not have it."""

CALL_SOURCES: Final = frozenset({"DialVerb", "RecordVerb", "OutboundAPI", "Trunking", BY_CALL_API, BY_TWIML})
"""How a recording of a call can have begun; those of conferences are `Conference` and `StartConferenceRecordingAPI`."""

TOO_SHORT: Final = 16101
SILENT: Final = 16102
NOT_ENCRYPTED: Final = frozenset({16104, 16105, 16106})
"""Why an account's key could not encrypt a recording, which is `failed` then, and gone."""

type Level = Literal["account", "call", "conference"]
"""Where in the API a recording is shown; the three resources differ."""


def new_sid(prefix: str, source: random.Random | None = None) -> str:
    """Return a SID that nobody has: the prefix and 32 hexadecimal digits, from `source` to be repeatable."""
    return f"{prefix}{(source or random.SystemRandom()).getrandbits(128):032x}"


def rfc_2822(seconds: float) -> str:
    """Return a time as Twilio's 2010 API writes it, such as `Sun, 22 Nov 2026 07:33:00 +0000`."""
    return formatdate(int(seconds), usegmt=False).replace("-0000", "+0000")


@dataclass(frozen=True)
class SharedKey:
    """A key that a Webhooks rule signs with, in place of the auth token."""

    key_id: str
    secret: str


@dataclass
class Account:
    """An account, main or sub, with its own tokens."""

    sid: str
    auth_token: str
    secondary_auth_token: str | None = None
    api_keys: dict[str, str] = field(default_factory=dict)
    shared_key: SharedKey | None = None
    """What signs its callbacks; without it the auth token does."""

    refusals: dict[str, int] = field(default_factory=dict)
    """For who signs in (the account, or an API key) the code with which it is refused all the same: see `REFUSED`."""

    public_key_sid: str | None = None
    """What encrypts its recordings, `CR` and 32 hexadecimal digits."""

    external_storage_url: str | None = None
    """Its own S3 bucket, where its recordings are kept instead of at Twilio."""

    def accepts(self, user: str, password: str) -> bool:
        """Return whether Twilio lets these Basic credentials act for the account."""
        tokens = {self.auth_token, self.secondary_auth_token} - {None}
        return (user == self.sid and password in tokens) or self.api_keys.get(user) == password


# Which status goes with which code: 20005 the account is suspended, 20006 and 70051 a restricted key lacks the
# permission, 20008 the credentials are those for tests. Source: twilio.com/docs/api/errors; the statuses are reports'.
REFUSED: Final = {20003: 401, 20005: 401, 20006: 403, 20008: 403, 70051: 401}


@dataclass
class Call:
    """A call; live from the beginning until it is hung up."""

    sid: str
    account_sid: str
    is_live: bool = True
    is_silent: bool = False
    parent: "Call | None" = None
    """The other leg, from which this one was dialled."""

    began_at: float = 0.0
    """When it was made (seconds since 1970)."""

    ended_at: float | None = None
    in_progress_at: float = 0.0
    """From when on it can be recorded (seconds since 1970): some hundred milliseconds after it was answered."""

    refuses_recordings: bool = False
    """Whether it can never be recorded by the API, as one that runs `<ConversationRelay>`."""

    fails_with: int | None = None
    """Why its recordings cannot be encrypted: one of `NOT_ENCRYPTED`."""

    transferred_until: float = 0.0
    """Until when it is on its way to somebody else (seconds since 1970)."""

    def is_in_transfer(self, now: float) -> bool:
        """Return whether the call, or the one that it is a leg of, is on its way to somebody else."""
        return any(one is not None and now < one.transferred_until for one in (self, self.parent))

    def status(self, now: float) -> str:
        """Return what Twilio says of it; `in-progress` is what can be recorded."""
        if not self.is_live:
            return "completed"
        return "ringing" if now < self.in_progress_at else "in-progress"


@dataclass
class Participant:
    """A call that takes part in a conference, or did; times are seconds since 1970."""

    call: Call
    joined_at: float
    left_at: float | None = None

    @property
    def is_present(self) -> bool:
        """Whether it takes part now."""
        return self.left_at is None


@dataclass
class Conference:
    """A conference, with all who take part or did; over for good when the last one has left.

    Times are seconds since 1970. It starts when the second one joins. Source: twilio.com/docs/voice/conference.
    """

    sid: str
    account_sid: str
    began_at: float
    participants: list[Participant] = field(default_factory=list)
    """One entry for each time that somebody joined, the first one first."""

    started_at: float | None = None
    ended_at: float | None = None
    ended_by: Call | None = None
    """Who was the last one to leave; None if the API ended it."""

    @property
    def is_live(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    @property
    def present(self) -> list[Participant]:
        """Who takes part now."""
        return [one for one in self.participants if one.is_present]

    @property
    def status(self) -> str:
        """What Twilio says of it."""
        if not self.is_live:
            return "completed"
        return "init" if self.started_at is None else "in-progress"


@dataclass(frozen=True)
class CallbackTarget:
    """Where, how and about what a recording calls back."""

    url: str
    method: str
    events: frozenset[str]


@dataclass
class Recording:
    """A recording; times are seconds since 1970.

    `call` is the leg that it was asked for on, or the call that opened the `conference`.
    """

    sid: str
    call: Call
    channels: int
    track: str
    trim: str
    started_at: float
    target: CallbackTarget | None
    source: str = BY_CALL_API
    status: str = "in-progress"
    updated_at: float = 0.0
    paused_at: float | None = None
    paused_seconds: float = 0.0
    """How much shorter it is: only a pause with `PauseBehavior=skip` leaves something out."""

    skips_pause: bool = False
    duration: int | None = None
    error_code: int | None = None
    price: str | None = None
    is_deleted: bool = False
    deleted_at: float | None = None
    conference: Conference | None = None
    public_key_sid: str | None = None
    external_storage_url: str | None = None
    shows_start_time: bool = True
    """Whether `start_time` is there, which SDKs had to learn can be null."""

    audible: list[tuple[float, float | None]] = field(default_factory=list)
    """From when to when what is said can be heard in it, in order; None for an end is still. A pause is not heard,
    whether it is left out or filled with silence."""

    def __post_init__(self) -> None:
        self.updated_at = self.updated_at or self.started_at
        self.begin_to_hear(self.started_at)

    def begin_to_hear(self, now: float) -> None:
        """Note that what is said is recorded from now on."""
        self.audible.append((now, None))

    def stop_hearing(self, now: float) -> None:
        """Note that what is said is not recorded any more, if it was."""
        if self.audible and self.audible[-1][1] is None:
            begins, _ = self.audible.pop()
            if begins < now:
                self.audible.append((begins, now))

    def can_be_heard(self, at: float) -> bool:
        """Return whether what is said at a moment is in the recording."""
        return any(begins <= at and (ends is None or at < ends) for begins, ends in self.audible)

    def heard_between(self, begins: float, ends: float) -> bool:
        """Return whether anything of what is said from `begins` until `ends` is in the recording."""
        return any(max(begins, one) < (ends if end is None else min(ends, end)) for one, end in self.audible)

    @property
    def call_sid(self) -> str:
        """The call that Twilio names: always the parent leg of a call with two."""
        return (self.call.parent or self.call).sid

    @property
    def path(self) -> str:
        """The recording's own path, without an ending: where its audio is."""
        return f"/{API_VERSION}/Accounts/{self.call.account_sid}/Recordings/{self.sid}"

    def is_of_call(self, call_sid: str) -> bool:
        """Return whether it is among a call's recordings: those of conferences are not, though they name a call."""
        return self.conference is None and call_sid in {self.call.sid, self.call_sid}

    def resource(
        self, *, status: str | None = None, level: Level = "call", base_url: str = "https://api.twilio.com"
    ) -> dict[str, Any]:
        """Return the REST resource.

        Only create and update answers name the finer statuses; a fetch shows `processing` until the
        recording is done.
        """
        shown = status or ("processing" if self.status in ACTIVE | {"stopped"} else self.status)
        resource = {
            "account_sid": self.call.account_sid,
            "api_version": API_VERSION,
            "call_sid": self.call_sid,
            "conference_sid": self.conference.sid if self.conference else None,
            "channels": self.channels,
            "date_created": rfc_2822(self.started_at),
            "date_updated": rfc_2822(self.updated_at),
            "duration": None if self.duration is None else str(self.duration),
            "encryption_details": self._encryption("encryption_public_key_sid", "encryption_cek", "encryption_iv"),
            "error_code": self.error_code,
            "price": self.price,
            # Both come when the recording has been paid for.
            "price_unit": "USD" if self.price else None,
            "sid": self.sid,
            "source": self.source,
            "start_time": rfc_2822(self.started_at) if self.shows_start_time else None,
            "status": shown,
        }
        if level == "account":
            subresources = {"add_on_results": "AddOnResults", "transcriptions": "Transcriptions"}
            return resource | {
                "uri": f"{self.path}.json",
                "subresource_uris": {name: f"{self.path}/{last}.json" for name, last in subresources.items()},
                "media_url": f"{self.external_storage_url}/{self.sid}"
                if self.external_storage_url
                else base_url + self.path,
            }
        owner = f"Conferences/{resource['conference_sid']}" if level == "conference" else f"Calls/{self.call_sid}"
        uri = f"/{API_VERSION}/Accounts/{self.call.account_sid}/{owner}/Recordings/{self.sid}.json"
        return resource | ({"uri": uri} if level == "conference" else {"track": self.track, "uri": uri})

    def callback_parameters(self, event: str, *, base_url: str) -> dict[str, str]:
        """Return a callback's parameters, in the order of the one that was captured from Twilio.

        One of a conference has `ConferenceSid` and no `CallSid`, and no track: `<Conference>`'s documentation
        lists neither.
        """
        parameters = {
            "RecordingSource": self.source,
            "RecordingTrack": self.track,
            "RecordingSid": self.sid,
            "RecordingUrl": base_url + self.path,
            "RecordingStatus": event,
            "RecordingChannels": str(self.channels),
            "ErrorCode": str(self.error_code or 0),
            "CallSid": self.call_sid,
            "RecordingStartTime": rfc_2822(self.started_at),
            "AccountSid": self.call.account_sid,
        }
        if self.conference:
            del parameters["CallSid"], parameters["RecordingTrack"]
            parameters["ConferenceSid"] = self.conference.sid
        if self.duration is not None:
            parameters["RecordingDuration"] = str(self.duration)
        # The same three things under other names than in the resource. Source: Voice Recording Encryption.
        if details := self._encryption("public_key_sid", "encrypted_cek", "iv"):
            parameters["EncryptionDetails"] = json.dumps(details)
        return parameters

    def _encryption(self, key: str, encrypted_key: str, vector: str) -> dict[str, str] | None:
        if self.public_key_sid is None or self.status != "completed":
            return None
        return {key: self.public_key_sid, encrypted_key: "OV4h6zrsxMIW7h0Zfqwfn6TI2GCNl54K", vector: "8I2hhNIYNTrwxfHk"}
