"""One recording per intent, none lost, and nothing unproven believed.

Not promised: that a request which Twilio carries out very late, or a recording of the same call that another program
started through the API at the same time, is told from what was asked for here. A request can be met by such a one; but
never is there one recording more than there are requests. Nor that one is recognised of which nothing but the account's
list told, which has no track, and which was deleted at Twilio before its request came again: whoever cannot know whose
it is must not take it. Nor one of a child leg that was deleted by then: its row names the parent leg.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from call_recording.bus import REQUEST_FAILED
from call_recording.recordings import facts
from call_recording.recordings.facts import BY_TWILIO
from call_recording.recordings.statuses import ACTIVE, rank
from local.twilio_simulator.model import Recording
from tests.simulation.callers import Request
from tests.simulation.promises.outcome import Outcome
from tests.simulation.world import CLOCKS_OFF_BY


def broken(outcome: Outcome) -> list[str]:
    """Return what does not hold."""
    return [
        *_rows_are_not_the_truth(outcome),
        *_not_one_recording_per_intent(outcome),
        *_statuses_went_backwards(outcome),
        *_unproven_facts_were_believed(outcome),
        *_letters_did_not_come_back(outcome),
        *outcome.world.contract.broken,
    ]


def _rows_are_not_the_truth(outcome: Outcome) -> Iterator[str]:  # noqa: C901 (each line is a way of not being true)
    twilio, scenario = outcome.world.twilio, outcome.scenario
    # The stack's own account, and others as soon as anything of them comes here: no other is asked for its recordings.
    heard_of = {row["account_sid"] for row in outcome.rows.values()} | {outcome.world.accounts[0].sid}
    heard_of |= {request.call.account_sid for request in scenario.starters.requests}
    heard_of |= {wish.call.account_sid for wish in scenario.controllers.wishes}
    for sid in outcome.rows.keys() - twilio.recordings.keys():
        yield f"{sid} has a row, but never existed"
    for sid, recording in twilio.recordings.items():
        if recording.call.account_sid == outcome.world.poisoner.sid or recording.call.account_sid not in heard_of:
            continue
        row = outcome.rows.get(sid)
        if row is None:
            # One that another program deleted before we ever heard of it is in no list.
            if not recording.is_deleted or twilio.deleted_by[sid]:
                yield f"{sid} has no row"
            continue
        truths = _truth(recording)
        if not recording.shows_start_time and _is_earlier_by_clocks(row["start_time"], truths["start_time"]):
            del truths["start_time"]  # a function whose clock is behind heard of it first
        if "call_sid" not in row and recording.conference:
            del truths["call_sid"]  # which no callback about a conference says
        if (
            "track" not in row
            and row["requested_by"] == BY_TWILIO
            and (recording.conference or not _called_back(outcome, sid))
        ):
            del truths["track"]  # which neither the account's list nor what a conference calls back says
        # Perhaps before its end was told. What ended without audio stays at Twilio, which deletes no such recording.
        is_never_deleted = recording.status == "absent" and sid in outcome.scenario.deleters.receipts
        if row["status"] == "deleted" and (recording.is_deleted or is_never_deleted):
            truths = {name: truth for name, truth in truths.items() if name in row and name != "status"}
        for name, truth in truths.items():
            if row.get(name) != truth:
                yield f"{sid} says {name} = {row.get(name)!r}, Twilio {truth!r}"
        if sid in outcome.scenario.deleters.receipts and row["status"] != "deleted":
            yield f"{sid} has a receipt of its deletion, and is {row['status']}"


def _called_back(outcome: Outcome, recording_sid: str) -> bool:
    return any(one.function == "recording_status" and recording_sid in one.wrote for one in outcome.world.deliveries)


def _is_earlier_by_clocks(guess: str, created: str) -> bool:
    earlier = datetime.fromisoformat(created) - datetime.fromisoformat(guess)
    return timedelta() <= earlier <= timedelta(seconds=2 * CLOCKS_OFF_BY)


def _truth(recording: Recording) -> dict[str, Any]:
    """Return what a finished recording's row must say, in the table's words."""
    return {
        "status": recording.status,
        "call_sid": recording.call_sid,
        "account_sid": recording.call.account_sid,
        "duration_seconds": recording.duration,
        "channels": recording.channels,
        "source": recording.source,
        "track": recording.track,
        # Where Twilio shows no `start_time`, `date_created` stands in for it; here both are the same.
        "start_time": facts.moment(recording.resource()["date_created"]),
        "error_code": facts.error_code(recording.error_code),
        "open_shard": None,
    }


def _not_one_recording_per_intent(outcome: Outcome) -> Iterator[str]:
    twilio, strangers = outcome.world.twilio, outcome.scenario.strangers
    failed = {
        f"eventbridge#{event.detail['event_id']}"
        for event in outcome.world.aws.published
        if event.kind == REQUEST_FAILED
    }
    by_intent = Counter(row["intent"] for row in outcome.rows.values() if "intent" in row)
    met_on_call: Counter[str] = Counter()
    for request in outcome.scenario.starters.requests:
        made = by_intent[request.name]
        met_on_call[request.call.sid] += made
        was_refused = request.refusals and not request.recordings
        if twilio.answers_running and not made and not was_refused and request.name not in failed:
            made = _met_by_another(outcome, request)
        yield from _answer_is_wrong(request, made=made, has_failed=request.name in failed)
    started = Counter(
        recording.call.sid
        for sid, recording in twilio.recordings.items()
        if sid not in strangers.made
        and twilio.deleted_by.get(sid, "nobody") is not None
        and not (recording.is_deleted and (recording.call.parent or not _track_was_known(outcome, sid)))
    )
    for call_sid, number in started.items():
        if number > met_on_call[call_sid]:
            yield f"call {call_sid} has {number} recordings for {met_on_call[call_sid]} requests that were met"


def _track_was_known(outcome: Outcome, recording_sid: str) -> bool:
    """Tell whether the row had the track before the last delivery of the request that started the recording ended."""
    by = outcome.world.twilio.began_by.get(recording_sid)
    last = max((one.ended or one.began for one in outcome.deliveries_of[by.cause]), default=0.0) if by else 0.0
    return any(
        "track" in change.new and change.at <= last
        for change in outcome.changes
        if change.new.get("recording_sid") == recording_sid
    )


def _met_by_another(outcome: Outcome, request: Request) -> int:
    """Return 1 if a recording of another request's or another program's ran already: Twilio then answers with that."""
    names = {other.name for other in outcome.scenario.starters.requests if other.call is request.call}
    strangers = outcome.scenario.strangers.made
    met = {
        sid
        for sid, row in outcome.rows.items()
        if row.get("intent") in names
        or (sid in strangers and row.get("requested_call_sid") == request.call.sid)  # the row says that it was met
    }
    return int(bool(met) and request.recordings <= met)


def _answer_is_wrong(request: Request, *, made: int, has_failed: bool) -> Iterator[str]:
    if made > 1:
        yield f"{request.name} has {made} recordings"
    if len(request.recordings) > 1:
        yield f"{request.name} was answered with several recordings: {sorted(request.recordings)}"
    if request.recordings and not made:
        yield f"{request.name} was answered with a recording whose row does not say so"
    if not made and not request.refusals and not has_failed:
        yield f"{request.name} has no recording and was not refused"
    if made and request.refusals and not request.recordings:
        yield f"{request.name} was refused and has a recording"
    if made and has_failed:
        yield f"{request.name} was said to have failed and has a recording"


def _statuses_went_backwards(outcome: Outcome) -> Iterator[str]:
    for change in outcome.changes:
        old, new = change.old, change.new
        if not old:
            continue
        if rank(new["status"]) < rank(old["status"]) and not {old["status"], new["status"]} <= ACTIVE:
            yield f"{new['recording_sid']} went from {old['status']} back to {new['status']}"
        if old.get("intent", new.get("intent")) != new.get("intent"):
            yield f"{new['recording_sid']} changed its intent"


def _unproven_facts_were_believed(outcome: Outcome) -> Iterator[str]:
    world = outcome.world
    for whose, status, sent_at in world.answers_to_callbacks:
        if whose == "twilio" and status == 403:
            yield "a callback of Twilio's was refused"
        if whose == "forged" and status < 400:
            yield f"a forged callback was answered {status}"
        # Whatever it says: what cannot be read is kept.
        if whose != "forged" and status >= 500 and sent_at > world.begins + world.faults_last:
            yield f"a signed callback was answered {status}, when nothing went wrong"


def _letters_did_not_come_back(outcome: Outcome) -> Iterator[str]:
    aws, poisoner = outcome.world.aws, outcome.world.poisoner.sid
    for letters in (aws.starts.dead_letters, aws.controls.dead_letters):
        for letter in letters:
            yield f"the dead letter of {letter['cause']} did not come back"
    for letter in aws.to_archive.dead_letters:
        if letter["detail"]["account_sid"] != poisoner:
            yield f"the dead letter of {letter['detail']['recording_sid']} did not come back"
    for kept in aws.kept_callbacks:
        if ["AccountSid", poisoner] not in kept["fields"]:
            yield "a callback of Twilio's could not be read"
