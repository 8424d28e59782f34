"""Sends a callback like Twilio: signed, over HTTP, with the same retries.

Source: Twilio's pages about webhook security, webhooks with shared keys (beta) and connection overrides.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import requests
from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, SIGNATURE_SETTINGS_HEADER, RequestValidator

from local.twilio_simulator.exchange import Callback
from local.twilio_simulator.model import SharedKey

_FAILURES: Final = frozenset({"4xx", "5xx", "ct", "rt", "all"})
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
    """One attempt to deliver, with its signature and result: a status, or None for no answer."""

    callback: Callback
    signature: str
    status: int | None


@dataclass(frozen=True)
class Overrides:
    """How long Twilio waits for an answer to a request, and when it asks again.

    By default one retry follows a failed connect. The URL's fragment (`#rc=5&rp=ct,rt,5xx`), which is neither sent
    nor signed, can ask for others, within limits; what is outside them does not count. Everything takes 15 s at most,
    retries included: a hang takes all of it, unless `rt` says that reading may take less.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    total_seconds: float = 15.0
    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})

    @classmethod
    def of(cls, url: str) -> "Overrides":
        """Return what the URL's fragment asks for."""
        told = dict(parse_qsl(urlsplit(url).fragment))

        def number(name: str, default: float, least: int, most: int) -> float:
            text = told.get(name, "")
            return int(text) if text.isascii() and text.isdecimal() and least <= int(text) <= most else default

        policy = frozenset(told.get("rp", "ct").split(",")) & _FAILURES
        return cls(
            connect_seconds=number("ct", 5000, 100, 10_000) / 1000,
            read_seconds=number("rt", 15_000, 100, 15_000) / 1000,
            total_seconds=number("tt", 15_000, 100, 15_000) / 1000,
            retries=int(number("rc", 1, 0, 5)),
            policy=policy,
        )

    def retry(self, failure: str | None) -> bool:
        """Return whether that kind of failure is worth another try."""
        return failure is not None and bool(self.policy & {failure, "all"})


def sign(callback: Callback, *, auth_token: str, shared_key: SharedKey | None = None) -> Signed:
    """Return the callback with the signature that Twilio would give it, by a shared key where there is one."""
    address = urlunsplit(urlsplit(callback.target.url)._replace(fragment=""))
    encoded = urlencode(callback.parameters, quote_via=quote)
    headers = {
        "User-Agent": "TwilioProxy/1.1",
        "Accept": "*/*",
        "I-Twilio-Idempotency-Token": callback.idempotency_token,
    }
    validator, algorithm = RequestValidator(auth_token), HMAC_SHA1
    if shared_key:
        validator, algorithm = RequestValidator(shared_key.secret), HMAC_SHA256
        headers[SIGNATURE_SETTINGS_HEADER] = f"key={shared_key.key_id},algorithm={algorithm}"
    if callback.target.method == "GET":
        address += ("&" if urlsplit(address).query else "?") + encoded
        signature = validator.compute_signature(address, {}, algorithm)
        return Signed("GET", address, b"", headers | {"X-Twilio-Signature": signature})
    headers |= {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "X-Twilio-Signature": validator.compute_signature(address, callback.parameters, algorithm),
    }
    return Signed("POST", address, encoded.encode(), headers)


def deliver(callback: Callback, *, auth_token: str, route: Route, shared_key: SharedKey | None = None) -> list[Attempt]:
    """Send the callback, trying again where Twilio would; return every attempt."""
    signed = sign(callback, auth_token=auth_token, shared_key=shared_key)
    overrides = Overrides.of(callback.target.url)
    ends = time.monotonic() + overrides.total_seconds
    attempts: list[Attempt] = []
    for _ in range(1 + overrides.retries):
        status, failure = _send(signed, route=route, overrides=overrides, seconds=ends - time.monotonic())
        attempts.append(Attempt(callback, signed.headers["X-Twilio-Signature"], status))
        if not overrides.retry(failure) or time.monotonic() >= ends:
            break
    return attempts


def _send(signed: Signed, *, route: Route, overrides: Overrides, seconds: float) -> tuple[int | None, str | None]:
    """Return the status, and which of Twilio's kinds of failure it was."""
    url, headers = route(signed.url)
    try:
        response = requests.request(
            signed.method,
            url,
            data=signed.body or None,
            headers=signed.headers | headers,
            timeout=(
                max(0.1, min(overrides.connect_seconds, seconds)),
                max(0.1, min(overrides.read_seconds, seconds)),
            ),
        )
    except (requests.ConnectTimeout, requests.ConnectionError):
        return None, "ct"
    except requests.Timeout:
        return None, "rt"
    if response.status_code >= _SERVER_ERROR:
        return response.status_code, "5xx"
    return response.status_code, "4xx" if response.status_code >= _CLIENT_ERROR else None
