"""One recording per request: which requests are complete, in progress, or perhaps half done."""

import hashlib
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
"""How long an answer is kept for its key: no call lasts longer."""

_IN_PROGRESS: Final = STATUS_CONSTANTS["INPROGRESS"]

TO_START: Final = "start-recording"
TO_CONTROL: Final = "control-recording"
"""The kind of a request: the same key can be used for one request of each kind."""


class Intent:
    """A request, however often it is delivered.

    `asked_at` is when its first delivery began. `may_exist` is true while the requested result may exist
    unknown to us, because Twilio may have acted: initially if an earlier delivery left that open; the
    worker keeps it up to date for the next delivery. The same goes for `known`: other JSON values for the
    next delivery. A function that is killed saves neither. `asked_until` is when the earlier deliveries
    had certainly ended, so that nothing which began later is theirs; None once this delivery has asked.
    """

    def __init__(self, name: str, asked_at: datetime) -> None:
        self.name = name
        self.asked_at = asked_at
        self.asked_until: datetime | None = None
        self.may_exist = False
        self.known: dict[str, Any] = {}

    @property
    def by(self) -> str:
        """What rows and pauses store of the request: a hash, because nobody must read keys; empty without a name."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16] if self.name else ""


class Outcome(NamedTuple):
    """The answer, and whether an earlier delivery already got it.

    `failure` is set instead if that delivery failed permanently: what `failures.failure_of` made of its error.
    """

    answer: dict[str, Any]
    is_replayed: bool = False
    failure: dict[str, Any] | None = None


class Intents:
    """IdempotencyTable: Powertools' idempotency, which also remembers unfinished requests."""

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
        """Return what `work` returns, or what it returned for the first request with the key.

        `payload` is the content of the request. If `work` raises or its function is killed, the key
        is free again, and the next delivery's intent says whether a recording may exist. With
        `remembers_failures`, permanent failures are remembered too: this delivery raises the error, and
        every later one returns it as `failure`.

        Raises RequestInProgressError while another delivery is in progress,
        IdempotencyKeyReusedError if the key was used with another payload, StateUnavailableError if
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
    """One delivery of a request: its answer, or the error."""

    def __init__(self, work: Callable[[Intent], dict[str, Any]], *, remembers_failures: bool) -> None:
        self.work = work
        self.remembers_failures = remembers_failures
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.is_final = False

    def run(self, key: str) -> dict[str, Any]:
        """Do the work, and return what to remember."""
        _begun.get().name = key
        try:
            self.outcome = Outcome(self.work(_begun.get()))
        except CallRecordingError as error:
            self.error = error
            if not self.remembers_failures:
                raise
            # Imported here to shorten cold starts: hardly any start fails.
            from call_recording.commands.failures import failure_of  # noqa: PLC0415

            failure = failure_of(error)
            self.is_final = True
            return {_FAILURE: failure}
        except Exception as error:
            self.error = error
            raise
        return self.outcome.answer

    def noted(self) -> Outcome:
        """Return the outcome, or raise the error, after it has been saved."""
        if self.outcome is None:
            raise self.error or AssertionError
        return self.outcome

    def unnoted(self, reason: Exception) -> Outcome:
        """Return the outcome, or raise the error, if it could not be saved."""
        if self.outcome:  # the work is done and its row written; only the record for the next delivery is missing
            return self.outcome
        if self.error and not self.is_final:
            raise self.error from reason
        raise StateUnavailableError from reason  # nothing was done, or the outcome is not saved


_FAILURE: Final = "failure"

_begun: ContextVar[Intent] = ContextVar("begun")


_PLACEHOLDER: Final = re.compile(r"[:#]\w+")
_IS_WORKED_ON: Final = "#status = :in_progress AND #until >= :now_milliseconds"


class _Store(DynamoDBPersistenceLayer):
    """Powertools' persistence layer with two differences, in the methods that Powertools provides for that.

    A record of a function that was killed, or that failed while Twilio may have acted, keeps
    `asked_at`, so that the next delivery knows that, and since when. And an unfinished record is not
    taken over for as long as clocks may differ: taking it from a function that is still running would
    start a second recording.
    """

    @override
    def _put_record(self, data_record: DataRecord) -> None:
        """Claim the key: a new or expired one, or one whose request is no longer in progress.

        Only the latter has a record of what was begun. A key is kept for a day from its first use, however often
        its request is retried; what an expired one remembers no longer counts.
        """
        now, me = clock.now(), str(uuid.uuid4())
        is_taken, held = self._take(
            data_record,
            f"attribute_not_exists(#id) OR (#expiry < :now AND NOT ({_IS_WORKED_ON}))",
            "#expiry = :expiry, asked_at = :now_milliseconds",
            forget="asked_until, known",
            now=now,
            me=me,
        )
        intent = Intent("", now)
        if not is_taken:
            # Or we have it already: boto3 repeats a write whose answer was lost, and then finds our own `taken_by`.
            is_taken, left = self._take(
                data_record,
                "taken_by = :me OR (#expiry >= :now AND #status = :in_progress AND #validation = :validation "
                f"AND NOT ({_IS_WORKED_ON}))",
                "asked_at = if_not_exists(asked_at, :now_milliseconds)",
                forget="asked_until",
                now=now,
                me=me,
            )
            if not is_taken:
                stored = self._item_to_data_record(left or held)
                self._validate_payload(data_payload=data_record, stored_data_record=stored)
                raise IdempotencyItemAlreadyExistsError(old_data_record=stored)
            own = {"taken_by": {"S": me}, "asked_at": {"N": str(_milliseconds(now))}}
            if "asked_at" in left and not own.items() <= left.items():
                intent.asked_at = _moment(left["asked_at"])
                # A killed delivery has ended when its time is over; one that failed has recorded when.
                ended = _moment(left.get("asked_until", left[self.in_progress_expiry_attr]))
                intent.asked_until = min(ended, now)
                intent.may_exist = True
                intent.known = _known(left)
        _begun.set(intent)

    def _take(  # noqa: PLR0913 (what there is to know of a claim)
        self, data_record: DataRecord, condition: str, remember: str, *, forget: str, now: datetime, me: str
    ) -> tuple[bool, dict[str, Any]]:
        """Mark the key as in progress if the condition holds; return whether it did, and the old item."""
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
                # DynamoDB refuses values that no expression uses.
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
