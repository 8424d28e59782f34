"""Who talks with whom, as the simulated REST API shows it: calls, conferences, and who takes part in one.

Source: Twilio's documentation of the Call, Conference and Participant resources and its OpenAPI description. No
resource has a phone number: `from` and `to` are null.
"""

import re
from typing import Any, Final

from local.twilio_simulator.exchange import Exchange
from local.twilio_simulator.model import API_VERSION, Call, Conference, Participant, rfc_2822
from local.twilio_simulator.paging import Query, page
from local.twilio_simulator.rest import Answer, RefusedError, Request, ok

ROOT: Final = rf"/{API_VERSION}/Accounts/(?P<account>AC\w+)"
_CONFERENCE: Final = ROOT + r"/Conferences/(?P<conference>CF\w+)"
ROUTES: Final = (
    ("GET", re.compile(ROOT + r"/Calls\.json"), "_list_calls"),
    ("GET", re.compile(ROOT + r"/Calls/(?P<call>CA\w+)\.json"), "_fetch_call"),
    ("GET", re.compile(ROOT + r"/Conferences\.json"), "_list_conferences"),
    ("GET", re.compile(_CONFERENCE + r"\.json"), "_fetch_conference"),
    ("GET", re.compile(_CONFERENCE + r"/Participants\.json"), "_list_participants"),
    ("GET", re.compile(_CONFERENCE + r"/Participants/(?P<call>CA\w+)\.json"), "_fetch_participant"),
)

_CALL_STATUSES: Final = frozenset(
    {"queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"}
)
_CONFERENCE_STATUSES: Final = frozenset({"init", "in-progress", "completed"})


class PeopleApi(Exchange):
    """The routes of calls, conferences and participants; `Twilio.handle` takes the requests."""

    def call_of(self, account: str, call_sid: str) -> Call:
        """Return an account's call, also one that is over. Raises RefusedError."""
        call = self.calls.get(call_sid)
        if call is None or call.account_sid != account:
            raise RefusedError(404, 20404, f"The requested resource /Calls/{call_sid} was not found")
        return call

    def conference_of(self, account: str, conference_sid: str) -> Conference:
        """Return an account's conference, also one that is over. Raises RefusedError."""
        conference = self.conferences.get(conference_sid)
        if conference is None or conference.account_sid != account:
            raise RefusedError(404, 20404, f"The requested resource /Conferences/{conference_sid} was not found")
        return conference

    def _list_calls(self, request: Request, *, account: str) -> Answer:
        query, now = Query(request.query), self._clock()
        status, parent_sid = query.one_of("Status", _CALL_STATUSES), query.given.get("ParentCallSid")

        def is_listed(call: Call) -> bool:
            is_leg = parent_sid is None or (call.parent is not None and call.parent.sid == parent_sid)
            return call.account_sid == account and is_leg and status in {None, call.status(now)}

        def show(call: Call) -> dict[str, Any]:
            return call_resource(call, now=now)

        return ok(page(self.calls, query, path=request.path, name="calls", is_listed=is_listed, show=show))

    def _fetch_call(self, _request: Request, *, account: str, call: str) -> Answer:
        return ok(call_resource(self.call_of(account, call), now=self._clock()))

    def _list_conferences(self, request: Request, *, account: str) -> Answer:
        query = Query(request.query)
        status = query.one_of("Status", _CONFERENCE_STATUSES)

        def is_listed(conference: Conference) -> bool:
            return conference.account_sid == account and status in {None, conference.status}

        return ok(
            page(
                self.conferences,
                query,
                path=request.path,
                name="conferences",
                is_listed=is_listed,
                show=conference_resource,
            )
        )

    def _fetch_conference(self, _request: Request, *, account: str, conference: str) -> Answer:
        return ok(conference_resource(self.conference_of(account, conference)))

    def _list_participants(self, request: Request, *, account: str, conference: str) -> Answer:
        query, met = Query(request.query), self.conference_of(account, conference)
        flags = {name: query.one_of(name, {"true", "false"}) for name in ("Muted", "Hold", "Coaching")}

        def is_listed(one: Participant) -> bool:
            # Nobody here is muted, on hold or coaching.
            return one.is_present and "true" not in flags.values()

        def show(one: Participant) -> dict[str, Any]:
            return participant_resource(met, one)

        everybody = {one.call.sid: one for one in met.participants}
        return ok(page(everybody, query, path=request.path, name="participants", is_listed=is_listed, show=show))

    def _fetch_participant(self, request: Request, *, account: str, conference: str, call: str) -> Answer:
        met = self.conference_of(account, conference)
        for one in met.present:
            if one.call.sid == call:
                return ok(participant_resource(met, one))
        raise RefusedError(404, 20404, f"The requested resource {request.path} was not found")


def call_resource(call: Call, *, now: float) -> dict[str, Any]:
    """Return a call as Twilio shows it at a time (seconds since 1970); it names no conference."""
    path = f"/{API_VERSION}/Accounts/{call.account_sid}/Calls/{call.sid}"
    # Twilio's description: empty as long as it has not been dialled, or goes on.
    starts, ends = max(call.began_at, call.in_progress_at), call.ended_at
    has_started = starts <= now
    return {
        "account_sid": call.account_sid,
        "answered_by": None,
        "api_version": API_VERSION,
        "caller_name": None,
        "date_created": rfc_2822(call.began_at),
        "date_updated": rfc_2822(ends if ends is not None else starts if has_started else call.began_at),
        "direction": "outbound-dial" if call.parent else "inbound",
        "duration": None if ends is None else str(max(0, round(ends - starts))),
        "end_time": None if ends is None else rfc_2822(ends),
        "forwarded_from": None,
        "from": None,
        "from_formatted": None,
        "group_sid": None,
        "parent_call_sid": call.parent.sid if call.parent else None,
        "phone_number_sid": None,
        "price": None,
        "price_unit": "USD",
        "queue_time": "0",
        "sid": call.sid,
        "start_time": rfc_2822(starts) if has_started else None,
        "status": call.status(now),
        "subresource_uris": _below(
            path, "Events", "Notifications", "Payments", "Recordings", "Siprec", "Streams", "Transcriptions"
        ),
        "to": None,
        "to_formatted": None,
        "trunk_sid": None,
        "uri": f"{path}.json",
    }


def conference_resource(conference: Conference) -> dict[str, Any]:
    """Return a conference as Twilio shows it."""
    path = f"/{API_VERSION}/Accounts/{conference.account_sid}/Conferences/{conference.sid}"
    changes = (conference.ended_at, conference.started_at, conference.began_at)
    reason = "last-participant-left" if conference.ended_by else "conference-ended-via-api"
    return {
        "account_sid": conference.account_sid,
        "api_version": API_VERSION,
        "call_sid_ending_conference": conference.ended_by.sid if conference.ended_by else None,
        "date_created": rfc_2822(conference.began_at),
        "date_updated": rfc_2822(next(moment for moment in changes if moment is not None)),
        "friendly_name": conference.sid,
        "reason_conference_ended": None if conference.is_live else reason,
        "region": "us1",
        "sid": conference.sid,
        "status": conference.status,
        "subresource_uris": _below(path, "Participants", "Recordings"),
        "uri": f"{path}.json",
    }


def participant_resource(conference: Conference, participant: Participant) -> dict[str, Any]:
    """Return who takes part in a conference as Twilio shows it."""
    root = f"/{API_VERSION}/Accounts/{conference.account_sid}/Conferences/{conference.sid}"
    return {
        "account_sid": conference.account_sid,
        "call_sid": participant.call.sid,
        "call_sid_to_coach": None,
        "coaching": False,
        "conference_sid": conference.sid,
        "date_created": rfc_2822(participant.joined_at),
        "date_updated": rfc_2822(participant.joined_at),
        "end_conference_on_exit": False,
        "hold": False,
        "label": None,
        "muted": False,
        "queue_time": None,
        "start_conference_on_enter": True,
        "status": "connected",
        "uri": f"{root}/Participants/{participant.call.sid}.json",
    }


def _below(path: str, *names: str) -> dict[str, str]:
    return {name.lower(): f"{path}/{name}.json" for name in names}
