"""Kept-alive connections: which of them may have died while the function was frozen, or waited for work."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from call_recording import clock

IDLE: Final = timedelta(seconds=30)
"""How long a connection may lie unused and still be trusted.

Load balancers and NAT gateways give up idle connections after a minute or more, and a frozen function does
not hear of it. What is sent on such a connection is lost without a word, and nobody can tell whether it arrived.
A new connection costs a handshake; waiting for an answer that does not come costs seconds of a call.
"""


class KeptConnections:
    """A pool of connections: `close` is called before the first use after a long rest."""

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self._used_at: datetime | None = None

    def before_use(self) -> None:
        """Close the connections if they have not been used for so long that they may be dead."""
        # By the time of day: the other clock may stand still with the function. A clock that was set back proves
        # nothing, so that counts as long, too.
        now = clock.now()
        if self._used_at is not None and not timedelta() <= now - self._used_at <= IDLE:
            self._close()
        self._used_at = now

    def after_use(self) -> None:
        """Note that an answer came: the connections were alive until now."""
        self._used_at = clock.now()
