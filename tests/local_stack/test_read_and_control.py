"""Reading and controlling through the deployed stack: API Gateway, policies, Scheduler and the bus included."""

import time
from typing import Any

import pytest
import requests

from local.stack import Stack
from local.twilio_simulator.model import Call
from tests.local_stack.conftest import Published, eventually, finished, put_event, rows, start


def control(stack: Stack, call: Call, recording_sid: str, body: dict[str, Any], **headers: str) -> requests.Response:
    path = f"/calls/{call.sid}/recordings/{recording_sid}"
    return stack.call_control_api("POST", path, json=body, headers=headers)


def status(stack: Stack, recording_sid: str) -> str:
    return str(stack.call_control_api("GET", f"/recordings/{recording_sid}").json()["status"])


def test_a_recording_is_paused_resumed_stopped_read_and_deleted(stack: Stack, call: Call) -> None:
    sid = start(stack, call).json()["sid"]

    time.sleep(1.2)  # Twilio keeps nothing that is shorter than a second
    for word in ("paused", "in-progress", "stopped"):
        answer = control(stack, call, sid, {"Status": word})
        assert (answer.status_code, answer.json()["status"]) == (200, word)
        if word != "stopped":
            assert status(stack, sid) == word
    assert eventually(lambda: [row for row in finished(stack, call) if "archive" in row])

    assert [row["recording_sid"] for row in listed(stack, f"/calls/{call.sid}/recordings")] == [sid]
    assert sid in {row["recording_sid"] for row in listed(stack, "/recordings?PageSize=2")}
    receipt = stack.call_control_api("DELETE", f"/recordings/{sid}").json()
    assert (receipt["removed"], receipt["recording_sid"]) == ({"twilio": "removed", "archive": "removed"}, sid)
    assert receipt["requested_by"].startswith("arn:")
    assert [row["status"] for row in rows(stack, call)] == ["deleted"]


def listed(stack: Stack, path: str) -> list[dict[str, Any]]:
    """Return every page of a list."""
    found: list[dict[str, Any]] = []
    page = stack.call_control_api("GET", path).json()
    while token := page["next_page_token"]:
        found += page["recordings"]
        page = stack.call_control_api("GET", f"{path}{'&' if '?' in path else '?'}PageToken={token}").json()
    return [*found, *page["recordings"]]


def test_the_current_recording_can_be_named_so_and_several_are_409(stack: Stack, call: Call) -> None:
    first = start(stack, call).json()["sid"]
    assert control(stack, call, "Twilio.CURRENT", {"Status": "paused"}).json()["sid"] == first
    second = start(stack, call).json()["sid"]

    answer = control(stack, call, "Twilio.CURRENT", {"Status": "stopped"})

    assert (answer.status_code, answer.json()["active_recording_sids"]) == (409, [first, second])


def resume_timers(stack: Stack) -> list[str]:
    schedules = stack.client("scheduler").list_schedules()["Schedules"]
    return [schedule["Name"] for schedule in schedules if schedule["GroupName"].startswith("resume-")]


def test_an_event_pauses_a_recording_once(stack: Stack, call: Call) -> None:
    sid = start(stack, call).json()["sid"]

    put_event(stack, {"CallSid": call.sid, "RecordingSid": sid, "Status": "paused"}, sample="control-eventbridge.json")

    assert eventually(lambda: [row for row in rows(stack, call) if row["status"] == "paused"])


@pytest.mark.parametrize("auto_resume", [False, True])
def test_a_pause_that_nobody_ends_is_told_on_the_bus(
    stack: Stack, call: Call, published: Published, *, auto_resume: bool
) -> None:
    sid, of_others = start(stack, call).json()["sid"], set(resume_timers(stack))

    control(stack, call, sid, {"Status": "paused", "ResumeWithinSeconds": 1, "AutoResume": auto_resume})

    (event,) = eventually(lambda: published("Call Recording Still Paused"))
    assert (event["detail"]["recording_sid"], event["detail"]["resumed"]) == (sid, auto_resume)
    assert status(stack, sid) == ("in-progress" if auto_resume else "paused")
    assert eventually(lambda: of_others.issuperset(resume_timers(stack))), "a timer is gone once it has fired"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/recordings"), ("GET", "/recordings/RE1"), ("DELETE", "/recordings/RE1"), ("PUT", "/recordings")],
)
def test_api_gateways_own_refusals_are_problems_too(stack: Stack, method: str, path: str) -> None:
    answer = stack.call_control_api(method, path, sign=False)

    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    assert answer.json()["type"] == "urn:problem:call-recording:unsigned"
    assert answer.json()["title"] == "There is no such route, or the request is not signed"
    assert answer.text.endswith("}\n")
    assert answer.json().keys() == {"type", "title", "status", "detail"}


def test_a_wrong_signature_is_a_problem_too(stack: Stack) -> None:
    answer = stack.call_control_api("GET", "/recordings", sign=False, headers={"Authorization": "AWS4-HMAC-SHA256 no"})

    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    assert answer.json()["type"] == "urn:problem:call-recording:access-denied"
