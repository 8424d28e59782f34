"""Publishes that a request cannot be fulfilled."""

from collections.abc import Mapping
from typing import Any, Final

from call_recording import problems
from call_recording.bus import REQUEST_FAILED, Bus
from call_recording.commands.triggers import named_sids
from call_recording.errors import (
    CallPausedError,
    CallRecordingError,
    ControlledSinceError,
    CredentialsRefusedError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotAParticipantError,
    NotNowError,
    OutcomeLostError,
    PauseEndedError,
    RequestTooOldError,
    ScopeUnprovenError,
    StillPausedError,
    StillRecordingError,
    TwilioRefusedError,
    UnknownAccountError,
)
from call_recording.http.reference import reference


def publish_request_failed(bus: Bus, *, event: Mapping[str, Any], failure: Mapping[str, Any]) -> None:
    """Publish `Call Recording Request Failed` for an event with a request.

    The detail names the request (`event_id`, its detail type under `requested`, its SIDs where they are
    SIDs, and its `reference` where it is one), and contains `failure`.

    Raises EventNotPublishedError if EventBridge does not accept it.
    """
    asked = event.get("detail")
    request = asked if isinstance(asked, dict) else {}
    detail = {
        "event_id": event.get("id"),
        "requested": event.get("detail-type"),
        **named_sids(event),
        **_referred(request),
        **failure,
    }
    bus.publish(REQUEST_FAILED, detail)


def _referred(request: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {"reference": reference(request.get("Reference"))}
    except ValueError:  # missing, or refused
        return {}


def failure_of(error: CallRecordingError) -> dict[str, Any]:
    """Return why a request can never be fulfilled, as JSON values.

    The `reason` (the last part of the problem type the same mistake has over HTTP), a `detail` sentence, and
    Twilio's `twilio_code` and `more_info` or the wrong fields under `errors`.

    Raises the error itself if a retry may succeed.
    """
    if not will_never_be_met(error):
        raise error
    return {"reason": problems.reason(error), "detail": str(error), **problems.details(error)}


def will_never_be_met(error: CallRecordingError) -> bool:
    """Return whether a retry of the same request would fail in the same way.

    Everything else is worth Lambda's retries and the dead-letter queue: credentials get fixed,
    Twilio recovers.
    """
    return isinstance(error, _FINAL) and not isinstance(error, _MENDABLE)


_FINAL: Final = (
    CallPausedError,
    ControlledSinceError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotAParticipantError,
    OutcomeLostError,
    PauseEndedError,
    RequestTooOldError,
    ScopeUnprovenError,
    StillPausedError,
    StillRecordingError,
    TwilioRefusedError,
    UnknownAccountError,
)
_MENDABLE: Final = (CredentialsRefusedError, NotNowError)
