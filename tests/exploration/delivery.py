"""An invocation that stands still at every network call until somebody decides what becomes of it."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from greenlet import greenlet

from tests.exploration.calls import Call, Outcome

LIVES_SECONDS: Final = 28.0
"""How long Lambda lets the functions run that are explored here."""


SAY_MORE: Final = ("asks Twilio", "puts", "takes its key", "writes the new row")
"""Calls of which the promises want to know what became of them, also when the delivery is over."""


class Killed(BaseException):
    """The function was killed where it stood: no handler of its own sees it."""


class KILLED:
    """The result of a delivery of which nobody hears."""


class Delivery:
    """An invocation of a function, or somebody else's doing, up to its next network call.

    Its time passes by its own calls alone, so that what it does and hears depends on nobody's haste: others that are
    slower or faster are other orders of the same calls.
    """

    def __init__(self, who: str, run: Callable[[], Any], *, begins: float, clock_offset: float = 0.0) -> None:
        self.who = who
        self.now = begins
        self.dies_at = begins + LIVES_SECONDS
        self.clock_offset = clock_offset
        self.pending: Call | None = None
        self.result: Any = None
        self.has_called = False
        self.after: list[str] = []
        """Who had ended when it made its first call."""

        self.outcomes: list[tuple[str, Outcome]] = []
        self._heard = blake2b(who.encode(), digest_size=16)
        self.names_made = 0
        self._run = run
        self._green = greenlet(self._live)

    def is_over(self) -> bool:
        return self.pending is None

    def options(self, *, with_faults: bool) -> list[Outcome]:
        """Return what can become of the call that waits."""
        assert self.pending is not None
        if not with_faults:
            return [Outcome.ANSWERED]
        never = [] if self.has_called or not self.pending.faults else [Outcome.NEVER]
        return [Outcome.ANSWERED, *self.pending.faults, *never]

    def state(self) -> bytes:
        """Return what its future depends on: all that it heard, or else what came of it and what went wrong."""
        if not self.is_over():
            return self._heard.digest() + repr(self.after).encode()
        more = {told for told in self.outcomes if told[1] is not Outcome.ANSWERED or told[0].startswith("puts")}
        return repr(
            (self.who, self.after, _said(self.result), sorted(told for told in more if told[0].startswith(SAY_MORE)))
        ).encode()

    def begin(self) -> None:
        """Run up to the first call."""
        self.resume(self._green.switch)

    def resume(self, go_on: Callable[[], object]) -> None:
        """Run up to the next call, by `go_on`."""
        go_on()

    def step(self, outcome: Outcome, *, latency: float) -> str:
        """Let the call that waits have this outcome, and run up to the next one."""
        call, self.has_called = self.pending, True
        assert call is not None
        self.pending = None
        self.outcomes.append((call.label, outcome))
        answer: Any = None
        if outcome is Outcome.STALE and call.stale is not None:
            answer = call.stale()
        elif outcome not in {Outcome.NOT_DONE, Outcome.REFUSED, Outcome.NEVER}:
            try:
                answer = call.do()
            except Exception as error:  # noqa: BLE001 (it is what the function meets)
                answer = error
        self.now += latency
        if outcome in {Outcome.LOST, Outcome.NOT_DONE, Outcome.REFUSED}:
            seconds, answer = call.fail(outcome)
            self.now += seconds
        self._heard.update(f"{call.label} {outcome.name} {_said(answer)}".encode())
        told = str(outcome) if outcome is not Outcome.ANSWERED else ""
        if outcome is Outcome.TWICE:
            self.pending = call
        elif outcome in {Outcome.KILLED, Outcome.NEVER} or self.now >= self.dies_at:
            self.result = KILLED
            self.resume(lambda: self._green.throw(Killed))
            told = told or "answered, but the function's time is over"
        else:
            self.resume(lambda: self._green.switch(answer))
        return told

    def abandon(self) -> None:
        """Let go of it: nobody collects what stands still in the middle of a function."""
        if not self.is_over():
            self.result = KILLED
            self.resume(lambda: self._green.throw(Killed))

    def ask(self, call: Call) -> Any:
        """Wait, in the function, for what becomes of a call."""
        if self.result is KILLED:
            raise Killed
        self.pending = call
        answer = self._green.parent.switch()  # type: ignore[union-attr]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _live(self) -> None:
        try:
            self.result = self._run()
        except Killed:
            self.result = KILLED
        except NotImplementedError:  # not by the function: by what stands for the network
            raise
        except Exception as error:  # noqa: BLE001 (Lambda's runtime catches everything, too)
            self.result = error
        self.pending = None


def _said(answer: Any) -> str:
    return f"{type(answer)} {getattr(answer, 'response', answer)!r}"
