"""What is asked of a limit, and what becomes of what it does not take."""

from dataclasses import dataclass


@dataclass
class Meter:
    """How much was asked of something that takes `capacity` a second, or that has so many places.

    What is asked for from `since` to `until` (seconds) counts, once, however often it is asked for again. Of places,
    seconds are asked for.
    """

    capacity: float
    since: float
    until: float
    asked: float = 0.0
    refused: int = 0

    def ask(self, now: float, amount: float = 1.0) -> None:
        """Count what is asked for."""
        if self.since <= now < self.until:
            self.asked += amount

    def refuse(self, now: float) -> None:
        """Count that it was not given."""
        if self.since <= now < self.until:
            self.refused += 1

    @property
    def use(self) -> float:
        """Which part of what it can give was asked for; 1 and more is a limit that is met."""
        return self.asked / (self.until - self.since) / self.capacity


class Bucket:
    """A token bucket of API Gateway's kind: so many a second, and so many at once after a rest."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._at = burst, 0.0

    def takes(self, now: float) -> bool:
        """Tell whether one more is taken."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Partition:
    """Where DynamoDB writes so many units a second, and has whoever writes more wait and try again.

    What DynamoDB saves up of seconds without writes (burst capacity) is left out: AWS says not to count on it.
    """

    MOST_SECONDS = 3.0
    """What boto3's attempts last here; then the write has failed."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._until = -1.0

    def wait(self, now: float, units: float) -> float | None:
        """Return how many seconds a write of so many units waits, or None if it fails."""
        until = max(self._until, now - 1) + units / self._rate
        if until - now > self.MOST_SECONDS:
            return None
        self._until = until
        return max(0.0, until - now)


class Places:
    """Something that has so many places, of which each is free or taken."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.taken = 0

    def enter(self) -> bool:
        """Take a place, if one is free."""
        if self.taken >= self.most:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give it back."""
        self.taken -= 1
