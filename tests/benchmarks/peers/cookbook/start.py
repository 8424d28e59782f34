"""Starting a recording as the AWS Lambda Handler Cookbook does: event handler, pydantic, parser, idempotency."""

import os
from typing import Annotated, Literal

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Path
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.serialization.pydantic import PydanticSerializer
from aws_lambda_powertools.utilities.parser import BaseModel, parse
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ConfigDict, Field, HttpUrl, StringConstraints

AccountSid = Annotated[str, StringConstraints(pattern=r"^AC[0-9a-fA-F]{32}$")]
CallSid = Annotated[str, StringConstraints(pattern=r"^CA[0-9a-fA-F]{32}$")]
RecordingSid = Annotated[str, StringConstraints(pattern=r"^RE[0-9a-fA-F]{32}$")]


class Settings(BaseModel):
    """The function's environment."""

    idempotency_table: str = Field(alias="IDEMPOTENCY_TABLE", min_length=1)
    recordings_table: str = Field(alias="RECORDINGS_TABLE", min_length=1)
    twilio_account_sid: AccountSid = Field(alias="TWILIO_ACCOUNT_SID")
    twilio_api_url: HttpUrl = Field(alias="TWILIO_API_URL")
    twilio_secret_prefix: str = Field(alias="TWILIO_SECRET_PREFIX", min_length=1)
    webhook_url: HttpUrl = Field(alias="WEBHOOK_URL")


class StartRequest(BaseModel):
    """What a request may say."""

    model_config = ConfigDict(extra="forbid")

    RecordingChannels: Literal["mono", "dual"] | None = None
    RecordingStatusCallback: HttpUrl | None = None
    RecordingStatusCallbackEvent: list[Literal["in-progress", "completed", "absent"]] | None = None
    RecordingStatusCallbackMethod: Literal["GET", "POST"] | None = None
    RecordingTrack: Literal["inbound", "outbound", "both"] | None = None
    Trim: Literal["trim-silence", "do-not-trim"] | None = None


class Intent(BaseModel):
    """One request, and the key that it is known by."""

    key: str | None
    call_sid: CallSid
    request: StartRequest


class Recording(BaseModel):
    """Twilio's recording resource."""

    sid: RecordingSid
    account_sid: AccountSid
    call_sid: CallSid
    status: str
    channels: int
    source: str
    track: str
    start_time: str


logger = Logger(service="start-recording")
metrics = Metrics(service="start-recording")
settings = parse(event=dict(os.environ), model=Settings)
app = APIGatewayRestResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(settings.recordings_table)
idempotency = IdempotencyConfig(event_key_jmespath="key", expires_after_seconds=86_400)
intents = DynamoDBPersistenceLayer(table_name=settings.idempotency_table)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Route the event."""
    idempotency.register_lambda_context(context)
    return app.resolve(event, context)


@app.post("/calls/<call_sid>/recordings")
def start(call_sid: Annotated[CallSid, Path()], request: StartRequest) -> Response[Recording]:
    """Start the recording, once for its key."""
    logger.append_keys(call_sid=call_sid)
    key = app.current_event.headers.get("Idempotency-Key")
    recording = start_once(intent=Intent(key=key, call_sid=call_sid, request=request))
    metrics.add_metric(name="RecordingsStarted", unit=MetricUnit.Count, value=1)
    logger.info("recording started", recording_sid=recording.sid)
    return Response(status_code=201, content_type=content_types.APPLICATION_JSON, body=recording)


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="intent",
    config=idempotency,
    persistence_store=intents,
    output_serializer=PydanticSerializer(model=Recording),
)
def start_once(*, intent: Intent) -> Recording:
    """Ask Twilio and write the row."""
    account_sid = settings.twilio_account_sid
    secret = parameters.get_secret(settings.twilio_secret_prefix + account_sid, transform="json", max_age=300)
    url = f"{settings.twilio_api_url}2010-04-01/Accounts/{account_sid}/Calls/{intent.call_sid}/Recordings.json"
    form = intent.request.model_dump(mode="json", exclude_none=True)
    answer = requests.post(
        url,
        data={"RecordingStatusCallback": str(settings.webhook_url)} | form,
        auth=(account_sid, secret["auth_token"]),
        timeout=8,
    )
    answer.raise_for_status()
    recording = parse(event=answer.json(), model=Recording)
    table.put_item(Item={"recording_sid": recording.sid, **recording.model_dump(exclude={"sid"})})
    return recording
