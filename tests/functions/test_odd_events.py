"""What no well-behaved client sends still gets an answer, and never an exception."""

import base64
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_recording.control.request import ControlRequest
from generators.sample_events import AUTH_TOKEN
from tests.conftest import Context, rows
from tests.functions.test_recording_status import signed

Sample = Callable[[str], dict[str, Any]]

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
_START_FIELDS = ["CallSid", "RecordingChannels", "RecordingStatusCallbackEvent", "Reference", "WaitSeconds"]
_names = st.sampled_from(["AccountSid", "CallSid", "RecordingChannels", "RecordingStatusCallback", "Trim", "Other"])
_thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def nested(field: str, depth: int = 6_000) -> str:
    """Return a body with a field of objects within objects: Python can read them, and cannot write them as text."""
    return json.dumps({field: ""})[:-3] + '{"a":' * depth + "1" + "}" * (depth + 1)


@pytest.mark.parametrize("event", ["start-rest-api.json", "start-http-api.json"])
@pytest.mark.parametrize(
    "missing", ["headers", "body", "pathParameters", "isBase64Encoded", "requestContext.stage", "rawQueryString"]
)
@pytest.mark.parametrize("how", ["null", "absent"])
def test_parts_of_an_http_event_can_be_missing(
    start_recording: ModuleType, sample: Sample, event: str, missing: str, how: str
) -> None:
    request = sample(event)
    holder = request["requestContext"] if "." in missing else request
    holder[missing.rpartition(".")[2]] = None
    if how == "absent":
        holder.pop(missing.rpartition(".")[2], None)

    assert start_recording.handler(request, Context())["statusCode"] in {201, 400, 415}


@given(body=st.text(max_size=60) | _json.map(json.dumps) | st.dictionaries(_names, _json, max_size=4).map(json.dumps))
@_thorough
def test_no_json_body_is_an_exception(start_recording: ModuleType, sample: Sample, body: str) -> None:
    event = sample("start-rest-api.json") | {"body": body}

    assert start_recording.handler(event, Context())["statusCode"] in {201, 400, 422}


@pytest.mark.parametrize("field", _START_FIELDS)
def test_no_field_of_a_start_that_is_nested_as_deeply_as_can_be_read_is_an_exception(
    start_recording: ModuleType, sample: Sample, field: str
) -> None:
    event = sample("start-rest-api.json") | {"body": nested(field)}

    assert start_recording.handler(event, Context())["statusCode"] == 400


@pytest.mark.parametrize("field", ControlRequest.readers)
def test_no_field_of_a_control_that_is_nested_as_deeply_as_can_be_read_is_an_exception(
    recordings_api: ModuleType, sample: Sample, field: str
) -> None:
    event = sample("control-rest-api.json") | {"body": nested(field)}

    assert recordings_api.handler(event, Context())["statusCode"] == 400


@given(body=st.binary(max_size=80))
@_thorough
def test_no_form_is_an_exception(start_recording: ModuleType, sample: Sample, body: bytes) -> None:
    event = sample("start-http-api.json") | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    event["headers"]["content-type"] = "application/x-www-form-urlencoded"

    assert start_recording.handler(event, Context())["statusCode"] in {201, 400, 422}


@pytest.mark.parametrize("missing", ["headers", "body", "rawQueryString", "isBase64Encoded"])
def test_parts_of_a_callback_can_be_missing(recording_status: ModuleType, sample: Sample, missing: str) -> None:
    for name in ("callback-post-completed.json", "callback-get-completed.json"):
        event = sample(name)
        event.pop(missing, None)

        assert recording_status.handler(event, Context())["statusCode"] in {204, 403}


@given(body=st.binary(max_size=80), signature=st.text(max_size=40))
@_thorough
def test_no_unsigned_callback_is_an_exception_or_believed(
    recording_status: ModuleType, sample: Sample, body: bytes, signature: str
) -> None:
    event = sample("callback-post-completed.json") | {"body": base64.b64encode(body).decode()}
    event["headers"]["x-twilio-signature"] = signature

    assert recording_status.handler(event, Context())["statusCode"] == 403
    assert rows() == []


@given(
    changes=st.dictionaries(
        st.sampled_from(["RecordingDuration", "RecordingStartTime", "RecordingUrl", "ErrorCode", "EncryptionDetails"])
        | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10),
        st.text(st.characters(codec="utf-8"), max_size=30),
        max_size=4,
    )
)
@_thorough
def test_every_signed_callback_is_recorded_or_kept(
    recording_status: ModuleType, sample: Sample, changes: dict[str, str]
) -> None:
    request = signed("POST", auth_token=AUTH_TOKEN, **{k: v for k, v in changes.items() if k not in {"method", "url"}})
    event = sample("callback-post-completed.json") | {"body": base64.b64encode(request.body).decode()}
    event["headers"]["x-twilio-signature"] = request.headers["X-Twilio-Signature"]

    assert recording_status.handler(event, Context())["statusCode"] in {202, 204}
