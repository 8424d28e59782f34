"""Every error of this application, as one tree; each error carries the data that its reader needs."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Cause = Literal["caller", "twilio", "ours"]
"""Who can fix the error: the caller, Twilio, or the operator of this stack."""

CALLER: Final = "caller"
TWILIO: Final = "twilio"
OURS: Final = "ours"


class CallRecordingError(Exception):
    """Base of every error that this application raises on purpose.

    `sentence` is its message. `acted` says whether Twilio may have carried out the request that this error answers.
    Both `acted` and the docstring appear in docs/reference/errors.md.
    """

    sentence = "something went wrong on our side"
    acted = "no"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.sentence)


class AccountError(CallRecordingError):
    """Base of errors about a Twilio account; the sentence names it."""

    def __init__(self, account_sid: str, why: str = "") -> None:
        super().__init__(self.sentence.format(account_sid=account_sid, why=why))
        self.account_sid = account_sid
        self.why = why


class RecordingError(CallRecordingError):
    """Base of errors about a recording; the sentence names it."""

    def __init__(self, recording_sid: str) -> None:
        super().__init__(self.sentence.format(recording_sid=recording_sid))
        self.recording_sid = recording_sid


class ArchiveError(CallRecordingError):
    """Base of errors about an object in the archive; the sentence does not reveal its key."""

    def __init__(self, key: str) -> None:
        super().__init__(self.sentence)
        self.key = key


# --- what the caller sent -------------------------------------------------------------------------

MOST_ERRORS = 50
"""How many mistakes one answer lists."""

_LONGEST_NAME = 100


class FieldError(NamedTuple):
    """One field of a request and what is wrong with it."""

    field: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return the error as an entry of `errors` in a problem document."""
        return self._asdict()


class FieldsError(CallRecordingError):
    """Base of errors in fields; `errors` names every invalid field."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


class InvalidRequestError(FieldsError):
    """Fields, body, key or page token are invalid; `errors` lists each `field` with its `message`."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        # The list is cut off, because an event that contains it must not exceed EventBridge's size limit.
        told = [FieldError(error.field[:_LONGEST_NAME], error.message) for error in errors[:MOST_ERRORS]]
        if len(errors) > MOST_ERRORS:
            told.append(FieldError("…", f"and {len(errors) - MOST_ERRORS} more"))
        super().__init__(told)


class UnsupportedMediaTypeError(CallRecordingError):
    """The body's content type is missing, or neither JSON nor a form."""

    def __init__(self, content_type: str | None) -> None:
        named = f"content type {content_type!r} is not supported" if content_type else "the content type is missing"
        super().__init__(f"{named}; send application/json or application/x-www-form-urlencoded")
        self.content_type = content_type


class RequestTooLargeError(CallRecordingError):
    """The body is larger than 64 KiB."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the body is larger than {most_bytes} bytes")
        self.most_bytes = most_bytes


class UnknownTriggerError(CallRecordingError):
    """The function was invoked with an event that is neither an API Gateway proxy event nor an EventBridge event."""

    sentence = "the event is neither an API Gateway proxy event (1.0 or 2.0) nor an EventBridge event"


class RequestInProgressError(CallRecordingError):
    """A request with this key is still in progress, or its function was stopped a moment ago.

    Retry later: you get the answer of that request.
    """

    acted = "perhaps"
    sentence = "a request with this idempotency key is still in progress; retry later"


class IdempotencyKeyReusedError(CallRecordingError):
    """The idempotency key was already used for another request."""

    sentence = "this idempotency key was already used for another request; use a new key for a new request"


class RequestTooOldError(CallRecordingError):
    """The event waited too long: its request is no longer carried out."""

    def __init__(self, *, age_seconds: int, limit_seconds: int) -> None:
        super().__init__(f"the request is {age_seconds} s old; after {limit_seconds} s it is no longer carried out")
        self.age_seconds = age_seconds
        self.limit_seconds = limit_seconds


class UnknownRouteError(CallRecordingError):
    """The API has no such route; for example, a SID contains a slash."""

    sentence = "there is no such route"


class StateUnavailableError(CallRecordingError):
    """IdempotencyTable did not answer, so earlier requests are not known; nothing was sent to Twilio."""

    sentence = "the record of earlier requests is temporarily unavailable"


class PauseEndedError(CallRecordingError):
    """`ALL`: everything was resumed while it was being paused, so the pause no longer holds."""

    acted = "perhaps"
    sentence = "everything on this call was resumed while it was being paused; pause it again if you still need it"


class CallPausedError(CallRecordingError):
    """Start: everything on the call is paused; `group` names the pause."""

    def __init__(self, group: str) -> None:
        super().__init__("everything on this call is paused, so no recording was started; resume it first")
        self.group = group


class NotAParticipantError(CallRecordingError):
    """`ALL`: neither the call nor one of its legs is in the conference that `ConferenceSid` names.

    Nothing was paused.
    """

    sentence = "neither this call nor one of its legs is in the conference that ConferenceSid names"


class PausedInPartError(CallRecordingError):
    """Base of errors after which not everything is known to be paused: `still_recording`, `paused` and `unresolved`.

    Each is a list of recordings, as in the answer: `sid`, and what it `was` or the `reason` why it is not paused.
    """

    acted = "perhaps"
    still_recording: Sequence[Mapping[str, str]] = ()
    paused: Sequence[Mapping[str, str]] = ()
    unresolved: Sequence[Mapping[str, str]] = ()


class StillRecordingError(PausedInPartError):
    """`ALL`: Twilio refused to pause the recordings in `still_recording`, which may still be running.

    `paused` and `unresolved` list the others.
    """

    sentence = "Twilio refused to pause a recording, which may still be running; see still_recording"


class ScopeUnprovenError(PausedInPartError):
    """`ALL`: more than 50 conferences are in progress, so the call's conference was not looked up.

    Pass `ConferenceSid`. `paused` lists what was paused nevertheless.
    """

    def __init__(self, most: int) -> None:
        super().__init__(
            f"more than {most} conferences are in progress, so the call's was not looked up; pass ConferenceSid"
        )
        self.most = most


class PauseUnprovenError(PausedInPartError):
    """`ALL`: Twilio's last answers do not confirm that nothing is recording.

    For example, they were 5xx or not readable; `paused` and `unresolved` list what is known.
    """

    sentence = "Twilio's answers do not confirm that nothing is recording; retry"


class PauseOutOfTimeError(PausedInPartError):
    """`ALL`: time ran out before it was confirmed that nothing is recording.

    For example, Twilio kept answering 429 or 16114; the lists are those of `pause-unproven`.
    """

    sentence = "time ran out before it was confirmed that nothing is recording; retry"


class ResumedInPartError(CallRecordingError):
    """Base of errors after which not everything was resumed: `still_paused`, `resumed` and `left_paused`."""

    acted = "perhaps"
    still_paused: Sequence[Mapping[str, str]] = ()
    resumed: Sequence[Mapping[str, str]] = ()
    left_paused: Sequence[Mapping[str, str]] = ()


class StillPausedError(ResumedInPartError):
    """`ALL`: Twilio refused to resume the recordings in `still_paused`; `resumed` and `left_paused` list the others."""

    sentence = "Twilio refused to resume a recording; see still_paused"


class ResumeUnprovenError(ResumedInPartError):
    """`ALL`: Twilio's last answers do not say whether the recordings in `still_paused` were resumed."""

    sentence = "it is not known whether every recording was resumed; retry"


# --- how this application is configured ------------------------------------------------------------


class MissingSettingsError(CallRecordingError):
    """Environment variables of the function are not set."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"environment variables not set: {', '.join(names)}")
        self.names = tuple(names)


class UnknownAccountError(AccountError):
    """No secret is stored for this Twilio account, so requests for it and callbacks from it are refused."""

    sentence = "no credentials are stored for account {account_sid}"


class MalformedSecretError(AccountError):
    """The account's secret exists but is not the JSON object that docs/how-to/store-twilio-credentials.md describes."""

    sentence = "the secret of account {account_sid} is malformed: {why}"


class CredentialsUnavailableError(AccountError):
    """Secrets Manager did not return the secret, so it is not known whether the account has one."""

    sentence = "the credentials of account {account_sid} are temporarily unavailable"


# --- what Twilio answered -------------------------------------------------------------------------


class TwilioRefusedError(CallRecordingError):
    """Twilio answered any other 4xx: nothing was done, and Twilio would refuse the same request again."""

    def __init__(self, *, http_status: int, code: int | None, message: str, more_info: str | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.more_info = more_info


class CallNotInProgressError(TwilioRefusedError):
    """The call has ended, was not answered yet (or not within `WaitSeconds`), or cannot be recorded (21220).

    Or the recording to control has ended.
    """


class TwilioNotFoundError(TwilioRefusedError):
    """Twilio does not have the recording, call or account, or has it in another region (20404)."""


class NothingRecordsError(TwilioNotFoundError):
    """`Twilio.CURRENT`: none of the call's own recordings is running or paused.

    Neither at Twilio nor in the table; Twilio has the call (20404).
    """


class SeveralActiveRecordingsError(TwilioRefusedError):
    """`Twilio.CURRENT` is ambiguous, because several recordings are active on the call (16108).

    Choose one of `active_recording_sids`.
    """

    active_recording_sids: tuple[str, ...] = ()

    def naming(self, active_recording_sids: Sequence[str]) -> "SeveralActiveRecordingsError":
        """Return the same refusal with the recordings to choose from."""
        named = SeveralActiveRecordingsError(
            http_status=self.http_status, code=self.code, message=self.message, more_info=self.more_info
        )
        named.active_recording_sids = tuple(active_recording_sids)
        return named


class CredentialsRefusedError(TwilioRefusedError):
    """Twilio refused the stored credentials or the account, even after reloading the secret.

    Every 401, and 20003, 20005, 20006, 20008 and 70051 with any status. It is not the caller's fault.
    """


class ChannelsRefusedError(TwilioRefusedError):
    """Twilio code 16113: the audio is not available with the requested number of channels."""


class NotNowError(TwilioRefusedError):
    """Base of refusals after which the same request may succeed: nothing was done, so it is safe to retry."""


class NotActionableError(NotNowError):
    """Twilio kept answering that the recording is being changed (16114)."""


class RateLimitedError(NotNowError):
    """Twilio is limiting the request rate (429, 20429).

    It did not process this request, so it is safe to retry.
    """

    def __init__(
        self, *, retry_after_seconds: int | None, code: int | None, message: str, more_info: str | None
    ) -> None:
        super().__init__(http_status=429, code=code, message=message, more_info=more_info)
        self.retry_after_seconds = retry_after_seconds


class TwilioUnavailableError(CallRecordingError):
    """Twilio's last answer was 5xx or 408 (without 16114), or was not readable.

    Or the connection failed or was closed early; or it could not be determined what Twilio did.
    """

    acted = "perhaps"

    def __init__(self, message: str, *, code: int | None = None, more_info: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.more_info = more_info


class TwilioTimedOutError(TwilioUnavailableError):
    """Twilio did not answer the last attempt in time."""


class OutcomeUnknownError(TwilioUnavailableError):
    """It cannot be determined yet whether Twilio acted; the next delivery of the request checks again."""

    def __init__(self, what: str = "started the recording") -> None:
        super().__init__(f"it cannot be determined yet whether Twilio {what}")


class OutcomeLostError(CallRecordingError):
    """An earlier request with this key may have paused, resumed or stopped the recording, and cannot be repeated.

    A repetition could change another recording (`Twilio.CURRENT`), or Twilio now refuses it.
    """

    acted = "perhaps, before that"
    sentence = (
        "it is not known whether an earlier delivery of this request was carried out, so Twilio was not asked again; "
        "check the recording, and send a new request if you still need it"
    )


class ControlledSinceError(RecordingError):
    """Twilio may have carried out this request without confirming it.

    Another request has since changed the recording, so Twilio was not asked again.
    """

    acted = "perhaps, before that"
    sentence = (
        "recording {recording_sid} was paused, resumed or stopped after this request was first tried, "
        "so Twilio was not asked again"
    )


class TwilioUnreachableError(TwilioUnavailableError):
    """No connection to Twilio could be opened, so Twilio cannot have processed the request."""

    acted = "no"


def may_have_acted(error: BaseException) -> bool:
    """Return whether Twilio may have carried out the request, although it did not confirm it."""
    return isinstance(error, TwilioUnavailableError) and not isinstance(error, TwilioUnreachableError)


# --- what the webhook received ---------------------------------------------------------------------


class UnprovenCallbackError(CallRecordingError):
    """The callback has no valid signature of the account that it names, so nothing in it is trusted."""

    sentence = "the callback is not signed by Twilio for this account"

    def __init__(self, why: str, account_sid: str = "") -> None:
        # Both are only logged: the answer must not help anyone who forges callbacks.
        super().__init__()
        self.why = why
        self.account_sid = account_sid


class UnreadableCallbackError(FieldsError):
    """Twilio signed the callback, but it names no recording, or has an unknown format."""


# --- what the table contains ----------------------------------------------------------------------


class ForeignAccountError(RecordingError):
    """Twilio acted, but the recording's row belongs to another account."""

    acted = "yes"
    sentence = "recording {recording_sid} belongs to another account"


class RecordingClaimedError(RecordingError):
    """The recording that was started belongs to another request, and no time was left to start another."""

    acted = "perhaps"
    sentence = "recording {recording_sid} belongs to another request"


class UnstorableFactsError(RecordingError):
    """Twilio acted, but the recording's row cannot be updated.

    It is full, would become too large for DynamoDB, or was edited by somebody.
    """

    acted = "yes"
    sentence = "the report about recording {recording_sid} does not fit into its row"


class MergeContentionError(RecordingError):
    """Twilio acted, but other writers changed the row during every attempt to update it."""

    acted = "yes"
    sentence = "recording {recording_sid} is being changed by too many writers at once"


class TableUnavailableError(RecordingError):
    """Twilio acted, but the row could not be written; `recording_sid` names it."""

    acted = "yes"
    sentence = "the row of recording {recording_sid} could not be written; the table is temporarily unavailable"


class RecordingNotFoundError(RecordingError):
    """The table does not have the recording, or another account owns it. Delete: Twilio does not have it either."""

    sentence = "recording {recording_sid} is not in the table"


class RecordingNotFinishedError(RecordingError):
    """The recording to delete is still running, or Twilio is still processing it."""

    sentence = "recording {recording_sid} is not finished yet; Twilio deletes only finished recordings"


class RowsUnavailableError(CallRecordingError):
    """RecordingsTable did not answer a read request."""

    sentence = "the table is temporarily unavailable"


class PageTokenKeyUnavailableError(CallRecordingError):
    """Secrets Manager did not return the key that signs page tokens."""

    sentence = "page tokens are temporarily unavailable"


class TimerNotSetError(CallRecordingError):
    """EventBridge Scheduler did not accept the timer, so nothing was paused."""

    sentence = "the timer of the pause could not be set, so the recording was not paused"


class EventNotPublishedError(CallRecordingError):
    """EventBridge did not accept an event that must not be lost."""

    def __init__(self, code: str) -> None:
        super().__init__(f"EventBridge did not accept the event: {code}")
        self.code = code


# --- audio and its archive ------------------------------------------------------------------------


class MediaNotReadyError(RecordingError):
    """The recording is completed, but Twilio does not have its audio yet; it usually does a moment later."""

    sentence = "the audio of recording {recording_sid} is not ready yet"


class NeverArchivedError(RecordingError):
    """The audio can never be archived, however often it is tried."""


class StoredElsewhereError(NeverArchivedError):
    """Twilio stores the account's audio in the account's own bucket; the row's `stored_elsewhere` says where."""

    sentence = "the audio of recording {recording_sid} is not at Twilio, but in the account's own storage"


class NoAudioError(NeverArchivedError):
    """Twilio reported that the recording is completed, and now reports that it ended without audio."""

    sentence = "Twilio now reports that recording {recording_sid} ended without audio"


class WrongMediaError(CallRecordingError):
    """The download is not the recording's audio, or not all of it; nothing was stored."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the download is not the recording's audio: {why}")


class WrongChannelsError(WrongMediaError):
    """The download does not have the requested number of channels."""

    def __init__(self, channels: int, wanted: int) -> None:
        super().__init__(f"it has {channels} channels instead of {wanted}")
        self.channels = channels


class NoTimeLeftError(CallRecordingError):
    """One invocation is too short to copy the audio; nothing was stored."""

    sentence = "one invocation is too short to copy the audio"


class NotArchivedError(CallRecordingError):
    """The recording's audio is not in the archive: not yet, no longer, or never. `audio` says which."""

    sentences: Final = {
        "recording": "the recording is still running or paused; it is archived after it has ended",
        "processing": "the recording has ended, and Twilio is still processing its audio; retry in a minute",
        "archiving": "the recording is finished, and its audio is being archived; retry in a minute. If that fails, "
        "the event Call Recording Archive Failed says why",
        "switched-off": "this stack archives no audio (ArchiveRecordings=false); unless deleted there, Twilio has it",
        "none": "the recording ended without audio",
        "deleted": "the recording was deleted",
        "removed": "it was archived, but is no longer in the bucket: its retention has ended, or somebody removed it",
    }

    def __init__(self, recording_sid: str, audio: str) -> None:
        super().__init__(f"the audio of {recording_sid} is not in the archive: {self.sentences[audio]}")
        self.recording_sid = recording_sid
        self.audio = audio


class ArchiveUnavailableError(ArchiveError):
    """S3 or KMS refused or did not answer."""

    acted = "no; to delete: perhaps"
    sentence = "the archive is temporarily unavailable"


class ArchiveConflictError(ArchiveError):
    """The archive has different audio under the recording's name, which was left unchanged."""

    sentence = "the archive holds something else under this recording's name"


class ArchiveLockedError(ArchiveError):
    """Object Lock protects the audio of the recording to delete until its retention ends."""

    sentence = "Object Lock protects this recording's audio until its retention ends"


class RecordingBeingDeletedError(RecordingError):
    """The recording is being deleted, so its audio is not stored; if the deletion fails, it is stored later."""

    sentence = "recording {recording_sid} is being deleted"


class AuditUnavailableError(CallRecordingError):
    """The audit trail could not be written, so the audio was not handed out.

    Delete: Twilio had already deleted the recording.
    """

    acted = "no; to delete: yes"
    sentence = "the audit trail is temporarily unavailable"
