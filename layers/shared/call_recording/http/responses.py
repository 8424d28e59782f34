"""Answers in the format of API Gateway: JSON, and problem documents (RFC 9457) for errors."""

import json
from collections.abc import Mapping
from typing import Any, Final

from call_recording import problems
from call_recording.errors import CallRecordingError, RateLimitedError, RequestInProgressError

_RETRY_AFTER_SECONDS: Final = 1


def problem_response(error: CallRecordingError) -> dict[str, Any]:
    """Return the proxy answer for an error: a problem document, with `Retry-After` if waiting helps."""
    status = problems.http_status(error)
    headers = {}
    if status == 503 or isinstance(error, RequestInProgressError):
        wait = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
        headers["Retry-After"] = str(wait or _RETRY_AFTER_SECONDS)
    problem = {
        "type": f"urn:problem:call-recording:{problems.reason(error)}",
        "title": problems.title(error),
        "status": status,
        "detail": str(error),
        **problems.details(error),
    }
    return json_response(status, problem, content_type="application/problem+json", headers=headers)


def json_response(
    status: int, body: object, *, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a proxy answer that is valid in both payload versions."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": content_type, "Cache-Control": "no-store", **(headers or {})},
        "body": json.dumps(body) + "\n",  # so that a shell's prompt starts on a new line
        "isBase64Encoded": False,
    }
