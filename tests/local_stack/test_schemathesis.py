"""docs/reference/openapi.yaml against the deployed stack: whatever is sent, the answer is one that it describes."""

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks

from local.stack import PROJECT, IamAuth, Stack

UNKNOWN_ACCOUNT = "AC" + "0" * 32
NOWHERE = "http://127.0.0.1:1/nobody-listens"

schema = schemathesis.openapi.from_path(PROJECT / "docs/reference/openapi.yaml")

few_of_each = settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def known(stack: Stack) -> dict[str, str]:
    """A live call and a finished recording, so that some of what is sent finds what it names."""
    with stack.simulator.locked() as twilio:
        live = twilio.begin_call(stack.account_sid)
        ended = twilio.begin_call(stack.account_sid)
    sid = stack.call_control_api("POST", f"/calls/{ended.sid}/recordings", json={}).json()["sid"]
    with stack.simulator.locked() as twilio:
        twilio.hang_up(ended.sid)
    return {"CallSid": live.sid, "RecordingSid": sid, "AccountSid": stack.account_sid}


@schema.parametrize()
@few_of_each
def test_every_answer_is_one_that_the_description_knows(case: Case[Any], stack: Stack) -> None:
    # The webhook answers 503 to a flood of accounts that it does not know, and this would be one.
    name(case, {"AccountSid": UNKNOWN_ACCOUNT})
    call_and_validate(case, stack)


@schema.parametrize()
@few_of_each
def test_every_answer_about_what_there_is_is_one_that_the_description_knows(
    case: Case[Any], stack: Stack, known: dict[str, str]
) -> None:
    name(case, known)
    call_and_validate(case, stack)


def call_and_validate(case: Case[Any], stack: Stack) -> None:
    is_webhook = case.path.startswith("/recording-status")
    base_url = stack.webhook_local_url.removesuffix("/recording-status") if is_webhook else stack.control_api_url
    session = requests.Session()
    session.auth = None if is_webhook else IamAuth(stack.region)

    response = case.call(base_url=base_url, session=session)

    case.validate_response(response, checks=checks)


load_all_checks()
checks: list[Any] = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


def name(case: Case[Any], sids: dict[str, str]) -> None:
    """Replace well-formed SIDs by these; callbacks go nowhere."""
    parts: list[Any] = [case.path_parameters, case.query, case.body]
    for part in parts:
        if isinstance(part, dict):
            part |= {field: sid for field, sid in sids.items() if is_well_formed(part.get(field), sid[:2])}
            if "RecordingStatusCallback" in part:
                part["RecordingStatusCallback"] = NOWHERE


def is_well_formed(value: object, prefix: str) -> bool:
    return isinstance(value, str) and value.startswith(prefix) and len(value) == 34
