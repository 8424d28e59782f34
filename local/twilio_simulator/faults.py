"""How to make the simulated Twilio misbehave."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Self


@dataclass(frozen=True)
class RequestFault:
    """What happens to one REST request instead of an answer.

    `cut` closes the connection without an answer, `hang` keeps it open and silent, a number is the
    HTTP status. With `after_acting` Twilio does what was asked first, with `acts_after_seconds` some
    time later: the caller cannot know.
    """

    answer: int | Literal["cut", "hang"]
    after_acting: bool = False
    acts_after_seconds: float | None = None
    retry_after: int | None = None
    code: int | None = None
    """Twilio's, where it is not the usual one of that status; such as 16114 of a 408."""


type MediaFault = Literal["not-ready", "cut", "short", "wrong-type", "html", "empty"]
"""What happens to audio: 404, cut in the middle, whole but too short, called something else, an error page with 200."""


@dataclass
class Faults:
    """What goes wrong next; each entry is used once, in order, and then everything works again."""

    requests: deque[RequestFault | None] = field(default_factory=deque)
    callbacks: deque[tuple[float, ...]] = field(default_factory=deque)
    """For each callback the delays (s) at which it is sent: none drops it, two send it twice, and a
    delay longer than the next one's reorders them."""

    media: deque[MediaFault | None] = field(default_factory=deque)

    def next_for_media(self) -> MediaFault | None:
        """Return the fault for the requested audio."""
        return self.media.popleft() if self.media else None

    def next_for_request(self) -> RequestFault | None:
        """Return the fault for the current REST request."""
        return self.requests.popleft() if self.requests else None

    def next_for_callback(self) -> tuple[float, ...]:
        """Return when the callback that is due will be sent, in seconds from now."""
        return self.callbacks.popleft() if self.callbacks else (0.0,)

    @classmethod
    def drop_callbacks(cls, count: int) -> Self:
        """Return faults that lose that many callbacks."""
        return cls(callbacks=deque([()] * count))
