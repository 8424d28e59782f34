"""What a recording writes to the logs, which CloudWatch bills by the byte: each thing once."""

import json
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from generators.sample_events import stream_record
from generators.template import translated
from local.stack import PROJECT
from local.twilio_simulator.server import TwilioServer
from tests.conftest import (
    LOG_EVENT_BYTES,
    Context,
    Time,
    archive_message,
    callback_event,
    capture_log,
    load_app,
    rows,
    set_environment,
)

MOST = 2_800
KEY = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


@pytest.fixture
def written(
    ask: Callable[..., dict[str, Any]],
    recording_status: ModuleType,
    archive_recording: ModuleType,
    twilio: TwilioServer,
    time: Time,
    start_recording: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> list[str]:
    """The lines of a call that is recorded for 42 s, with a key, both callbacks, its changes and the archive."""
    set_environment(monkeypatch, EVENT_BUS_NAME="default")
    publish_changes = load_app("publish_changes")
    logs = [capture_log(app) for app in (start_recording, recording_status, publish_changes, archive_recording)]
    before: list[dict[str, Any] | None] = [None]

    def publish() -> None:
        (row,) = rows()
        record = stream_record(before[0], row, sequence_number=str(len(before)))
        publish_changes.handler({"Records": [record]}, Context())
        before[0] = row

    def call_back(event: str) -> None:
        told = callback_event(twilio, recording, event)
        assert recording_status.handler(told, Context())["statusCode"] == 204
        publish()

    answer = ask({"RecordingChannels": "dual"}, key=KEY)
    recording = twilio.twilio.recordings[answer["json"]["sid"]]
    publish()
    time.turn(1)
    call_back("in-progress")
    time.turn(42)
    with twilio.locked() as simulated:
        simulated.hang_up(recording.call.sid)
        time.turn(5)
        simulated.due_callbacks()
    call_back("completed")
    archive_recording.handler({"Records": [archive_message(recording.sid)]}, Context())
    publish()
    return "".join([capsys.readouterr().out, *(log.getvalue() for log in logs)]).splitlines()


def test_a_whole_recording_is_this_many_bytes_of_log_and_no_more(written: list[str]) -> None:
    """Names are short here. Lambda's own lines are not in it: `SystemLogLevel` leaves those of what failed.

    Nor is `audio archived`, which the layer logs as the function that it works for.
    """
    lines = [json.loads(line) for line in written]
    said = [
        line.get("message") or next(name for name, value in line.items() if isinstance(value, list)) for line in lines
    ]

    assert sorted(said) == sorted(
        [
            *("TwilioLatency", "StartRequests", "recording started"),
            *("Callbacks", "callback recorded"),
            *("Callbacks", "callback recorded"),
            *("TwilioLatency", "ArchivedBytes"),
        ]
    )
    assert sum(len(line.encode()) + LOG_EVENT_BYTES for line in written) <= MOST


def test_no_line_says_again_what_its_log_group_says(written: list[str]) -> None:
    for line in written:
        assert not {"function_arn", "function_memory_size", "function_name"} & json.loads(line).keys()


def test_lambda_itself_logs_what_fails_and_no_more() -> None:
    functions = [each["Properties"] for each in translated().values() if each["Type"] == "AWS::Lambda::Function"]

    assert len(functions) == 6
    for function in functions:
        assert function["LoggingConfig"].keys() == {"LogFormat", "LogGroup", "SystemLogLevel"}
        assert function["LoggingConfig"]["SystemLogLevel"] == "WARN"
        assert function["LoggingConfig"]["LogFormat"] == "JSON", "else there are no levels"


# --- saved queries ---------------------------------------------------------------------------------------


def queries() -> dict[str, str]:
    return {
        name: each["Properties"]["QueryString"]
        for name, each in translated().items()
        if each["Type"] == "AWS::Logs::QueryDefinition"
    }


OF_THE_LANGUAGE = {
    *("filter", "fields", "sort", "limit", "stats", "count", "count_distinct", "by", "as", "desc", "in", "like"),
    *("ispresent", "pct", "max", "latest"),
}
SOURCES = "".join(
    path.read_text()
    for folder in ("layers/shared/call_recording", "functions")
    for path in (PROJECT / folder).rglob("*.py")
)


@pytest.mark.parametrize("name", queries())
def test_a_saved_query_looks_for_what_the_functions_write(
    name: str, written: list[str], start_recording: ModuleType, ask: Callable[..., dict[str, Any]]
) -> None:
    query = "\n".join(line for line in queries()[name].splitlines() if not line.startswith("#"))
    log = capture_log(start_recording)
    assert ask({})["statusCode"] == 409  # the call is over
    fields = {name for line in [*written, *log.getvalue().splitlines()] for name in json.loads(line)}
    # What only an error's line has, or a callback that is refused.
    fields |= {"exception_name", "why"}
    quoted = set(re.findall(r'"([^"]+)"', query)) - {"CA00000000000000000000000000000000"}
    new = set(re.findall(r" as (\w+)", query))
    named = set(re.findall(r"(?<![@\w.])[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", query))) - OF_THE_LANGUAGE - new

    assert named <= fields
    for text in quoted:
        assert text == "ERROR" or f'"{text}"' in SOURCES, text


def test_a_start_s_latency_is_a_list_as_the_query_takes_it(written: list[str]) -> None:
    told = next(json.loads(line) for line in written if '"TwilioLatency":' in line)

    assert isinstance(told["TwilioLatency"], list)
    assert "TwilioLatency.0" in queries()["SlowestQuery"]


def test_every_query_is_on_the_page_by_its_name() -> None:
    page = (PROJECT / "docs/reference/metrics.md").read_text()
    for each in translated().values():
        if each["Type"] == "AWS::Logs::QueryDefinition":
            name = each["Properties"]["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}/")
            assert f"| {name} |" in page
