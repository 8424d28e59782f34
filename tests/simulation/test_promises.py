"""Every check can fail: each sentence of the promises is said when a run that kept them is told otherwise."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from call_recording.bus import REQUEST_FAILED, STARTED_WHILE_PAUSED, STATUS_CHANGE, STILL_PAUSED
from local.stack import PROJECT
from local.twilio_simulator.model import Call, Recording
from local.twilio_simulator.twilio import Request
from tests.simulation.aws import Published
from tests.simulation.callers import Receipt, Wish
from tests.simulation.callers import Request as Start
from tests.simulation.ledger import Version
from tests.simulation.pausers import AllWish, Meeting
from tests.simulation.promises import audio, controls, events, pauses, rows
from tests.simulation.promises.outcome import Change, Outcome
from tests.simulation.promises.scope import proofs
from tests.simulation.runs import finished
from tests.simulation.test_ledger import HAPPENS, broken_after
from tests.simulation.test_simulation import NOTICED
from tests.simulation.witness import Asked, Delivery

SEED: Final = 22
"""A run with everything: controls, timers, receipts, pauses of everything, and what others record."""

SID: Final = "RE" + "f" * 32
"""A recording that no run has."""


@pytest.fixture(scope="module")
def ended(template: dict[str, Any]) -> Outcome:
    return finished(template, seed=SEED, recordings=12)


@pytest.fixture
def outcome(ended: Outcome) -> Outcome:
    """Return what a run left behind, without what was computed from it."""
    return Outcome(ended.scenario, dict(ended.rows), list(ended.changes))


class Tale:
    """A run that was otherwise than it was: until the test is over."""

    def __init__(self, outcome: Outcome, patch: pytest.MonkeyPatch) -> None:
        self.outcome = outcome
        self.scenario = outcome.scenario
        self.world = outcome.world
        self.twilio = outcome.world.twilio
        self.aws = outcome.world.aws
        self.ledger = outcome.world.ledger
        self.patch = patch

    # --- what is otherwise ----------------------------------------------------------------------

    def at(self, seconds: float) -> float:
        return self.world.begins + seconds

    def add(self, owner: Any, name: str, *more: Any) -> None:
        self.patch.setattr(owner, name, [*getattr(owner, name), *more])

    def keep(self, owner: Any, name: str, wanted: Callable[[Any], bool]) -> None:
        self.patch.setattr(owner, name, [one for one in getattr(owner, name) if wanted(one)])

    def row(self, sid: str, **changes: Any) -> None:
        held = self.outcome.rows[sid] | changes
        self.outcome.rows[sid] = {name: value for name, value in held.items() if value is not None}

    def publish(self, kind: str, *, at: float = 0.0, by: Delivery | None = None, **detail: Any) -> None:
        by = by or Delivery("", "", self.at(at))
        self.add(self.aws, "published", Published(self.at(at), kind, detail, "", by))

    def events_of(self, event_id: str) -> list[Published]:
        return [event for event in self.aws.published if event.detail.get("id") == event_id]

    def change_events(self, event_id: str, *, at: float | None = None, **detail: Any) -> None:
        """Have an event come at another time, or say something else, each time that it comes."""
        told = [
            replace(event, at=event.at if at is None else at, detail=event.detail | detail)
            if event.detail.get("id") == event_id
            else event
            for event in self.aws.published
        ]
        self.patch.setattr(self.aws, "published", told)

    # --- a recording that is controlled ----------------------------------------------------------

    def wish(self, name: str, **fields: Any) -> Wish:
        wish = Wish(name, self.scenario.starters.requests[0].call, {"Status": "paused", **fields}, SID, 0)
        self.add(self.scenario.controllers, "wishes", wish)
        return wish

    def delivery(self, cause: str, began: float, *, ended: float | None = None, result: Any = None) -> Delivery:
        delivery = Delivery("recordings_api", cause, self.at(began), ended=ended and self.at(ended), result=result)
        self.add(self.world, "deliveries", delivery)
        return delivery

    def asked(self, status: str, at: float, by: Delivery | None, *, done_to: str | None = SID) -> Asked:
        """Have Twilio get a request, and do it then; whoever asked wrote the row, and read it before."""
        asked = Asked(status, self.at(at), by, self.at(at) - 0.1, done_to=done_to, done_at=self.at(at))
        if by and done_to:
            by.wrote[done_to] = self.at(at) + 0.1
        self.add(self.twilio, "asked", asked)
        return asked

    def timer(self, by: Delivery, *, name: str = "timer", at: float = 0.0, **more: Any) -> None:
        payload = {"recording_sid": SID, "call_sid": "CA", "auto_resume": False, "resume_within_seconds": 20, **more}
        held = {"payload": {"resume_timer": payload}, "by": by, "is_cancelled": False, "at": self.at(at)}
        held["fires_at"] = by.began + 20
        self.patch.setitem(self.aws.timers.schedules, name, held)

    def lives(self, *life: tuple[float, str]) -> None:
        self.patch.setitem(self.twilio.lives, SID, [(self.at(at), status) for at, status in life])

    def paused(self, *, name: str = "timer", at: float = 10, **more: Any) -> Delivery:
        """Have a recording paused for 20 s, with a timer."""
        wish = self.wish(f"http#{name}", ResumeWithinSeconds=20)
        by = self.delivery(wish.name, at - 1, ended=at + 1, result={"statusCode": 200})
        self.timer(by, name=name, **more)
        self.asked("paused", at, by)
        self.lives((1, "in-progress"), (at, "paused"))
        return by


NOTICED_ELSEWHERE: Final = ("the mark of new recordings", "how a recording was before", "the note before asking")
"""Parts without which a run says what no lie here makes it say."""

Lie = Callable[[Tale], Any]
LIES: dict[str, tuple[Any, str, Lie]] = {}
"""By name: which promises it breaks, the sentence, and how the run was otherwise."""


def lie(part: Any, sentence: str) -> Callable[[Lie], Lie]:
    def note(tell: Lie) -> Lie:
        LIES[tell.__name__.strip("_").replace("_", " ")] = part, sentence, tell
        return tell

    return note


# --- rows ----------------------------------------------------------------------------------------


def _foreign(tale: Tale) -> str:
    """Return a recording that others made, with its row."""
    rows, made = tale.outcome.rows, tale.scenario.strangers.made
    return next(
        sid
        for sid in sorted(made & rows.keys())
        if "intent" not in rows[sid] and rows[sid]["status"] == "completed" and "track" in rows[sid]
    )


def _met(tale: Tale) -> Start:
    named = {row.get("intent") for row in tale.outcome.rows.values()}
    requests = tale.scenario.starters.requests
    return next(one for one in requests if len(one.recordings) == 1 and one.name in named)


def _deleted(tale: Tale) -> str:
    """Return a recording with a receipt that was at Twilio."""
    return next(sid for sid in tale.scenario.deleters.receipts if tale.twilio.recordings[sid].is_deleted)


def _archived(tale: Tale) -> str:
    unwanted = tale.ledger.to_be_deleted.keys() | tale.scenario.deleters.expired
    return next(sid for sid, row in tale.outcome.rows.items() if "archive" in row and sid not in unwanted)


@lie(rows, "has a row, but never existed")
def _a_row_of_nothing(tale: Tale) -> None:
    tale.outcome.rows[SID] = tale.outcome.rows[_foreign(tale)] | {"recording_sid": SID}


@lie(rows, "has no row")
def _no_row(tale: Tale) -> None:
    del tale.outcome.rows[_foreign(tale)]


@lie(rows, "says duration_seconds = 86400, Twilio")
def _another_duration(tale: Tale) -> None:
    tale.row(_foreign(tale), duration_seconds=86400)


@lie(rows, "says open_shard = 'open#3', Twilio None")
def _a_final_row_among_the_open_ones(tale: Tale) -> None:
    tale.row(_foreign(tale), open_shard="open#3")


@lie(rows, "has a receipt of its deletion, and is failed")
def _a_receipt_and_no_tombstone(tale: Tale) -> None:
    sid = _deleted(tale)
    tale.patch.setattr(tale.twilio.recordings[sid], "status", "failed")
    truth = rows._truth(tale.twilio.recordings[sid])  # noqa: SLF001 (all else is as it is)
    tale.row(sid, **truth)


@lie(rows, "has 2 recordings")
def _two_rows_for_an_intent(tale: Tale) -> None:
    tale.row(_foreign(tale), intent=_met(tale).name)


@lie(rows, "was answered with several recordings")
def _two_answers(tale: Tale) -> None:
    request = _met(tale)
    tale.patch.setattr(request, "recordings", request.recordings | {SID})


@lie(
    rows,
    "was answered with a recording whose row does not say so"
    "|has no recording and was not refused"
    "|for 0 requests that were met",
)
def _a_row_that_forgot_its_intent(tale: Tale) -> None:
    (sid,) = _met(tale).recordings
    tale.row(sid, intent=None)


@lie(rows, "has no recording and was not refused")
def _a_start_that_nobody_met(tale: Tale) -> None:
    tale.add(tale.scenario.starters, "requests", Start("http#nobody", _met(tale).call, {}))


@lie(rows, "was refused and has a recording")
def _a_start_that_was_refused_and_met(tale: Tale) -> None:
    request = _met(tale)
    tale.patch.setattr(request, "recordings", set())
    tale.patch.setattr(request, "refusals", {"no"})


@lie(rows, "was said to have failed and has a recording")
def _an_event_that_failed_and_was_met(tale: Tale) -> None:
    request = _met(tale)
    tale.row(*request.recordings, intent="eventbridge#failed")
    tale.patch.setattr(request, "name", "eventbridge#failed")
    tale.publish(REQUEST_FAILED, event_id="failed")


@lie(rows, r"call CA\w+ has \d recordings for 0 requests that were met")
def _a_recording_that_nobody_asked_for(tale: Tale) -> None:
    request = _met(tale)
    tale.keep(tale.scenario.starters, "requests", lambda one: one.call is not request.call)


@lie(rows, "went from completed back to processing")
def _a_status_that_went_back(tale: Tale) -> None:
    row = tale.outcome.rows[_foreign(tale)]
    tale.outcome.changes.append(Change("0", tale.at(1), row, row | {"status": "processing"}))


@lie(rows, "changed its intent")
def _another_intent(tale: Tale) -> None:
    row = tale.outcome.rows[next(iter(_met(tale).recordings))]
    tale.outcome.changes.append(Change("0", tale.at(1), row, row | {"intent": "http#another"}))


@lie(rows, "a callback of Twilio's was refused")
def _a_refused_callback(tale: Tale) -> None:
    tale.add(tale.world, "answers_to_callbacks", ("twilio", 403, 0.0))


@lie(rows, "a forged callback was answered 204")
def _a_believed_forgery(tale: Tale) -> None:
    tale.add(tale.world, "answers_to_callbacks", ("forged", 204, 0.0))


@lie(rows, "a signed callback was answered 502, when nothing went wrong")
def _a_signed_callback_that_is_lost(tale: Tale) -> None:
    tale.add(tale.world, "answers_to_callbacks", ("poison", 502, tale.at(tale.world.faults_last + 1)))


@lie(rows, "the dead letter of a-start did not come back")
def _a_start_among_the_dead_letters(tale: Tale) -> None:
    tale.add(tale.aws.starts, "dead_letters", {"cause": "a-start"})


@lie(rows, "the dead letter of a-control did not come back")
def _a_control_among_the_dead_letters(tale: Tale) -> None:
    tale.add(tale.aws.controls, "dead_letters", {"cause": "a-control"})


@lie(rows, f"the dead letter of {SID} did not come back")
def _audio_among_the_dead_letters(tale: Tale) -> None:
    detail = {"account_sid": tale.world.accounts[0].sid, "recording_sid": SID}
    tale.add(tale.aws.to_archive, "dead_letters", {"detail": detail})


@lie(rows, "a callback of Twilio's could not be read")
def _a_callback_that_is_kept(tale: Tale) -> None:
    tale.add(tale.aws, "kept_callbacks", {"fields": [["AccountSid", tale.world.accounts[0].sid]]})


@lie(rows, "POST /nowhere is not described")
def _a_request_that_is_not_described(tale: Tale) -> None:
    tale.patch.setattr(tale.world.contract, "broken", [])
    tale.world.contract.observe(Request("POST", "/nowhere"), None)


# --- controls ------------------------------------------------------------------------------------


@lie(controls, f"{SID} was paused by http#watched, and nobody watches")
def _a_pause_without_its_timer(tale: Tale) -> None:
    wish = tale.wish("http#watched", ResumeWithinSeconds=20)
    tale.asked("paused", 10, tale.delivery(wish.name, 9))


@lie(controls, f"nobody looked after {SID}, paused at 10.0 s: its timer is timer")
def _a_timer_that_never_fires(tale: Tale) -> None:
    tale.paused()


@lie(controls, f"nobody looked after {SID}, paused at 10.0 s: its timer was set in the past")
def _a_timer_of_the_past(tale: Tale) -> None:
    tale.paused()
    tale.patch.setitem(tale.aws.timers.schedules["timer"], "is_past", True)  # noqa: FBT003 (a value of a dict)


@lie(controls, f"{SID} was paused at 10.0 s, and timer fires 29 s late")
def _a_timer_that_is_set_for_later(tale: Tale) -> None:
    tale.paused()
    tale.patch.setitem(tale.aws.timers.schedules["timer"], "fires_at", tale.at(60))
    tale.publish(STILL_PAUSED, timer="timer", resumed=False)


@lie(controls, "nobody was told")
def _a_look_that_takes_a_pause_for_ended(tale: Tale) -> None:
    tale.paused()
    tale.delivery("timer", 40, ended=41)


@lie(controls, "nobody was told")
def _a_pause_without_a_timer_since(tale: Tale) -> None:
    tale.paused()
    tale.asked("paused", 20, tale.delivery(tale.wish("http#unwatched").name, 19, ended=21, result={}))
    tale.delivery("timer", 40, ended=41)


@lie(controls, "nobody was told")
def _a_pause_that_ended_long_after_its_time_and_before_the_look(tale: Tale) -> None:
    tale.paused()
    tale.asked("in-progress", 300, tale.delivery(tale.wish("http#resume").name, 299, ended=301, result={}))
    tale.lives((1, "in-progress"), (10, "paused"), (300, "in-progress"))
    tale.delivery("timer", 400, ended=401)


@lie(controls, "timer resumed RE0, which its pause did not pause")
def _a_timer_that_resumes_another_recording(tale: Tale) -> None:
    tale.paused(auto_resume=True)
    tale.asked("in-progress", 41, tale.delivery("timer", 40, ended=42), done_to="RE0")
    tale.publish(STILL_PAUSED, at=42, timer="timer", resumed=True)


@lie(controls, f"timer resumed {SID} without having been asked to")
def _a_timer_that_resumes_and_should_only_tell(tale: Tale) -> None:
    tale.paused()
    tale.asked("in-progress", 41, tale.delivery("timer", 40, ended=42))
    tale.publish(STILL_PAUSED, at=42, timer="timer", resumed=True)


@lie(controls, f"timer resumed {SID}, which http#other had asked to be paused since")
def _a_timer_that_resumes_the_pause_of_another(tale: Tale) -> None:
    tale.paused(auto_resume=True)
    tale.asked("paused", 20, tale.delivery(tale.wish("http#other").name, 19, ended=21, result={}))
    tale.asked("in-progress", 41, tale.delivery("timer", 40, ended=42))
    tale.publish(STILL_PAUSED, at=42, timer="timer", resumed=True)


@lie(controls, f"timer resumed {SID}, which another program had paused since, as Twilio shows")
def _a_timer_that_resumes_the_pause_of_another_program(tale: Tale) -> None:
    tale.paused(auto_resume=True)
    tale.lives((1, "in-progress"), (10, "paused"), (15, "in-progress"), (20, "paused"), (41, "in-progress"))
    tale.asked("in-progress", 15, None)
    tale.asked("paused", 20, None)
    tale.asked("in-progress", 41, tale.delivery("timer", 40, ended=42))
    tale.publish(STILL_PAUSED, at=42, timer="timer", resumed=True)


@lie(controls, "timer was said to have resumed its recording, and had not")
def _an_event_that_tells_of_a_resume_that_was_not(tale: Tale) -> None:
    tale.paused(auto_resume=True)
    tale.delivery("timer", 40, ended=42)
    tale.publish(STILL_PAUSED, at=42, timer="timer", resumed=True)


@lie(controls, f"timer was said not to have resumed {SID}, and had")
def _an_event_that_tells_nothing_of_a_resume(tale: Tale) -> None:
    tale.paused(auto_resume=True)
    tale.asked("in-progress", 41, by := tale.delivery("timer", 40, ended=43))
    tale.publish(STILL_PAUSED, at=42, by=by, timer="timer", resumed=False)


@lie(controls, f"eventbridge#done changed {SID} at 80.0 s, when it was settled")
def _an_event_that_acts_when_it_was_done(tale: Tale) -> None:
    wish = tale.wish("eventbridge#done")
    tale.asked("paused", 10, tale.delivery(wish.name, 9, ended=11))
    tale.asked("paused", 80, tale.delivery(wish.name, 79, ended=81))


@lie(controls, f"http#done changed {SID} at 80.0 s, when it was settled")
def _a_key_that_acts_when_it_was_answered(tale: Tale) -> None:
    wish = tale.wish("http#done")
    wish.told.append((tale.at(11), "200"))
    tale.asked("paused", 10, tale.delivery(wish.name, 9, ended=11, result={}))
    tale.asked("paused", 80, tale.delivery(wish.name, 79, ended=81, result={}))


@lie(controls, f"eventbridge#failed changed {SID} at 80.0 s, when it was settled")
def _an_event_that_acts_when_it_was_said_to_have_failed(tale: Tale) -> None:
    wish = tale.wish("eventbridge#failed")
    tale.publish(REQUEST_FAILED, at=11, event_id="failed")
    tale.asked("stopped", 80, tale.delivery(wish.name, 79, ended=81))


@lie(controls, f"eventbridge#twice changed RE0, and then {SID}")
def _an_event_that_acts_on_two_recordings(tale: Tale) -> None:
    wish = tale.wish("eventbridge#twice")
    tale.asked("stopped", 10, tale.delivery(wish.name, 9), done_to="RE0")
    tale.asked("stopped", 80, tale.delivery(wish.name, 79, ended=81))


@lie(controls, f"eventbridge#twice had {SID} paused again at 80.0 s, although http#other had it in-progress at 20.0 s")
def _an_event_that_acts_again_after_another(tale: Tale) -> None:
    wish, other = tale.wish("eventbridge#twice"), tale.wish("http#other")
    tale.asked("paused", 10, tale.delivery(wish.name, 9))
    tale.asked("in-progress", 20, tale.delivery(other.name, 19, ended=21, result={}))
    tale.asked("paused", 80, tale.delivery(wish.name, 79, ended=81))


@lie(controls, "again at 80.0 s, although http#other had it in-progress at 20.0 s")
def _a_key_of_which_nobody_knows_that_acts_again_after_another(tale: Tale) -> None:
    wish, other = tale.wish("http#twice"), tale.wish("http#other")
    tale.asked("paused", 10, tale.delivery(wish.name, 9), done_to=None).is_unknown = True
    tale.asked("in-progress", 20, tale.delivery(other.name, 19, ended=21, result={}))
    tale.asked("paused", 80, tale.delivery(wish.name, 79, ended=81, result={}))


@lie(controls, "http#nothing was answered 200 and was never done")
def _an_answer_for_nothing(tale: Tale) -> None:
    tale.wish("http#nothing").told.append((tale.at(11), "200"))


# --- events --------------------------------------------------------------------------------------


def _events(tale: Tale) -> list[str]:
    """Return the ids of the first row's status changes that has three of them."""
    ids = dict.fromkeys(event.detail["id"] for event in tale.aws.published if event.kind == STATUS_CHANGE)
    by_row: dict[str, list[str]] = {}
    for event_id in ids:
        by_row.setdefault(event_id.partition("-")[0], []).append(event_id)
    return next(of_row for sid, of_row in by_row.items() if sid in tale.outcome.rows and len(of_row) > 2)


@lie(events, "two events have the id")
def _an_id_with_two_meanings(tale: Tale) -> None:
    event = tale.events_of(_events(tale)[0])[0]
    tale.publish(event.kind, **event.detail | {"duration_seconds": 86400})


@lie(events, "did not come out")
def _a_change_that_is_not_told(tale: Tale) -> None:
    event_id = _events(tale)[1]
    tale.keep(tale.aws, "published", lambda event: event.detail.get("id") != event_id)


@lie(events, "does not say")
def _an_event_with_another_status(tale: Tale) -> None:
    tale.change_events(_events(tale)[1], previous_status="failed")


@lie(events, "tells a change that there was not")
def _an_event_of_nothing(tale: Tale) -> None:
    event = tale.events_of(_events(tale)[0])[0]
    tale.publish(event.kind, **event.detail | {"id": f"{event.detail['recording_sid']}-0-status"})


@lie(events, "came out in another order than its changes were made")
def _events_in_another_order(tale: Tale) -> None:
    moved = tale.events_of(_events(tale)[0])
    tale.keep(tale.aws, "published", lambda event: event not in moved)
    tale.add(tale.aws, "published", *moved)


@lie(events, "came 60 s late, when nothing went wrong but poison")
def _an_event_that_waited(tale: Tale) -> None:
    changed = tale.outcome.changes[-1]
    last = next(
        change
        for change in reversed(tale.outcome.changes)
        if change.new["recording_sid"] in tale.outcome.rows and change.new["status"] != change.old.get("status")
    )
    assert last.at > tale.at(events._CALM_AFTER), (changed, "there are calls when nothing goes wrong")  # noqa: SLF001
    tale.change_events(f"{last.new['recording_sid']}-{last.number}-status", at=last.at + 60)


# --- audio ---------------------------------------------------------------------------------------


def _hold(tale: Tale, sid: str, *, at: float, is_locked: bool = False) -> None:
    version = Version(f"{sid}.wav", sid, is_whole=True, stored_at=tale.at(at), is_locked=is_locked)
    tale.patch.setitem(tale.ledger.versions, (version.key, "v"), version)


@lie(audio, "has a receipt of its deletion, and Twilio has it")
def _a_receipt_for_what_is_at_twilio(tale: Tale) -> None:
    tale.patch.setattr(tale.twilio.recordings[_deleted(tale)], "is_deleted", False)


@lie(audio, "has a receipt of its deletion, and the archive has")
def _a_receipt_for_what_is_in_the_archive(tale: Tale) -> None:
    _hold(tale, _deleted(tale), at=0)


@lie(audio, "has a receipt of its deletion, and there is an unfinished upload of it")
def _a_receipt_for_what_is_being_stored(tale: Tale) -> None:
    tale.patch.setitem(tale.ledger.uploads, "upload", (f"{_deleted(tale)}.wav", {}, {}))


@lie(audio, "was deleted before, and then got another receipt")
def _a_second_receipt(tale: Tale) -> None:
    receipts = tale.scenario.deleters.receipts[sid := _deleted(tale)]
    later = Receipt(receipts[-1].given_at + 1, receipts[-1].given_at + 2, {"deleted_at": "now"})
    tale.patch.setitem(tale.scenario.deleters.receipts, sid, [*receipts, later])


@lie(audio, "was deleted, and the audit trail does not say so")
def _a_deletion_that_nobody_wrote_down(tale: Tale) -> None:
    sid = _deleted(tale)
    tale.keep(tale.aws, "audited", lambda line: (line["what"], line.get("recording_sid")) != ("deletion", sid))


@lie(audio, "is completed, and is not in the archive")
def _audio_that_is_not_archived(tale: Tale) -> None:
    sid = _archived(tale)
    held = {where: one for where, one in tale.ledger.versions.items() if one.recording_sid != sid}
    tale.patch.setattr(tale.ledger, "versions", held)


@lie(audio, "is in the archive, and its row does not say so")
def _a_row_without_its_proof(tale: Tale) -> None:
    tale.row(_archived(tale), archive=None)


@lie(audio, "is in the archive, and not where its row says")
def _a_row_with_another_proof(tale: Tale) -> None:
    sid = _archived(tale)
    tale.row(sid, archive=tale.outcome.rows[sid]["archive"] | {"version_id": "another"})


# --- pauses of everything ------------------------------------------------------------------------


def _meeting(tale: Tale) -> tuple[AllWish, Delivery]:
    """Have everything on a call of its own be paused with a timer, of which nobody was told that it is proven."""
    meeting = Meeting(tale.world.accounts[0].sid, [Call("CAall", tale.world.accounts[0].sid)])
    fields = {"Status": "paused", "ResumeWithinSeconds": 20}
    wish = AllWish("http#all", meeting.calls[0], fields, meeting, 0)
    meeting.wishes.append(wish)
    tale.add(tale.scenario.pausers, "meetings", meeting)
    tale.add(tale.scenario.pausers, "wishes", wish)
    tale.lives((1, "in-progress"), (10, "paused"))
    return wish, tale.delivery(wish.name, 8)


@lie(pauses, f"{SID} was paused with others by http#all, and nobody watches")
def _everything_paused_before_its_timer(tale: Tale) -> None:
    _, by = _meeting(tale)
    tale.asked("paused", 10, by)
    tale.timer(by, recording_sid="ALL", at=11)
    tale.publish(STILL_PAUSED, timer="timer")


@lie(pauses, "nobody looked after what http#all paused: its timer is timer")
def _everything_paused_and_forgotten(tale: Tale) -> None:
    _, by = _meeting(tale)
    tale.asked("paused", 10, by)
    tale.timer(by, recording_sid="ALL", at=9)


@lie(pauses, f"{SID} was paused with others at 10.0 s by http#all, and was when that was looked after at 40.0 s")
def _everything_paused_and_taken_for_ended(tale: Tale) -> None:
    _everything_paused_and_forgotten(tale)
    tale.delivery("timer", 40, ended=41)


@lie(pauses, f"{SID} stays paused at 21.0 s, though http#all was resumed")
def _everything_paused_and_not_resumed(tale: Tale) -> None:
    wish, by = _meeting(tale)
    by.ended = tale.at(11)
    tale.timer(by, recording_sid="ALL", at=9)
    tale.asked("paused", 10, by)
    resume = AllWish("http#resume", wish.call, {"Status": "in-progress"}, wish.meeting, 0)
    wish.meeting.wishes.append(resume)
    tale.add(tale.scenario.pausers, "wishes", resume)
    tale.delivery(resume.name, 20, ended=21)


@lie(pauses, f"{SID} was told to be paused by group, and never was")
def _a_pause_that_was_told_and_never_was(tale: Tale) -> None:
    tale.lives((1, "in-progress"))
    tale.publish(STARTED_WHILE_PAUSED, recording_sid=SID, group="group", paused=True)


@lie(pauses, "http#all was told what still records, though nothing went wrong")
def _a_refusal_without_a_reason(tale: Tale) -> None:
    _, by = _meeting(tale)
    by.ended, by.result = (
        tale.at(12),
        {"statusCode": 502, "body": '{"type": "urn:problem:call-recording:still-recording"}'},
    )


@lie(pauses, "can be heard until|can be heard when")
def _what_is_heard_all_the_time(tale: Tale) -> None:
    proof = next(proof for proof in proofs(tale.outcome) if proof.scope(tale.outcome).calls)
    call = next(call for call in proof.wish.meeting.calls if call.sid in proof.scope(tale.outcome).calls)
    begins = proof.before + tale.world.twilio_offset - 1
    tale.patch.setitem(tale.twilio.recordings, SID, Recording(SID, call, 1, "both", "", begins, None))
    tale.lives((0, "in-progress"))
    tale.outcome.rows[SID] = {"recording_sid": SID, "call_sid": call.sid}


@lie(pauses, "can be heard when http#start has answered")
def _what_this_stack_began_and_left_running(tale: Tale) -> None:
    *_, proof = (
        proof for proof in proofs(tale.outcome) if proof.scope(tale.outcome).calls and proof.ends > proof.answered + 10
    )
    call = next(call for call in proof.wish.meeting.calls if call.sid in proof.scope(tale.outcome).calls)
    begins = proof.answered + 1
    heard = Recording(SID, call, 1, "both", "", begins + tale.world.twilio_offset, None)
    tale.patch.setitem(tale.twilio.recordings, SID, heard)
    tale.lives((0, "in-progress"))
    tale.publish(STARTED_WHILE_PAUSED, recording_sid=SID, group="group", paused=False)
    by = Delivery("start_recording", "http#start", begins - 0.1, ended=begins + 1)
    by.wrote[SID] = begins + 0.5
    tale.patch.setitem(tale.twilio.began_by, SID, by)


# --- what is no lie -----------------------------------------------------------------------------

TRUTHS: dict[str, Lie] = {}
"""What ends a pause, and what the top of `controls` says that nobody can promise."""


def truth(tell: Lie) -> Lie:
    TRUTHS[tell.__name__.strip("_").replace("_", " ")] = tell
    return tell


@truth
def _a_pause_that_was_resumed_in_time(tale: Tale) -> None:
    tale.paused()
    tale.asked("in-progress", 20, tale.delivery(tale.wish("http#resume").name, 19, ended=21, result={}))
    tale.lives((1, "in-progress"), (10, "paused"), (20, "in-progress"))
    tale.delivery("timer", 40, ended=41)


@truth
def _a_pause_that_a_later_timer_watches(tale: Tale) -> None:
    tale.paused()
    tale.paused(name="later", at=20)
    tale.lives((1, "in-progress"), (10, "paused"))
    tale.delivery("timer", 40, ended=41)
    tale.delivery("later", 50, ended=51)
    tale.publish(STILL_PAUSED, at=51, timer="later", resumed=False)


@truth
def _a_timer_that_resumes_what_its_pause_paused(tale: Tale) -> None:
    tale.paused(auto_resume=True)
    tale.asked("in-progress", 41, tale.delivery("timer", 40, ended=43))
    tale.publish(STILL_PAUSED, at=42, timer="timer", resumed=True)


@truth
def _a_request_that_acts_again_before_anybody_could_know_of_another(tale: Tale) -> None:
    wish, other = tale.wish("eventbridge#twice"), tale.wish("http#other")
    tale.asked("paused", 10, tale.delivery(wish.name, 9))
    by = tale.delivery(other.name, 19, ended=21, result={})
    tale.asked("in-progress", 20, by)
    del by.wrote[SID]
    tale.asked("paused", 80, tale.delivery(wish.name, 79, ended=81))


# --- each is noticed -----------------------------------------------------------------------------


def test_a_run_that_keeps_its_promises_breaks_none(outcome: Outcome) -> None:
    for part in (rows, events, controls, pauses, audio):
        assert part.broken(outcome) == []


@pytest.mark.parametrize("what", LIES)
def test_what_was_not_so_is_noticed(outcome: Outcome, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    part, sentence, tell = LIES[what]

    tell(Tale(outcome, monkeypatch))

    said = part.broken(outcome)
    assert said
    assert [one for one in said if not re.search(sentence, one)] == []


@pytest.mark.parametrize("what", TRUTHS)
def test_what_nobody_promised_is_not_noticed(outcome: Outcome, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    TRUTHS[what](Tale(outcome, monkeypatch))

    assert controls.broken(outcome) == []


def _sentences() -> Iterator[re.Pattern[str]]:
    """Give what the checks can say, as patterns."""
    folder = PROJECT / "tests/simulation"
    for file in [*sorted((folder / "promises").glob("*.py")), folder / "ledger.py"]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Yield):
                said = node.value
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self.broken.append":
                said = node.args[0]
            else:
                continue
            if isinstance(said, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else None for part in said.values)
                yield re.compile("".join(re.escape(part) if isinstance(part, str) else ".*" for part in parts))
            elif isinstance(said, ast.Constant):
                yield re.compile(re.escape(str(said.value)))


def test_every_sentence_is_said_here_or_when_a_part_is_taken_out(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [one for is_locked, happens in HAPPENS for one in broken_after(happens, is_locked=is_locked)]
    for part, _, tell in LIES.values():
        told = Outcome(outcome.scenario, dict(outcome.rows), list(outcome.changes))
        with monkeypatch.context() as patch:
            tell(Tale(told, patch))
            said += part.broken(told)
    elsewhere = [re.escape(NOTICED[part][0]) for part in NOTICED_ELSEWHERE]

    never = [
        sentence.pattern
        for sentence in _sentences()
        if not any(map(sentence.fullmatch, said)) and not any(one in sentence.pattern for one in elsewhere)
    ]
    assert never == []
