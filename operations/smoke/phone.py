"""One real call, placed and ended through Twilio's Calls resource.

Source: www.twilio.com/docs/voice/api/call-resource
"""

import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

import requests

from operations.smoke.report import NotAsExpectedError

_SECONDS: Final = (5, 30)
_ANSWER_SECONDS: Final = 60
_FINISH_SECONDS: Final = 60

_SPEECH: Final = (
    "<Response><Say>This is a test of call recording. This call is recorded. You do not need to say anything.</Say>"
    '<Pause length="60"/></Response>'
)


class Account(NamedTuple):
    """A Twilio account, its API's address and its credentials."""

    sid: str
    auth_token: str
    api_url: str


class Phone:
    """Calls of one account, from one number to another."""

    def __init__(self, account: Account, *, caller: str, called: str) -> None:
        self._url = f"{account.api_url}/2010-04-01/Accounts/{account.sid}"
        self._auth = (account.sid, account.auth_token)
        self._numbers = {"From": caller, "To": called}

    def place(self) -> str:
        """Place the call, and return its SID immediately."""
        placed = self._send(
            "POST", "/Calls.json", {**self._numbers, "Twiml": _SPEECH, "Timeout": "45", "TimeLimit": "120"}
        )
        return str(placed["sid"])

    def wait_until_answered(self, call_sid: str) -> None:
        """Wait until somebody has answered. Raises NotAsExpectedError if nobody does."""
        ends = time.monotonic() + _ANSWER_SECONDS
        while (status := self._send("GET", f"/Calls/{call_sid}.json")["status"]) != "in-progress":
            if status not in {"queued", "initiated", "ringing"} or time.monotonic() > ends:
                raise NotAsExpectedError(f"the call is {status}: nobody answered it")
            time.sleep(1)

    def hang_up(self, call_sid: str) -> None:
        """End the call, in whatever state it is."""
        self._send("POST", f"/Calls/{call_sid}.json", {"Status": "completed"})

    def delete_recordings(self, call_sid: str) -> None:
        """Delete the call's remaining recordings at Twilio, which deletes only finished ones."""
        ends = time.monotonic() + _FINISH_SECONDS
        while left := self._send("GET", f"/Calls/{call_sid}/Recordings.json")["recordings"]:
            for recording in left:
                with suppress(NotAsExpectedError):
                    self._send("DELETE", f"/Recordings/{recording['sid']}.json")
            if time.monotonic() > ends:
                raise NotAsExpectedError(f"left at Twilio: {', '.join(each['sid'] for each in left)}")
            time.sleep(2)

    def _send(self, method: str, path: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        response = requests.request(method, self._url + path, data=form, auth=self._auth, timeout=_SECONDS)
        if response.status_code >= 400:
            # Twilio's message can contain phone numbers; its code is enough.
            code = response.json().get("code") if "json" in response.headers.get("Content-Type", "") else None
            raise NotAsExpectedError(f"Twilio answered {response.status_code}, code {code}, to a {method} of the call")
        told: dict[str, Any] = response.json() if response.content else {}
        return told
