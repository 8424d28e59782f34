"""Telling the bus that a request to record will not be met."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from call_recording import problems, sids
from call_recording.errors import (
    CallRecordingError,
    CredentialsRefusedError,
    EventNotPublishedError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    RateLimitedError,
    RequestTooOldError,
    TwilioRefusedError,
    UnknownAccountError,
)

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "call-recording"
REQUEST_FAILED: Final = "Call Recording Request Failed"


def publish_request_failed(
    client: "EventBridgeClient", *, event_bus_name: str, event: Mapping[str, Any], error: CallRecordingError
) -> None:
    """Publish `Call Recording Request Failed` for a `Call Recording Requested` event.

    The detail names the request (`event_id`, and its SIDs where they are SIDs), the `reason` (the
    last part of the problem type the same mistake has over HTTP), a `detail` sentence, and Twilio's
    `twilio_code` and `more_info` or the wrong fields under `errors`.

    Raises EventNotPublishedError when EventBridge does not take it.
    """
    asked = event.get("detail")
    request = asked if isinstance(asked, dict) else {}
    named = {
        "call_sid": (request.get("CallSid"), sids.CALL),
        "account_sid": (request.get("AccountSid"), sids.ACCOUNT),
    }
    detail = {
        "event_id": event.get("id"),
        **{name: value for name, (value, prefix) in named.items() if sids.is_sid(value, prefix)},
        "reason": problems.reason(error),
        "detail": str(error),
        **problems.details(error),
    }
    entry = {
        "EventBusName": event_bus_name,
        "Source": SOURCE,
        "DetailType": REQUEST_FAILED,
        "Detail": json.dumps(detail),
    }
    answer = client.put_events(Entries=[entry])  # type: ignore[list-item]
    if answer["FailedEntryCount"]:
        raise EventNotPublishedError(answer["Entries"][0].get("ErrorCode", "unknown"))


def will_never_be_met(error: CallRecordingError) -> bool:
    """Tell whether trying the same request again would fail the same way.

    Everything else is worth Lambda's retries and the dead-letter queue: wrong credentials get
    mended, Twilio comes back.
    """
    return isinstance(error, _FINAL) and not isinstance(error, _MENDABLE)


_FINAL: Final = (
    IdempotencyKeyReusedError,
    InvalidRequestError,
    RequestTooOldError,
    TwilioRefusedError,
    UnknownAccountError,
)
_MENDABLE: Final = (CredentialsRefusedError, RateLimitedError)
