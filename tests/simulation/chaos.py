"""Which fault befalls what, drawn from the seed; after `ends` there are no more."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, Self

from local.twilio_simulator.faults import Faults, MediaFault, RequestFault

AwsFault = Literal["throttled", "answer lost"]

BROWN_OUT_LASTS: Final = 60.0
SERVICES: Final = ("dynamodb", "events", "s3", "scheduler")
"""What can have a minute of brown-out. DynamoDB then still reads."""

READS: Final = ("GetItem", "Query", "BatchGetItem")


@dataclass
class Chaos:
    """The faults of one run. Each probability is that of one occasion."""

    random: Random
    now: Callable[[], float]
    ends: float
    killed: float = 0.008
    aws_fails: float = 0.015
    twilio_fails: float = 0.12
    callback_goes_wrong: float = 0.5
    audio_goes_wrong: float = 0.2
    comes_twice: float = 0.06
    """An event, a message, a batch of the stream or a timer that was done is delivered once more."""

    comes_late: float = 0.2
    """A timer that is later than the minute that Scheduler takes for itself, or an event that lies on its way."""

    brown_outs: float = 2.0
    """How many minutes of brown-out there are."""

    _dark: dict[str, list[float]] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, seed: int, *, random: Random, now: Callable[[], float], ends: float) -> Self:
        """Return the faults of a seed: in every second run all together, in the others one kind alone."""
        chaos = cls(random, now, ends)
        if seed % 2:
            only = KINDS[seed // 2 % len(KINDS)]
            for kind in KINDS:
                setattr(chaos, kind, min(2.5 * getattr(chaos, kind), 4.0) if kind == only else 0.0)
        for _ in range(round(chaos.brown_outs)):
            chaos._dark.setdefault(random.choice(SERVICES), []).append(
                random.uniform(now(), max(now(), ends - BROWN_OUT_LASTS))
            )
        return chaos

    def strikes(self, probability: float) -> bool:
        """Tell whether a fault of that probability happens now."""
        return self.now() < self.ends and self.random.random() < probability

    def kills(self) -> bool:
        """Tell whether the function dies here."""
        return self.strikes(self.killed)

    def aws_fault(self, service: str, operation: str) -> AwsFault | None:
        """Return how an AWS call fails: not done at all, or done without our hearing of it."""
        is_dark = any(begins <= self.now() < begins + BROWN_OUT_LASTS for begins in self._dark.get(service, []))
        if is_dark and not (service == "dynamodb" and operation in READS):
            return "throttled"
        return self.random.choice(["throttled", "answer lost"]) if self.strikes(self.aws_fails) else None

    def repeats(self) -> bool:
        """Tell whether what was delivered and done is delivered once more."""
        return self.strikes(self.comes_twice)

    def delay(self) -> float:
        """Return how much later than usual something is delivered, in seconds."""
        return self.random.uniform(5, 300) if self.strikes(self.comes_late) else 0.0

    def latency(self) -> float:
        """Return how long a network call takes one way, in seconds."""
        return self.random.uniform(0.002, 0.2)


KINDS: Final = (
    *("killed", "aws_fails", "twilio_fails", "callback_goes_wrong", "audio_goes_wrong", "comes_twice", "comes_late"),
    "brown_outs",
)


class SeededFaults(Faults):
    """The simulated Twilio's misbehaviour, drawn from the seed instead of a list."""

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(requests=deque(), callbacks=deque())
        self._chaos = chaos
        self.is_control = False
        """Whether the next request pauses, resumes or stops: what becomes of those is what is left open most often."""

    def next_for_request(self) -> RequestFault | None:
        if not self._chaos.strikes(self._chaos.twilio_fails * (2.5 if self.is_control else 1.0)):
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

    def next_for_media(self) -> MediaFault | None:
        if not self._chaos.strikes(self._chaos.audio_goes_wrong):
            return None
        wrong: list[MediaFault] = ["not-ready", "cut", "short", "wrong-type", "html", "empty"]
        return self._chaos.random.choice(wrong)

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
