"""No watched pause is forgotten, none is resumed by another's timer, and a request acts once.

What was done to which recording, and when, is what the simulated Twilio wrote down, in true time. Not promised, because
nobody here can know of it:

- what Twilio carries out seconds after it gave no answer can undo what was answered meanwhile, so a request counts from
  when it was sent, not from when it was done;
- what a program past this stack does is seen nowhere: a pause that it made can be resumed by the timer of an earlier
  one, and a request may be repeated after it;
- what another request did counts for others from when its row was written, and only for those who read it since.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from call_recording import clock
from call_recording.bus import REQUEST_FAILED, STILL_PAUSED
from call_recording.recordings.statuses import ACTIVE
from tests.simulation.promises.outcome import Outcome
from tests.simulation.witness import Asked, Delivery
from tests.simulation.world import CLOCKS_OFF_BY

_SOONEST_SECONDS: Final = 10.0
"""How far ahead Scheduler is asked for the soonest timer."""

_IN_TIME_SECONDS: Final = clock.SKEW.total_seconds() + 2 * CLOCKS_OFF_BY + 2.0
"""How much later than asked for, by the true time, what ends a pause may count as in time: as late as the timer may be,
and as two clocks differ."""

_PAUSED = "paused"
_RESUMED = "in-progress"


def broken(outcome: Outcome) -> list[str]:
    """Return what does not hold."""
    return [
        *_pauses_have_no_timer(outcome),
        *_timers_are_late(outcome),
        *_pauses_were_forgotten(outcome),
        *_somebody_else_was_resumed(outcome),
        *_requests_acted_again(outcome),
        *_answers_are_wrong(outcome),
        *_events_are_wrong(outcome),
    ]


# --- watched pauses ------------------------------------------------------------------------------


def _pauses_have_no_timer(outcome: Outcome) -> Iterator[str]:
    watched = {w.name for w in outcome.scenario.controllers.wishes if "ResumeWithinSeconds" in w.fields}
    has_timer = {id(held["by"]) for held in outcome.world.aws.timers.schedules.values()}
    for asked in outcome.world.twilio.asked:
        if asked.done_to and asked.cause in watched and id(asked.by) not in has_timer:
            yield f"{asked.done_to} was paused by {asked.cause}, and nobody watches"


def _timers_are_late(outcome: Outcome) -> Iterator[str]:
    """Say which timers were set for later than was asked for, by the clock of whoever set them."""
    timers = outcome.world.aws.timers.schedules
    for name, pause in _watched_pauses(outcome).items():
        seconds, by = timers[name]["payload"]["resume_timer"]["resume_within_seconds"], timers[name]["by"]
        latest = pause.at + by.clock_offset + max(seconds, _SOONEST_SECONDS) + 1
        if timers[name]["fires_at"] > latest:
            late = timers[name]["fires_at"] - latest
            yield f"{pause.done_to} was paused at {_when(outcome, pause.done_at)}, and {name} fires {late:.0f} s late"


def _pauses_were_forgotten(outcome: Outcome) -> Iterator[str]:
    told = {event.detail["timer"] for event in outcome.world.aws.published if event.kind == STILL_PAUSED}
    pauses, timers = _watched_pauses(outcome), outcome.world.aws.timers
    for name, pause in pauses.items():
        if name in told:
            continue
        looks = [d for d in outcome.world.deliveries if d.cause == name and _is_done(d)]
        if not looks:
            why = "its timer was set in the past" if "is_past" in timers.schedules[name] else f"its timer is {name}"
            yield f"nobody looked after {pause.done_to}, paused at {_when(outcome, pause.done_at)}: {why}"
            continue
        look = looks[0]
        newer = [
            other
            for other in pauses.values()
            if other.done_to == pause.done_to and pause.at < other.at and other.done_at < look.began
        ]
        seconds = timers.schedules[name]["payload"]["resume_timer"]["resume_within_seconds"]
        until = look.ended or look.began
        if all(status in ACTIVE for at, status in outcome.world.twilio.lives[str(pause.done_to)] if at <= until):
            # Whoever resumed it later than that did not end it in time, however late it is looked after.
            until = min(until, pause.done_at + seconds + _IN_TIME_SECONDS)
        if not newer and _is_paused_throughout(outcome, pause, until):
            yield (
                f"{pause.done_to} was paused at {_when(outcome, pause.done_at)} by {pause.cause} under {name}, and was "
                f"when that was looked after at {_when(outcome, look.began)}; nobody was told"
            )


def _watched_pauses(outcome: Outcome) -> dict[str, Asked]:
    """Return by its timer's name what each pause that has one did."""
    by_delivery = {id(held["by"]): name for name, held in _timers_of_one(outcome).items()}
    return {
        by_delivery[id(asked.by)]: asked
        for asked in outcome.world.twilio.asked
        if asked.status == _PAUSED and asked.done_to and id(asked.by) in by_delivery
    }


def _timers_of_one(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return the timers that watch over pauses of one recording: `pauses` sees to those of everything."""
    schedules = outcome.world.aws.timers.schedules
    return {n: held for n, held in schedules.items() if held["payload"]["resume_timer"]["recording_sid"] != "ALL"}


def _is_paused_throughout(outcome: Outcome, pause: Asked, until: float) -> bool:
    """Tell whether nothing ended the pause: the recording neither ran nor was over, and nobody asked for that."""
    assert pause.done_to
    life = [status for at, status in outcome.world.twilio.lives[pause.done_to] if pause.done_at <= at <= until]
    ended = any(
        asked.done_to == pause.done_to and asked.status != _PAUSED and pause.at <= asked.done_at <= until
        for asked in outcome.world.twilio.asked
    )
    return all(status == _PAUSED for status in life) and not ended


def _somebody_else_was_resumed(outcome: Outcome) -> Iterator[str]:
    pauses = _watched_pauses(outcome)
    schedules = _timers_of_one(outcome)
    for asked in outcome.world.twilio.asked:
        if not asked.done_to or asked.cause not in schedules:
            continue
        own = pauses.get(asked.cause)
        if own is None or own.done_to != asked.done_to:
            yield f"{asked.cause} resumed {asked.done_to}, which its pause did not pause"
            continue
        if not schedules[asked.cause]["payload"]["resume_timer"]["auto_resume"]:
            yield f"{asked.cause} resumed {asked.done_to} without having been asked to"
        for other in _known_since(outcome, own, asked):
            yield f"{asked.cause} resumed {asked.done_to}, which {other.cause} had asked to be {other.status} since"
        if _was_paused_past_this_stack(outcome, own, asked):
            yield f"{asked.cause} resumed {asked.done_to}, which another program had paused since, as Twilio shows"


def _was_paused_past_this_stack(outcome: Outcome, own: Asked, asked: Asked) -> bool:
    """Tell whether another program's pause came in a later second, and changed something: then Twilio shows when.

    Not where the timer had asked before without an answer: its own attempt can have been the last change.
    """
    assert asked.by
    if any(
        other.cause == asked.cause and other.is_unknown and other.at < asked.at for other in outcome.world.twilio.asked
    ):
        return False
    life = outcome.world.twilio.lives[str(asked.done_to)]
    for other in outcome.world.twilio.asked:
        if other.by is None and other.status == _PAUSED and other.done_to == asked.done_to:
            before = next((status for at, status in reversed(life) if at < other.done_at), "")
            if before == _RESUMED and own.done_at + 1 < other.done_at < asked.by.began:
                return True
    return False


# --- once ----------------------------------------------------------------------------------------


def _requests_acted_again(outcome: Outcome) -> Iterator[str]:
    settled = _settled_at(outcome)
    by_cause: dict[str, list[Asked]] = defaultdict(list)
    names = {wish.name for wish in outcome.scenario.controllers.wishes}
    for asked in outcome.world.twilio.asked:
        if asked.by and asked.cause in names:
            by_cause[asked.cause].append(asked)
    for cause, several in by_cause.items():
        for number, asked in enumerate(several):
            if not asked.done_to or asked.by is None:
                continue
            if settled.get(cause, asked.by.began) < asked.by.began:
                yield f"{cause} changed {asked.done_to} at {_when(outcome, asked.at)}, when it was settled"
            for before in several[:number]:
                yield from _acted_again(outcome, before, asked)


def _acted_again(outcome: Outcome, before: Asked, asked: Asked) -> Iterator[str]:
    """Give what is wrong with a request's having acted, after an earlier attempt that did or may have."""
    if before.done_to not in {None, asked.done_to}:
        yield f"{asked.cause} changed {before.done_to}, and then {asked.done_to}"
    if before.done_to or before.is_unknown:
        for other in _known_since(outcome, before, asked):
            yield (
                f"{asked.cause} had {asked.done_to} {asked.status} again at {_when(outcome, asked.at)}, although "
                f"{other.cause} had it {other.status} at {_when(outcome, other.at)}"
            )


def _known_since(outcome: Outcome, before: Asked, asked: Asked) -> Iterator[Asked]:
    """Give what others did here to the recording in between, and whoever asked could read."""
    for other in outcome.world.twilio.asked:
        if (
            other.by
            and other.done_to == asked.done_to
            and other.by is not asked.by
            and other.cause != asked.cause
            and before.at < other.at
            and before.done_at < other.done_at < asked.at
        ):
            written = other.by.wrote.get(str(other.done_to))
            if written is not None and written < asked.looked_at:
                yield other


def _settled_at(outcome: Outcome) -> dict[str, float]:
    """Return for each request when its sender could know what became of it: it was done, or will never be."""
    settled: dict[str, float] = {}
    for event in outcome.world.aws.published:
        if event.kind == REQUEST_FAILED:
            settled.setdefault(f"eventbridge#{event.detail['event_id']}", event.at)
    for wish in outcome.scenario.controllers.wishes:
        for at, status in wish.told:
            if status == "200":
                settled[wish.name] = min(at, settled.get(wish.name, at))
    for delivery in outcome.world.deliveries:
        if delivery.function == "recordings_api" and delivery.cause.startswith("eventbridge#") and _is_done(delivery):
            at = delivery.ended or delivery.began
            settled[delivery.cause] = min(at, settled.get(delivery.cause, at))
    return settled


def _answers_are_wrong(outcome: Outcome) -> Iterator[str]:
    done = {asked.cause for asked in outcome.world.twilio.asked if asked.done_to}
    for wish in outcome.scenario.controllers.wishes:
        if wish.name not in done and any(status == "200" for _, status in wish.told):
            yield f"{wish.name} was answered 200 and was never done"


def _events_are_wrong(outcome: Outcome) -> Iterator[str]:
    """Say which events tell of a resume that was not, or tell none although Twilio had answered that it was done."""
    timers = _timers_of_one(outcome)
    by_cause: dict[str, list[Asked]] = defaultdict(list)
    for asked in outcome.world.twilio.asked:
        if asked.cause in timers and asked.done_to:
            by_cause[asked.cause].append(asked)
    for event in outcome.world.aws.published:
        if event.kind != STILL_PAUSED or (name := event.detail["timer"]) not in timers:
            continue
        if event.detail["resumed"] and not any(asked.done_at < event.at for asked in by_cause[name]):
            yield f"{name} was said to have resumed its recording, and had not"
        if not event.detail["resumed"]:
            for asked in by_cause[name]:
                if asked.by is event.by and not asked.is_unknown and asked.done_at < event.at:
                    yield f"{name} was said not to have resumed {asked.done_to}, and had"


def _is_done(delivery: Delivery) -> bool:
    """Tell whether a delivery ended well: an event's with nothing, a dead letter's without a failure."""
    result: Any = delivery.result
    if delivery.ended is None or isinstance(result, BaseException):
        return False
    return result is None or (isinstance(result, dict) and result.get("batchItemFailures") == [])


def _when(outcome: Outcome, moment: float) -> str:
    return f"{moment - outcome.world.begins:.1f} s"
