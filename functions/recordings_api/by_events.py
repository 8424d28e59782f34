"""The events of recordings_api: control requests, monitored pauses, and recordings that start during a pause."""

from typing import TYPE_CHECKING, Any, TypeGuard

from aws_lambda_powertools import Logger

from call_recording import clock, metrics
from call_recording.bus import SOURCE, STATUS_CHANGE
from call_recording.commands.failures import failure_of, publish_request_failed
from call_recording.commands.intents import Intent, Outcome
from call_recording.commands.triggers import CONTROL_REQUESTED, Command, from_eventbridge, is_requested, named_sids
from call_recording.control.request import ALL, PAUSED, ControlRequest
from call_recording.control.resume_timers import ResumeTimer
from call_recording.deadline import Deadline
from call_recording.errors import CallRecordingError, FieldError, UnknownTriggerError
from call_recording.pause_all.request import AllRequest
from call_recording.problems import cause, reason
from call_recording.recordings.facts import BY_HTTP
from call_recording.sids import RECORDING, is_sid
from wiring import RESERVE_SECONDS, bus, controller, everything, intents, late_recordings, settings, twilio

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="recordings-api", child=True)


def act_on_event(event: dict[str, Any], context: "LambdaContext") -> None:
    """Control the recording, or check a pause; publish failures that are final, raise others."""
    deadline = Deadline.of(context, reserve_seconds=RESERVE_SECONDS)
    if timer := ResumeTimer.of_event(event):
        logger.set_correlation_id(timer.call_sid)
        logger.append_keys(account_sid=timer.account_sid, call_sid=timer.call_sid)
        watched = everything if timer.recording_sid == ALL else controller
        if watched(context.invoked_function_arn).on_timer(timer, deadline=deadline):
            metrics.RECORDING_STILL_PAUSED.add()
        return
    if is_requested(event, STATUS_CHANGE) and event.get("source") == SOURCE:
        # From the rule for new recordings where something may be paused. Everything else is in the row.
        detail = event.get("detail")
        recording_sid = detail.get("recording_sid") if isinstance(detail, dict) else None
        if not is_sid(recording_sid, RECORDING):  # anybody with events:PutEvents can send such an event
            raise UnknownTriggerError
        late_recordings().look_after(recording_sid, deadline=deadline)
        return
    if not is_requested(event, CONTROL_REQUESTED):
        raise UnknownTriggerError
    logger.append_keys(**named_sids(event))
    try:
        failure = control(from_eventbridge(event, parse_control), context).failure
    except CallRecordingError as error:
        logger.warning("recording not changed", reason=reason(error), twilio_code=getattr(error, "code", None))
        failure = failure_of(error)
    if failure:
        publish_request_failed(bus(), event=event, failure=failure)


def parse_control(fields: list[tuple[str, Any]], errors: list[FieldError]) -> ControlRequest:
    """Return the request that the fields make; the stack's account unless they name another."""
    kind = AllRequest if ("RecordingSid", ALL) in fields else ControlRequest
    return kind.parse(fields, default_account_sid=settings().twilio_account_sid, errors=errors)


def control(command: Command[ControlRequest], context: "LambdaContext") -> Outcome:
    """Change the recording once for the command's key; without a key, once for this delivery."""
    request = command.request
    logger.set_correlation_id(request.call_sid)
    logger.append_keys(account_sid=request.account_sid, call_sid=request.call_sid, requested_by=command.requested_by)
    deadline = Deadline.of(context, reserve_seconds=RESERVE_SECONDS)

    def work(intent: Intent) -> dict[str, Any]:
        arn, sent_at = context.invoked_function_arn, command.sent_at
        if isinstance(request, AllRequest):
            return everything(arn).control(request, intent=intent, deadline=deadline, sent_at=sent_at)
        return controller(arn).control(request, intent=intent, deadline=deadline, sent_at=sent_at)

    remembers = command.remembers_failures
    try:
        if command.key is None:
            outcome = Outcome(work(Intent("", clock.now())))
        else:
            outcome = intents().once(command.key, request.said(), work, context=context, remembers_failures=remembers)
        if outcome.is_replayed and command.requested_by == BY_HTTP and _is_pause_of_all(request):
            # An earlier confirmation is not valid now.
            again = everything(context.invoked_function_arn).prove_again(request, outcome.answer, deadline=deadline)
            outcome = outcome._replace(answer=again)
    except Exception as error:
        failed = reason(error) if isinstance(error, CallRecordingError) else "internal"
        metrics.CONTROL_REQUESTS.add(trigger=command.requested_by, outcome=failed)
        metrics.CONTROL_FAILURES.add(cause=cause(error))
        raise
    done = "replayed" if outcome.is_replayed else request.status
    metrics.CONTROL_REQUESTS.add(trigger=command.requested_by, outcome=done)
    if not outcome.failure:
        named = {name: outcome.answer[name] for name in ("sid", "group") if name in outcome.answer}
        logger.info("recording changed", status=request.status, **named)
    twilio().credentials.renew(deadline=deadline)
    return outcome


def _is_pause_of_all(request: ControlRequest) -> TypeGuard[AllRequest]:
    return isinstance(request, AllRequest) and request.status == PAUSED
