"""What a function does before its first request: it makes its clients, and fetches what that request would wait for.

Lambda's init phase has a whole processor, where a handler has the part of one that its memory buys, and a snapshot
(SnapStart) holds what was made in it. Outside of Lambda nothing happens here: importing a function has no effect.
"""

import os
import random
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import Final, Protocol, runtime_checkable

from call_recording import clock
from call_recording.errors import CallRecordingError
from call_recording.settings import initialization_type

_MOST_SECONDS: Final = 1.5
"""What all of it together may take. Lambda stops an init phase after 10 s, and somebody may be waiting for it."""

_RANDOM_BYTES: Final = 32


@runtime_checkable
class FetchesAhead(Protocol):
    """What can fetch something before it is asked for anything."""

    def ahead(self) -> Iterable[Callable[[], object]]:
        """Return what can be fetched, each by a call of its own; a CallRecordingError in one changes nothing."""
        ...


def early[Made](make: Callable[[], Made]) -> Callable[[], Made]:
    """Have a cached function make its thing in Lambda's init phase, and that fetch what it can fetch ahead.

    From a snapshot, that is done each time one is restored: a snapshot holds no connection and no secret.
    """
    initialization = initialization_type()
    if initialization is None:
        return make
    made = make()
    fetches = list(made.ahead()) if isinstance(made, FetchesAhead) else []
    if initialization == "snap-start":
        # Lambda's runtime has it, and only there. Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
        from snapshot_restore_py import (  # type: ignore[import-not-found]  # noqa: PLC0415
            register_after_restore,
        )

        register_after_restore(_restored, fetches)
    else:
        _fetch(fetches)
    return make


def _restored(fetches: Iterable[Callable[[], object]]) -> None:
    """Make this environment another than its siblings from the same snapshot, then fetch.

    `uuid4` asks the operating system each time. Python's `random` (how long to wait before asking again) and OpenSSL go
    on from a state that is in the snapshot.
    """
    random.seed()
    ssl.RAND_add(os.urandom(_RANDOM_BYTES), float(_RANDOM_BYTES))
    _fetch(fetches)


def _fetch(fetches: Iterable[Callable[[], object]]) -> None:
    """Make all calls side by side, and wait for them no longer than we may: what is late still helps later."""
    threads = [Thread(target=_quietly, args=(fetch,), daemon=True) for fetch in fetches]
    for thread in threads:
        thread.start()
    ends = clock.monotonic() + _MOST_SECONDS
    for thread in threads:
        thread.join(max(0.0, ends - clock.monotonic()))


def _quietly(fetch: Callable[[], object]) -> None:
    with suppress(CallRecordingError):  # the request that needs it will say so
        fetch()
