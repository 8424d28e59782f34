"""Who calls, who acts on the calls, and what operators do meanwhile."""

import json
from collections.abc import Callable
from typing import Any, Final

from local.twilio_simulator.model import Account, Call, new_sid
from tests.simulation.callers import Controllers, Deleters, Starters
from tests.simulation.pausers import Pausers
from tests.simulation.strangers import Strangers
from tests.simulation.ways import CONFERENCES, LATE_CALLS, PARENTS
from tests.simulation.world import World

FAULTS_LAST: Final = 1800.0
CALLS_LAST: Final = 1200.0
LASTS: Final = 2.75 * 3600
_POISON_LASTS: Final = 3600.0
_CALM_CALLS_BEGIN: Final = FAULTS_LAST + 300
_RECONCILE_EVERY: Final = 600.0
_REDRIVE_EVERY: Final = 240.0


class Scenario:
    """A run for one seed; afterwards it tells what everybody asked for and was told."""

    def __init__(self, world: World, *, recordings: int, has_reconciler: bool = True) -> None:
        self.world = world
        self.random = world.random
        self.starters = Starters(world)
        self.controllers = Controllers(world)
        self.deleters = Deleters(world)
        self.strangers = Strangers(world)
        self.pausers = Pausers(world, self.starters, self.controllers, self.strangers)
        self.tokens = {account.auth_token for account in world.accounts}
        call, begins = self._new_call(CALLS_LAST)
        for number in range(recordings):
            if number and self.random.random() < 0.7:
                call, begins = self._new_call(CALLS_LAST)
            if self.random.random() < 0.15:
                self._at(begins + self.random.uniform(0, 20), lambda call=call: self.strangers.record(call))  # type: ignore[misc]
            else:
                self.starters.ask(call, begins + self.random.uniform(0.1, 5))
        for _ in range(max(1, recordings // 6)):  # when nothing goes wrong any more, but for the poison
            call, begins = self._new_call(300, after=_CALM_CALLS_BEGIN)
            self.starters.ask(call, begins + 0.1)
        for what, how_many, lasts in (
            (self.strangers.forge, recordings // 6, FAULTS_LAST),
            (self.strangers.poison, recordings // 2, _POISON_LASTS),
        ):
            for _ in range(max(1, how_many)):
                self._at(world.begins + self.random.uniform(60, lasts), what)
        self._at(world.begins + self.random.uniform(60, 600), self.strangers.record_poisoned)
        self._at(world.begins + _CALM_CALLS_BEGIN - 60, self.strangers.plant)
        self.pausers.plan(max(3, recordings // 3), within=CALLS_LAST)
        self._operate(has_reconciler=has_reconciler)

    def _at(self, moment: float, do: Callable[[], Any]) -> None:
        self.world.scheduler.at(moment, do)

    # --- calls ---------------------------------------------------------------------------------

    def _new_call(self, within: float, *, after: float = 1.0) -> tuple[Call, float]:
        """Return a call that will begin, and when; and plan what befalls its recordings."""
        account = self.random.choices(self.world.accounts, [7, 3])[0]
        call = Call(new_sid("CA", self.random), account.sid, is_silent=self.random.random() < 0.1)
        begins = self.world.begins + after + self.random.uniform(0, within)
        lasts = self.random.choice([0.6, 5, 60, 120, 600]) * self.random.uniform(0.9, 1.5)
        if LATE_CALLS in self.world.ways:
            call.in_progress_at = begins + self.world.twilio_offset + 0.4
        if PARENTS in self.world.ways and self.random.random() < 0.3:
            call.parent = Call(new_sid("CA", self.random), account.sid)
            self._at(begins, lambda: self.world.twilio.calls.setdefault(call.parent.sid, call.parent))  # type: ignore[union-attr,arg-type]
        if CONFERENCES in self.world.ways and self.random.random() < 0.2:
            self._at(begins + self.random.uniform(0, 5), lambda: self.strangers.meet(call))
        self._at(begins, lambda: self.world.twilio.calls.setdefault(call.sid, call))
        self._at(begins + lasts, lambda: self._hang_up(call))
        if lasts > 40:
            self.controllers.act_on(call, begins=begins + 3, lasts=lasts)
        self.deleters.act_on(call, begins + lasts)
        return call, begins

    def _hang_up(self, call: Call) -> None:
        self.world.twilio.hang_up(call.sid)
        self.world.wake_for_twilio()

    # --- operators -----------------------------------------------------------------------------

    def _operate(self, *, has_reconciler: bool) -> None:
        begins = self.world.begins
        if self.random.random() < 0.5:
            self._rotate_token(self.random.choice(self.world.accounts), begins + self.random.uniform(60, CALLS_LAST))
        if self.random.random() < 0.4:
            self._at(
                begins + self.random.uniform(300, 1500),
                lambda: self.world.deploy(DELETE_AT_TWILIO_AFTER_ARCHIVING="true"),
            )
        if self.random.random() < 0.3:
            other = {"wav": "mp3", "mp3": "wav"}[self.world.settings["ARCHIVE_FORMAT"]]
            self._at(begins + self.random.uniform(60, CALLS_LAST), lambda: self.world.deploy(ARCHIVE_FORMAT=other))
        if self.random.random() < 0.5:  # and so lists of that account are refused from then on
            gone_at = begins + self.random.uniform(300, CALLS_LAST)
            self._at(gone_at, lambda: self.world.aws.secrets.pop(self.world.poisoner.sid))
        if has_reconciler:
            self._at(begins + _RECONCILE_EVERY, self._reconcile)
        self._at(begins + FAULTS_LAST + 1, self._redrive)

    def _reconcile(self) -> None:
        self.world.invoke("reconcile_recordings", {}, cause="schedule")
        self._again(self._reconcile, _RECONCILE_EVERY)

    def _redrive(self) -> None:
        """Empty every dead-letter queue through its function, for as long as it takes."""
        aws = self.world.aws
        aws.starts.redrive()
        aws.controls.redrive()
        aws.to_archive.redrive()
        waiting, aws.kept_callbacks = aws.kept_callbacks, []
        for message in waiting:
            record = {"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(message)}

            def ended(result: Any, message: dict[str, Any] = message) -> None:
                if not isinstance(result, dict) or result["batchItemFailures"]:
                    aws.kept_callbacks.append(message)

            self.world.invoke("recording_status", {"Records": [record]}, ended, cause="kept callback")
        self._again(self._redrive, _REDRIVE_EVERY)

    def _again(self, what: Callable[[], None], seconds: float) -> None:
        if self.world.scheduler.now + seconds < self.world.begins + LASTS - 600:
            self._at(self.world.scheduler.now + seconds, what)

    def _rotate_token(self, account: Account, begins: float) -> None:
        """Rotate as docs/how-to/operate says: both tokens into the secret, promote at Twilio, drop the old one."""
        old, new = account.auth_token, f"{self.random.getrandbits(128):032x}"
        self.tokens |= {old, new}

        def promote() -> None:
            account.auth_token, account.secondary_auth_token = new, None

        def store(**secret: str) -> None:
            others = {"auth_token", "auth_token_secondary"}
            held = self.world.aws.secrets[account.sid]
            self.world.aws.secrets[account.sid] = {n: held[n] for n in held.keys() - others} | secret

        account.secondary_auth_token = new
        self._at(begins, lambda: store(auth_token=old, auth_token_secondary=new))
        self._at(begins + 11, promote)
        self._at(begins + 600, lambda: store(auth_token=new))
