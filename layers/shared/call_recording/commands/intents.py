"""One recording per intent: which requests were met, are being met, or may have been half met."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, override

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyItemAlreadyExistsError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord
from botocore.exceptions import ClientError

from call_recording import clock
from call_recording.errors import (
    CallRecordingError,
    IdempotencyKeyReusedError,
    RequestInProgressError,
    StateUnavailableError,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

KEPT_FOR: Final = timedelta(hours=24)
"""How long an answer is kept for its key: a call lives no longer."""

_IN_PROGRESS: Final = STATUS_CONSTANTS["INPROGRESS"]

TO_START: Final = "start-recording"
TO_CONTROL: Final = "control-recording"
"""What a key was used for: the same key can name one request of each kind."""


class Intent:
    """A request, however often it is delivered.

    `asked_at` is when it was first worked on. `may_exist` is true while what it asks for may exist
    without our knowing, because Twilio may have acted: from the start if an earlier delivery left that
    open, and whoever works on the intent keeps it up to date, for the next delivery. So is `known`: what
    else that one should know, as JSON has it. A function that is killed leaves nothing there.
    `asked_until` is when the earlier deliveries had surely ended, so that nothing which began later is
    theirs; None once this one asks.
    """

    def __init__(self, name: str, asked_at: datetime) -> None:
        self.name = name
        self.asked_at = asked_at
        self.asked_until: datetime | None = None
        self.may_exist = False
        self.known: dict[str, Any] = {}


class Outcome(NamedTuple):
    """The answer, and whether it was given to an earlier delivery already.

    `failure` is there instead if that one failed for good: what `failures.failure_of` made of its error.
    """

    answer: dict[str, Any]
    is_replayed: bool = False
    failure: dict[str, Any] | None = None


class Intents:
    """IdempotencyTable: Powertools' idempotency, which also remembers what was begun and not ended."""

    def __init__(self, client: "DynamoDBClient", table_name: str, purpose: str = TO_START) -> None:
        self.purpose = purpose
        self._store = _Store(table_name, boto3_client=client)

    def once(
        self,
        key: str,
        payload: dict[str, Any],
        work: Callable[[Intent], dict[str, Any]],
        *,
        context: "LambdaContext",
        remembers_failures: bool = False,
    ) -> Outcome:
        """Return what `work` returns, or what it returned when the key was used first.

        `payload` is what the request asks for. When `work` raises or its function is killed, the key
        is free again, and the next delivery's intent says whether a recording may exist. With
        `remembers_failures` that a request will never be met is remembered, too: this delivery raises the error, and
        every later one returns it as `failure`.

        Raises RequestInProgressError while another delivery is being worked on,
        IdempotencyKeyReusedError when the key came with another payload, StateUnavailableError when
        the table does not answer (and nothing was done), and what `work` raises.
        """
        delivery = _Delivery(work, remembers_failures=remembers_failures)
        replays: list[DataRecord] = []

        def replay(response: Any, idempotent_data: DataRecord) -> Any:
            replays.append(idempotent_data)
            return response

        config = IdempotencyConfig(
            event_key_jmespath="key",
            payload_validation_jmespath="payload",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=int(KEPT_FOR.total_seconds()),
            hash_function="sha256",
            response_hook=replay,
        )
        config.register_lambda_context(context)

        def run(*, request: dict[str, Any]) -> dict[str, Any]:
            return delivery.run(request["key"])

        run_once = idempotent_function(
            run, data_keyword_argument="request", persistence_store=self._store, config=config, key_prefix=self.purpose
        )
        try:
            answer = run_once(request={"key": key, "payload": payload})
        except IdempotencyValidationError as error:
            raise IdempotencyKeyReusedError from error
        except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError) as error:
            raise RequestInProgressError from error
        except IdempotencyPersistenceLayerError as error:
            return delivery.unnoted(error)
        if replays:
            return Outcome(answer, is_replayed=True, failure=(answer or {}).get(_FAILURE))
        return delivery.noted()


class _Delivery:
    """One delivery of a request: the answer of its work, or the error."""

    def __init__(self, work: Callable[[Intent], dict[str, Any]], *, remembers_failures: bool) -> None:
        self.work = work
        self.remembers_failures = remembers_failures
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.is_final = False

    def run(self, key: str) -> dict[str, Any]:
        """Do the work, and return what is to be remembered."""
        _begun.get().name = key
        try:
            self.outcome = Outcome(self.work(_begun.get()))
        except CallRecordingError as error:
            self.error = error
            if not self.remembers_failures:
                raise
            # Here, because starts wait for cold starts, and hardly any fails.
            from call_recording.commands.failures import failure_of  # noqa: PLC0415

            failure = failure_of(error)
            self.is_final = True
            return {_FAILURE: failure}
        except Exception as error:
            self.error = error
            raise
        return self.outcome.answer

    def noted(self) -> Outcome:
        """Return the outcome, or raise the error, once it is remembered."""
        if self.outcome is None:
            raise self.error or AssertionError
        return self.outcome

    def unnoted(self, reason: Exception) -> Outcome:
        """Return the outcome, or raise the error, where it could not be remembered."""
        if self.outcome:  # the work is done and its row written; only the note for the next delivery is missing
            return self.outcome
        if self.error and not self.is_final:
            raise self.error from reason
        raise StateUnavailableError from reason  # nothing was done, or what nobody remembers must not be told


_FAILURE: Final = "failure"

_begun: ContextVar[Intent] = ContextVar("begun")


_PLACEHOLDER: Final = re.compile(r"[:#]\w+")
_IS_WORKED_ON: Final = "#status = :in_progress AND #until >= :now_milliseconds"


class _Store(DynamoDBPersistenceLayer):
    """Powertools' table layer with two differences, at the places Powertools names for them.

    A record left behind by a function that was killed, or freed while Twilio may have acted, keeps
    `asked_at`: whoever takes the key next knows that, and since when. And an unfinished record is left
    alone for as long as clocks may differ: taking it from a function that still runs would start a
    second recording.
    """

    @override
    def _put_record(self, data_record: DataRecord) -> None:
        """Take the key: one that is new or has expired, or else one that nobody works on any more.

        Only the second says what was begun before. What an expired one remembers is another day's, so a key is
        kept for a day from its first use, however often it is taken up again.
        """
        now, me = clock.now(), str(uuid.uuid4())
        # One who looks at the answer of a write whose first attempt got lost is met by their own name.
        is_taken, held = self._take(
            data_record,
            f"attribute_not_exists(#id) OR taken_by = :me OR (#expiry < :now AND NOT ({_IS_WORKED_ON}))",
            "#expiry = :expiry, asked_at = :now_milliseconds",
            forget="asked_until, known",
            now=now,
            me=me,
        )
        intent = Intent("", now)
        if not is_taken:
            is_taken, left = self._take(
                data_record,
                f"#expiry >= :now AND #status = :in_progress AND #validation = :validation AND NOT ({_IS_WORKED_ON})",
                "asked_at = if_not_exists(asked_at, :now_milliseconds)",
                forget="asked_until",
                now=now,
                me=me,
            )
            if not is_taken:
                stored = self._item_to_data_record(left or held)
                self._validate_payload(data_payload=data_record, stored_data_record=stored)
                raise IdempotencyItemAlreadyExistsError(old_data_record=stored)
            if "asked_at" in left:
                intent.asked_at = _moment(left["asked_at"])
                # One that was killed is gone when its time is over; one that gave up says when that was.
                intent.asked_until = _moment(left.get("asked_until", left[self.in_progress_expiry_attr]))
                intent.may_exist = True
                intent.known = _known(left)
        _begun.set(intent)

    def _take(  # noqa: PLR0913 (what there is to know of a claim)
        self, data_record: DataRecord, condition: str, remember: str, *, forget: str, now: datetime, me: str
    ) -> tuple[bool, dict[str, Any]]:
        """Write that the key is being worked on, where the condition holds; return whether it did, and the old item."""
        now_milliseconds = _milliseconds(now)
        until = (data_record.in_progress_expiry_timestamp or now_milliseconds) + _milliseconds_of(clock.SKEW)
        names = {
            "#id": self.key_attr,
            "#expiry": self.expiry_attr,
            "#status": self.status_attr,
            "#until": self.in_progress_expiry_attr,
            "#validation": self.validation_key_attr,
        }
        values: dict[str, AttributeValueTypeDef] = {
            ":expiry": {"N": str(data_record.expiry_timestamp)},
            ":in_progress": {"S": _IN_PROGRESS},
            ":until": {"N": str(until)},
            ":validation": {"S": data_record.payload_hash},
            ":now": {"N": str(now_milliseconds // 1000)},
            ":now_milliseconds": {"N": str(now_milliseconds)},
            ":me": {"S": me},
        }
        expression = (
            f"SET {remember}, #status = :in_progress, #until = :until, #validation = :validation, taken_by = :me "
            f"REMOVE {forget}"
        )
        said = set(_PLACEHOLDER.findall(f"{condition} {expression}"))
        try:
            answer = self.client.update_item(
                TableName=self.table_name,
                Key=self._get_key(data_record.idempotency_key),
                UpdateExpression=expression,
                ConditionExpression=condition,
                # DynamoDB refuses what an expression does not use.
                ExpressionAttributeNames={name: value for name, value in names.items() if name in said},
                ExpressionAttributeValues={name: value for name, value in values.items() if name in said},
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            refused: Any = error.response
            return False, refused.get("Item", {})
        old: Any = answer.get("Attributes", {})
        return True, old

    @override
    def _update_record(self, data_record: DataRecord) -> None:
        self.client.update_item(
            TableName=self.table_name,
            Key=self._get_key(data_record.idempotency_key),
            UpdateExpression="SET #data = :data, #expiry = :expiry, #status = :status REMOVE asked_at, taken_by, known",
            ExpressionAttributeNames={
                "#data": self.data_attr,
                "#expiry": self.expiry_attr,
                "#status": self.status_attr,
            },
            ExpressionAttributeValues={
                ":data": {"S": data_record.response_data},
                ":expiry": {"N": str(data_record.expiry_timestamp)},
                ":status": {"S": data_record.status},
            },
        )

    @override
    def _delete_record(self, data_record: DataRecord) -> None:
        intent = _begun.get()
        values: dict[str, AttributeValueTypeDef] = {":free": {"N": "0"}, ":in_progress": {"S": _IN_PROGRESS}}
        left = " REMOVE asked_at, known"
        if intent.may_exist:
            values[":asked_at"] = {"N": str(_milliseconds(intent.asked_at))}
            values[":asked_until"] = {"N": str(_milliseconds(intent.asked_until or clock.now()))}
            values[":known"] = {"S": json.dumps(intent.known)}
            left = ", asked_at = :asked_at, asked_until = :asked_until, known = :known"
        self.client.update_item(
            TableName=self.table_name,
            Key=self._get_key(data_record.idempotency_key),
            UpdateExpression="SET #until = :free" + left,
            ConditionExpression="#status = :in_progress",
            ExpressionAttributeNames={"#until": self.in_progress_expiry_attr, "#status": self.status_attr},
            ExpressionAttributeValues=values,
        )


def _moment(milliseconds: "AttributeValueTypeDef") -> datetime:
    return datetime.fromtimestamp(int(milliseconds["N"]) / 1000, UTC)


def _known(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an earlier delivery of the same request left."""
    known: dict[str, Any] = json.loads(item["known"]["S"]) if "known" in item else {}
    return known


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _milliseconds_of(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)
