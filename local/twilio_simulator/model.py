"""Calls and recordings as Twilio shows them: in its REST API and in its callbacks."""

import random
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final

API_VERSION: Final = "2010-04-01"
TOO_SHORT: Final = 16101
SILENT: Final = 16102
ACTIVE: Final = frozenset({"in-progress", "paused"})


def new_sid(prefix: str, source: random.Random | None = None) -> str:
    """Return a SID that nobody has: the prefix and 32 hexadecimal digits, from `source` to be repeatable."""
    return f"{prefix}{(source or random.SystemRandom()).getrandbits(128):032x}"


def rfc_2822(seconds: float) -> str:
    """Return a time as Twilio's 2010 API writes it, such as `Sun, 22 Nov 2026 07:33:00 +0000`."""
    return formatdate(int(seconds), usegmt=False).replace("-0000", "+0000")


@dataclass
class Account:
    """An account, main or sub, with its own tokens."""

    sid: str
    auth_token: str
    secondary_auth_token: str | None = None
    api_keys: dict[str, str] = field(default_factory=dict)

    def accepts(self, user: str, password: str) -> bool:
        """Tell whether Twilio lets these Basic credentials act for the account."""
        tokens = {self.auth_token, self.secondary_auth_token} - {None}
        return (user == self.sid and password in tokens) or self.api_keys.get(user) == password


@dataclass
class Call:
    """A call; live from the beginning until it is hung up."""

    sid: str
    account_sid: str
    is_live: bool = True
    is_silent: bool = False


@dataclass(frozen=True)
class CallbackTarget:
    """Where, how and about what a recording calls back."""

    url: str
    method: str
    events: frozenset[str]


@dataclass
class Recording:
    """A recording; times are seconds since 1970."""

    sid: str
    call: Call
    channels: int
    track: str
    trim: str
    started_at: float
    target: CallbackTarget | None
    source: str = "StartCallRecordingAPI"
    status: str = "in-progress"
    updated_at: float = 0.0
    paused_at: float | None = None
    paused_seconds: float = 0.0
    duration: int | None = None
    error_code: int | None = None
    price: str | None = None
    is_deleted: bool = False

    def __post_init__(self) -> None:
        self.updated_at = self.updated_at or self.started_at

    @property
    def path(self) -> str:
        """The recording's own path, without an ending: where its audio is."""
        return f"/{API_VERSION}/Accounts/{self.call.account_sid}/Recordings/{self.sid}"

    def resource(self, *, status: str | None = None) -> dict[str, Any]:
        """Return the REST resource.

        Only create and update answers name the finer statuses; a fetch shows `processing` until the
        recording is done.
        """
        shown = status or ("processing" if self.status in ACTIVE | {"stopped"} else self.status)
        call_path = f"/{API_VERSION}/Accounts/{self.call.account_sid}/Calls/{self.call.sid}/Recordings/{self.sid}.json"
        return {
            "account_sid": self.call.account_sid,
            "api_version": API_VERSION,
            "call_sid": self.call.sid,
            "conference_sid": None,
            "channels": self.channels,
            "date_created": rfc_2822(self.started_at),
            "date_updated": rfc_2822(self.updated_at),
            "duration": None if self.duration is None else str(self.duration),
            "encryption_details": None,
            "error_code": self.error_code,
            "price": self.price,
            "price_unit": "USD",
            "sid": self.sid,
            "source": self.source,
            "start_time": rfc_2822(self.started_at),
            "status": shown,
            "track": self.track,
            "uri": call_path,
        }

    def callback_parameters(self, event: str, *, base_url: str) -> dict[str, str]:
        """Return a callback's parameters, in the order of the one that was captured from Twilio."""
        parameters = {
            "RecordingSource": self.source,
            "RecordingTrack": self.track,
            "RecordingSid": self.sid,
            "RecordingUrl": base_url + self.path,
            "RecordingStatus": event,
            "RecordingChannels": str(self.channels),
            "ErrorCode": str(self.error_code or 0),
            "CallSid": self.call.sid,
            "RecordingStartTime": rfc_2822(self.started_at),
            "AccountSid": self.call.account_sid,
        }
        if self.duration is not None:
            parameters["RecordingDuration"] = str(self.duration)
        return parameters
