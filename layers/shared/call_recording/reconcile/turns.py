"""How accounts and rows take turns, so that an account with many rows does not block the others."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from call_recording.errors import CallRecordingError
from call_recording.recordings.row import KEY, Row


class OutOfBudgetError(CallRecordingError):
    """The run has used all its time or requests."""


def take_turns(
    work: Mapping[str, Iterator[None]], *, first: str, give_up: Callable[[str, Exception], None]
) -> str | None:
    """Let each account do a step of its work, again and again, until all is done.

    `work` is keyed by the account's SID; `first` starts, or the one after it. An account whose step raises anything is
    skipped. Returns whose turn it was when the budget ended, or None if everything was done.
    """
    accounts = sorted(work)
    waiting = deque(accounts)
    waiting.rotate(-bisect_left(accounts, first))
    while waiting:
        account_sid = waiting.popleft()
        try:
            next(work[account_sid])
        except StopIteration:
            continue
        except OutOfBudgetError:
            return account_sid
        except Exception as error:  # noqa: BLE001 (`give_up` tells of it; the others have their turns all the same)
            give_up(account_sid, error)
        else:
            waiting.append(account_sid)
    return None


class Waiting:
    """The next rows of an account: those after the last one, then from the first one again.

    Only `most` are kept, however many are added.
    """

    def __init__(self, *, behind: str, most: int) -> None:
        self._behind = behind
        self._most = most
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Add a row in its place."""
        self._rows.append(row)
        if len(self._rows) > 2 * self._most:
            self._keep_the_next()

    def rows(self) -> list[Row]:
        """Return the next rows in the order of their turns."""
        self._keep_the_next()
        return self._rows

    def _keep_the_next(self) -> None:
        self._rows.sort(key=self._place)
        del self._rows[self._most :]

    def _place(self, row: Mapping[str, Any]) -> tuple[bool, str]:
        sid: str = row[KEY]
        return sid <= self._behind, sid
