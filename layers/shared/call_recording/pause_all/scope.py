"""Who can hear a call: its parent and its legs, the conference that one of them is in, and everybody else there."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from call_recording.errors import NotAParticipantError, ScopeUnprovenError
from call_recording.pause_all.request import NO_CONFERENCE
from call_recording.twilio.calls import Calls, Leg

MOST_TO_LOOK_THROUGH: Final = 50
"""Conferences in progress in an account; with more, the caller has to say which it is."""


class Scope(NamedTuple):
    """The calls that hear each other now, and their conferences. Those that are over are not among them."""

    calls: tuple[str, ...]
    conferences: tuple[str, ...]


class Search:
    """Finds the scope of one call, as often as it is asked to: calls join and are dialled meanwhile.

    `conference_sid` is what the request says. `hints` are conferences that our rows name.
    """

    def __init__(self, calls: Calls, call_sid: str, *, conference_sid: str | None, hints: Collection[str]) -> None:
        self._calls = calls
        self._call_sid = call_sid
        self._named = conference_sid
        self._hints = list(hints)
        self._known: dict[str, Leg] = {}
        """Of every call that was met who dialled it, which does not change, and whether it is over."""

        self._met: list[str] = []
        """The conferences of the scope when it was looked for last."""

    def look(self) -> Scope:
        """Return the scope as Twilio tells it now.

        Raises NotAParticipantError where the call is not in the conference that the request names,
        ScopeUnprovenError where there are too many to look through, and what Calls raises.
        """
        found: dict[str, None] = {}
        self._follow([self._call_sid], found)
        participants = self._participants(found) if found else {}
        conferences: list[str] = []
        while joined := [sid for sid, met in participants.items() if sid not in conferences and _meet(found, met)]:
            conferences += joined
            for conference_sid in joined:
                self._follow(participants[conference_sid], found)
        self._met = conferences
        return Scope(tuple(found), tuple(conferences))

    @property
    def has_met_the_call(self) -> bool:
        """Whether Twilio is known to know the call."""
        return bool(self._known)

    def is_over(self, call_sid: str) -> bool:
        """Tell whether the call has ended by now."""
        return self._calls.fetch(call_sid).is_over

    def _follow(self, call_sids: Iterable[str], found: dict[str, None]) -> None:
        """Add the calls to those that were found, with whoever dialled them and whom they dialled, and so on."""
        waiting = list(call_sids)
        while waiting:
            call_sid = waiting.pop(0)
            if call_sid in found:
                continue
            if call_sid not in self._known:
                self._known[call_sid] = self._calls.fetch(call_sid)
            leg = self._known[call_sid]
            if leg.is_over:
                continue
            found[call_sid] = None
            for dialled in self._calls.dialled_by(call_sid):
                self._known[dialled.sid] = dialled
                waiting.append(dialled.sid)
            if leg.parent_sid:
                waiting.append(leg.parent_sid)

    def _participants(self, found: Mapping[str, None]) -> dict[str, list[str]]:
        """Return who is in each conference that one of the calls may be in: the named one, those of our rows, or any.

        A call is in one conference at a time, so those that are in progress are only looked through where none of the
        others has it.
        """
        if self._named == NO_CONFERENCE:
            return {}
        if self._named:
            participants = self._calls.participants_if_any(self._named)
            if not (self._met or _meet(found, participants)):
                raise NotAParticipantError
            return {self._named: participants}
        known = {sid: self._calls.participants_if_any(sid) for sid in dict.fromkeys([*self._met, *self._hints])}
        if any(_meet(found, participants) for participants in known.values()):
            return known
        in_progress = self._calls.conferences_in_progress(MOST_TO_LOOK_THROUGH)
        if len(in_progress) > MOST_TO_LOOK_THROUGH:
            raise ScopeUnprovenError(MOST_TO_LOOK_THROUGH)
        return known | {sid: self._calls.participants_if_any(sid) for sid in in_progress if sid not in known}


def _meet(found: Mapping[str, None], participants: Collection[str]) -> bool:
    return not found.keys().isdisjoint(participants)
