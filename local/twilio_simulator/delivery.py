"""Sending a callback as Twilio does: signed, over HTTP, with its retries and no more.

Source: Twilio's webhook security and connection override pages. Connecting may take 5 s, reading
15 s, everything with retries 15 s. By default one retry follows a failed connect; the URL's fragment
can ask for more retries and less patience (`#ct=2000&rt=4000&rc=5&rp=ct,rt,5xx`, in milliseconds), and is
neither sent nor signed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import requests
from twilio.request_validator import RequestValidator

from local.twilio_simulator.twilio import Callback

_CONNECT_MILLISECONDS: Final = (5_000, 10_000)
_READ_MILLISECONDS: Final = (15_000, 15_000)
_TOTAL_MILLISECONDS: Final = (15_000, 15_000)
"""What is usual, and what can be asked for at most; at least 100."""
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400

Route = Callable[[str], tuple[str, dict[str, str]]]
"""From a public URL to the address that stands for it here, and the headers it needs."""


@dataclass(frozen=True)
class Signed:
    """A callback, ready to be sent: the URL without its fragment, and a body for POST."""

    method: str
    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Attempt:
    """One try to deliver, with its signature, and what became of it: a status, or None for no answer."""

    callback: Callback
    signature: str
    status: int | None


def sign(callback: Callback, *, auth_token: str) -> Signed:
    """Return the callback with the signature that Twilio would give it."""
    address = urlunsplit(urlsplit(callback.target.url)._replace(fragment=""))
    encoded = urlencode(callback.parameters, quote_via=quote)
    headers = {"User-Agent": "TwilioProxy/1.1", "Accept": "*/*"}
    validator = RequestValidator(auth_token)
    if callback.target.method == "GET":
        address += ("&" if urlsplit(address).query else "?") + encoded
        return Signed("GET", address, b"", headers | {"X-Twilio-Signature": validator.compute_signature(address, {})})
    headers |= {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "X-Twilio-Signature": validator.compute_signature(address, callback.parameters),
    }
    return Signed("POST", address, encoded.encode(), headers)


def deliver(callback: Callback, *, auth_token: str, route: Route) -> list[Attempt]:
    """Send the callback, trying again where Twilio would; return every attempt."""
    signed = sign(callback, auth_token=auth_token)
    overrides = dict(parse_qsl(urlsplit(callback.target.url).fragment))
    retries, policy = int(overrides.get("rc", 1)), set(overrides.get("rp", "ct").split(","))
    connect, read, total = (
        min(max(int(overrides.get(name, usual)), 100), most) / 1_000
        for name, (usual, most) in (
            ("ct", _CONNECT_MILLISECONDS),
            ("rt", _READ_MILLISECONDS),
            ("tt", _TOTAL_MILLISECONDS),
        )
    )
    ends = time.monotonic() + total
    attempts: list[Attempt] = []
    for _ in range(1 + retries):
        left = max(0.1, ends - time.monotonic())
        status, failure = _send(signed, route=route, timeout=(min(connect, left), min(read, left)))
        attempts.append(Attempt(callback, signed.headers["X-Twilio-Signature"], status))
        if failure is None or not policy & {failure, "all"} or time.monotonic() >= ends:
            break
    return attempts


def _send(signed: Signed, *, route: Route, timeout: tuple[float, float]) -> tuple[int | None, str | None]:
    """Return the status, and which of Twilio's kinds of failure it was; `timeout` is that of `requests`."""
    url, headers = route(signed.url)
    try:
        response = requests.request(
            signed.method,
            url,
            data=signed.body or None,
            headers=signed.headers | headers,
            timeout=timeout,
        )
    except (requests.ConnectTimeout, requests.ConnectionError):
        return None, "ct"
    except requests.Timeout:
        return None, "rt"
    if response.status_code >= _SERVER_ERROR:
        return response.status_code, "5xx"
    return response.status_code, "4xx" if response.status_code >= _CLIENT_ERROR else None
