"""Everything that can go wrong, as one tree; each error carries the data its reader needs."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Cause = Literal["caller", "twilio", "ours"]
"""Who can change that something goes wrong: whoever asks, Twilio, or whoever runs this stack."""

CALLER: Final = "caller"
TWILIO: Final = "twilio"
OURS: Final = "ours"


class CallRecordingError(Exception):
    """Base of every error that this application raises on purpose.

    `sentence` is what it says. `acted` says whether Twilio may have done what was asked for, where the error is the
    answer. That and the docstring are the error's row in docs/reference/errors.md.
    """

    sentence = "something went wrong here"
    acted = "no"

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
    """Fields, body, key or page token are wrong; `errors` lists each `field` and `message` at once."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        # However many there are: an event that tells them must fit on the bus.
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
    """The body is larger than 64 KiB: larger than anything that is asked or told here."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the body is larger than {most_bytes} bytes")
        self.most_bytes = most_bytes


class UnknownTriggerError(CallRecordingError):
    """The function was invoked with something that is neither an API Gateway proxy event nor an EventBridge event."""

    sentence = "the event is neither an API Gateway proxy event (1.0 or 2.0) nor an EventBridge event"


class RequestInProgressError(CallRecordingError):
    """A request with this key is still being worked on, or its function died a moment ago.

    Its answer will be the answer.
    """

    acted = "perhaps"
    sentence = "a request with this idempotency key is still being worked on; send it again later"


class IdempotencyKeyReusedError(CallRecordingError):
    """The idempotency key was used for another request before."""

    sentence = "this idempotency key was used for another request; use a new key for a new request"


class RequestTooOldError(CallRecordingError):
    """The event waited so long that acting on it now is not what was asked for."""

    def __init__(self, *, age_seconds: int, limit_seconds: int) -> None:
        super().__init__(f"the request is {age_seconds} s old; after {limit_seconds} s it is not acted on")
        self.age_seconds = age_seconds
        self.limit_seconds = limit_seconds


class UnknownRouteError(CallRecordingError):
    """The API has no such route, such as when a SID holds a slash."""

    sentence = "there is no such route"


class StateUnavailableError(CallRecordingError):
    """IdempotencyTable did not answer: what was met before is not known, so nothing was sent to Twilio."""

    sentence = "what was asked for before cannot be looked up just now"


class PauseEndedError(CallRecordingError):
    """`ALL`: somebody resumed everything while it was being paused, so what was proven is true no more."""

    acted = "perhaps"
    sentence = "everything on this call was resumed while it was being paused; pause it again if you still want it"


class CallPausedError(CallRecordingError):
    """To start: everything on the call is paused; `group` names the pause."""

    def __init__(self, group: str) -> None:
        super().__init__("everything on this call is paused, so no recording was started; resume it first")
        self.group = group


class NotAParticipantError(CallRecordingError):
    """`ALL`: neither the call nor one of its legs is in the conference that `ConferenceSid` names.

    Nothing was paused.
    """

    sentence = "neither this call nor one of its legs is in the conference that ConferenceSid names"


class PausedInPartError(CallRecordingError):
    """Base of what says that not everything is known to be paused: `still_recording`, `paused` and `unresolved`.

    Each is a list of recordings, as the answer has them: `sid`, and how it `was` or the `reason` why it is not paused.
    """

    acted = "perhaps"
    still_recording: Sequence[Mapping[str, str]] = ()
    paused: Sequence[Mapping[str, str]] = ()
    unresolved: Sequence[Mapping[str, str]] = ()


class StillRecordingError(PausedInPartError):
    """`ALL`: Twilio refused to pause what `still_recording` lists, and it is not known to be over.

    `paused` and `unresolved` list the rest.
    """

    sentence = "Twilio refused to pause a recording, which may go on; see still_recording"


class ScopeUnprovenError(PausedInPartError):
    """`ALL`: more than 50 conferences are in progress, so nobody looked which one the call is in.

    Pass `ConferenceSid`. `paused` lists what is paused all the same.
    """

    def __init__(self, most: int) -> None:
        super().__init__(
            f"more than {most} conferences are in progress, so the call's was not looked for; pass ConferenceSid"
        )
        self.most = most


class PauseUnprovenError(PausedInPartError):
    """`ALL`: to the end Twilio did not say enough to know that nothing records.

    Such as 5xx or nothing readable; `paused` and `unresolved` list what is known.
    """

    sentence = "it is not proven that nothing records: Twilio does not answer as it should; ask again"


class PauseOutOfTimeError(PausedInPartError):
    """`ALL`: the time was over before it was proven that nothing records.

    Such as while Twilio kept saying that it cannot just now (429, 16114); the lists are as with `pause-unproven`.
    """

    sentence = "it could not be proven in time that nothing records; ask again"


class ResumedInPartError(CallRecordingError):
    """Base of what says that not everything was resumed: `still_paused`, `resumed` and `left_paused`."""

    acted = "perhaps"
    still_paused: Sequence[Mapping[str, str]] = ()
    resumed: Sequence[Mapping[str, str]] = ()
    left_paused: Sequence[Mapping[str, str]] = ()


class StillPausedError(ResumedInPartError):
    """`ALL`: Twilio refused to resume what `still_paused` lists; `resumed` and `left_paused` list the rest."""

    sentence = "Twilio refused to resume a recording; see still_paused"


class ResumeUnprovenError(ResumedInPartError):
    """`ALL`: to the end Twilio did not say whether what `still_paused` lists was resumed."""

    sentence = "whether every recording was resumed is not known; ask again"


# --- how this application is set up ---------------------------------------------------------------


class MissingSettingsError(CallRecordingError):
    """Environment variables of the function are not set."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"environment variables not set: {', '.join(names)}")
        self.names = tuple(names)


class UnknownAccountError(AccountError):
    """There is no secret for this Twilio account, so nothing can be sent for it or believed from it."""

    sentence = "no credentials are stored for account {account_sid}"


class MalformedSecretError(AccountError):
    """The account's secret exists but is not the JSON object that docs/how-to/store-twilio-credentials.md describes."""

    sentence = "the secret of account {account_sid} is malformed: {why}"


class CredentialsUnavailableError(AccountError):
    """Secrets Manager did not give the secret, so whether the account is known is not known."""

    sentence = "the credentials of account {account_sid} could not be read just now"


# --- what Twilio answered -------------------------------------------------------------------------


class TwilioRefusedError(CallRecordingError):
    """Any other 4xx of Twilio: nothing was done, and the same request would be refused again."""

    def __init__(self, *, http_status: int, code: int | None, message: str, more_info: str | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.more_info = more_info


class CallNotInProgressError(TwilioRefusedError):
    """The call has ended, was not answered yet (nor within `WaitSeconds`), or cannot be recorded (21220).

    Or the recording to control is over.
    """


class TwilioNotFoundError(TwilioRefusedError):
    """Twilio does not know the recording, call or account, or knows it in another region (20404)."""


class NothingRecordsError(TwilioNotFoundError):
    """`Twilio.CURRENT`, and none of the call's own recordings runs or is paused.

    Neither for Twilio nor in the table; Twilio knows the call (20404).
    """


class SeveralActiveRecordingsError(TwilioRefusedError):
    """`Twilio.CURRENT` names no recording while several are active on the call (16108).

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
    """Twilio refused our credentials or our account, also after the secret was read afresh.

    Every 401, and 20003, 20005, 20006, 20008 and 70051 with any status. It is not the caller's fault.
    """


class ChannelsRefusedError(TwilioRefusedError):
    """Twilio code 16113: it does not have the audio on as many channels as were asked for."""


class NotNowError(TwilioRefusedError):
    """Base of refusals after which the same request may succeed: nothing was done, so it is safe to try again."""


class NotActionableError(NotNowError):
    """To the end Twilio said that the recording is being changed just now (16114)."""


class RateLimitedError(NotNowError):
    """Twilio accepts no more requests just now (429, 20429).

    It never processed this one, so it is safe to try again.
    """

    def __init__(
        self, *, retry_after_seconds: int | None, code: int | None, message: str, more_info: str | None
    ) -> None:
        super().__init__(http_status=429, code=code, message=message, more_info=more_info)
        self.retry_after_seconds = retry_after_seconds


class TwilioUnavailableError(CallRecordingError):
    """To the end Twilio answered 5xx or 408 (without 16114), or nothing readable.

    Or it could not be connected to, or cut the connection; or what it did could not be found out.
    """

    acted = "perhaps"

    def __init__(self, message: str, *, code: int | None = None, more_info: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.more_info = more_info


class TwilioTimedOutError(TwilioUnavailableError):
    """To the end Twilio did not answer in time."""


class OutcomeUnknownError(TwilioUnavailableError):
    """Whether Twilio acted cannot be found out just now; the next delivery of the request looks again."""

    def __init__(self, what: str = "started the recording") -> None:
        super().__init__(f"whether Twilio {what} cannot be found out just now")


class OutcomeLostError(CallRecordingError):
    """Twilio may have paused, resumed or stopped when the key was used before, and may not be asked again.

    That could change another recording (`Twilio.CURRENT`), or Twilio refuses it now.
    """

    acted = "perhaps, before that"
    sentence = (
        "whether an earlier delivery of this request was carried out is not known, so Twilio was not asked again; "
        "see how the recording is, and send a new request if you still want it"
    )


class ControlledSinceError(RecordingError):
    """Twilio may have paused, resumed or stopped the recording for this request without saying so.

    Another request did since, so Twilio was not asked again.
    """

    acted = "perhaps, before that"
    sentence = (
        "recording {recording_sid} was paused, resumed or stopped since this request was first tried, "
        "so Twilio was not asked again"
    )


class TwilioUnreachableError(TwilioUnavailableError):
    """No connection to Twilio could be made: the request was surely never processed."""

    acted = "no"


def may_have_acted(error: BaseException) -> bool:
    """Tell whether Twilio may have done what was asked, although it did not answer so."""
    return isinstance(error, TwilioUnavailableError) and not isinstance(error, TwilioUnreachableError)


# --- what came in on the webhook ------------------------------------------------------------------


class UnprovenCallbackError(CallRecordingError):
    """The callback carries no valid signature of the account it speaks for; nothing in it may be believed."""

    sentence = "the callback is not proven to be Twilio's"

    def __init__(self, why: str) -> None:
        # `why` is for our log alone: whoever forges callbacks learns nothing from the answer.
        super().__init__()
        self.why = why


class UnreadableCallbackError(FieldsError):
    """Twilio signed it, but it does not say which recording it is about, or says it in a form we do not know."""


# --- what the table says --------------------------------------------------------------------------


class ForeignAccountError(RecordingError):
    """Twilio did it, but the recording's row belongs to another account."""

    acted = "yes"
    sentence = "recording {recording_sid} belongs to another account"


class RecordingClaimedError(RecordingError):
    """The recording that was started serves another request, and there was no time to start another."""

    acted = "perhaps"
    sentence = "recording {recording_sid} serves another request"


class UnstorableFactsError(RecordingError):
    """Twilio did it, but DynamoDB refuses the row that follows, or the row takes nothing more.

    It would be too large, or somebody edited it.
    """

    acted = "yes"
    sentence = "what was said of recording {recording_sid} does not fit into a row"


class MergeContentionError(RecordingError):
    """Twilio did it, but other writers changed the row during every attempt to merge into it."""

    acted = "yes"
    sentence = "recording {recording_sid} is being changed by too many writers at once"


class TableUnavailableError(RecordingError):
    """Twilio did it, but the row could not be written; `recording_sid` names it."""

    acted = "yes"
    sentence = "what Twilio says of recording {recording_sid} could not be stored just now"


class RecordingNotFoundError(RecordingError):
    """The table does not have the recording, or it is another account's; to delete: nor does Twilio have it."""

    sentence = "recording {recording_sid} is not in the table"


class RecordingNotFinishedError(RecordingError):
    """The recording to delete still runs, or Twilio still works on it."""

    sentence = "recording {recording_sid} is not finished yet; Twilio deletes only finished recordings"


class RowsUnavailableError(CallRecordingError):
    """The table did not answer a read."""

    sentence = "the table cannot be read just now"


class PageTokenKeyUnavailableError(CallRecordingError):
    """Secrets Manager did not give the key that page tokens are signed with."""

    sentence = "page tokens cannot be made or checked just now"


class TimerNotSetError(CallRecordingError):
    """EventBridge Scheduler did not take the timer, so nothing was paused."""

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
    """S3 or KMS refused or did not answer."""

    acted = "no; to delete: perhaps"
    sentence = "the archive does not answer just now"


class ArchiveConflictError(ArchiveError):
    """Another audio than Twilio's is in the archive under the recording's name; it was left as it is."""

    sentence = "the archive holds something else under this recording's name"


class ArchiveLockedError(ArchiveError):
    """Object Lock keeps the audio of the recording to delete until its retention ends."""

    sentence = "the archive may not delete this recording before its retention ends"


class RecordingBeingDeletedError(RecordingError):
    """Somebody deletes the recording just now, so its audio is not stored; if that fails, it is stored later."""

    sentence = "recording {recording_sid} is being deleted just now"


class AuditUnavailableError(CallRecordingError):
    """The audit trail took no line, so what it would have told of did not happen.

    Of a deletion: Twilio had deleted the recording by then.
    """

    acted = "no; to delete: yes"
    sentence = "the audit trail cannot be written just now"
