"""examples/caller-roles/ lets each role call the routes that its name says, and no other."""

from collections.abc import Iterator
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from generators.sample_events import CALL_SID, RECORDING_SID
from generators.template import translated
from tests.cloudformation import PSEUDO, example, resolved

API_ID = "a1b2c3d4e5"
ROLES = {"MayStart", "MayPause", "MayRead"}
MEANT: dict[tuple[str, str], set[str]] = {
    ("POST", "/calls/{CallSid}/recordings"): {"MayStart"},
    ("POST", "/calls/{CallSid}/recordings/{RecordingSid}"): {"MayPause"},
    ("GET", "/calls/{CallSid}/recordings"): {"MayRead"},
    ("GET", "/recordings"): {"MayRead"},
    ("GET", "/recordings/{RecordingSid}"): {"MayRead"},
    # Not meant for any of them: who may listen or delete, you decide.
    ("GET", "/recordings/{RecordingSid}/media"): set(),
    ("DELETE", "/recordings/{RecordingSid}"): set(),
}


@pytest.fixture(scope="module")
def roles() -> dict[str, Any]:
    return example("caller-roles")


def those_who_may(
    roles: dict[str, Any], method: str, path: str, *, api_id: str = API_ID, stage: str = "v1"
) -> set[str]:
    """Return the roles whose policy allows a request, by IAM's rules."""
    account, region = PSEUDO["AWS::AccountId"], PSEUDO["AWS::Region"]
    asked = EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/a-role/a-session",
        principal_type="AssumedRole",
        principal_account=account,
        action="execute-api:Invoke",
        resource_arn=f"arn:aws:execute-api:{region}:{account}:{api_id}/{stage}/{method}{path}",
        region=region,
        source_ip="192.0.2.1",
        secure_transport=True,
    )
    return {
        name for name in ROLES if evaluate(asked, [parse_policy_document(document(roles, name))]).decision == "Allow"
    }


def document(roles: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the one policy that a role has."""
    (attached,) = roles["Resources"][f"{name}Role"]["Properties"]["ManagedPolicyArns"]
    assert attached == {"Ref": f"{name}Policy"}
    policy = roles["Resources"][f"{name}Policy"]["Properties"]["PolicyDocument"]
    found: dict[str, Any] = resolved(roles, policy, {"ControlApiId": API_ID})
    return found


def routes() -> Iterator[tuple[str, str]]:
    """Give the routes that SAM makes of the template."""
    for path, methods in translated()["ControlApi"]["Properties"]["Body"]["paths"].items():
        for method in methods:
            yield method.upper(), path


def named(path: str, *, call: str = CALL_SID, recording: str = RECORDING_SID) -> str:
    return path.replace("{CallSid}", call).replace("{RecordingSid}", recording)


def test_every_route_of_the_api_is_let_to_exactly_the_roles_that_are_meant(roles: dict[str, Any]) -> None:
    allowed = {(method, path): those_who_may(roles, method, named(path)) for method, path in routes()}

    assert allowed == MEANT


@pytest.mark.parametrize("recording", ["ALL", "Twilio.CURRENT", RECORDING_SID])
def test_whatever_can_be_paused_can_be_paused_by_who_may_pause(roles: dict[str, Any], recording: str) -> None:
    path = named("/calls/{CallSid}/recordings/{RecordingSid}", recording=recording)

    assert those_who_may(roles, "POST", path) == {"MayPause"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        # What a `*` would let pass, as it stands for slashes too.
        ("GET", f"/recordings/{RECORDING_SID}/media"),
        ("GET", f"/recordings/{RECORDING_SID}/media/recordings"),
        ("GET", f"/recordings/{RECORDING_SID}0"),
        ("GET", "/recordings/"),
        ("POST", f"/calls/{CALL_SID}/recordings/{RECORDING_SID}/recordings"),
        ("POST", f"/calls/{CALL_SID}/recordings/recordings"),
        ("POST", f"/calls/{CALL_SID}/recordings/"),
        ("POST", f"/calls/{CALL_SID}x/recordings"),
        ("POST", f"/calls/{CALL_SID}/recordings/ALL/media"),
        ("PUT", f"/calls/{CALL_SID}/recordings"),
        ("*", "/*"),
    ],
)
def test_nothing_beside_the_routes_is_let_through(roles: dict[str, Any], method: str, path: str) -> None:
    assert those_who_may(roles, method, path) == set()


def test_another_api_and_another_stage_are_let_to_nobody(roles: dict[str, Any]) -> None:
    for method, path in MEANT:
        assert those_who_may(roles, method, named(path), api_id="z9y8x7w6v5") == set()
        assert those_who_may(roles, method, named(path), stage="v2") == set()


def test_a_role_can_be_assumed_by_those_who_are_named_and_grants_one_action(roles: dict[str, Any]) -> None:
    for name in ROLES:
        role = roles["Resources"][f"{name}Role"]["Properties"]
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        (grant,) = document(roles, name)["Statement"]

        assert role.keys() == {"Description", "ManagedPolicyArns", "AssumeRolePolicyDocument"}
        assert trust == {"Effect": "Allow", "Principal": {"AWS": {"Ref": "CallerArns"}}, "Action": "sts:AssumeRole"}
        assert (grant["Effect"], grant["Action"]) == ("Allow", "execute-api:Invoke")
