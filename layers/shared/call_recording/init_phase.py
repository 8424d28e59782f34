"""What a function does before its first request: it creates clients, and fetches what that request would wait for.

Lambda's init phase has a full processor, while a handler has a share that depends on its memory; and a snapshot
(SnapStart) contains the objects that it created. Outside Lambda nothing happens: importing a function has no effect.
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
"""The time limit for all of it. Lambda stops an init phase after 10 s, and a caller may be waiting."""

_RANDOM_BYTES: Final = 32


@runtime_checkable
class FetchesAhead(Protocol):
    """Something that can fetch data before the first request."""

    def ahead(self) -> Iterable[Callable[[], object]]:
        """Return one function for each thing to fetch; a CallRecordingError in one of them is ignored."""
        ...


def early[Made](make: Callable[[], Made]) -> Callable[[], Made]:
    """Call a cached factory in Lambda's init phase, and let its object prefetch what it can.

    With SnapStart, the prefetch runs after each restore: a snapshot contains no connections and no secrets.
    """
    initialization = initialization_type()
    if initialization is None:
        return make
    made = make()
    fetches = list(made.ahead()) if isinstance(made, FetchesAhead) else []
    if initialization == "snap-start":
        # Available only in Lambda's runtime. Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
        from snapshot_restore_py import (  # type: ignore[import-not-found]  # noqa: PLC0415
            register_after_restore,
        )

        register_after_restore(_restored, fetches)
    else:
        _fetch(fetches)
    return make


def _restored(fetches: Iterable[Callable[[], object]]) -> None:
    """Reseed this environment, so that it differs from others of the same snapshot, then prefetch.

    `uuid4` uses the operating system each time. Python's `random` (for the jitter of retries) and OpenSSL continue
    from a state that is in the snapshot.
    """
    random.seed()
    ssl.RAND_add(os.urandom(_RANDOM_BYTES), float(_RANDOM_BYTES))
    _fetch(fetches)


def _fetch(fetches: Iterable[Callable[[], object]]) -> None:
    """Run all calls in parallel, and wait until the time limit: late results still help later."""
    threads = [Thread(target=_quietly, args=(fetch,), daemon=True) for fetch in fetches]
    for thread in threads:
        thread.start()
    ends = clock.monotonic() + _MOST_SECONDS
    for thread in threads:
        thread.join(max(0.0, ends - clock.monotonic()))


def _quietly(fetch: Callable[[], object]) -> None:
    with suppress(CallRecordingError):  # the request that needs it will report the error
        fetch()
