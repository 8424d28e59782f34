"""One history: deliveries that give way to each other at every network call, in an order that somebody chooses."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

from local.twilio_simulator.model import Account, Recording
from local.twilio_simulator.model import Call as TwilioCall
from local.twilio_simulator.twilio import Request, Twilio
from tests.exploration.calls import Call, Outcome, aws_call, twilio_call
from tests.exploration.delivery import Delivery
from tests.exploration.memory import Memory, Table

BEGINS: Final = 1795332780.5
API_URL: Final = "https://api.twilio.com"


class Step(NamedTuple):
    """Something that happened: who did what, and what became of it."""

    who: str
    what: str
    outcome: str = ""

    def __str__(self) -> str:
        return f"{self.who} {self.what}" + (f": {self.outcome}" if self.outcome else "")


class Chooser(Protocol):
    """Decides what happens next."""

    def choose(self, options: int, state: Callable[[], bytes]) -> int:
        """Return the number of the option that is taken. `state` tells which state of things this is."""
        ...


class Counted:
    """Numbers in place of random ones, so that Twilio's SIDs are counted."""

    def __init__(self) -> None:
        self._last = -1

    def getrandbits(self, _: int) -> int:
        """Return the next number."""
        self._last += 1
        return self._last


class Change(NamedTuple):
    """A change at Twilio: who made it, of which recording, what it was (`start`, or a status), and in which second."""

    made_by: Delivery
    recording_sid: str
    what: str
    second: int

    def __repr__(self) -> str:
        return repr((self.made_by.who, *self[1:]))


class History:
    """What there is while it happens, and what happened.

    `faults` is how many more calls may go wrong. Every network call takes `latency` seconds.
    """

    def __init__(
        self,
        chooser: Chooser,
        *,
        tables: Mapping[str, Table],
        account: Account,
        call_sid: str,
        faults: int,
        latency: float,
    ) -> None:
        self.chooser = chooser
        self.faults = faults
        self.latency = latency
        self.memory = Memory(tables)
        self.before = self.memory  # what indexes show that lag
        self.twilio_now = BEGINS
        self.twilio = Twilio(clock=lambda: self.twilio_now, base_url=API_URL, source=Counted())  # type: ignore[arg-type]
        self.twilio.add_account(account)
        self.call: TwilioCall = self.twilio.begin_call(account.sid, call_sid=call_sid)
        self.steps: list[Step] = []
        self.changes: list[Change] = []
        self.set_by: dict[str, Delivery] = {}
        """Who set a timer, by its name."""

        self.deliveries: list[Delivery] = []
        self.running: Delivery | None = None
        self._chosen: list[int] = []
        self._state_before = ""

    # --- what happens ---------------------------------------------------------------------------

    def together(self, deliveries: Sequence[Delivery], *, until: Sequence[Delivery] | None = None) -> None:
        """Let deliveries happen in any order, until all of them (or those) are over."""
        self.deliveries += deliveries
        self.before = self.memory.copy()
        self._state_before = repr(self.before.state())
        for delivery in deliveries:
            self._run(delivery, delivery.begin)
        last: Delivery | None = None
        while any(not delivery.is_over() for delivery in until or deliveries):
            ready = sorted((one for one in deliveries if not one.is_over()), key=lambda one: one is not last)
            options = [(one, outcome) for one in ready for outcome in one.options(with_faults=self.faults > 0)]
            last, outcome = options[self.chooser.choose(len(options), self._state)]
            self.faults -= outcome is not Outcome.ANSWERED
            self._step(last, outcome)

    def alone(self, delivery: Delivery) -> None:
        """Let a delivery happen without anything going wrong."""
        self.deliveries.append(delivery)
        self._run(delivery, delivery.begin)
        self.finish(delivery)

    def finish(self, delivery: Delivery) -> None:
        """Let what is left of a delivery happen, without anything going wrong."""
        while not delivery.is_over():
            self._step(delivery, Outcome.ANSWERED)

    def abandon(self) -> None:
        """Let go of all that has not happened."""
        for delivery in self.deliveries:
            self._run(delivery, delivery.abandon)

    def choose(self, options: int) -> int:
        """Return which of several things happens."""
        self._chosen.append(self.chooser.choose(options, self._state))
        return self._chosen[-1]

    def note(self, who: str, what: str, outcome: str = "") -> None:
        """Remember something to tell."""
        self.steps.append(Step(who, what, outcome))

    def _step(self, delivery: Delivery, outcome: Outcome) -> None:
        assert delivery.pending is not None
        label = delivery.pending.label
        if not delivery.outcomes:
            delivery.after = [one.who for one in self.deliveries if one.is_over()]
        self._run(delivery, lambda: self.note(delivery.who, label, delivery.step(outcome, latency=self.latency)))

    def _run(self, delivery: Delivery, work: Callable[[], object]) -> None:
        self.running = delivery
        work()
        self.running = None

    # --- the network ----------------------------------------------------------------------------

    def ask_aws(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Answer the running delivery what AWS answers."""
        assert self.running is not None
        if operation == "CreateSchedule":
            self.set_by[arguments["Name"]] = self.running
        return self.running.ask(aws_call(self.memory, self.before, operation, arguments))

    def ask_twilio(self, request: Request) -> Any:
        """Answer the running delivery what Twilio answers."""
        assert self.running is not None
        asking = self.running
        call = twilio_call(self.twilio, request)

        def change() -> Any:
            self._turn_twilios_clock(asking)
            answer = call.do()
            if answer.status in {200, 201}:
                recording = answer.json()
                self._note_change(asking, recording["sid"], "start" if answer.status == 201 else recording["status"])
            return answer

        return asking.ask(call if request.method == "GET" else call._replace(do=change))

    def from_outside(self, label: str, what: str, do: Callable[[], Recording]) -> Callable[[], None]:
        """Return what somebody does at Twilio past this stack: a `start`, or what status it makes."""

        def run() -> None:
            asking = self.running
            assert asking is not None

            def change() -> None:
                self._turn_twilios_clock(asking)
                self._note_change(asking, do().sid, what)

            asking.ask(Call(label, change))

        return run

    def _turn_twilios_clock(self, asking: Delivery) -> None:
        """Let Twilio's clock never stand still, and never be behind that of whoever asks it for something."""
        self.twilio_now = max(self.twilio_now + self.latency, asking.now)

    def _note_change(self, asking: Delivery, recording_sid: str, what: str) -> None:
        self.changes.append(Change(asking, recording_sid, what, int(self.twilio_now)))

    # --- which state this is --------------------------------------------------------------------

    def _state(self) -> bytes:
        """Return what everything that can still happen, and be said of it in the end, depends on."""
        state = blake2b(repr((self.faults, self._chosen, self._state_before)).encode(), digest_size=16)
        for delivery in self.deliveries:
            state.update(delivery.state())
        state.update(repr(self.memory.state()).encode())
        state.update(repr((self.twilio_now, self.changes, list(self.twilio.recordings.values()))).encode())
        return state.digest()
