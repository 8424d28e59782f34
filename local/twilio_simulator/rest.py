"""A request to the simulated REST API and its answer, to the byte; and how requests are refused.

Source: Twilio's documentation of its REST API ("Twilio's Response"); the codes are in twilio.com/docs/api/errors.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

from local.twilio_simulator.audio import Audio


@dataclass(frozen=True)
class Request:
    """A REST request, to the byte."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def form(self) -> dict[str, list[str]]:
        """Return the form in the body, every value of every name."""
        return parse_qs(self.body.decode(), keep_blank_values=True)


@dataclass(frozen=True)
class Answer:
    """What goes back, or the way in which nothing does."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    transport: Literal["send", "hang", "cut"] = "send"
    audio: Audio | None = None
    """In place of a body; with `transport` cut it stops in the middle."""

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


class RefusedError(Exception):
    """Twilio refuses a request: `answer` is what it says."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = problem(status, code, message)


def ok(body: dict[str, Any], *, status: int = 200) -> Answer:
    """Return the answer that shows a resource."""
    return Answer(status, json.dumps(body).encode())


def problem(status: int, code: int, message: str) -> Answer:
    """Return the answer to what Twilio refuses, with its code."""
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, json.dumps(body).encode())
