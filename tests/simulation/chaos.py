"""Which fault befalls what, drawn from the seed; after `ends` there are no more."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, Self

from local.twilio_simulator.faults import Faults, RequestFault

AwsFault = Literal["throttled", "answer lost"]


@dataclass
class Chaos:
    """The faults of one run. Each probability is that of one occasion."""

    random: Random
    now: Callable[[], float]
    ends: float
    killed: float = 0.012
    aws_fails: float = 0.02
    twilio_fails: float = 0.15
    callback_goes_wrong: float = 0.5

    @classmethod
    def of(cls, seed: int, *, random: Random, now: Callable[[], float], ends: float) -> Self:
        """Return the faults of a seed: in every second run all together, in the others one kind alone."""
        chaos = cls(random, now, ends)
        kinds = ("killed", "aws_fails", "twilio_fails", "callback_goes_wrong")
        if seed % 2:
            only = kinds[seed // 2 % len(kinds)]
            for kind in kinds:
                setattr(chaos, kind, 3 * getattr(chaos, kind) if kind == only else 0.0)
        return chaos

    def strikes(self, probability: float) -> bool:
        """Tell whether a fault of that probability happens now."""
        return self.now() < self.ends and self.random.random() < probability

    def kills(self) -> bool:
        """Tell whether the function dies here."""
        return self.strikes(self.killed)

    def aws_fault(self) -> AwsFault | None:
        """Return how an AWS call fails: not done at all, or done without our hearing of it."""
        return self.random.choice(["throttled", "answer lost"]) if self.strikes(self.aws_fails) else None

    def latency(self) -> float:
        """Return how long a network call takes one way, in seconds."""
        return self.random.uniform(0.002, 0.2)


class SeededFaults(Faults):
    """The simulated Twilio's misbehaviour, drawn from the seed instead of a list."""

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(requests=deque(), callbacks=deque())
        self._chaos = chaos

    def next_for_request(self) -> RequestFault | None:
        if not self._chaos.strikes(self._chaos.twilio_fails):
            return None
        draw = self._chaos.random
        acts = draw.random() < 0.4
        late = draw.uniform(0.1, 4.0) if not acts and draw.random() < 0.5 else None
        match draw.choice(["429", "5xx", "cut", "hang"]):
            case "429":  # never processed
                return RequestFault(429, retry_after=draw.choice([None, 1, 3]))
            case "5xx":
                return RequestFault(draw.choice([500, 503]), after_acting=acts, acts_after_seconds=late)
            case "cut":
                return RequestFault("cut", after_acting=acts, acts_after_seconds=late)
        return RequestFault("hang", after_acting=acts, acts_after_seconds=late)

    def next_for_callback(self) -> tuple[float, ...]:
        if not self._chaos.strikes(self._chaos.callback_goes_wrong):
            return (0.0,)
        draw = self._chaos.random
        match draw.choice(["drop", "duplicate", "reorder", "delay"]):
            case "drop":
                return ()
            case "duplicate":
                return (0.0, draw.uniform(0, 30))
            case "reorder":
                return (draw.uniform(0, 60),)
        return (draw.uniform(600, 7200),)
