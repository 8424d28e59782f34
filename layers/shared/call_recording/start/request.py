"""What a request to start a recording may say: Twilio's parameters, their values, and every mistake at once.

Source: Twilio's `CreateCallRecording`, whose names, values and defaults these are.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

from call_recording import sids
from call_recording.errors import FieldError
from call_recording.http.fields import (
    Fields,
    Reader,
    absolute_url,
    did_you_mean,
    one_of,
    read_fields,
    sid,
    whole_number,
)

CALLBACK_EVENTS: Final = ("in-progress", "completed", "absent", "failed")
WANTED_EVENTS: Final = ("in-progress", "completed", "absent")
"""What our webhook is asked for. `failed` is not: Twilio documents it for encrypted recordings alone, and warns of
events that it does not know (13621); the reconciler finds such recordings.
"""
RECORDING_CHANNELS: Final = ("mono", "dual")
RECORDING_TRACKS: Final = ("inbound", "outbound", "both")
ONE_CHANNEL_TRACKS: Final = ("inbound", "outbound")
"""Tracks of which each is recorded on one channel, whatever RecordingChannels says."""

TRIMS: Final = ("trim-silence", "do-not-trim")
CALLBACK_METHODS: Final = ("GET", "POST")

LONGEST_WAIT_SECONDS: Final = 10
"""The answer must come within the 29 s that API Gateway waits for it."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# Twilio retries a callback once, and only when it could not connect. The fragment asks for five
# more tries, on time-outs and our own 5xx too; it is not sent to us and not part of what is signed.
# All tries together have 15 s, which is also how long Twilio waits for one answer unless told otherwise: the
# first webhook that hangs would leave no time for another. With 4 s there are three more, the last one with 3 s. The
# function gives up after 3 s (`Timeout`), so that a cold start of a second, which does not count there, has an
# answer in time, too. A connection that takes 2 s is none.
RETRY_FRAGMENT: Final = "ct=2000&rt=4000&rc=5&rp=ct,rt,5xx"


class StartRequest(NamedTuple):
    """A valid request; None and () mean: left out, so Twilio's default applies.

    `wait_seconds` is ours: how long to ask again while Twilio says that the call cannot be recorded now.
    """

    account_sid: str
    call_sid: str
    recording_channels: str | None = None
    recording_configuration_id: str | None = None
    recording_status_callback: str | None = None
    recording_status_callback_event: tuple[str, ...] = ()
    recording_status_callback_method: str | None = None
    recording_track: str | None = None
    trim: str | None = None
    reference: str | None = None
    """The caller's own name for the recording: for the row and the events, and nothing that Twilio hears of."""
    wait_seconds: int = 0

    @property
    def channels(self) -> int:
        """On how many channels Twilio records what is asked for."""
        return 2 if self.recording_channels == "dual" and self.recording_track not in ONE_CHANNEL_TRACKS else 1

    @classmethod
    def parse(cls, fields: Fields, *, default_account_sid: str, errors: Sequence[FieldError] = ()) -> Self:
        """Return the request that `fields` (Twilio's names) make.

        `errors` are mistakes that the caller found already, reported together with these.

        Raises InvalidRequestError naming every wrong field.
        """
        values: dict[str, Any] = {"AccountSid": default_account_sid}
        values |= read_fields(fields, _READERS, required=["CallSid"], errors=errors)
        return cls(**{_ATTRIBUTES[name]: value for name, value in values.items()})

    def said(self) -> dict[str, Any]:
        """Return what the request says, and nothing that it leaves out: what its idempotency key stands for.

        A field that a later version adds does not change that for requests which do not use it. How long somebody
        waits is no part of what they ask for.
        """
        said = self._asdict()
        del said["wait_seconds"]
        return {name: value for name, value in said.items() if value != self._field_defaults.get(name)}

    def callback_url(self, webhook_url: str) -> str:
        """Return where the recording's callbacks go: the caller's own URL untouched, or our webhook."""
        return self.recording_status_callback or f"{webhook_url}#{RETRY_FRAGMENT}"

    def to_form(self, webhook_url: str) -> list[tuple[str, str]]:
        """Return the body parameters to send to Twilio.

        What the caller left out stays out, so that Twilio's defaults apply; only a missing callback
        becomes our webhook, with three events unless the caller chose some.
        """
        events = self.recording_status_callback_event
        if not self.recording_status_callback and not events:
            events = WANTED_EVENTS
        form = {
            "RecordingChannels": self.recording_channels,
            "RecordingConfigurationId": self.recording_configuration_id,
            "RecordingStatusCallback": self.callback_url(webhook_url),
            # One value separated by spaces, as in Twilio's own examples.
            "RecordingStatusCallbackEvent": " ".join(events),
            "RecordingStatusCallbackMethod": self.recording_status_callback_method,
            "RecordingTrack": self.recording_track,
            "Trim": self.trim,
        }
        return [(name, value) for name, value in form.items() if value]


def without_userinfo(url: str) -> str:
    """Return the URL without a user name and password, to be stored and shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _callback_events(value: Any) -> tuple[str, ...]:
    """Read a list of events, or one text with the events separated by spaces."""
    events = value.split(" ") if isinstance(value, str) else value
    wrong = [event for event in events if event not in CALLBACK_EVENTS] if isinstance(events, list) else []
    if not isinstance(events, list) or not events or wrong:
        message = f"must be one or more of {', '.join(CALLBACK_EVENTS)}: a list, or separated by a space"
        raise ValueError(message + "".join(did_you_mean(event, CALLBACK_EVENTS) for event in wrong[:1]))
    if len(set(events)) < len(events):
        raise ValueError("names an event more than once")
    return tuple(events)


def _reference(value: Any) -> str:
    # Here, because starts wait for cold starts, and most have none.
    from call_recording.http.reference import reference  # noqa: PLC0415

    return reference(value)


def _configuration_id(value: Any) -> str:
    """Read an identifier; Twilio does not say of what form, so only what could be none is refused."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise ValueError("must be 1 to 128 letters, digits, -, _, . or :")
    return value


_READERS: Final[dict[str, Reader]] = {
    "AccountSid": sid(sids.ACCOUNT),
    "CallSid": sid(sids.CALL),
    "RecordingChannels": one_of(RECORDING_CHANNELS),
    "RecordingConfigurationId": _configuration_id,
    "RecordingStatusCallback": absolute_url,
    "RecordingStatusCallbackEvent": _callback_events,
    "RecordingStatusCallbackMethod": one_of(CALLBACK_METHODS),
    "RecordingTrack": one_of(RECORDING_TRACKS),
    "Trim": one_of(TRIMS),
    "Reference": _reference,
    "WaitSeconds": whole_number(0, LONGEST_WAIT_SECONDS),
}

_ATTRIBUTES: Final = {
    "AccountSid": "account_sid",
    "CallSid": "call_sid",
    "RecordingChannels": "recording_channels",
    "RecordingConfigurationId": "recording_configuration_id",
    "RecordingStatusCallback": "recording_status_callback",
    "RecordingStatusCallbackEvent": "recording_status_callback_event",
    "RecordingStatusCallbackMethod": "recording_status_callback_method",
    "RecordingTrack": "recording_track",
    "Trim": "trim",
    "Reference": "reference",
    "WaitSeconds": "wait_seconds",
}
