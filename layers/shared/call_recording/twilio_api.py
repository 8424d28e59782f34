"""Twilio's REST API, as far as this application uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn

import requests
from urllib3.exceptions import NewConnectionError

from call_recording.credentials import Credentials
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    CredentialsRefusedError,
    RateLimitedError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioTimedOutError,
    TwilioUnavailableError,
    TwilioUnreachableError,
)
from call_recording.sids import RECORDING, is_sid

_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = 10.0

_CALL_NOT_IN_PROGRESS: Final = 21220
_AUTHENTICATION_FAILED: Final = 20003
_NOT_FOUND: Final = 20404
_TOO_MANY_REQUESTS: Final = 20429
_LONGEST_MESSAGE: Final = 1000


@cache
def session() -> requests.Session:
    """Return the session whose connections are kept between invocations."""
    return requests.Session()


@dataclass(frozen=True)
class TwilioApi:
    """One account's door to Twilio; `base_url` has no path."""

    session: requests.Session
    base_url: str
    credentials: Credentials

    def create_call_recording(
        self, call_sid: str, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> dict[str, Any]:
        """Start a recording on a live call and return Twilio's recording resource.

        `form` holds the body parameters as Twilio names them. One request, never repeated here.

        Raises TwilioRefusedError or one of its kinds (Twilio did nothing), TwilioUnreachableError
        (it was never asked), TwilioTimedOutError or TwilioUnavailableError (it may have started one).
        """
        account_sid = self.credentials.account_sid
        path = f"/2010-04-01/Accounts/{account_sid}/Calls/{call_sid}/Recordings.json"
        response = self._send("POST", path, form=form, deadline=deadline)
        recording = _json_object(response)
        if not all(is_sid(recording.get("sid"), RECORDING) and recording.get(name) for name in _NEEDED):
            raise TwilioUnavailableError("Twilio answered success without a recording")
        return recording

    def _send(
        self, method: str, path: str, *, form: Sequence[tuple[str, str]], deadline: Deadline
    ) -> requests.Response:
        try:
            response = self.session.request(
                method,
                self.base_url + path,
                data=list(form),
                auth=self.credentials.basic_auth,
                headers={"Accept": "application/json"},
                timeout=(deadline.at_most(_CONNECT_SECONDS), deadline.at_most(_READ_SECONDS)),
                allow_redirects=False,
            )
        except requests.ConnectTimeout as error:
            raise TwilioUnreachableError("no connection to Twilio within the time allowed") from error
        except requests.Timeout as error:
            raise TwilioTimedOutError("Twilio did not answer in time") from error
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise TwilioUnreachableError("no connection to Twilio") from error
            raise TwilioUnavailableError("the connection to Twilio was cut") from error
        except requests.RequestException as error:
            raise TwilioUnavailableError("Twilio's answer could not be read") from error
        if not response.ok or response.is_redirect:
            _raise_refusal(response)
        return response


_NEEDED: Final = ("sid", "account_sid", "status")


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell whether the connection itself failed, so that not a byte of the request was sent."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError)


def _json_object(response: requests.Response) -> dict[str, Any]:
    """Return the answer's JSON object; a proxy's HTML or XML becomes TwilioUnavailableError."""
    try:
        body = response.json()
    except requests.JSONDecodeError as error:
        raise TwilioUnavailableError(f"Twilio answered {response.status_code} with a body that is not JSON") from error
    if not isinstance(body, dict):
        raise TwilioUnavailableError(f"Twilio answered {response.status_code} with a body that is not an object")
    return body


def _raise_refusal(response: requests.Response) -> NoReturn:
    """Raise the error that says what Twilio refused, or that nobody can tell what it did."""
    try:
        body = _json_object(response)
    except TwilioUnavailableError:
        body = {}  # error bodies can come from a proxy, as HTML or XML
    status = response.status_code
    code = body["code"] if isinstance(body.get("code"), int) else None
    message = str(body.get("message") or f"Twilio answered {status}")[:_LONGEST_MESSAGE]
    more_info = str(body["more_info"]) if body.get("more_info") else None

    if status == requests.codes.too_many_requests or code == _TOO_MANY_REQUESTS:
        raise RateLimitedError(
            retry_after_seconds=_seconds(response.headers.get("Retry-After")),
            code=code,
            message=message,
            more_info=more_info,
        )
    if status == requests.codes.request_timeout or not 400 <= status < 500:
        raise TwilioUnavailableError(message, code=code, more_info=more_info)
    kind = _KINDS.get(code) if code is not None else _KINDS_WITHOUT_CODE.get(status)
    raise (kind or TwilioRefusedError)(http_status=status, code=code, message=message, more_info=more_info)


def _seconds(retry_after: str | None) -> int | None:
    return int(retry_after) if retry_after and retry_after.isdecimal() else None


_KINDS: Final[dict[int, type[TwilioRefusedError]]] = {
    _CALL_NOT_IN_PROGRESS: CallNotInProgressError,
    _AUTHENTICATION_FAILED: CredentialsRefusedError,
    _NOT_FOUND: TwilioNotFoundError,
}
_KINDS_WITHOUT_CODE: Final[dict[int, type[TwilioRefusedError]]] = {
    requests.codes.unauthorized: CredentialsRefusedError,
    requests.codes.not_found: TwilioNotFoundError,
}
