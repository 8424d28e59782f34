"""Keep-alive connections: which ones may be dead after the function was frozen or idle."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from call_recording import clock

IDLE: Final = timedelta(seconds=30)
"""How long a connection may be idle and still be used.

Load balancers and NAT gateways drop idle connections after a minute or more, and a frozen function does
not notice. A request on such a connection is lost silently, and nobody can tell whether it arrived.
A new connection costs a handshake; waiting for an answer that never arrives costs seconds of a call.
"""


class KeptConnections:
    """A pool of connections: `close` is called before the first use after a long idle time."""

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self._used_at: datetime | None = None

    def before_use(self) -> None:
        """Close the connections if they were idle for so long that they may be dead."""
        now = clock.now()
        if self._used_at is not None and not self._are_alive_at(now):
            self._close()
        self._used_at = now

    def after_use(self) -> None:
        """Record that an answer arrived: the connections were alive until now, unless it took a long time.

        It may have arrived before the function was frozen, and be read by a thread after that.
        """
        now = clock.now()
        if self._are_alive_at(now):
            self._used_at = now

    def _are_alive_at(self, now: datetime) -> bool:
        # By the wall clock: the monotonic clock may stop while the function is frozen. A clock that was set back proves
        # nothing, so that also counts as a long time.
        return self._used_at is not None and timedelta() <= now - self._used_at <= IDLE
