"""Publishes a batch of the table's changes: in order for each recording, with as few requests as possible."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from call_recording import metrics
from call_recording.bus import Bus
from call_recording.changes.events import ChangeEvent, change_events, new_in
from call_recording.commands.pauses import Pauses
from call_recording.errors import OURS, StateUnavailableError

_MOST_ENTRIES: Final = 10
_MOST_BYTES: Final = 250_000
_NAMES_BYTES: Final = 200
"""The size of an event's type, source and bus, in addition to its detail."""

_REFUSED_FOR_GOOD: Final = frozenset(
    {"InvalidArgument", "MalformedDetail", "RedactionFailure", "SerializationException", "ValidationException"}
)
"""EventBridge's error codes, for an entry or a whole request, after which a retry would fail again."""

logger = Logger(child=True)


def publish_changes(bus: Bus, records: Collection[Mapping[str, Any]], *, pauses: Pauses) -> str | None:
    """Publish the records' events; return the sequence number of the first record that was not published.

    Lambda retries from that record, in order. Events of later records that were published are then
    published again, with the same ids. An event that is refused because of its content does not block
    later ones: it is then published without the rest of the row.

    `pauses` knows where something may be paused.
    """
    paused = _paused(pauses, records)
    events = [event for record in records for event in change_events(record, paused)]
    for batch in _batches(events):
        refused = _refused(bus, [(event.detail_type, event.detail) for event in batch])
        for number, code in sorted(refused.items()):
            event = batch[number]
            if code not in _REFUSED_FOR_GOOD or not _is_taken_alone(bus, event):
                logger.error("change not published", recording_sid=event.recording_sid, code=code)
                metrics.FAILED_ATTEMPTS.add(work="changes", cause=OURS)
                _count_gaps(batch[:number])  # Lambda does not deliver these again
                return event.sequence_number
        _count_gaps(batch)
    return None


def _count_gaps(published: Sequence[ChangeEvent]) -> None:
    for event in published:
        if event.gap_reason:
            metrics.add_to_gap(event.gap_reason, event.gap_cause)


def _paused(pauses: Pauses, records: Collection[Mapping[str, Any]]) -> Collection[str]:
    """Return the accounts with new recordings in which something may be paused: one read, only for those."""
    new_in_accounts = {account_sid for record in records if (account_sid := new_in(record))}
    try:
        return pauses.in_use(new_in_accounts) if new_in_accounts else ()
    except StateUnavailableError:
        logger.exception("pauses not read; each new recording will be checked")
        return new_in_accounts


def _is_taken_alone(bus: Bus, event: ChangeEvent) -> bool:
    """Publish an event alone, at last in its minimal form; return whether EventBridge accepted it.

    If even that is refused, the event is not the cause: then all events wait.
    """
    for detail in (event.detail, event.least):
        code = _refused(bus, [(event.detail_type, detail)]).get(0)
        if code not in _REFUSED_FOR_GOOD:
            return code is None
        logger.error("event refused because of its content", recording_sid=event.recording_sid, code=code)
    return False


def _refused(bus: Bus, details: Sequence[tuple[str, str]]) -> dict[int, str]:
    """Publish in one request; return the code of each event that was refused: of all, if the request was."""
    try:
        return bus.publish_all(details)
    except (ClientError, BotoCoreError) as error:
        logger.exception("changes not published")
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        return dict.fromkeys(range(len(details)), code)


def _batches(events: Sequence[ChangeEvent]) -> Iterator[list[ChangeEvent]]:
    """Group the events into requests that EventBridge accepts.

    A request holds no two events of one recording: EventBridge can refuse the first and take the second.
    """
    batch: list[ChangeEvent] = []
    size = 0
    for event in events:
        own = len(event.detail.encode()) + _NAMES_BYTES
        if batch and (
            len(batch) == _MOST_ENTRIES
            or size + own > _MOST_BYTES
            or any(e.recording_sid == event.recording_sid for e in batch)
        ):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += own
    if batch:
        yield batch
