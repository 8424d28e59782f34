"""The simulator's own routes, with which a person with curl triggers events and sees their results."""

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

from local.twilio_simulator.delivery import Attempt
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import BY_TWIML, CALL_SOURCES, Account, Conference, new_sid
from local.twilio_simulator.twilio import Answer, Request, Twilio

CONTROL: Final = "/_simulator/"
"""Prefix of the paths of these routes."""

_EVENTS: Final = ["in-progress completed absent failed"]


def control(twilio: Twilio, attempts: Sequence[Attempt], request: Request) -> Answer:
    """Answer one of these routes: see `_let_happen` and `_show`. `attempts` are the callbacks sent so far."""
    route = request.path.removeprefix(CONTROL).split("/")
    told: object = None
    if request.method == "POST":
        told = _let_happen(twilio, route, json.loads(request.body or b"{}"))
    elif request.method == "GET":
        told = _show(twilio, attempts, route)
    return Answer(404) if told is None else Answer(200, (json.dumps(told, indent=2) + "\n").encode())


def _let_happen(twilio: Twilio, route: list[str], options: dict[str, Any]) -> object:
    """Carry out a POST, and return the answer, or None if there is no such resource.

    `calls` (`account_sid`, `lasts_seconds`, `is_silent`, `parent_call_sid`, `in_progress_after_seconds`,
    `refuses_recordings`, all optional) begins a call. `calls/{CallSid}/hang-up` ends it, `…/record` (`source`, by
    default TwiML's, and `callback_url`) records it without the API, and `…/transfer` (`takes_seconds`) connects it with
    somebody else. `conferences` (`call_sids`, and `is_recorded`, by default true) lets calls meet;
    `conferences/{ConferenceSid}/join` and `…/leave` (`call_sid`) let one come and go, and `…/end` ends it.

    `accounts` opens an account. What Twilio's own routes for auth tokens do is
    `accounts/{AccountSid}/auth-tokens/secondary`, which makes a second one, and `…/promote`, which puts that in place
    of the first. `faults` (`requests`, `callbacks`, `media`: lists) is what goes wrong next.
    """
    match route:
        case ["calls", *rest]:
            return _call(twilio, rest, options)
        case ["conferences"]:
            return _meeting(twilio, options)
        case ["conferences", sid, what] if conference := twilio.conferences.get(sid):
            return _conference(twilio, conference, what, options.get("call_sid", ""))
        case ["accounts", *rest]:
            return _account(twilio, rest)
        case ["faults"]:
            faults = twilio.faults
            faults.requests += [fault and RequestFault(**fault) for fault in options.get("requests", [])]
            faults.callbacks += [tuple(delays) for delays in options.get("callbacks", [])]
            faults.media += options.get("media", [])
            return {"requests": len(faults.requests), "callbacks": len(faults.callbacks), "media": len(faults.media)}
    return None


def _call(twilio: Twilio, route: list[str], options: dict[str, Any]) -> object:
    if not route:
        account_sid = options.pop("account_sid", next(iter(twilio.accounts)))
        return {"call_sid": twilio.begin_call(account_sid, **options).sid}
    call = twilio.calls.get(route[0])
    match route[1:]:
        case ["hang-up"] if call:
            twilio.hang_up(call.sid)
            return {"call_sid": call.sid}
        case ["record"] if call and call.is_live and (source := options.get("source", BY_TWIML)) in CALL_SOURCES:
            url = options.get("callback_url", "")
            form = {"RecordingStatusCallback": [url], "RecordingStatusCallbackEvent": _EVENTS}
            return {"call_sid": call.sid, "recording_sid": twilio.record(call, form, source=source).sid}
        case ["transfer"] if call and call.is_live:
            leg = twilio.transfer(call, takes_seconds=options.get("takes_seconds", 0.0))
            return {"call_sid": call.sid, "leg_call_sid": leg.sid}
    return None


def _meeting(twilio: Twilio, options: dict[str, Any]) -> object:
    calls = [twilio.calls.get(sid) for sid in options.get("call_sids", [])]
    met = [call for call in calls if call and call.is_live]
    if not met or len(met) < len(calls):
        return None
    conference = twilio.begin_conference(met)
    told = {"conference_sid": conference.sid}
    if options.get("is_recorded", True):
        told["recording_sid"] = twilio.record_conference(conference).sid
    return told


def _conference(twilio: Twilio, conference: Conference, what: str, call_sid: str) -> object:
    call = twilio.calls.get(call_sid)
    is_present = any(one.call is call for one in conference.present)
    match what:
        case "join" if conference.is_live and call and call.is_live:
            twilio.join(conference, call)
        case "leave" if call and is_present:
            twilio.leave(call)
        case "end" if conference.is_live:
            twilio.end_conference(conference.sid)
        case _:
            return None
    return {"conference_sid": conference.sid, "status": conference.status}


def _account(twilio: Twilio, route: list[str]) -> object:
    if not route:
        opened = twilio.add_account(Account(new_sid("AC"), secrets.token_hex(16)))
        return {"account_sid": opened.sid, "auth_token": opened.auth_token}
    account = twilio.accounts.get(route[0])
    match route[1:]:
        case ["auth-tokens", "secondary"] if account:
            account.secondary_auth_token = secrets.token_hex(16)
            return {"account_sid": account.sid, "secondary_auth_token": account.secondary_auth_token}
        case ["auth-tokens", "promote"] if account and (promoted := account.secondary_auth_token):
            account.auth_token, account.secondary_auth_token = promoted, None
            return {"account_sid": account.sid, "auth_token": promoted}
    return None


def _show(twilio: Twilio, attempts: Sequence[Attempt], route: list[str]) -> object:
    """Return what a GET asks for, or None if there is no such resource.

    `recordings` is what Twilio has; `audible` are the intervals in which each can be heard, in seconds since 1970, the
    last one without an end if it still can. `requests` is what Twilio was asked for, and `callbacks` each attempt to
    call back, with the status that was answered.
    """
    match route:
        case ["recordings"]:
            return [one.resource() | {"audible": one.audible} for one in twilio.recordings.values()]
        case ["requests"]:
            return [{"method": r.method, "path": r.path, "body": r.body.decode()} for r in twilio.requests]
        case ["callbacks"]:
            told = ("AccountSid", "RecordingSid", "RecordingStatus")
            return [
                {name: attempt.callback.parameters[name] for name in told} | {"answer": attempt.status}
                for attempt in attempts
            ]
    return None
