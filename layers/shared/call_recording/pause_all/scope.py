"""Who can hear a call: its parent, its legs, the conference that one of them is in, and its other participants."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from call_recording.errors import NotAParticipantError, ScopeUnprovenError
from call_recording.pause_all.request import NO_CONFERENCE
from call_recording.twilio.calls import Calls, Leg

MOST_TO_LOOK_THROUGH: Final = 50
"""The most conferences in progress to search; with more, the caller must name the conference."""


class Scope(NamedTuple):
    """The calls that hear each other now, and their conferences, without ended ones."""

    calls: tuple[str, ...]
    conferences: tuple[str, ...]


class Search:
    """Finds the scope of one call, repeatedly, because calls can join and be dialled meanwhile.

    `conference_sid` is from the request. `hints` are conferences from our rows.
    """

    def __init__(self, calls: Calls, call_sid: str, *, conference_sid: str | None, hints: Collection[str]) -> None:
        self._calls = calls
        self._call_sid = call_sid
        self._named = conference_sid
        self._hints = list(hints)
        self._known: dict[str, Leg] = {}
        """For each call that was found: its parent, which does not change, and whether it has ended."""

        self._met: list[str] = []
        """The conferences of the scope in the last search."""

    def look(self) -> Scope:
        """Return the current scope according to Twilio.

        Raises NotAParticipantError if the call is not in the conference that the request names,
        ScopeUnprovenError if there are too many conferences to search, and what Calls raises.
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
        """Whether Twilio has confirmed that the call exists."""
        return bool(self._known)

    def is_over(self, call_sid: str) -> bool:
        """Return whether the call has ended by now."""
        return self._calls.fetch(call_sid).is_over

    def _follow(self, call_sids: Iterable[str], found: dict[str, None]) -> None:
        """Add the calls to those that were found, with their parents and legs, recursively."""
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
        """Return the calls in each conference that may contain one of the calls: the named one, our rows', or any.

        A call is in one conference at a time, so all those in progress are only searched if none of the others
        contains it.
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
