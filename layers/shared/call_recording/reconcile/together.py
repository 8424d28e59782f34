"""Concurrent requests, each with its result."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def all_at_once[Answer](asks: Sequence[Callable[[], Answer]]) -> list[Answer | Exception]:
    """Return what each call returns or raises, in order; a single one runs without a thread."""
    if len(asks) == 1:
        return [_outcome(asks[0])]
    with ThreadPoolExecutor(max_workers=len(asks)) as pool:
        return list(pool.map(_outcome, asks))


def _outcome[Answer](ask: Callable[[], Answer]) -> Answer | Exception:
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 (whoever asked decides what it means)
        return error
