"""What the functions count, and that the dashboard shows it."""

import json
import re
from collections.abc import Callable
from itertools import combinations
from types import ModuleType
from typing import Any

import pytest

from call_recording import metrics
from call_recording.errors import TwilioRefusedError
from call_recording.metrics import Metric
from call_recording.twilio.api import TwilioAccount
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import METRICS_NAMESPACE, Context, Time, load_app, put_secret, set_environment, written_metrics

Ask = Callable[..., dict[str, Any]]
Written = Callable[[], dict[str, list[dict[str, Any]]]]
OWN = "CallRecording/${AWS::StackName}"


def catalogue() -> dict[str, Metric]:
    return {found.name: found for found in vars(metrics).values() if isinstance(found, Metric)}


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """Return a function that gives what was written since it was last asked, by name."""

    def read() -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for metric in written_metrics(capsys.readouterr().out):
            found.setdefault(metric["name"], []).append(metric)
        return found

    return read


def values(found: list[dict[str, Any]]) -> list[tuple[float, dict[str, str]]]:
    return [(metric["value"], metric["dimensions"]) for metric in found]


def test_the_dashboard_shows_every_metric_and_begins_with_whether_calls_are_recorded(template: dict[str, Any]) -> None:
    text, names = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    body = json.loads(re.sub("|".join(rf"\$\{{{name}\}}" for name in names), '"RuleName", "rule"', text))
    widgets = sorted(body["widgets"], key=lambda widget: (widget["y"], widget["x"]))
    text = json.dumps(body)

    assert widgets[0]["properties"]["markdown"].startswith("# Are calls being recorded?")
    assert ["StartRequests" in json.dumps(widgets[1]), "RecordingGap" in json.dumps(widgets[2])] == [True, True]
    assert {name for name in catalogue() if name not in text} == set()
    for expression in re.findall(r"SEARCH\('\{(.*?)\} MetricName", text.replace('\\"', '"')):
        namespace, *dimensions = expression.replace('"', "").split(",")
        assert namespace == OWN
        assert tuple(dimensions) in {metric.dimensions for metric in catalogue().values()}
    ends = [(w["x"], w["x"] + w["width"], w["y"], w["y"] + w["height"]) for w in widgets]
    overlaps = [(a, b) for a, b in combinations(ends, 2) if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]]
    assert overlaps == []
    assert max(right for _, right, *_ in ends) <= 24


def test_a_metric_refuses_other_dimensions_than_its_own() -> None:
    with pytest.raises(TypeError, match="StartRequests"):
        metrics.START_REQUESTS.add(trigger="http")


def test_a_start_is_counted_with_its_trigger_and_twilios_time(ask: Ask, written: Written) -> None:
    ask({}, key="k")
    ask({}, key="k")

    found = written()
    assert values(found["StartRequests"]) == [
        (1, {"trigger": "http", "outcome": "started"}),
        (1, {"trigger": "http", "outcome": "replayed"}),
    ]
    assert {metric["namespace"] for several in found.values() for metric in several} == {METRICS_NAMESPACE}
    (latency,) = found["TwilioLatency"]
    assert (latency["unit"], latency["dimensions"]) == ("Milliseconds", {"operation": "create"})
    assert "RecordingGap" not in found


def test_what_was_asked_for_and_is_not_there_is_the_gap_with_its_reason(
    ask: Ask, put_event: Callable[..., None], written: Written, twilio: TwilioServer
) -> None:
    twilio.twilio.hang_up(CALL_SID)

    ask({})
    put_event()

    found = written()
    assert values(found["RecordingGap"]) == [(1, {"cause": "caller"})] * 2
    assert values(found["RecordingGapByReason"]) == [(1, {"reason": "call-not-in-progress"})] * 2
    assert values(found["TwilioRefusals"]) == [(1, {"code": "21220"})] * 2


def test_a_request_that_is_being_worked_on_is_no_gap(ask: Ask, written: Written) -> None:
    ask({"Trim": "do-not-trim"}, key="k")
    ask({"Trim": "trim-silence"}, key="k")

    assert "RecordingGap" not in written()


def test_refused_credentials_are_counted(ask: Ask, written: Written, twilio: TwilioServer) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"

    ask({})

    found = written()
    assert values(found["CredentialsRefused"]) == [(1, {})]
    assert values(found["RecordingGapByReason"]) == [(1, {"reason": "credentials-refused"})]


def test_an_api_key_with_a_line_break_is_our_fault_and_is_never_tried(
    ask: Ask, written: Written, twilio: TwilioServer
) -> None:
    key = {"api_key_sid": "SK" + "1" * 32, "api_key_secret": "secret\n"}
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN} | key)

    answer = ask({})

    assert answer["json"]["type"] == "urn:problem:call-recording:malformed-secret"
    assert answer["statusCode"] == 500
    assert values(written()["CredentialsRefused"]) == [(1, {})]
    assert twilio.twilio.requests == []


def test_callbacks_are_counted_by_status_and_forgeries_apart(
    recording_status: ModuleType, sample: Callable[[str], dict[str, Any]], written: Written
) -> None:
    recording_status.handler(sample("callback-post-completed.json"), Context())
    forged = sample("callback-post-completed.json")
    forged["headers"]["x-twilio-signature"] = "Zm9yZ2Vk"
    recording_status.handler(forged, Context())

    found = written()
    assert values(found["Callbacks"]) == [(1, {"status": "completed"})]
    assert values(found["RefusedSignatures"]) == [(1, {})]


def test_a_run_of_the_reconciler_says_what_is_open_and_how_old_it_is(
    ask: Ask, reconcile_recordings: ModuleType, written: Written, time: Time
) -> None:
    ask({})
    time.turn(120)
    written()

    reconcile_recordings.handler({}, Context(remaining_milliseconds=180_000))

    found = written()
    assert values(found["ReconcilerRuns"]) == [(1, {})]
    assert values(found["ReconcilerRepairs"]) == [(0, {})]
    assert values(found["OpenRecordings"]) == [(1, {})]
    (oldest,) = found["OldestOpenRecording"]
    assert (oldest["unit"], 120 <= oldest["value"] <= 122) == ("Seconds", True)


@pytest.fixture
def publish_changes(aws: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    set_environment(monkeypatch, EVENT_BUS_NAME="default")
    return load_app("publish_changes")


def test_a_recording_that_ends_without_audio_is_in_the_gap(publish_changes: ModuleType, written: Written) -> None:
    image = {
        "recording_sid": {"S": "RE" + "1" * 32},
        "account_sid": {"S": ACCOUNT_SID},
        "status": {"S": "absent"},
        "error_code": {"S": "16102"},
    }
    record = {
        "dynamodb": {"NewImage": image, "OldImage": image | {"status": {"S": "in-progress"}}, "SequenceNumber": "1"}
    }

    publish_changes.handler({"Records": [record]}, Context())

    found = written()
    assert values(found["RecordingGapByReason"]) == [(1, {"reason": "absent-16102"})]


def test_a_rate_limit_that_passes_is_a_refusal_and_no_gap(ask: Ask, written: Written, twilio: TwilioServer) -> None:
    twilio.twilio.faults.requests.append(RequestFault(429))

    ask({})

    found = written()
    assert values(found["TwilioRefusals"]) == [(1, {"code": "20429"})]
    assert "RecordingGap" not in found


@pytest.mark.parametrize("code", ["1", "99999", "16103", "-5"])
def test_a_code_that_somebody_makes_up_is_no_dimension_of_its_own(
    publish_changes: ModuleType, written: Written, code: str
) -> None:
    image = {"recording_sid": {"S": "RE" + "1" * 32}, "status": {"S": "absent"}, "error_code": {"S": code}}

    publish_changes.handler({"Records": [{"dynamodb": {"NewImage": image, "SequenceNumber": "1"}}]}, Context())

    assert values(written()["RecordingGapByReason"]) == [(1, {"reason": "absent-other"})]


def test_a_code_of_twilios_that_nobody_documents_is_no_dimension_of_its_own(
    ask: Ask, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = TwilioRefusedError(http_status=400, code=12345, message="")
    monkeypatch.setattr(TwilioAccount, "_send_refreshed", lambda *_, **__: raising(refusal))

    ask({})

    assert values(written()["TwilioRefusals"]) == [(1, {"code": "other"})]


def raising(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("metric", [m for m in catalogue().values() if m.known], ids=lambda metric: metric.name)
def test_values_from_elsewhere_are_counted_as_what_is_known_or_as_other(metric: Metric, written: Written) -> None:
    (dimension,) = metric.dimensions
    for value in ("made up", "", "é", "21220"):
        metric.add(1, **{dimension: value})

    assert [d[dimension] for _, d in values(written()[metric.name])] == ["other", "other", "other", "21220"]
