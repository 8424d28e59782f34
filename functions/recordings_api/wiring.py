"""The objects that routes and events use; each lives as long as the execution environment."""

from functools import cache

from call_recording import clients, init_phase
from call_recording.archive.bucket import Archive
from call_recording.audit import AuditTrail
from call_recording.bus import Bus
from call_recording.commands.intents import TO_CONTROL, Intents
from call_recording.commands.pauses import Pauses
from call_recording.control.controller import Controller
from call_recording.control.resume_timers import ResumeTimers
from call_recording.delete.deleter import Deleter
from call_recording.pause_all.everything import Everything
from call_recording.pause_all.late import LateRecordings
from call_recording.read.page_tokens import PageTokens
from call_recording.read.pages import Pages
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import RecordingsApiSettings
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import Twilio

# Time reserved to write the row, save the answer and return it.
RESERVE_SECONDS = 4.0


@cache
def settings() -> RecordingsApiSettings:
    """Return the function's environment, read once."""
    return RecordingsApiSettings()


@cache
def bus() -> Bus:
    """Return the bus for failures and for pauses that time out."""
    return Bus(clients.events(), settings().event_bus_name)


@init_phase.early
@cache
def intents() -> Intents:
    """Return the record of earlier requests."""
    return Intents(clients.dynamodb(), settings().idempotency_table, TO_CONTROL)


@cache
def archive() -> Archive:
    """Return the bucket that stores audio."""
    return Archive(clients.s3(), settings().archive_bucket)


@cache
def audit_trail() -> AuditTrail:
    """Return the audit trail."""
    return AuditTrail(clients.logs(), settings().audit_log_group)


@init_phase.early
@cache
def twilio() -> Twilio:
    """Return Twilio, with its connections and credentials."""
    return Twilio.connect(settings())


def reader() -> RecordingsReader:
    """Return the reader of rows."""
    return RecordingsTable.connect(settings()).reader


@cache
def pages() -> Pages:
    """Return the reader of lists."""
    return Pages(reader(), PageTokens(clients.secrets_manager(), settings().page_token_secret))


@cache
def controller(function_arn: str) -> Controller:
    """Return the controller of recordings; timers invoke the function (or alias) that set them."""
    env = settings()
    return Controller(
        accounts=Accounts.connect(env),
        recordings=RecordingsTable.connect(env),
        twilio=twilio(),
        timers=ResumeTimers(
            clients.scheduler(),
            env.resume_timer_group,
            env.resume_timer_prefix,
            env.resume_timer_role_arn,
            env.resume_timer_dead_letter_queue_arn,
            function_arn,
        ),
        bus=bus(),
        pauses=Pauses.connect(env),
    )


@cache
def everything(function_arn: str) -> Everything:
    """Return the object that pauses everything on a call."""
    one = controller(function_arn)
    return Everything(one.accounts, one.recordings, one.twilio, one.timers, one.bus, one.pauses)


@cache
def late_recordings() -> LateRecordings:
    """Return the object that pauses recordings which start while everything is paused."""
    env = settings()
    return LateRecordings(RecordingsTable.connect(env), twilio(), bus(), Pauses.connect(env))


@cache
def deleter() -> Deleter:
    """Return the object that deletes recordings."""
    env = settings()
    return Deleter(
        recordings=RecordingsTable.connect(env),
        twilio=twilio(),
        default_account_sid=env.twilio_account_sid,
        archive=archive(),
    )
