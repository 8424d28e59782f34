"""Everything that can go wrong, as one tree; each error carries the data its reader needs."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class CallRecordingError(Exception):
    """Base of every error that this application raises on purpose. `sentence` is what it says."""

    sentence = "something went wrong here"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.sentence)


class AccountError(CallRecordingError):
    """Base of what concerns a Twilio account; the sentence names it."""

    def __init__(self, account_sid: str, why: str = "") -> None:
        super().__init__(self.sentence.format(account_sid=account_sid, why=why))
        self.account_sid = account_sid
        self.why = why


class RecordingError(CallRecordingError):
    """Base of what concerns a recording; the sentence names it."""

    def __init__(self, recording_sid: str) -> None:
        super().__init__(self.sentence.format(recording_sid=recording_sid))
        self.recording_sid = recording_sid


class ArchiveError(CallRecordingError):
    """Base of what concerns an object in the archive; the sentence keeps its key to itself."""

    def __init__(self, key: str) -> None:
        super().__init__(self.sentence)
        self.key = key


# --- what the caller sent -------------------------------------------------------------------------

MOST_ERRORS = 50
"""Mistakes that are told at once."""

_LONGEST_NAME = 100


class FieldError(NamedTuple):
    """One field of a request and what is wrong with it."""

    field: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return the error as it stands under `errors` in a problem document."""
        return self._asdict()


class FieldsError(CallRecordingError):
    """Base of what is wrong with fields; `errors` names every wrong one."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


class InvalidRequestError(FieldsError):
    """The request breaks the contract; `errors` names every wrong field at once. Nothing was sent to Twilio."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        # However many there are: an event that tells them must fit on the bus.
        told = [FieldError(error.field[:_LONGEST_NAME], error.message) for error in errors[:MOST_ERRORS]]
        if len(errors) > MOST_ERRORS:
            told.append(FieldError("…", f"and {len(errors) - MOST_ERRORS} more"))
        super().__init__(told)


class UnsupportedMediaTypeError(CallRecordingError):
    """The body's content type is neither JSON nor a form."""

    def __init__(self, content_type: str | None) -> None:
        named = f"content type {content_type!r} is not supported" if content_type else "the content type is missing"
        super().__init__(f"{named}; send application/json or application/x-www-form-urlencoded")
        self.content_type = content_type


class RequestTooLargeError(CallRecordingError):
    """The body is larger than anything that is asked or told here."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the body is larger than {most_bytes} bytes")
        self.most_bytes = most_bytes


class UnknownTriggerError(CallRecordingError):
    """The function was invoked with something that is neither an API Gateway proxy event nor an EventBridge event."""

    sentence = "the event is neither an API Gateway proxy event (1.0 or 2.0) nor an EventBridge event"


class RequestInProgressError(CallRecordingError):
    """Another delivery of the same request is being worked on right now; its answer will be the answer."""

    sentence = "a request with this idempotency key is still being worked on; send it again later"


class IdempotencyKeyReusedError(CallRecordingError):
    """The idempotency key was used for another request before; nothing was sent to Twilio."""

    sentence = "this idempotency key was used for another request; use a new key for a new request"


class RequestTooOldError(CallRecordingError):
    """The event waited so long that acting on it now is not what was asked for."""

    def __init__(self, *, age_seconds: int, limit_seconds: int) -> None:
        super().__init__(f"the request is {age_seconds} s old; after {limit_seconds} s it is not acted on")
        self.age_seconds = age_seconds
        self.limit_seconds = limit_seconds


class UnknownRouteError(CallRecordingError):
    """The API has no such route."""

    sentence = "there is no such route"


class StateUnavailableError(CallRecordingError):
    """IdempotencyTable did not answer: what was met before is not known, so nothing was sent to Twilio."""

    sentence = "what was asked for before cannot be looked up just now"


class PauseEndedError(CallRecordingError):
    """Somebody resumed everything while it was being paused, so what was proven is true no more."""

    sentence = "everything on this call was resumed while it was being paused; pause it again if you still want it"


class CallPausedError(CallRecordingError):
    """Everything on the call is paused, so no recording is started on it. Nothing was sent to Twilio."""

    def __init__(self, group: str) -> None:
        super().__init__("everything on this call is paused, so no recording was started; resume it first")
        self.group = group


class NotAParticipantError(CallRecordingError):
    """The call is not in the conference that the request names; nothing was paused."""

    sentence = "neither this call nor one of its legs is in the conference that ConferenceSid names"


class PausedInPartError(CallRecordingError):
    """Base of what says that not everything is known to be paused: `still_recording`, `paused` and `unresolved`.

    Each is a list of recordings, as the answer has them: `sid`, and how it `was` or the `reason` why it is not paused.
    """

    still_recording: Sequence[Mapping[str, str]] = ()
    paused: Sequence[Mapping[str, str]] = ()
    unresolved: Sequence[Mapping[str, str]] = ()


class StillRecordingError(PausedInPartError):
    """Twilio refused to pause a recording, and it is not proven that it is over."""

    sentence = "Twilio refused to pause a recording, which may go on; see still_recording"


class ScopeUnprovenError(PausedInPartError):
    """More conferences are in progress than are looked through."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"more than {most} conferences are in progress, so the call's was not looked for; pass ConferenceSid"
        )
        self.most = most


class PauseUnprovenError(PausedInPartError):
    """Twilio did not say enough to know that nothing records."""

    sentence = "it is not proven that nothing records: Twilio does not answer as it should; ask again"


class PauseOutOfTimeError(PausedInPartError):
    """It took too long to know that nothing records."""

    sentence = "it could not be proven in time that nothing records; ask again"


class ResumedInPartError(CallRecordingError):
    """Base of what says that not everything was resumed: `still_paused`, `resumed` and `left_paused`."""

    still_paused: Sequence[Mapping[str, str]] = ()
    resumed: Sequence[Mapping[str, str]] = ()
    left_paused: Sequence[Mapping[str, str]] = ()


class StillPausedError(ResumedInPartError):
    """Twilio refused to resume a recording."""

    sentence = "Twilio refused to resume a recording; see still_paused"


class ResumeUnprovenError(ResumedInPartError):
    """Twilio did not answer whether a recording was resumed."""

    sentence = "whether every recording was resumed is not known; ask again"


# --- how this application is set up ---------------------------------------------------------------


class MissingSettingsError(CallRecordingError):
    """Environment variables that the function needs are not set."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"environment variables not set: {', '.join(names)}")
        self.names = tuple(names)


class UnknownAccountError(AccountError):
    """No secret exists for this Twilio account, so nothing can be sent for it or believed from it."""

    sentence = "no credentials are stored for account {account_sid}"


class MalformedSecretError(AccountError):
    """The account's secret exists but is not the JSON object that docs/how-to/store-twilio-credentials.md describes."""

    sentence = "the secret of account {account_sid} is malformed: {why}"


class CredentialsUnavailableError(AccountError):
    """Secrets Manager did not answer, so whether the account is known is not known."""

    sentence = "the credentials of account {account_sid} could not be read just now"


# --- what Twilio answered -------------------------------------------------------------------------


class TwilioRefusedError(CallRecordingError):
    """Twilio answered with a 4xx: nothing was done, and the same request would be refused again."""

    def __init__(self, *, http_status: int, code: int | None, message: str, more_info: str | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.more_info = more_info


class CallNotInProgressError(TwilioRefusedError):
    """Twilio code 21220: the call has ended, was not answered yet, or cannot be recorded."""


class TwilioNotFoundError(TwilioRefusedError):
    """Twilio code 20404: no such call or account, or it lives in another region."""


class NothingRecordsError(TwilioNotFoundError):
    """Twilio knows the call that `Twilio.CURRENT` was asked of, and no recording is active on it."""


class SeveralActiveRecordingsError(TwilioRefusedError):
    """Twilio code 16108: `Twilio.CURRENT` names no recording while several are active on the call.

    `active_recording_sids` are the ones to choose from.
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
    """HTTP 401, or a code that says so, even after the secret was read afresh: our account or key, not the caller."""


class ChannelsRefusedError(TwilioRefusedError):
    """Twilio code 16113: it does not have the audio on as many channels as were asked for."""


class NotNowError(TwilioRefusedError):
    """Base of refusals after which the same request may succeed: nothing was done, so it is safe to try again."""


class NotActionableError(NotNowError):
    """Twilio code 16114: the recording is being changed just now, so it was not changed by this."""


class RateLimitedError(NotNowError):
    """Twilio code 20429: too many concurrent requests; never processed, so it is safe to try again."""

    def __init__(
        self, *, retry_after_seconds: int | None, code: int | None, message: str, more_info: str | None
    ) -> None:
        super().__init__(http_status=429, code=code, message=message, more_info=more_info)
        self.retry_after_seconds = retry_after_seconds


class TwilioUnavailableError(CallRecordingError):
    """Twilio answered 5xx, or nothing we can read: whether it acted is not known."""

    def __init__(self, message: str, *, code: int | None = None, more_info: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.more_info = more_info


class TwilioTimedOutError(TwilioUnavailableError):
    """Twilio did not answer in time: whether it acted is not known."""


class OutcomeUnknownError(TwilioUnavailableError):
    """Whether Twilio acted cannot be found out just now; the next delivery of the request looks again."""

    def __init__(self, what: str = "started the recording") -> None:
        super().__init__(f"whether Twilio {what} cannot be found out just now")


class OutcomeLostError(CallRecordingError):
    """Whether an earlier delivery of the request was carried out will never be known, and it may not be twice."""

    sentence = (
        "whether an earlier delivery of this request was carried out is not known, so Twilio was not asked again; "
        "see how the recording is, and send a new request if you still want it"
    )


class ControlledSinceError(RecordingError):
    """Another request was carried out since the first attempt at this one, whose outcome is not known."""

    sentence = (
        "recording {recording_sid} was paused, resumed or stopped since this request was first tried, "
        "so Twilio was not asked again"
    )


class TwilioUnreachableError(TwilioUnavailableError):
    """No connection to Twilio could be made: the request was surely never processed."""


def may_have_acted(error: BaseException) -> bool:
    """Tell whether Twilio may have done what was asked, although it did not answer so."""
    return isinstance(error, TwilioUnavailableError) and not isinstance(error, TwilioUnreachableError)


# --- what came in on the webhook ------------------------------------------------------------------


class UnprovenCallbackError(CallRecordingError):
    """The callback carries no valid signature of the account it speaks for; nothing in it may be believed.

    `why` is for our log alone: whoever forges callbacks learns nothing from the answer.
    """

    sentence = "the callback is not proven to be Twilio's"

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class UnreadableCallbackError(FieldsError):
    """Twilio signed it, but it does not say which recording it is about, or says it in a form we do not know."""


# --- what the table says --------------------------------------------------------------------------


class ForeignAccountError(RecordingError):
    """A fact about a recording came from another account than the one that owns the row."""

    sentence = "recording {recording_sid} belongs to another account"


class RecordingClaimedError(RecordingError):
    """The recording already serves another request."""

    sentence = "recording {recording_sid} serves another request"


class UnstorableFactsError(RecordingError):
    """DynamoDB refuses the row that these facts would make, or the row is one that nothing can be merged into.

    It would be too large, or somebody edited it.
    """

    sentence = "what was said of recording {recording_sid} does not fit into a row"


class MergeContentionError(RecordingError):
    """Other writers changed the row during every attempt to merge into it; safe to try again."""

    sentence = "recording {recording_sid} is being changed by too many writers at once"


class TableUnavailableError(RecordingError):
    """DynamoDB did not take the fact: what Twilio did stands, the row does not yet show it."""

    sentence = "what Twilio says of recording {recording_sid} could not be stored just now"


class RecordingNotFoundError(RecordingError):
    """The table has no row for this recording."""

    sentence = "recording {recording_sid} is not in the table"


class RecordingNotFinishedError(RecordingError):
    """The recording still runs, or Twilio still works on it: only a finished one can be deleted."""

    sentence = "recording {recording_sid} is not finished yet; Twilio deletes only finished recordings"


class RowsUnavailableError(CallRecordingError):
    """DynamoDB did not answer a read."""

    sentence = "the table cannot be read just now"


class PageTokenKeyUnavailableError(CallRecordingError):
    """Secrets Manager did not give the key that page tokens are signed with."""

    sentence = "page tokens cannot be made or checked just now"


class TimerNotSetError(CallRecordingError):
    """EventBridge Scheduler did not take the timer, so the recording was not paused."""

    sentence = "the pause could not be watched over just now, so the recording was not paused"


class EventNotPublishedError(CallRecordingError):
    """EventBridge did not accept an event that must not be lost."""

    def __init__(self, code: str) -> None:
        super().__init__(f"EventBridge did not accept the event: {code}")
        self.code = code


# --- audio and its archive ------------------------------------------------------------------------


class MediaNotReadyError(RecordingError):
    """Twilio does not have the audio yet, although the recording is completed; it has it a moment later."""

    sentence = "the audio of recording {recording_sid} is not ready yet"


class NeverArchivedError(RecordingError):
    """The audio will never be there to be archived, however often it is asked for."""


class StoredElsewhereError(NeverArchivedError):
    """The account has Twilio store its audio in a bucket of its own; the row's `stored_elsewhere` says where."""

    sentence = "the audio of recording {recording_sid} is not at Twilio, but in a storage of the account's own"


class NoAudioError(NeverArchivedError):
    """Twilio told that the recording is completed, and says now that it ended without audio."""

    sentence = "Twilio says now that recording {recording_sid} ended without audio"


class WrongMediaError(CallRecordingError):
    """What came is not the recording's audio, or not all of it; nothing was stored."""

    def __init__(self, why: str) -> None:
        super().__init__(f"what came is not the recording: {why}")


class WrongChannelsError(WrongMediaError):
    """What came has another number of channels than was asked for."""

    def __init__(self, channels: int, wanted: int) -> None:
        super().__init__(f"it has {channels} channels instead of {wanted}")
        self.channels = channels


class NoTimeLeftError(CallRecordingError):
    """The invocation ends before the audio is through; nothing was stored."""

    sentence = "the audio does not get through in the time of one invocation"


class NotArchivedError(CallRecordingError):
    """The recording's audio is not in the archive: not yet, no longer, or never. `audio` says which, for programs."""

    sentences: Final = {
        "recording": "the recording is not finished: it still runs or is paused, and is archived after it has ended",
        "processing": "the recording has ended, and Twilio still works on its audio; ask again in a minute",
        "archiving": "the recording is finished, and its audio is on its way; ask again in a minute. If that fails, "
        "the event Call Recording Archive Failed says why",
        "switched-off": "this stack keeps no audio (ArchiveRecordings=false); it is at Twilio, if nobody deleted it",
        "none": "the recording ended without audio",
        "deleted": "the recording was deleted",
        "removed": "it was archived, but is in the bucket no longer: its retention has ended, or somebody removed it",
    }

    def __init__(self, recording_sid: str, audio: str) -> None:
        super().__init__(f"the audio of {recording_sid} is not in the archive: {self.sentences[audio]}")
        self.recording_sid = recording_sid
        self.audio = audio


class ArchiveUnavailableError(ArchiveError):
    """S3 did not do what it was asked."""

    sentence = "the archive does not answer just now"


class ArchiveConflictError(ArchiveError):
    """Another audio than Twilio's is in the archive under the recording's name; it was left as it is."""

    sentence = "the archive holds something else under this recording's name"


class ArchiveLockedError(ArchiveError):
    """Object Lock keeps the audio in the archive until its retention ends; nothing was deleted at Twilio."""

    sentence = "the archive may not delete this recording before its retention ends"


class RecordingBeingDeletedError(RecordingError):
    """Somebody deletes the recording just now, so its audio is not stored; if that fails, it is stored later."""

    sentence = "recording {recording_sid} is being deleted just now"


class AuditUnavailableError(CallRecordingError):
    """The audit trail took no line, so what it would have told of did not happen."""

    sentence = "the audit trail cannot be written just now"
