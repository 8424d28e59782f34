"""Archive the audio of completed recordings in the stack's own bucket, verified."""

import json
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from call_recording import clients, init_phase, logs, metrics
from call_recording.archive.archiver import FORMATS, Archiver
from call_recording.archive.bucket import Archive
from call_recording.bus import ARCHIVE_FAILED, Bus
from call_recording.commands.attempts import attempt
from call_recording.deadline import Deadline
from call_recording.errors import CallRecordingError, NeverArchivedError, RowsUnavailableError, StoredElsewhereError
from call_recording.problems import cause, details, reason
from call_recording.recordings.row import public
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import ArchiveSettings
from call_recording.twilio.api import Twilio, media_session

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="archive-recording", json_serializer=logs.serialize)

_RESERVE_SECONDS = 5.0
_FIRST_WAIT_SECONDS = 10
_LONGEST_WAIT_SECONDS = 900


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Archive the recordings of `Call Recording Status Change` events; return the ones to retry."""

    def handle(record: SQSRecord) -> None:
        with attempt("archive"):
            keep(record, Deadline.of(context, reserve_seconds=_RESERVE_SECONDS))

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=handle, processor=processor, context=context)
    return dict(answer)


def keep(record: SQSRecord, deadline: Deadline) -> None:
    """Archive one recording; after each failure wait longer, and report the last one."""
    recording = json.loads(record.body)["detail"]
    logger.set_correlation_id(recording.get("call_sid"))
    logger.append_keys(account_sid=recording["account_sid"], recording_sid=recording["recording_sid"])
    try:
        archiver().process(recording["recording_sid"], deadline=deadline)
    except NeverArchivedError as error:
        logger.warning("recording can never be archived", reason=reason(error))
        # External storage is a setting of the account, for every recording: no alarm.
        is_lost = not isinstance(error, StoredElsewhereError)
        if is_lost:  # no dead letter: a retry cannot succeed
            metrics.add_to_gap(reason(error), cause(error))
        give_up(recording, error, is_lost=is_lost)
    except Exception as error:
        received = int(record.attributes.approximate_receive_count)
        logger.warning("recording not archived", reason=_why(error)["reason"], received=received)
        if received >= settings().most_receives:
            give_up(recording, error)  # then the message goes to the dead-letter queue
        else:
            wait_seconds = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (received - 1))
            clients.sqs().change_message_visibility(
                QueueUrl=settings().archive_queue_url,
                ReceiptHandle=record.receipt_handle,
                VisibilityTimeout=wait_seconds,
            )
        raise


def give_up(recording: dict[str, Any], error: Exception, *, is_lost: bool = True) -> None:
    """Publish the failure, and count it in the metric of recordings that are lost without intervention."""
    named = ("recording_sid", "account_sid", "call_sid", "conference_sid", "requested_call_sid", "reference")
    if is_lost:
        metrics.RECORDING_NOT_ARCHIVED.add()
    with suppress(RowsUnavailableError):  # otherwise the older data in the message is used
        row = archiver().recordings.reader.get(recording["recording_sid"])
        recording = recording | public(row or {})
    bus().publish(ARCHIVE_FAILED, {name: recording[name] for name in named if name in recording} | _why(error))


def _why(error: Exception) -> dict[str, Any]:
    if isinstance(error, CallRecordingError):
        return {"reason": reason(error), "detail": str(error), **details(error)}
    return {"reason": "internal", "detail": "something went wrong on our side; the function's log says what"}


@cache
def settings() -> ArchiveSettings:
    """Return the function's environment, read once."""
    return ArchiveSettings()


@cache
def bus() -> Bus:
    """Return the bus for failure events."""
    return Bus(clients.events(), settings().event_bus_name)


@init_phase.early
@cache
def archiver() -> Archiver:
    """Return the archiver; its clients live as long as the execution environment."""
    env = settings()
    return Archiver(
        archive=Archive(clients.s3(read_seconds=clients.UPLOAD_SECONDS), env.archive_bucket),
        recordings=RecordingsTable.connect(env),
        twilio=Twilio.connect(env, kept=media_session(env.twilio_api_url)),
        format=FORMATS[env.archive_format],
        channels=env.archive_channels,
        delete_at_twilio=env.delete_at_twilio_after_archiving == "true",
    )
