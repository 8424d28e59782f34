"""Each error's name, HTTP status, title and details, and who can fix it."""

from collections.abc import Mapping
from typing import Any, Final

from call_recording.errors import (
    CALLER,
    OURS,
    TWILIO,
    ArchiveConflictError,
    ArchiveLockedError,
    ArchiveUnavailableError,
    AuditUnavailableError,
    CallNotInProgressError,
    CallPausedError,
    CallRecordingError,
    Cause,
    ControlledSinceError,
    CredentialsRefusedError,
    CredentialsUnavailableError,
    ForeignAccountError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    MalformedSecretError,
    MediaNotReadyError,
    MergeContentionError,
    MissingSettingsError,
    NoAudioError,
    NotActionableError,
    NotAParticipantError,
    NotArchivedError,
    NothingRecordsError,
    NoTimeLeftError,
    OutcomeLostError,
    PageTokenKeyUnavailableError,
    PausedInPartError,
    PauseEndedError,
    PauseOutOfTimeError,
    PauseUnprovenError,
    RateLimitedError,
    RecordingBeingDeletedError,
    RecordingClaimedError,
    RecordingNotFinishedError,
    RecordingNotFoundError,
    RequestInProgressError,
    RequestTooLargeError,
    RequestTooOldError,
    ResumedInPartError,
    ResumeUnprovenError,
    RowsUnavailableError,
    ScopeUnprovenError,
    SeveralActiveRecordingsError,
    StateUnavailableError,
    StillPausedError,
    StillRecordingError,
    StoredElsewhereError,
    TableUnavailableError,
    TimerNotSetError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioTimedOutError,
    TwilioUnavailableError,
    UnknownAccountError,
    UnknownRouteError,
    UnprovenCallbackError,
    UnstorableFactsError,
    UnsupportedMediaTypeError,
    WrongMediaError,
)

# Looked up along the error's class hierarchy, so the order here does not matter.
_ANSWERS: Final[dict[type[CallRecordingError], tuple[int, str, str]]] = {
    InvalidRequestError: (400, "invalid-request", "The request is not valid"),
    UnprovenCallbackError: (403, "unproven-callback", "The callback is not signed by Twilio for this account"),
    ForeignAccountError: (403, "foreign-account", "The recording belongs to another account"),
    TwilioNotFoundError: (404, "not-found", "Twilio did not find the resource"),
    NothingRecordsError: (404, "nothing-records", "No recording is active on the call"),
    RecordingNotFoundError: (404, "recording-not-found", "The recording is not in the table"),
    NotArchivedError: (404, "not-archived", "The audio is not in the archive"),
    StoredElsewhereError: (404, "stored-elsewhere", "The audio is in the account's own storage"),
    UnknownRouteError: (404, "unknown-route", "There is no such route"),
    CallNotInProgressError: (409, "call-not-in-progress", "The call cannot be recorded now"),
    CallPausedError: (409, "call-paused", "Everything on the call is paused"),
    PauseEndedError: (409, "resumed-meanwhile", "Everything was resumed meanwhile"),
    ScopeUnprovenError: (409, "scope-unproven", "The call's conference is not known"),
    StillPausedError: (409, "still-paused", "A recording was not resumed"),
    StillRecordingError: (409, "still-recording", "A recording was not paused"),
    ControlledSinceError: (409, "controlled-since", "Another request has since changed the recording"),
    OutcomeLostError: (409, "outcome-unknown", "It is not known whether the request was carried out"),
    RecordingNotFinishedError: (409, "not-finished", "The recording is not finished"),
    ArchiveLockedError: (409, "archive-locked", "Object Lock protects the audio"),
    SeveralActiveRecordingsError: (409, "several-active", "Several recordings are active on the call"),
    RequestInProgressError: (409, "request-in-progress", "The same request is still in progress"),
    RequestTooOldError: (410, "too-old", "The request is too old"),
    RequestTooLargeError: (413, "too-large", "The request is too large"),
    UnsupportedMediaTypeError: (415, "unsupported-media-type", "The content type is not supported"),
    IdempotencyKeyReusedError: (422, "idempotency-key-reused", "The idempotency key was used for another request"),
    NotAParticipantError: (422, "not-a-participant", "The call is not in the conference"),
    TwilioRefusedError: (422, "refused-by-twilio", "Twilio refused the request"),
    UnknownAccountError: (422, "unknown-account", "No credentials are stored for this account"),
    MalformedSecretError: (500, "malformed-secret", "The account's secret is malformed"),
    UnstorableFactsError: (500, "not-storable", "The recording's row cannot be stored"),
    ArchiveConflictError: (500, "archive-conflict", "The archive holds something else"),
    MissingSettingsError: (500, "missing-settings", "The function is not configured"),
    CredentialsRefusedError: (502, "credentials-refused", "Twilio refused the stored credentials"),
    WrongMediaError: (502, "wrong-media", "The download is not the recording's audio"),
    NoAudioError: (502, "no-audio", "Twilio reports that there is no audio"),
    MediaNotReadyError: (503, "media-not-ready", "Twilio does not have the audio yet"),
    NoTimeLeftError: (503, "no-time-left", "The audio cannot be copied in time"),
    ArchiveUnavailableError: (503, "archive-unavailable", "The archive is temporarily unavailable"),
    RecordingBeingDeletedError: (503, "being-deleted", "The recording is being deleted"),
    AuditUnavailableError: (503, "audit-unavailable", "The audit trail is temporarily unavailable"),
    TwilioUnavailableError: (502, "twilio-unavailable", "Twilio did not give a usable answer"),
    CredentialsUnavailableError: (503, "credentials-unavailable", "The credentials are temporarily unavailable"),
    MergeContentionError: (503, "contention", "The recording is being changed by many writers"),
    PageTokenKeyUnavailableError: (503, "page-tokens-unavailable", "Page tokens are temporarily unavailable"),
    RowsUnavailableError: (503, "rows-unavailable", "The table is temporarily unavailable"),
    TimerNotSetError: (503, "timer-not-set", "The timer of the pause could not be set"),
    StateUnavailableError: (503, "state-unavailable", "The record of earlier requests is temporarily unavailable"),
    RecordingClaimedError: (503, "recording-claimed", "The recording belongs to another request"),
    TableUnavailableError: (503, "not-stored", "The recording's row could not be written"),
    PauseUnprovenError: (503, "pause-unproven", "The pause is not confirmed"),
    ResumeUnprovenError: (503, "resume-unproven", "It is not known whether everything was resumed"),
    NotActionableError: (503, "not-actionable", "The recording temporarily cannot be changed"),
    RateLimitedError: (503, "rate-limited", "Twilio is limiting the request rate"),
    PauseOutOfTimeError: (504, "pause-timed-out", "The pause was not confirmed in time"),
    TwilioTimedOutError: (504, "twilio-timed-out", "Twilio did not answer in time"),
    CallRecordingError: (500, "internal", "Something went wrong on our side"),
}

# Looked up in the same way. Errors that callers can cause by what they send are theirs, so they page nobody.
_CAUSES: Final[dict[type[CallRecordingError], Cause]] = {
    **dict.fromkeys(
        (
            InvalidRequestError,
            UnprovenCallbackError,
            ForeignAccountError,
            TwilioNotFoundError,
            NothingRecordsError,
            RecordingNotFoundError,
            NotArchivedError,
            StoredElsewhereError,
            UnknownRouteError,
            CallNotInProgressError,
            CallPausedError,
            PauseEndedError,
            ScopeUnprovenError,
            ControlledSinceError,
            RecordingNotFinishedError,
            ArchiveLockedError,
            SeveralActiveRecordingsError,
            RequestInProgressError,
            # A sender can set an event's time. If it waited because of us, the alarms on throttles and age show that.
            RequestTooOldError,
            RequestTooLargeError,
            UnsupportedMediaTypeError,
            IdempotencyKeyReusedError,
            NotAParticipantError,
            UnknownAccountError,
            RecordingBeingDeletedError,
        ),
        CALLER,
    ),
    **dict.fromkeys(
        (
            StillPausedError,
            StillRecordingError,
            OutcomeLostError,
            TwilioRefusedError,
            WrongMediaError,
            NoAudioError,
            MediaNotReadyError,
            TwilioUnavailableError,
            RecordingClaimedError,
            PauseUnprovenError,
            ResumeUnprovenError,
            NotActionableError,
            RateLimitedError,
            PauseOutOfTimeError,
            TwilioTimedOutError,
        ),
        TWILIO,
    ),
    **dict.fromkeys(
        (
            MalformedSecretError,
            UnstorableFactsError,
            ArchiveConflictError,
            MissingSettingsError,
            CredentialsRefusedError,
            NoTimeLeftError,
            ArchiveUnavailableError,
            AuditUnavailableError,
            CredentialsUnavailableError,
            MergeContentionError,
            PageTokenKeyUnavailableError,
            RowsUnavailableError,
            TimerNotSetError,
            StateUnavailableError,
            TableUnavailableError,
            CallRecordingError,
        ),
        OURS,
    ),
}


def http_status(error: CallRecordingError) -> int:
    """Return the HTTP status of the error."""
    return _answer(error)[0]


def reason(error: CallRecordingError) -> str:
    """Return the error's name for programs: the last part of a problem's `type`, the `reason` of a failure event."""
    return _answer(error)[1]


def cause(error: BaseException) -> Cause:
    """Return who can fix the error: an unexpected exception is ours."""
    return _first(_CAUSES, error) if isinstance(error, CallRecordingError) else OURS


def details(error: CallRecordingError) -> dict[str, Any]:
    """Return what the error carries beyond its sentence: Twilio's code and page, the recording, the invalid fields."""
    known: dict[str, Any] = {}
    if isinstance(error, TwilioRefusedError | TwilioUnavailableError):
        known |= {"twilio_code": error.code, "more_info": error.more_info}
    if isinstance(error, TableUnavailableError):
        known["recording_sid"] = error.recording_sid
    if isinstance(error, SeveralActiveRecordingsError):
        known["active_recording_sids"] = list(error.active_recording_sids)
    if isinstance(error, NotArchivedError):
        known["audio"] = error.audio
    if isinstance(error, CallPausedError):
        known["group"] = error.group
    if isinstance(error, PausedInPartError):
        known |= _lists(error, "still_recording", "paused", "unresolved")
    if isinstance(error, ResumedInPartError):
        known |= _lists(error, "still_paused", "resumed", "left_paused")
    if isinstance(error, InvalidRequestError):
        known["errors"] = [field.as_dict() for field in error.errors]
    return {name: value for name, value in known.items() if value is not None}


def _lists(error: CallRecordingError, *names: str) -> dict[str, Any]:
    return {name: list(getattr(error, name)) for name in names}


def title(error: CallRecordingError) -> str:
    """Return what went wrong, in a few words: a problem's `title`."""
    return _answer(error)[2]


def _answer(error: CallRecordingError) -> tuple[int, str, str]:
    return _first(_ANSWERS, error)


def _first[Told](table: Mapping[type[CallRecordingError], Told], error: CallRecordingError) -> Told:
    return next(table[kind] for kind in type(error).__mro__ if kind in table)
