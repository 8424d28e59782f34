"""`events/schemas/` describes what is published: real rows and real failures fit, and nothing else is described."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import botocore.session
import pytest
from jsonschema import Draft4Validator as Draft4  # type: ignore[import-untyped]
from jsonschema_rs import Draft4Validator, meta
from samcli.yamlhelper import yaml_parse

from call_recording import bus as names
from call_recording import clock, errors
from call_recording.archive.bucket import Archive
from call_recording.bus import (
    ARCHIVE_FAILED,
    ARCHIVED,
    REQUEST_FAILED,
    SOURCE,
    STARTED_WHILE_PAUSED,
    STATUS_CHANGE,
    STILL_PAUSED,
    Bus,
)
from call_recording.callbacks.facts import callback_facts
from call_recording.changes.events import _CAN_BE_LEFT_OUT, _LEAST, MAY_BE_PAUSED, change_events
from call_recording.commands.failures import failure_of, publish_request_failed
from call_recording.commands.intents import Intent
from call_recording.commands.pauses import PAUSED, RUNNING, Pauses
from call_recording.commands.triggers import CONTROL_REQUESTED, START_REQUESTED
from call_recording.control.controller import Controller
from call_recording.control.request import ALL, CURRENT, LONGEST_PAUSE_SECONDS
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.deadline import Deadline
from call_recording.delete.deleter import GONE_BEFORE, NEVER_THERE, REMOVED, Deleter
from call_recording.errors import CallRecordingError, FieldError, InvalidRequestError
from call_recording.http.request import HttpRequest, body_bytes, form_fields, query_fields
from call_recording.pause_all.everything import Everything
from call_recording.pause_all.late import LateRecordings
from call_recording.pause_all.request import AllRequest
from call_recording.problems import reason
from call_recording.recordings.facts import BY_EVENTBRIDGE, BY_HTTP, BY_TWILIO, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import PUBLIC, Row
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio, session
from call_recording.twilio.credentials import CredentialStore
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID, WEBHOOK_URL, stream_record
from local.stack import EVENTS, PROJECT
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, SECRET_PREFIX, Context, Time, load_archive_recording

SCHEMAS = PROJECT / "events/schemas"
DETAIL_TYPES = (STATUS_CHANGE, ARCHIVED, ARCHIVE_FAILED, REQUEST_FAILED, STILL_PAUSED, STARTED_WHILE_PAUSED)
OF_ROWS = (STATUS_CHANGE, ARCHIVED)
CALLBACKS = sorted(path.name for path in EVENTS.glob("callback-*.json"))

Schema = dict[str, Any]
Sample = Callable[[str], dict[str, Any]]


def schema_of(detail_type: str) -> Schema:
    loaded: Schema = json.loads((SCHEMAS / f"{detail_type.replace(' ', '')}.json").read_text())
    return loaded


def detail_of(detail_type: str) -> Schema:
    found: Schema = schema_of(detail_type)["properties"]["detail"]
    return found


def parts(schema: Schema) -> Iterator[Schema]:
    """Give the schema and every one in it."""
    yield schema
    for inner in [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]:
        if isinstance(inner, dict):
            yield from parts(inner)


def valid(detail_type: str, detail: str | dict[str, Any]) -> dict[str, Any]:
    """Return the detail if EventBridge's event with it fits its schema."""
    event = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": SOURCE,
        "account": "123456789012",
        "time": "2026-11-22T07:33:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": json.loads(detail if isinstance(detail, str) else json.dumps(detail)),
    }
    Draft4Validator(schema_of(detail_type), validate_formats=True).validate(event)
    Draft4(schema_of(detail_type)).validate(event)
    told: dict[str, Any] = event["detail"]
    return told


# --- the files -----------------------------------------------------------------------


def test_there_is_a_schema_for_each_event_that_is_published() -> None:
    published = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)} - {SOURCE}

    assert published == set(DETAIL_TYPES)
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{name.replace(' ', '')}.json" for name in published}


@pytest.mark.parametrize("detail_type", DETAIL_TYPES)
def test_a_schema_is_one_of_draft_4_for_that_event_and_describes_every_field(detail_type: str) -> None:
    schema = schema_of(detail_type)

    meta.validate(schema)
    Draft4.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert schema["title"] == detail_type.replace(" ", "")
    assert (schema["x-amazon-events-source"], schema["x-amazon-events-detail-type"]) == (SOURCE, detail_type)
    assert schema["properties"]["source"]["enum"] == [SOURCE]
    assert schema["properties"]["detail-type"]["enum"] == [detail_type]
    assert set(schema["required"]) == schema["properties"].keys()
    for part in parts(schema):
        properties = part.get("properties", {})
        assert all(inner["description"] for inner in properties.values())
        assert set(part.get("required", [])) <= properties.keys()


@pytest.mark.parametrize("path", sorted(SCHEMAS.iterdir()), ids=lambda path: path.stem)
def test_a_schema_can_be_registered_as_it_is(path: Path) -> None:
    """By `aws schemas create-schema`, under the name that EventBridge gives what it discovers by itself."""
    service = botocore.session.get_session().get_service_model("schemas")
    request: Any = service.operation_model("CreateSchema").input_shape
    content = request.members["Content"].metadata

    assert content["min"] <= len(path.read_text()) <= content["max"]
    assert "JSONSchemaDraft4" in request.members["Type"].enum
    assert re.fullmatch(r"[0-9A-Za-z_.@-]{1,385}", f"{SOURCE}@{path.stem}")


# --- the fields of a recording --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail_type", "more"),
    [(STATUS_CHANGE, {"id", "previous_status", "left_out", MAY_BE_PAUSED}), (ARCHIVED, {"id", "left_out"})],
)
def test_every_public_attribute_is_described_and_none_that_is_not_public(detail_type: str, more: set[str]) -> None:
    assert detail_of(detail_type)["properties"].keys() == {*PUBLIC, *more}


def test_both_events_about_a_row_describe_it_in_the_same_words() -> None:
    of_change, of_archive = (detail_of(detail_type)["properties"] for detail_type in OF_ROWS)

    assert {name: of_change[name] for name in of_archive} == of_archive


@pytest.mark.parametrize("detail_type", OF_ROWS)
def test_a_field_is_of_the_type_that_the_api_s_description_says(detail_type: str) -> None:
    document = yaml_parse((PROJECT / "docs/reference/openapi.yaml").read_text())
    schemas = document["components"]["schemas"]

    def typed(schema: Any) -> Any:
        """Return what the schema demands, without words."""
        while "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        told = {name: schema[name] for name in ("type", "format", "pattern", "minimum") if name in schema}
        if "enum" in schema:
            told["enum"] = set(schema["enum"])
        if isinstance(schema.get("additionalProperties"), dict):
            told["values"] = typed(schema["additionalProperties"])
        return told

    def compare(ours: Any, theirs: Any) -> None:
        while "$ref" in theirs:
            theirs = schemas[theirs["$ref"].rpartition("/")[2]]
        for name in ours.get("properties", {}).keys() & theirs.get("properties", {}).keys():
            assert typed(ours["properties"][name]) == typed(theirs["properties"][name]), name
            compare(ours["properties"][name], theirs["properties"][name])

    compare(detail_of(detail_type), schemas["Recording"])
    left_out = set(_CAN_BE_LEFT_OUT)
    assert set(schemas["Recording"]["required"]) - left_out <= set(detail_of(detail_type)["required"])


def test_the_words_of_a_field_are_the_code_s() -> None:
    row, request = detail_of(STATUS_CHANGE)["properties"], detail_of(REQUEST_FAILED)["properties"]
    removed, pause = row["deletion"]["properties"]["removed"]["properties"], detail_of(STILL_PAUSED)["properties"]

    assert row["requested_by"]["enum"] == [BY_HTTP, BY_EVENTBRIDGE, BY_TWILIO]
    assert row["left_out"]["items"]["enum"] == [name for name in PUBLIC if name not in _LEAST]
    assert removed["twilio"]["enum"] == [REMOVED, GONE_BEFORE, NEVER_THERE]
    assert removed["archive"]["enum"] == [REMOVED, GONE_BEFORE, NEVER_THERE]
    assert request["requested"]["enum"] == [START_REQUESTED, CONTROL_REQUESTED]
    assert pause["resume_within_seconds"]["maximum"] == LONGEST_PAUSE_SECONDS
    assert request["paused"]["items"]["properties"]["was"]["enum"] == [RUNNING, PAUSED]
    assert detail_of(STARTED_WHILE_PAUSED)["properties"]["requested_by"]["enum"] == [BY_HTTP, BY_EVENTBRIDGE, BY_TWILIO]


# --- what happens to rows ---------------------------------------------------------------------------------


class Changes:
    """The table, and the events that its stream makes of each step."""

    def __init__(self, table: RecordingsTable) -> None:
        self.table = table
        self.held: Row | None = None
        self.told: list[tuple[str, dict[str, Any]]] = []

    def note(self, recording_sid: str = RECORDING_SID) -> None:
        """Look at the row again: what has changed is told, and fits."""
        row = self.table.reader.get(recording_sid)
        record = stream_record(self.held, row, sequence_number=str(len(self.told)))
        self.told += [(event.detail_type, valid(event.detail_type, event.detail)) for event in change_events(record)]
        self.held = row

    def record(self, facts: Facts) -> None:
        self.table.record(facts)
        self.note(facts.recording_sid)


@pytest.fixture
def changes(table: RecordingsTable) -> Changes:
    return Changes(table)


@pytest.fixture
def recording(twilio: TwilioServer) -> Recording:
    with twilio.locked() as simulated:
        return simulated.record(simulated.calls[CALL_SID], {"RecordingChannels": ["dual"]})


def answered(recording: Recording, **changes: Any) -> Facts:
    """Return what Twilio's answer to the start says."""
    resource = recording.resource(status="in-progress") | changes
    facts = Facts.from_recording(RecordingResource(resource, api_url="https://api.twilio.com"))
    return facts.asked_for(by=BY_HTTP, callback_url=WEBHOOK_URL, intent="http#1")


def called_back(recording: Recording, status: str, **more: str) -> Facts:
    parameters = recording.callback_parameters(status, base_url="https://api.twilio.com")
    return callback_facts((parameters | more).items())


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_recording_that_a_callback_tells_of_fits(name: str, sample: Sample, changes: Changes) -> None:
    http = HttpRequest.from_event(sample(name))
    facts = callback_facts(form_fields(body_bytes(http).decode()) if "post" in name else query_fields(http))

    changes.record(facts)

    ((detail_type, detail),) = changes.told
    assert (detail_type, detail["status"], detail["previous_status"]) == (STATUS_CHANGE, facts.status, None)


def test_a_recording_that_is_started_paused_resumed_and_completed_fits(recording: Recording, changes: Changes) -> None:
    changes.record(answered(recording))
    for status in ("paused", "in-progress"):
        resource = recording.resource(status=status)
        changes.record(
            Facts.from_updated(RecordingResource(resource, api_url="https://api.twilio.com"), timer="resume-1")
        )
    recording.duration = 42
    changes.record(called_back(recording, "completed", Unknown="x", EncryptionDetails='{"iv": "y", "n": 1.5}'))

    assert [detail["status"] for _, detail in changes.told] == ["in-progress", "paused", "in-progress", "completed"]


def test_a_status_that_twilio_adds_fits(recording: Recording, changes: Changes) -> None:
    changes.record(called_back(recording, "transcoding"))

    assert changes.told


def secrets() -> CredentialStore:
    return CredentialStore(boto3.client("secretsmanager"), SECRET_PREFIX)


@pytest.fixture
def deleter(table: RecordingsTable, bucket: str, twilio: TwilioServer) -> Deleter:
    return Deleter(
        recordings=table,
        twilio=Twilio(session(twilio.url), twilio.url, secrets()),
        default_account_sid=ACCOUNT_SID,
        archive=Archive(boto3.client("s3"), bucket),
    )


def completed_at(time: Time, recording: Recording, changes: Changes, **more: str) -> None:
    recording.started_at, recording.duration, recording.status = time.seconds - 5, 2, "completed"
    changes.record(called_back(recording, "completed", **more))


def archive(recording: Recording, changes: Changes, app: ModuleType) -> None:
    body = json.dumps({"detail": {"recording_sid": recording.sid, "account_sid": ACCOUNT_SID}})
    attributes = {"ApproximateReceiveCount": "1"}
    app.handler({"Records": [{"messageId": "1", "body": body, "attributes": attributes}]}, Context())
    changes.note(recording.sid)


def test_an_archived_recording_fits_and_so_does_its_tombstone(
    time: Time,
    recording: Recording,
    changes: Changes,
    archive_recording: ModuleType,
    deleter: Deleter,
) -> None:
    completed_at(time, recording, changes)
    archive(recording, changes, archive_recording)
    deleter.delete(recording.sid, account_sid=None, asked_by="arn:aws:iam::123456789012:user/dpo", deadline=Deadline(9))
    changes.note(recording.sid)

    assert [kind for kind, _ in changes.told] == [STATUS_CHANGE, ARCHIVED, STATUS_CHANGE]
    _, (_, archived), (_, tombstone) = changes.told
    assert archived["archive"].keys() == detail_of(ARCHIVED)["properties"]["archive"]["properties"].keys()
    assert tombstone["deletion"]["removed"] == {"twilio": "removed", "archive": "removed"}
    assert tombstone["deletion"].keys() == detail_of(STATUS_CHANGE)["properties"]["deletion"]["properties"].keys()


def test_a_recording_of_a_conference_without_a_call_fits_wherever_it_goes(
    time: Time, recording: Recording, changes: Changes, archive_recording: ModuleType, deleter: Deleter
) -> None:
    recording.started_at, recording.duration, recording.status = time.seconds - 5, 2, "completed"
    parameters = recording.callback_parameters("completed", base_url="https://api.twilio.com")
    del parameters["CallSid"]
    changes.record(callback_facts((parameters | {"ConferenceSid": "CF" + "c" * 32}).items()))
    archive(recording, changes, archive_recording)
    deleter.delete(recording.sid, account_sid=None, asked_by="arn:aws:iam::123456789012:user/dpo", deadline=Deadline(9))
    changes.note(recording.sid)

    assert [kind for kind, _ in changes.told] == [STATUS_CHANGE, ARCHIVED, STATUS_CHANGE]
    assert all(detail["conference_sid"] == "CF" + "c" * 32 for _, detail in changes.told)
    assert "call_sid" not in changes.told[0][1]
    assert "/CF" + "c" * 32 + "/" in changes.told[1][1]["archive"]["key"]


def test_an_encrypted_recording_that_is_archived_fits(
    time: Time, recording: Recording, changes: Changes, archive_recording: ModuleType
) -> None:
    completed_at(time, recording, changes, EncryptionDetails='{"type": "rsa", "encrypted_cek": "k"}')
    archive(recording, changes, archive_recording)

    assert "duration_milliseconds" not in changes.told[-1][1]["archive"]


def test_what_is_too_large_fits_with_what_is_left_out(recording: Recording) -> None:
    row: Row | None = None
    for number in range(40):
        told = called_back(recording, "in-progress", **{f"Unknown{number}": "🎙" * 1_000})
        row = merge(row, told, retention_days=400)

    (event,) = change_events(stream_record(None, row, sequence_number="1"))

    assert valid(STATUS_CHANGE, event.detail)["left_out"] == ["metadata"]


def test_what_is_taken_only_without_the_row_fits_too(recording: Recording) -> None:
    row = merge(None, called_back(recording, "completed", Unknown="x"), retention_days=400)
    row["status_at"] |= {f"made-up-{number}": "2026-11-22T07:33:00.000Z" for number in range(7_000)}
    archived = row | {"archive": {"bucket": "b", "key": "k"}}

    (change,), (archive,) = (
        list(change_events(stream_record(old, new, sequence_number="1"))) for old, new in ((None, row), (row, archived))
    )

    for event in (change, archive):
        assert "status_at" not in json.loads(event.detail)
    assert valid(STATUS_CHANGE, change.detail)["left_out"] == ["metadata", "recording_url", "status_at"]
    assert "source" in valid(STATUS_CHANGE, change.least)["left_out"]


def test_every_field_that_is_described_is_one_that_a_recording_can_have(
    time: Time,
    recording: Recording,
    changes: Changes,
    bucket: str,
    twilio: TwilioServer,
    deleter: Deleter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    details = {"encryption_details": {"type": "rsa"}, "media_url": "https://audio.s3.amazonaws.com/RE1.wav"}
    recording.price = "-0.0025"
    told = answered(recording, conference_sid="CF" + "1" * 32, error_code=16101, **details)
    changes.record(told._replace(requested_call_sid="CA" + "9" * 32, reference="room-17"))
    completed_at(time, recording, changes, Unknown="x")
    app = load_archive_recording(bucket, twilio, monkeypatch, DELETE_AT_TWILIO_AFTER_ARCHIVING="true")
    archive(recording, changes, app)
    deleter.delete(recording.sid, account_sid=None, asked_by="unknown", deadline=Deadline(9))
    changes.note(recording.sid)

    of_change, of_archive = (
        {name for kind, detail in changes.told if kind == wanted for name in detail} for wanted in OF_ROWS
    )
    assert of_change | {"archive", "left_out", MAY_BE_PAUSED} == detail_of(STATUS_CHANGE)["properties"].keys()
    assert of_archive | {"deletion", "left_out"} == detail_of(ARCHIVED)["properties"].keys()


def test_what_is_not_described_or_is_of_another_type_does_not_fit(recording: Recording, changes: Changes) -> None:
    changes.record(answered(recording))
    ((_, detail),) = changes.told

    for wrong, message in (
        ({"fact_ranks": {}}, "fact_ranks"),
        ({"channels": "2"}, "integer"),
        ({"start_time": "today"}, "date-time"),
        ({"archive": {}}, "bucket"),
    ):
        with pytest.raises(ValueError, match=message):
            valid(STATUS_CHANGE, detail | wrong)


# --- failures and forgotten pauses ------------------------------------------------------------------------


@dataclass
class Told:
    """An EventBridge that takes everything."""

    events: list[tuple[str, str]] = field(default_factory=list)

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        self.events += [(entry["DetailType"], entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}

    def details(self, detail_type: str) -> list[dict[str, Any]]:
        """Return what was told, all of that type and all of it fitting."""
        assert {kind for kind, _ in self.events} == {detail_type}
        return [valid(detail_type, detail) for _, detail in self.events]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def bus(told: Told) -> Bus:
    return Bus(told, "default")  # type: ignore[arg-type]


_FROM_TWILIO: dict[str, Any] = {"code": 21220, "message": "No", "more_info": "https://www.twilio.com/docs/errors/21220"}
_SILENT: dict[str, Any] = {"code": None, "message": "No", "more_info": None}
OF_BOTH: list[CallRecordingError] = [
    errors.TwilioRefusedError(http_status=400, **_FROM_TWILIO),
    errors.TwilioRefusedError(http_status=400, **_SILENT),
    errors.TwilioNotFoundError(http_status=404, **_FROM_TWILIO),
    errors.UnknownAccountError(ACCOUNT_SID),
]


def with_lists(error: CallRecordingError, *names: str, **more: str) -> CallRecordingError:
    """Return the error with a recording in each list that it has."""
    for name in names:
        setattr(error, name, [{"sid": RECORDING_SID, **more}])
    return error


OF_REQUESTS: list[CallRecordingError] = [
    *OF_BOTH,
    errors.CallPausedError("pause-1"),
    errors.NotAParticipantError(),
    errors.PauseEndedError(),
    errors.ScopeUnprovenError(50),
    with_lists(errors.StillPausedError(), "still_paused", reason="refused-by-twilio"),
    with_lists(errors.StillPausedError(), "resumed", "left_paused"),
    with_lists(errors.StillRecordingError(), "still_recording", "unresolved", reason="call-not-in-progress"),
    with_lists(errors.StillRecordingError(), "paused", was="in-progress"),
    errors.CallNotInProgressError(http_status=400, **_FROM_TWILIO),
    errors.ControlledSinceError(RECORDING_SID),
    errors.IdempotencyKeyReusedError(),
    errors.NothingRecordsError(http_status=404, **_FROM_TWILIO),
    errors.OutcomeLostError(),
    errors.RequestTooOldError(age_seconds=400, limit_seconds=300),
    errors.SeveralActiveRecordingsError(http_status=400, **_FROM_TWILIO).naming([RECORDING_SID]),
    InvalidRequestError([FieldError(f"Field{number}", "unknown") for number in range(60)]),
]
OF_ARCHIVING: list[CallRecordingError] = [
    *OF_BOTH,
    errors.ArchiveConflictError("key"),
    errors.ArchiveUnavailableError("key"),
    errors.CredentialsRefusedError(http_status=401, **_FROM_TWILIO),
    errors.CredentialsUnavailableError(ACCOUNT_SID),
    errors.ForeignAccountError(RECORDING_SID),
    errors.MalformedSecretError(ACCOUNT_SID, "no token"),
    errors.MediaNotReadyError(RECORDING_SID),
    errors.MergeContentionError(RECORDING_SID),
    errors.NoAudioError(RECORDING_SID),
    errors.NoTimeLeftError(),
    errors.RateLimitedError(retry_after_seconds=1, **_FROM_TWILIO),
    errors.RecordingNotFoundError(RECORDING_SID),
    errors.RowsUnavailableError(),
    errors.StoredElsewhereError(RECORDING_SID),
    errors.TableUnavailableError(RECORDING_SID),
    errors.TwilioTimedOutError("slow"),
    errors.TwilioUnavailableError("No", code=20500, more_info="https://www.twilio.com/docs/errors/20500"),
    errors.TwilioUnreachableError("no"),
    errors.UnstorableFactsError(RECORDING_SID),
    errors.WrongMediaError("it is empty"),
]


@pytest.mark.parametrize("error", OF_REQUESTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["start-eventbridge.json", "control-eventbridge.json"])
def test_a_request_that_failed_fits(bus: Bus, told: Told, sample: Sample, name: str, error: CallRecordingError) -> None:
    event = sample(name)
    for asked in (event, event | {"detail": "nonsense"}, {key: event[key] for key in event if key != "id"}):
        publish_request_failed(bus, event=asked, failure=failure_of(error))

    whole, nameless, without_id = told.details(REQUEST_FAILED)
    assert (whole["event_id"], whole["reason"]) == (event["id"], reason(error))
    assert "call_sid" not in nameless
    assert without_id["event_id"] is None


def test_every_field_of_a_failed_request_occurs(bus: Bus, told: Told, sample: Sample) -> None:
    event = sample("control-eventbridge.json")
    event["detail"] |= {"Reference": "room-17"}
    for error in OF_REQUESTS:
        publish_request_failed(bus, event=event, failure=failure_of(error))

    said = {name for detail in told.details(REQUEST_FAILED) for name in detail}
    assert said == detail_of(REQUEST_FAILED)["properties"].keys()


@pytest.mark.parametrize("error", OF_ARCHIVING, ids=lambda error: type(error).__name__)
def test_a_recording_that_is_given_up_fits(
    archive_recording: ModuleType, monkeypatch: pytest.MonkeyPatch, bus: Bus, told: Told, error: CallRecordingError
) -> None:
    monkeypatch.setattr(archive_recording, "bus", lambda: bus)
    named = {"recording_sid": RECORDING_SID, "account_sid": ACCOUNT_SID}

    for recording in (named, named | {"call_sid": CALL_SID, "status": "completed", "channels": 2}):
        archive_recording.give_up(recording, error)

    for detail in told.details(ARCHIVE_FAILED):
        assert detail["reason"] == reason(error)


def test_every_field_of_a_recording_that_is_given_up_occurs(
    archive_recording: ModuleType, monkeypatch: pytest.MonkeyPatch, bus: Bus, told: Told
) -> None:
    monkeypatch.setattr(archive_recording, "bus", lambda: bus)
    for error in OF_ARCHIVING:
        recording = {"recording_sid": RECORDING_SID, "account_sid": ACCOUNT_SID, "call_sid": CALL_SID}
        more = {"conference_sid": "CF", "requested_call_sid": f"CA{'9' * 32}", "reference": "room-17"}
        archive_recording.give_up(recording | more, error)

    said = {name for detail in told.details(ARCHIVE_FAILED) for name in detail}
    assert said == detail_of(ARCHIVE_FAILED)["properties"].keys()


@pytest.fixture
def controller(table: RecordingsTable, twilio: TwilioServer, bus: Bus) -> Controller:
    return Controller(
        accounts=Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID),
        recordings=table,
        twilio=Twilio(session(twilio.url), twilio.url, secrets()),
        timers=ResumeTimers(boto3.client("scheduler"), "timers", "resume-", "role", "queue", "function"),
        bus=bus,
        pauses=Pauses(boto3.client("dynamodb"), IDEMPOTENCY_TABLE),
    )


@pytest.fixture
def timer(sample: Sample) -> ResumeTimer:
    timer = ResumeTimer.of_event(sample("resume-timer.json"))
    assert timer
    return timer


def test_a_pause_that_did_not_end_fits_whether_or_not_it_is_resumed(
    time: Time,
    controller: Controller,
    timer: ResumeTimer,
    twilio: TwilioServer,
    recording: Recording,
    table: RecordingsTable,
    told: Told,
) -> None:
    table.record(answered(recording)._replace(reference="room-17"))
    recording.status = "paused"
    paused = recording.resource(status="paused")
    table.record(Facts.from_updated(RecordingResource(paused, api_url=twilio.url), timer=timer.name))
    watched = replace(timer, recording_sid=recording.sid)

    controller.on_timer(watched, deadline=Deadline(9))
    twilio.twilio.hang_up(CALL_SID)
    controller.on_timer(replace(watched, auto_resume=True), deadline=Deadline(9))

    left_alone, refused = told.details(STILL_PAUSED)
    assert (left_alone["status"], left_alone["resumed"]) == ("paused", False)
    assert (refused["resumed"], refused["reason"]) == (False, "call-not-in-progress")
    assert refused.keys() | {"group", "recordings"} == detail_of(STILL_PAUSED)["properties"].keys()


@pytest.mark.parametrize("recording_sid", [RECORDING_SID, CURRENT])
def test_a_pause_that_nothing_is_known_of_fits(
    controller: Controller, timer: ResumeTimer, told: Told, recording_sid: str
) -> None:
    controller.on_timer(replace(timer, recording_sid=recording_sid), deadline=Deadline(9))

    (detail,) = told.details(STILL_PAUSED)
    assert (detail["status"], detail["recording_sid"]) == ("unknown", recording_sid)


# --- what is paused as a whole ----------------------------------------------------------------------------


@pytest.fixture
def everything(controller: Controller) -> Everything:
    one = controller
    return Everything(one.accounts, one.recordings, one.twilio, one.timers, one.bus, one.pauses)


@pytest.fixture
def late(everything: Everything) -> LateRecordings:
    return LateRecordings(everything.recordings, everything.twilio, everything.bus, everything.pauses)


@pytest.fixture
def pause_all(time: Time, everything: Everything) -> Callable[[], str]:
    """Return a function that pauses everything on the call, and gives the group."""

    def send() -> str:
        request = AllRequest(ACCOUNT_SID, CALL_SID, ALL, "paused", conference_sid="none")
        group: str = everything.control(request, intent=Intent("", clock.now()), deadline=Deadline(24))["group"]
        time.turn(5)
        return group

    return send


def heard_of(twilio: TwilioServer, table: RecordingsTable, **more: Any) -> Recording:
    """Let a recording start past the API, and its row be there."""
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[CALL_SID])
        leg = simulated.begin_call(ACCOUNT_SID, parent_call_sid=CALL_SID)
    table.record(answered(recording, **more)._replace(reference="room-17", requested_call_sid=leg.sid))
    return recording


@pytest.mark.parametrize("auto_resume", [True, False])
def test_everything_that_stayed_paused_fits(
    everything: Everything,
    pause_all: Callable[[], str],
    sample: Sample,
    recording: Recording,
    told: Told,
    auto_resume: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    timer = ResumeTimer.of_event(sample("resume-timer-all.json"))
    assert timer
    group = pause_all()
    pause = everything.pauses.of(ACCOUNT_SID, CALL_SID)
    assert pause
    watched = {"timer": timer.name, "auto_resume": auto_resume}
    everything.pauses._change(pause, watched)  # noqa: SLF001 (moto's Scheduler sets no timers here)

    everything.on_timer(replace(timer, auto_resume=auto_resume), deadline=Deadline(24))

    (detail,) = told.details(STILL_PAUSED)
    assert (detail["recording_sid"], detail["group"], detail["recordings"]) == (ALL, group, [recording.sid])
    assert (detail["status"], detail["resumed"]) == ("paused", auto_resume)


def test_a_recording_that_started_while_paused_fits_whatever_became_of_it(
    late: LateRecordings,
    everything: Everything,
    pause_all: Callable[[], str],
    twilio: TwilioServer,
    table: RecordingsTable,
    told: Told,
) -> None:
    group = pause_all()
    running, over = (heard_of(twilio, table, conference_sid=sid) for sid in (None, "CF" + "1" * 32))
    late.look_after(running.sid, deadline=Deadline(24))
    table.record(called_back(over, "completed"))
    late.look_after(over.sid, deadline=Deadline(24))
    resume = AllRequest(ACCOUNT_SID, CALL_SID, ALL, "in-progress")
    everything.control(resume, intent=Intent("", clock.now()), deadline=Deadline(24))
    late.look_after(over.sid, deadline=Deadline(24))

    details = told.details(STARTED_WHILE_PAUSED)

    assert {detail["group"] for detail in details} == {group}
    assert [(detail["paused"], detail.get("reason")) for detail in details] == [
        (True, None),
        (False, "over"),
        (False, "resumed"),
    ]
    assert {name for detail in details for name in detail} == detail_of(STARTED_WHILE_PAUSED)["properties"].keys()
    assert [detail["id"] for detail in details[1:]] == [f"{over.sid}-{group}"] * 2


def test_a_recording_that_is_new_where_something_is_paused_fits(sample: Sample) -> None:
    event = sample("new-while-paused-eventbridge.json")

    assert valid(STATUS_CHANGE, event["detail"])[MAY_BE_PAUSED] is True
