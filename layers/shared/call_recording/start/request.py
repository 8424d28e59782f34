"""The fields of a request to start a recording: Twilio's parameters and values, with all mistakes reported together.

Source: Twilio's `CreateCallRecording`, with the same names, values and defaults.
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
"""The events for our webhook. Not `failed`: Twilio documents it only for encrypted recordings, and warns about
unknown events (13621); the reconciler finds such recordings.
"""
RECORDING_CHANNELS: Final = ("mono", "dual")
RECORDING_TRACKS: Final = ("inbound", "outbound", "both")
ONE_CHANNEL_TRACKS: Final = ("inbound", "outbound")
"""Tracks that are each recorded on one channel, whatever RecordingChannels says."""

TRIMS: Final = ("trim-silence", "do-not-trim")
CALLBACK_METHODS: Final = ("GET", "POST")

LONGEST_WAIT_SECONDS: Final = 10
"""The answer must come within the 29 s that API Gateway waits for it."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# By default Twilio retries a callback once, and only if it could not connect. The fragment asks for five
# retries, also after timeouts and 5xx; it is not sent to us and not part of the signature.
# All attempts together have 15 s, which is also the default timeout of one attempt: a webhook that hangs would
# leave no time for another. With 4 s there are three more, the last one with 3 s. The function times out after
# 3 s (`Timeout`), so that a cold start of a second, which does not count there, still answers in time. A
# connection that takes 2 s has failed.
RETRY_FRAGMENT: Final = "ct=2000&rt=4000&rc=5&rp=ct,rt,5xx"


class StartRequest(NamedTuple):
    """A valid request; None and () mean that a field is absent, so Twilio's default applies.

    `wait_seconds` is ours: how long to retry while Twilio answers that the call cannot be recorded yet.
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
    """The caller's own name for the recording, for the row and the events; it is not sent to Twilio."""
    wait_seconds: int = 0

    @property
    def channels(self) -> int:
        """The number of channels that Twilio records for this request."""
        return 2 if self.recording_channels == "dual" and self.recording_track not in ONE_CHANNEL_TRACKS else 1

    @classmethod
    def parse(cls, fields: Fields, *, default_account_sid: str, errors: Sequence[FieldError] = ()) -> Self:
        """Return the request that `fields` (Twilio's names) make.

        `errors` are mistakes that the caller has already found, reported together with these.

        Raises InvalidRequestError naming every invalid field.
        """
        values: dict[str, Any] = {"AccountSid": default_account_sid}
        values |= read_fields(fields, _READERS, required=["CallSid"], errors=errors)
        return cls(**{_ATTRIBUTES[name]: value for name, value in values.items()})

    def said(self) -> dict[str, Any]:
        """Return the fields that the request contains: the payload of its idempotency key.

        A field that a later version adds does not change this for requests without it. `WaitSeconds` is not
        included.
        """
        said = self._asdict()
        del said["wait_seconds"]
        return {name: value for name, value in said.items() if value != self._field_defaults.get(name)}

    def callback_url(self, webhook_url: str) -> str:
        """Return the recording's callback URL: the caller's own one unchanged, or our webhook."""
        return self.recording_status_callback or f"{webhook_url}#{RETRY_FRAGMENT}"

    def to_form(self, webhook_url: str) -> list[tuple[str, str]]:
        """Return the body parameters to send to Twilio.

        Absent fields stay absent, so that Twilio's defaults apply; only a missing callback URL
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
    """Read a list of events, or one string of events separated by spaces."""
    events = value.split(" ") if isinstance(value, str) else value
    wrong = [event for event in events if event not in CALLBACK_EVENTS] if isinstance(events, list) else []
    if not isinstance(events, list) or not events or wrong:
        message = f"must be one or more of {', '.join(CALLBACK_EVENTS)}: a list, or separated by a space"
        raise ValueError(message + "".join(did_you_mean(event, CALLBACK_EVENTS) for event in wrong[:1]))
    if len(set(events)) < len(events):
        raise ValueError("names an event more than once")
    return tuple(events)


def _reference(value: Any) -> str:
    # Imported here to shorten cold starts: most starts have no callback URL.
    from call_recording.http.reference import reference  # noqa: PLC0415

    return reference(value)


def _configuration_id(value: Any) -> str:
    """Read an identifier; Twilio does not document its format, so only impossible ones are refused."""
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
