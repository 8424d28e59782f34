"""Publishing a batch of the table's changes: in order for each recording, as few requests as that allows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from call_recording import metrics
from call_recording.bus import Bus
from call_recording.changes.events import ChangeEvent, change_events

_MOST_ENTRIES: Final = 10
_MOST_BYTES: Final = 250_000
_NAMES_BYTES: Final = 200
"""What an event's type, source and bus take besides its detail."""

logger = Logger(child=True)


def publish_changes(bus: Bus, records: Iterable[Mapping[str, Any]]) -> str | None:
    """Publish the records' events; return the sequence number of the first record that was not published.

    From there on the stream gives the records again, in order. Events of later records that got
    through are then published again, with the same ids.
    """
    events = [event for record in records for event in change_events(record)]
    for batch in _batches(events):
        try:
            refused = bus.publish_all([(event.detail_type, event.detail) for event in batch])
        except (ClientError, BotoCoreError):
            logger.exception("changes not published")
            return batch[0].sequence_number
        if refused:
            first = min(refused)
            logger.error("change not published", recording_sid=batch[first].recording_sid, code=refused[first])
            return batch[first].sequence_number
        metrics.CHANGES_PUBLISHED.add(len(batch))
        for event in batch:
            if event.gap_reason:
                metrics.add_to_gap(event.gap_reason)
    return None


def _batches(events: Sequence[ChangeEvent]) -> Iterator[list[ChangeEvent]]:
    """Give the events in requests that EventBridge takes.

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
