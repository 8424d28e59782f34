"""Nothing is heard once it is proven, what starts later is told, no pause is forgotten, and only its own is resumed.

Who truly hears a call is in `scope`; when each recording can be heard, the simulated Twilio wrote down. Not promised,
because nobody here can know of it:

- a recording that was resumed by a request while the pause was still being proven: Twilio lists what runs and what is
  paused alike;
- one that began before the proof on a call which came into the scope after it;
- one on a call that came into the scope after the proof, and whose conference was over, or which had left it, before
  this stack heard of the recording;
- a pause that a program past this stack made within the seconds that Twilio's times do not tell, or of what was
  paused already, which changes nothing at Twilio; without the time in Twilio's answers, within two minutes;
- what Twilio may have done for a request that it did not answer, or whose answer its function did not live to note;
- whether an attempt that failed after it had noted a recording had also paused it.
"""

from collections.abc import Iterator

from call_recording.bus import STARTED_WHILE_PAUSED, STILL_PAUSED
from local.twilio_simulator.model import Recording
from tests.simulation.aws import late
from tests.simulation.pausers import AllWish, Meeting
from tests.simulation.promises.outcome import Outcome
from tests.simulation.promises.scope import (
    Proof,
    body_of,
    is_done,
    is_in,
    proofs,
    recordings_of,
    resumes,
    scope_of,
    timers,
)
from tests.simulation.ways import NO_DATE
from tests.simulation.witness import Asked, Delivery
from tests.simulation.world import KILLED

_PAUSED = "paused"
_RESUMED = "in-progress"
_CANNOT_TELL = 4.0
"""Two times in whole seconds, with a request between them, do not say what came first."""

_CANNOT_TELL_WITHOUT_DATE = 130.0


def broken(outcome: Outcome) -> list[str]:
    """Return what does not hold."""
    if not outcome.scenario.pausers.meetings:
        return []
    proven = list(proofs(outcome))
    return [
        *(sentence for proof in proven for sentence in _is_heard(outcome, proof)),
        *(sentence for proof in proven for sentence in _own_start_is_heard(outcome, proof)),
        *(sentence for proof in proven for sentence in _is_not_told(outcome, proof)),
        *_telling_is_wrong(outcome),
        *_refusals_are_wrong(outcome),
        *_pauses_have_no_timer(outcome),
        *_pauses_were_forgotten(outcome),
        *_somebody_else_was_resumed(outcome),
        *_was_not_resumed(outcome),
        *_stays_paused(outcome),
    ]


# --- nothing is heard ----------------------------------------------------------------------------


def _is_heard(outcome: Outcome, proof: Proof) -> Iterator[str]:
    scope, offset = proof.scope(outcome), outcome.world.twilio_offset
    began = min(one.began for one in outcome.deliveries_of[proof.wish.name])
    for recording in recordings_of(outcome, proof.wish.meeting):
        if not scope.has(recording) or recording.started_at - offset >= proof.before:
            continue
        for begins, ends in recording.audible:
            since, until = begins - offset, float("inf") if ends is None else ends - offset
            is_resumed = any(began <= one.done_at <= proof.answered for one in _asked(outcome, recording, _RESUMED))
            if since <= proof.at and until > proof.at and not is_resumed:
                yield (
                    f"{recording.sid} can be heard until {_when(outcome, until)}, although {proof.wish.name} was told "
                    f"that since {_when(outcome, proof.at)} nothing can"
                )


def _own_start_is_heard(outcome: Outcome, proof: Proof) -> Iterator[str]:
    """Say which recordings run on when a start has answered, though it wrote their rows after the proof."""
    scope, offset = proof.scope(outcome), outcome.world.twilio_offset
    for recording in recordings_of(outcome, proof.wish.meeting):
        by = outcome.world.twilio.began_by.get(recording.sid)
        if by is None or by.ended is None or by.went_wrong or not scope.has(recording):
            continue
        is_answered = by.result is None or (isinstance(by.result, dict) and by.result.get("statusCode") == 201)
        at = max(by.ended, proof.answered)
        if not is_answered or by.wrote.get(recording.sid, 0.0) < proof.at or at >= proof.ends:
            continue
        is_resumed = any(one.done_at <= at for one in _asked(outcome, recording, _RESUMED))
        if recording.can_be_heard(at + offset) and not is_resumed:
            yield (
                f"{recording.sid} can be heard when {by.cause} has answered at {_when(outcome, at)}, although "
                f"everything is paused by {proof.wish.name}"
            )


# --- what starts later is told -------------------------------------------------------------------


def _is_not_told(outcome: Outcome, proof: Proof) -> Iterator[str]:
    offset, meeting = outcome.world.twilio_offset, proof.wish.meeting
    told = {
        event.detail["recording_sid"] for event in outcome.world.aws.published if event.kind == STARTED_WHILE_PAUSED
    }
    for recording in recordings_of(outcome, meeting):
        began = recording.started_at - offset
        if (
            recording.sid not in told
            and recording.sid in outcome.rows
            and proof.at < began < proof.ends
            and scope_of(meeting, proof.wish.call, recording.started_at).has(recording)
            and _can_be_known(outcome, proof, recording)
        ):
            yield (
                f"{recording.sid} began at {_when(outcome, began)}, when everything was paused by {proof.wish.name}; "
                f"nobody was told"
            )


def _can_be_known(outcome: Outcome, proof: Proof, recording: Recording) -> bool:
    """Tell whether the recording is of what the pause was proven of, or of who is with them when it is heard of."""
    known, row = proof.scope(outcome), outcome.rows[recording.sid]
    named = {row[name] for name in ("call_sid", "requested_call_sid", "conference_sid") if name in row}
    calls = outcome.world.twilio.calls
    named |= {parent.sid for sid in named if sid in calls and (parent := calls[sid].parent)}
    if named & (known.calls | known.conferences):
        return True
    looks = outcome.deliveries_of.get(late(recording.sid), [])
    look = next((one for one in looks if is_done(one)), None)
    if look is None or look.ended is None:
        return True
    moments = [moment + outcome.world.twilio_offset for moment in (look.began, look.ended)]
    if recording.conference:
        return any(all(is_in(calls[sid], recording.conference, at) for at in moments) for sid in known.calls)
    return any(
        all(is_in(calls[sid], conference, at) for at in moments)
        for sid in named & calls.keys()
        for conference in proof.wish.meeting.conferences
        if conference.sid in known.conferences
    )


def _telling_is_wrong(outcome: Outcome) -> Iterator[str]:
    for event in outcome.world.aws.published:
        if event.kind != STARTED_WHILE_PAUSED:
            continue
        sid, group = event.detail["recording_sid"], event.detail["group"]
        if event.detail["paused"] and not any(status == _PAUSED for _, status in outcome.world.twilio.lives[sid]):
            yield f"{sid} was told to be paused by {group}, and never was"


def _refusals_are_wrong(outcome: Outcome) -> Iterator[str]:
    """Say who was told that something still records, though Twilio pauses everything that it is asked to by its SID."""
    for wish in outcome.scenario.pausers.wishes:
        for one in outcome.deliveries_of[wish.name]:
            if not one.went_wrong and body_of(one).get("type", "").endswith(":still-recording"):
                yield f"{wish.name} was told what still records, though nothing went wrong"


# --- no pause is forgotten -----------------------------------------------------------------------


def _pauses_have_no_timer(outcome: Outcome) -> Iterator[str]:
    set_at: dict[str, float] = {}
    for held in outcome.world.aws.timers.schedules.values():
        set_at.setdefault(held["by"].cause, held["at"])
    watched = {wish.name for wish in outcome.scenario.pausers.wishes if "ResumeWithinSeconds" in wish.fields}
    for asked in outcome.world.twilio.asked:
        if asked.done_to and asked.cause in watched and set_at.get(asked.cause, asked.at) >= asked.at:
            yield f"{asked.done_to} was paused with others by {asked.cause}, and nobody watches"


def _pauses_were_forgotten(outcome: Outcome) -> Iterator[str]:
    told = {event.detail["timer"] for event in outcome.world.aws.published if event.kind == STILL_PAUSED}
    schedules = outcome.world.aws.timers.schedules
    watching = {name: schedules[name]["by"] for name in timers(outcome)}
    for name, by in watching.items():
        look = next((one for one in outcome.deliveries_of.get(name, []) if is_done(one)), None)
        wish = next(wish for wish in outcome.scenario.pausers.wishes if wish.name == by.cause)
        paused = [one for one in outcome.world.twilio.asked if one.by is by and one.done_to]
        if name in told or not paused:
            continue
        until = look.ended or look.began if look else float("inf")
        later = [
            other.began for key, other in watching.items() if key != name and _is_of_the_same(outcome, other, wish)
        ]
        if any(by.began <= moment <= until for moment in [*later, *resumes(outcome, wish.meeting)]):
            continue
        if look is None:
            yield f"nobody looked after what {wish.name} paused: its timer is {name}"
            continue
        for one in paused:
            if one.is_unknown and _is_being_resumed(outcome, wish.meeting, since=by.began, until=one.done_at):
                continue  # whoever resumed could not know of it
            if _is_its_own(outcome, one) and _is_paused_throughout(outcome, one, until):
                yield (
                    f"{one.done_to} was paused with others at {_when(outcome, one.done_at)} by {wish.name}, and was "
                    f"when that was looked after at {_when(outcome, look.began)}; nobody was told"
                )


def _is_being_resumed(outcome: Outcome, meeting: Meeting, *, since: float, until: float) -> bool:
    """Tell whether a request to resume was at work then."""
    resuming = [one for wish in meeting.wishes if not wish.is_pause for one in outcome.deliveries_of[wish.name]]
    return any(one.began <= until and since <= (one.ended or until) for one in resuming)


def _is_of_the_same(outcome: Outcome, by: Delivery, wish: AllWish) -> bool:
    return any(other.name == by.cause and other.call is wish.call for other in outcome.scenario.pausers.wishes)


def _is_its_own(outcome: Outcome, asked: Asked) -> bool:
    """Tell whether the recording ran when it was paused."""
    return _status_before(outcome, str(asked.done_to), asked.done_at) == _RESUMED


def _is_paused_throughout(outcome: Outcome, asked: Asked, until: float) -> bool:
    life = [status for at, status in outcome.world.twilio.lives[str(asked.done_to)] if asked.done_at <= at <= until]
    return all(status == _PAUSED for status in life)


# --- only its own is resumed ---------------------------------------------------------------------


def _somebody_else_was_resumed(outcome: Outcome) -> Iterator[str]:
    watching = timers(outcome)
    wishes = {wish.name: wish for wish in outcome.scenario.pausers.wishes}
    meetings = {call.sid: meeting for meeting in outcome.scenario.pausers.meetings for call in meeting.calls}
    for asked in outcome.world.twilio.asked:
        if asked.status != _RESUMED or not asked.done_to or asked.by is None:
            continue
        if asked.cause in watching:
            call_sid = watching[asked.cause]["call_sid"]
            meeting = meetings[call_sid]
        elif asked.cause in wishes:
            meeting, call_sid = wishes[asked.cause].meeting, wishes[asked.cause].call.sid
        else:
            continue
        if _status_before(outcome, asked.done_to, asked.done_at) != _PAUSED:
            continue
        own = _causes_of_group(outcome, meeting, call_sid)
        for other in _pauses_of_others(outcome, asked, own):
            if _could_be_seen(outcome, asked, other, own, meeting):
                yield (
                    f"{asked.cause} resumed {asked.done_to} at {_when(outcome, asked.at)}, which "
                    f"{other.cause or 'another program'} had paused at {_when(outcome, other.done_at)}"
                )


def _causes_of_group(outcome: Outcome, meeting: Meeting, call_sid: str) -> set[str]:
    """Return what may pause for the group that a resume on a call is about."""
    pauses = [wish for wish in meeting.wishes if wish.is_pause]
    named = [wish for wish in pauses if wish.call.sid == call_sid] or pauses
    starts = {request.name for request in outcome.scenario.starters.requests}
    looks = {late(one.sid) for one in recordings_of(outcome, meeting)}
    return {wish.name for wish in named} | starts | looks


def _pauses_of_others(outcome: Outcome, asked: Asked, own: set[str]) -> Iterator[Asked]:
    """Give the pauses by somebody else since the recording ran last."""
    assert asked.by
    life = outcome.world.twilio.lives[str(asked.done_to)]
    ran_at = max((at for at, status in life if status == _RESUMED and at < asked.done_at), default=0.0)
    for other in outcome.world.twilio.asked:
        is_of_it = other.status == _PAUSED and other.done_to == asked.done_to
        if is_of_it and other.cause not in own and ran_at <= other.done_at < asked.by.began:
            yield other


def _could_be_seen(outcome: Outcome, asked: Asked, other: Asked, own: set[str], meeting: Meeting) -> bool:
    """Tell whether whoever resumed could know of the other's pause."""
    sid = str(asked.done_to)
    ours = [one for one in outcome.world.twilio.asked if one.cause in own and one.done_to == sid]
    ours = [one for one in ours if one.status == _PAUSED and one.done_at < asked.done_at]
    first = min(ours, key=lambda one: one.done_at, default=None)
    if first is None:
        return False
    theirs = next((wish for wish in meeting.wishes if wish.name == other.cause), None)
    if theirs:  # they paused everything, too, and what they paused is theirs until they resume it
        return not any(began < asked.done_at for began in _ends_of(outcome, theirs))
    is_before = other.done_at < first.done_at
    if other.by:
        return other.by.wrote.get(sid, asked.done_at) < (first.looked_at if is_before else asked.looked_at)
    is_unknown = any(one.is_unknown and one.cause in own | {asked.cause} for one in outcome.world.twilio.asked)
    is_unknown |= is_before and all(one.by and one.by.result is KILLED and sid not in one.by.wrote for one in ours)
    is_unknown |= is_before and _may_have_been_noted(outcome, other, first)
    if is_unknown or _status_before(outcome, sid, other.done_at) != _RESUMED:
        return False
    cannot_tell = _CANNOT_TELL_WITHOUT_DATE if is_before and NO_DATE in outcome.world.ways else _CANNOT_TELL
    return all(abs(other.done_at - one.at) > cannot_tell for one in ours)


def _may_have_been_noted(outcome: Outcome, other: Asked, first: Asked) -> bool:
    """Tell whether an attempt may have noted the recording after the other's pause, and failed before the first one."""
    return any(
        attempt.went_wrong and attempt.ended and other.done_at < attempt.ended < first.at
        for attempt in outcome.deliveries_of[first.cause]
    )


def _ends_of(outcome: Outcome, pause: AllWish) -> Iterator[float]:
    """Give when somebody, or a timer, may have begun to resume what was paused on a call."""
    for wish in pause.meeting.wishes:
        if not wish.is_pause and wish.call is pause.call:
            yield from (one.began for one in outcome.deliveries_of[wish.name])
    for name, timer in timers(outcome).items():
        if timer["call_sid"] == pause.call.sid:
            yield from (one.began for one in outcome.deliveries_of.get(name, []))


def _was_not_resumed(outcome: Outcome) -> Iterator[str]:
    """Say what a pause had paused, nobody else did anything to, and its resuming left paused without a word."""
    twilio = outcome.world.twilio
    for wish in outcome.scenario.pausers.wishes:
        if wish.is_pause:
            continue
        for told in outcome.deliveries_of[wish.name]:
            body = body_of(told)
            if not is_done(told) or "left_paused" not in body or told.ended is None or not body["group"]:
                continue
            if "Idempotent-Replayed" in told.result.get("multiValueHeaders", {}):
                continue  # what a resume had answered before; what was paused since, that one was not about
            left = {one["sid"] for one in body["left_paused"]}
            # Where the call was not paused itself, the only pause that there is: nobody else asks for one then.
            pauses = [other for other in wish.meeting.wishes if other.is_pause]
            names = {other.name for other in pauses if other.call is wish.call} or {other.name for other in pauses}
            for recording in recordings_of(outcome, wish.meeting):
                of_it = [one for one in twilio.asked if one.done_to == recording.sid and one.done_at <= told.ended]
                is_paused_by_all = (
                    bool(of_it)
                    and all(one.cause in names and one.status == _PAUSED for one in of_it)
                    and all(one.by and one.by.ended and max(one.by.ended, one.done_at) < told.began for one in of_it)
                )
                is_paused = _status_before(outcome, recording.sid, told.ended) == _PAUSED
                if is_paused_by_all and is_paused and recording.sid not in left:
                    yield (
                        f"{recording.sid} was left paused without a word by {wish.name} at {_when(outcome, told.ended)}"
                    )


def _stays_paused(outcome: Outcome) -> Iterator[str]:
    """Say what pauses of everything had paused, nobody else did anything to, and stays so when each was resumed."""
    asked = outcome.world.twilio.asked
    for meeting in outcome.scenario.pausers.meetings:
        wishes = {wish.name: wish for wish in meeting.wishes if wish.is_pause}
        for sid in dict.fromkeys(str(one.done_to) for one in asked if one.done_to and one.cause in wishes):
            changes = [one for one in asked if one.done_to == sid]
            if any(one.by is None or sid not in one.by.wrote or one.is_unknown for one in changes):
                continue
            causes = {one.cause for one in changes if one.status == _PAUSED}
            ends = [_resumed_at(outcome, wishes[cause]) for cause in causes & wishes.keys()]
            last = max((one for one in ends if one is not None), default=0.0)
            if causes <= wishes.keys() and None not in ends and _status_before(outcome, sid, last) == _PAUSED:
                yield f"{sid} stays paused at {_when(outcome, last)}, though {', '.join(sorted(causes))} was resumed"


def _resumed_at(outcome: Outcome, pause: AllWish) -> float | None:
    """Return when a pause was resumed, by a request that was sent after it had ended; None if it was not."""
    ended = [one.ended for one in outcome.deliveries_of[pause.name]]
    for wish in pause.meeting.wishes:
        deliveries = outcome.deliveries_of[wish.name]
        if wish.is_pause or wish.call is not pause.call or not all(at and at < deliveries[0].began for at in ended):
            continue  # a request that is repeated acts on no later pause
        if done := next(filter(is_done, deliveries), None):
            return done.ended
    return None


# --- what was done -------------------------------------------------------------------------------


def _asked(outcome: Outcome, recording: Recording, status: str) -> Iterator[Asked]:
    for one in outcome.world.twilio.asked:
        if one.done_to == recording.sid and one.status == status:
            yield one


def _status_before(outcome: Outcome, sid: str, at: float) -> str:
    """Return the status that a recording had just before a moment."""
    return next((status for when, status in reversed(outcome.world.twilio.lives[sid]) if when < at), "")


def _when(outcome: Outcome, moment: float) -> str:
    return f"{moment - outcome.world.begins:.1f} s"
