"""Every history of a scenario: each choice in turn, and nothing twice that leads to the same state.

A history cannot be rewound, so each is run from the beginning with other choices. Whoever comes to a state that was
there before goes no further: what can follow from it is known, and how many histories that is.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from tests.exploration.history import Step


class Ended(NamedTuple):
    """How a history ended: what happened, how many calls went wrong, and which promises are broken."""

    steps: Sequence[Step]
    faults: int
    broken: Sequence[str]

    @property
    def length(self) -> tuple[int, int, int]:
        """What makes it harder to read: faults, then steps, then changes between those who make them."""
        turns = sum(one.who != other.who for one, other in zip(self.steps, self.steps[1:], strict=False))
        return (self.faults, len(self.steps), turns)


class Runner(Protocol):
    """Runs one history to its end."""

    def __call__(self, chooser: "Choices", *, faults: int) -> Ended:
        """Let it happen as the chooser decides, with at most so many faults."""
        ...


class KnownStateError(Exception):
    """From here on everything is known."""


class Choices:
    """The choices of one history: given ones, and from then on the first of what is possible."""

    def __init__(self, given: Sequence[int], known: Callable[[bytes], bool]) -> None:
        self._given = given
        self._known = known
        self._made = 0
        self.new: list[tuple[bytes, int]] = []
        """Each choice beyond the given ones: in which state, and among how many options."""

        self.known_state: bytes | None = None

    def choose(self, options: int, state: Callable[[], bytes]) -> int:
        """Return the option that is taken; raise KnownStateError where everything is known."""
        self._made += 1
        if self._made <= len(self._given):
            return self._given[self._made - 1]
        now = state()
        if self._known(now):
            self.known_state = now
            raise KnownStateError
        self.new.append((now, options))
        return 0


class EnoughError(Exception):
    """A broken history was found, and one is enough."""


class Found(NamedTuple):
    """What a search found: how many histories there are, how many it ran, and the shortest broken one."""

    histories: int
    runs: int
    broken: int
    shortest: Ended | None


class Search:
    """Runs every history with at most so many faults."""

    def __init__(
        self,
        run: Runner,
        *,
        faults: int,
        tell: Callable[[int], object] = lambda _: None,
        is_one_enough: bool = False,
    ) -> None:
        self._run = run
        self._is_one_enough = is_one_enough
        self._faults = faults
        self._tell = tell
        self._histories: dict[bytes, int] = {}
        """How many histories begin in a state."""

        self._runs = 0
        self._broken = 0
        self._shortest: Ended | None = None

    def all(self) -> Found:
        """Run them all, or those up to the first broken one if that is enough."""
        try:
            histories = self._beginning_with([])
        except EnoughError:
            histories = 0
        return Found(histories, self._runs, self._broken, self._shortest)

    def _beginning_with(self, given: list[int]) -> int:
        """Run every history that begins with these choices, and return how many there are."""
        choices = Choices(given, self._histories.__contains__)
        self._runs += 1
        if self._runs % _TELL_EVERY == 0:
            self._tell(_TELL_EVERY)
        try:
            self._note(self._run(choices, faults=self._faults))
            histories = 1
        except KnownStateError:
            assert choices.known_state is not None
            histories = self._histories[choices.known_state]
        for depth, (state, options) in reversed(list(enumerate(choices.new))):
            for option in range(1, options):
                histories += self._beginning_with([*given, *[0] * depth, option])
            self._histories[state] = histories
        return histories

    def _note(self, ended: Ended) -> None:
        if ended.broken:
            self._broken += 1
            if self._shortest is None or ended.length < self._shortest.length:
                self._shortest = ended
            if self._is_one_enough:
                raise EnoughError


_TELL_EVERY: Final = 100


def search(
    run: Runner, *, faults: int, tell: Callable[[int], object] = lambda _: None, is_one_enough: bool = False
) -> Found:
    """Run every history with no fault, then with at most one, and so on; stop where promises are broken."""
    for most in range(faults + 1):
        found = Search(run, faults=most, tell=tell, is_one_enough=is_one_enough).all()
        if found.broken:
            break
    return found
