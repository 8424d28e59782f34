"""AWS as the functions meet it: tables and objects are moto's, what leaves the application is written down here."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.conftest import SECRET_PREFIX, TABLE
from tests.simulation import dynamodb
from tests.simulation.chaos import READS
from tests.simulation.delivering import Asynchronous, Queue, TableStream, Timers, Waits
from tests.simulation.witness import Delivery

if TYPE_CHECKING:
    from tests.simulation.world import World

_MOST_BYTES: Final = 262_144
"""What EventBridge takes in one request."""


@dataclass(frozen=True)
class Published:
    """An event that the application put on the bus, and when."""

    at: float
    kind: str
    detail: dict[str, Any]
    text: str
    by: Delivery
    """The delivery that put it there."""


class Aws:
    """What stands behind the network: queues, the bus and its rules, secrets, timers, and the doors to moto."""

    def __init__(self, world: "World") -> None:
        self.world = world
        resources = world.template["Resources"]

        def properties(name: str) -> dict[str, Any]:
            found: dict[str, Any] = resources[name]["Properties"]
            return found

        changes = properties("PublishChangesFunction")["Events"]["Changes"]["Properties"]
        archive = properties("ArchiveQueue")
        self.secrets: dict[str, dict[str, str]] = {}
        self.published: list[Published] = []
        self.audited: list[dict[str, Any]] = []
        self.kept_callbacks: Waits = []
        self.starts = Asynchronous(world, "start_recording", oldest=_oldest(properties("StartRecordingFunction")))
        self.controls = Asynchronous(world, "recordings_api", oldest=_oldest(properties("RecordingsApiFunction")))
        self.to_archive = Queue(
            world,
            "archive_recording",
            hidden_for=archive["VisibilityTimeout"],
            most_receives=archive["RedrivePolicy"]["maxReceiveCount"],
        )
        self.changes = TableStream(
            world,
            "publish_changes",
            batch_size=changes["BatchSize"],
            oldest=changes["MaximumRecordAgeInSeconds"],
        )
        self.timers = Timers(world, self.controls.send)
        self._completed: dict[str, Any] = properties("CompletedRule")["EventPattern"]
        by_event = properties("RecordingsApiFunction")["Events"]
        self._started_while_paused: dict[str, Any] = by_event["StartedWhilePaused"]["Properties"]["Pattern"]

    def answer(
        self, call: Callable[..., Any], client: BaseClient, operation: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Return what a service answers to a request.

        Raises ClientError.
        """
        service = client.meta.service_model.service_name
        if service == "dynamodb":
            answered: dict[str, Any] = dynamodb.answer(operation, arguments)
            self._note_rows(operation, arguments)
            return answered
        if service == "s3":
            # A copy: botocore puts its own things in place of a body.
            answered = call(client, operation, dict(arguments))
            self.world.ledger.note(operation, arguments, answered)
            return answered
        return self._by_hand(client, operation, arguments)

    def _by_hand(self, client: BaseClient, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "PutEvents":
                return self._put_events(arguments["Entries"], operation)
            case "GetSecretValue":
                return {"SecretString": self._secret(arguments["SecretId"], operation)}
            case "CreateSchedule":
                date = formatdate(self.world.scheduler.now, usegmt=True)
                if not self.timers.create(arguments):
                    raise _refusal(client, "ConflictException", operation, date=date)
                return {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
            case "DeleteSchedule":
                if not self.timers.delete(arguments["Name"]):
                    raise _refusal(client, "ResourceNotFoundException", operation)
            case "SendMessage":
                self.kept_callbacks.append(json.loads(arguments["MessageBody"]))
            case "ChangeMessageVisibility":
                self.to_archive.hide(arguments["ReceiptHandle"], arguments["VisibilityTimeout"])
            case "PutLogEvents":
                self.audited += [json.loads(event["message"]) for event in arguments["logEvents"]]
            case _:
                assert operation == "CreateLogStream", f"nothing here answers {operation}"
        return {}

    def send(self, event: dict[str, Any], cause: str) -> None:
        """Put a caller's event on the bus; the rules of the template take it to its function."""
        by_type = {"Call Recording Requested": self.starts, "Call Recording Control Requested": self.controls}
        by_type[event["detail-type"]].send(event, cause)

    def _note_rows(self, operation: str, arguments: dict[str, Any]) -> None:
        by = self.world.delivery()
        if operation == "BatchGetItem" or arguments.get("TableName") == TABLE:
            if operation in READS:
                by.read_at = self.world.scheduler.now
            else:
                key = arguments.get("Key") or arguments["Item"]
                by.wrote.setdefault(key["recording_sid"]["S"], self.world.scheduler.now)
                self.changes.collect()

    def _put_events(self, entries: list[dict[str, Any]], operation: str) -> dict[str, Any]:
        sizes = [len(entry["Detail"].encode()) + len(entry["DetailType"]) + len(entry["Source"]) for entry in entries]
        if sum(sizes) > _MOST_BYTES or len(entries) > 10:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "too large"}}, operation)
        chaos, answers = self.world.chaos, []
        # EventBridge takes some of a request and not others.
        refuses = chaos.strikes(20 * chaos.aws_fails if len(entries) > 1 else chaos.aws_fails)
        for entry in entries:
            if refuses and (len(entries) == 1 or self.world.random.random() < 0.5):
                answers.append({"ErrorCode": "InternalFailure", "ErrorMessage": "try again"})
                continue
            detail = json.loads(entry["Detail"])
            now, by = self.world.scheduler.now, self.world.delivery()
            self.published.append(Published(now, entry["DetailType"], detail, entry["Detail"], by))
            event = {"source": entry["Source"], "detail-type": entry["DetailType"], "detail": detail}
            if _matches(self._completed, event):
                self.to_archive.send(event)
            if _matches(self._started_while_paused, event):
                self.controls.send(event, late(detail["recording_sid"]))
            answers.append({"EventId": "1"})
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def _secret(self, name: str, operation: str) -> str:
        secret = self.secrets.get(name.removeprefix(SECRET_PREFIX))
        if secret is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no secret"}}, operation)
        return json.dumps(secret)


def late(recording_sid: str) -> str:
    """Return the cause of looking after a recording that may have started while everything was paused."""
    return f"late {recording_sid}"


def _oldest(function: dict[str, Any]) -> float:
    return float(function["EventInvokeConfig"]["MaximumEventAgeInSeconds"])


def _refusal(client: Any, code: str, operation: str, *, date: str = "") -> ClientError:
    kind: type[ClientError] = client.exceptions.from_code(code)
    metadata: Any = {"HTTPHeaders": {"date": date}}
    return kind({"Error": {"Code": code, "Message": code}, "ResponseMetadata": metadata}, operation)


def _matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    return all(
        _matches(wanted, event.get(name, {})) if isinstance(wanted, dict) else event.get(name) in wanted
        for name, wanted in pattern.items()
    )
