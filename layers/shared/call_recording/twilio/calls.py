"""Twilio's calls and conferences, to find out who hears whom.

Source: the Call, Conference and Participant resources in Twilio's OpenAPI description.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from call_recording.deadline import Deadline
from call_recording.errors import TwilioNotFoundError, TwilioUnavailableError
from call_recording.sids import CALL, CONFERENCE, is_sid
from call_recording.twilio.api import PAGE_SIZE, TwilioAccount, next_page

_OVER: Final = frozenset({"busy", "canceled", "completed", "failed", "no-answer"})
"""Final statuses of a call. An unknown status is not final."""

_MOST_PAGES: Final = 10
"""No call has so many legs, and no conference so many participants: a longer list would be endless."""


class Leg(NamedTuple):
    """A call, its parent call if there is one, and whether it has ended."""

    sid: str
    parent_sid: str | None
    is_over: bool


class Calls(NamedTuple):
    """The calls and conferences of one account. Every method raises what TwilioAccount's methods raise."""

    account: TwilioAccount
    deadline: Deadline

    def fetch(self, call_sid: str) -> Leg:
        """Return the call."""
        return _leg(self.account.get("call", f"/Calls/{call_sid}.json", deadline=self.deadline))

    def dialled_by(self, call_sid: str) -> list[Leg]:
        """Return the legs that the call has dialled so far."""
        query = [("ParentCallSid", call_sid), ("PageSize", str(PAGE_SIZE))]
        return [_leg(item) for item in self._all("legs", "/Calls.json", "calls", query)]

    def conferences_in_progress(self, most: int) -> list[str]:
        """Return the conferences that are in progress: one more than `most` if there are more than that."""
        query = [("Status", "in-progress"), ("PageSize", str(most + 1))]
        found: list[str] = []
        for item in self._all("conferences", "/Conferences.json", "conferences", query):
            found.append(_sid(item, "sid", CONFERENCE))
            if len(found) > most:
                break
        return found

    def participants(self, conference_sid: str) -> list[str]:
        """Return the calls in the conference; none if it has ended."""
        path, query = f"/Conferences/{conference_sid}/Participants.json", [("PageSize", str(PAGE_SIZE))]
        return [_sid(item, "call_sid", CALL) for item in self._all("participants", path, "participants", query)]

    def participants_if_any(self, conference_sid: str) -> list[str]:
        """Return the same; also none if Twilio does not have the conference."""
        try:
            return self.participants(conference_sid)
        except TwilioNotFoundError:
            return []

    def _all(self, operation: str, path: str, name: str, query: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        for _ in range(_MOST_PAGES):
            body = self.account.get(operation, path, query=query, deadline=self.deadline)
            items = body.get(name)
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise TwilioUnavailableError(f"Twilio answered success without a list of {name}")
            yield from items
            following = next_page(body)
            if following is None:
                return
            query = parse_qsl(following)
        raise TwilioUnavailableError(f"Twilio answered with more than {_MOST_PAGES} pages of {name}")


def _leg(item: dict[str, Any]) -> Leg:
    parent = item.get("parent_call_sid")
    return Leg(
        sid=_sid(item, "sid", CALL),
        parent_sid=_sid(item, "parent_call_sid", CALL) if parent else None,
        is_over=item.get("status") in _OVER,
    )


def _sid(item: dict[str, Any], name: str, prefix: str) -> str:
    """Return the required SID: a participant without one would stay recorded."""
    if not is_sid(item.get(name), prefix):
        raise TwilioUnavailableError(f"Twilio answered success with an invalid {name}")
    return str(item[name])
