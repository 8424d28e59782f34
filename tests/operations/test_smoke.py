"""The smoke test: it asks first, does one call, hides what nobody should read, and removes what it made and no more."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import responses
from botocore.exceptions import ClientError
from moto import mock_aws

from local.stack import PROJECT
from operations.smoke import __main__ as smoke
from operations.smoke.phone import Account, Phone
from operations.smoke.report import NotAsExpectedError, Report
from operations.smoke.throw_away import PREFIX, ThrowAway

NAME = f"{PREFIX}0123abcd"
ACCOUNT_SID, TOKEN = "AC" + "1" * 32, "0123456789abcdef0123456789abcdef"
CALLER, CALLED = "+15005550006", "+15005550001"
CALL_SID, RECORDING_SID = "CA" + "2" * 32, "RE" + "3" * 32
ACCOUNT = Account(ACCOUNT_SID, TOKEN, "https://api.twilio.com")
ARGUMENTS = ["--account", ACCOUNT_SID, "--from", CALLER, "--to", CALLED, "--region", "eu-west-1"]
HIDDEN = {TOKEN: "auth token", CALLER: "caller", CALLED: "called"}


# --- before anything is done ------------------------------------------------------------------------


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("AWS was asked")

    monkeypatch.setattr(boto3.Session, "client", refuse)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(no_aws: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main([*ARGUMENTS, "--dry-run"]) == 0

    said = capsys.readouterr().out
    assert all(word in said for word in (PREFIX, "eu-west-1", CALLER, CALLED, "costs", "Nothing was done"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--account", "ACnotasid"),
        ("--from", "0800 123"),
        ("--to", "+0123456789"),
        ("--api-url", "https://twilio.example.com"),
        ("--api-url", "https://eviltwilio.com"),
        ("--api-url", "http://api.twilio.com"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_asked(
    no_aws: None, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert smoke.main([*ARGUMENTS, option, value]) == 2

    assert option in capsys.readouterr().err


class Answers(responses.RequestsMock):
    """Twilio, which takes the token or does not."""

    def take(self, status: int) -> None:
        self.get(f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings.json", json={}, status=status)


@pytest.fixture
def twilio() -> Iterator[Answers]:
    answers = Answers(assert_all_requests_are_fired=False)
    with mock_aws(), answers:  # in this order: moto takes every request that it does not know to the network
        yield answers


@pytest.mark.parametrize(("status", "typed"), [(401, NAME), (200, "y"), (200, "")])
def test_nothing_is_made_without_a_token_that_works_and_the_name_typed(
    twilio: Answers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    typed: str,
) -> None:
    twilio.take(status)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setattr("builtins.input", lambda _: typed)
    monkeypatch.setattr(smoke, "run", lambda *_, **__: pytest.fail("it began"))

    assert smoke.main(ARGUMENTS) == 1

    assert "Nothing was done" in "".join(capsys.readouterr())


def test_it_begins_once_the_name_is_typed(twilio: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[Any, ...]] = []
    twilio.take(200)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setattr("builtins.input", lambda question: question.split()[1])
    monkeypatch.setattr(smoke, "run", lambda *given, **_: began.append(given) or 0)  # type: ignore[func-returns-value]

    assert smoke.main(ARGUMENTS) == 0

    assert began[0][0].name.startswith(PREFIX)


# --- what is done, and undone -----------------------------------------------------------------------


class Course:
    """What happens, in its order; at one point something goes wrong."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None) -> None:
        self.happened: list[str] = []
        self.fails_at, self.error = fails_at, error
        self.name, self.session = NAME, boto3.Session(region_name="eu-west-1")
        self.left_behind: list[str] = []

    def note(self, what: str) -> None:
        self.happened.append(what)
        if what == self.fails_at and self.error:
            raise self.error

    def refuse_if_there(self) -> None:
        self.note("look")

    def make(self) -> dict[str, str]:
        self.note("make")
        return {"ControlApiUrl": "https://a.execute-api.eu-west-1.amazonaws.com/v1"}

    def deployed(self) -> None: ...

    def place(self) -> str:
        self.note("place")
        return CALL_SID

    def wait_until_answered(self, _: str) -> None:
        self.note("answer")

    def hang_up(self, _: str) -> None:
        self.note("hang up")

    def delete_recordings(self, _: str) -> None:
        self.note("delete recordings")

    def remove(self) -> None:
        self.note("remove")
        # Whoever is impatient now.
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        self.note("removed")


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Course], tuple[int, str]]:
    monkeypatch.setattr(smoke, "examine", lambda *_: 0)

    def run(course: Course) -> tuple[int, str]:
        report = Report("One real call", hidden=HIDDEN)
        given: Any = course
        exercise: Any = lambda *_, **__: course.note("exercise")  # noqa: E731 (the steps are tested on the local stack)
        status = smoke.run(given, given, report, path=tmp_path / "report.md", exercise=exercise)
        return status, (tmp_path / "report.md").read_text()

    return run


IN_ORDER = ["look", "make", "place", "answer", "exercise", "hang up", "delete recordings", "remove", "removed"]


def test_all_of_it_in_its_order(go: Callable[[Course], tuple[int, str]]) -> None:
    course = Course()

    status, report = go(course)

    assert (status, course.happened) == (0, IN_ORDER)
    assert "everything worked" in report
    assert "✗" not in report


@pytest.mark.parametrize("error", [KeyboardInterrupt(), NotAsExpectedError("HTTP 500"), OSError("network")])
@pytest.mark.parametrize("at", ["make", "place", "answer", "exercise"])
def test_wherever_it_stops_what_was_made_is_removed(
    go: Callable[[Course], tuple[int, str]], at: str, error: BaseException
) -> None:
    course = Course(at, error)

    status, report = go(course)

    assert status == 1
    assert course.happened[-2:] == ["remove", "removed"], "a second Ctrl-C meanwhile ends nothing"
    assert ("hang up" in course.happened) is (at in {"answer", "exercise"})
    assert "**not everything worked**" in report
    assert "✗" in report


def test_a_call_that_cannot_be_hung_up_keeps_nothing_else(go: Callable[[Course], tuple[int, str]]) -> None:
    course = Course("hang up", NotAsExpectedError("HTTP 500"))

    assert go(course)[0] == 1
    assert course.happened[-1] == "removed"


def test_what_is_left_behind_is_named_and_is_no_success(
    go: Callable[[Course], tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    course = Course()
    course.left_behind = ["bucket call-recording-smoke-archive: AccessDenied"]

    status, report = go(course)

    assert status == 1
    assert "bucket call-recording-smoke-archive: AccessDenied" in report
    assert "uninstall.md" in capsys.readouterr().err


def test_a_stack_that_is_there_is_left_alone(go: Callable[[Course], tuple[int, str]]) -> None:
    course = Course("look", FileExistsError("there"))

    with pytest.raises(FileExistsError):
        go(course)
    assert course.happened == ["look"]


def test_tokens_and_numbers_stand_neither_in_the_report_nor_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("One real call", hidden=HIDDEN)

    with pytest.raises(ValueError, match="refused"), report.step("Call"):
        raise ValueError(f"{CALLER} to {CALLED} with {TOKEN} refused | or\nnot")
    report.write(tmp_path / "report.md")

    shown = (tmp_path / "report.md").read_text() + "".join(capsys.readouterr())
    assert not any(hidden in shown for hidden in HIDDEN)
    assert "ValueError: <caller> to <called> with <auth token> refused \\| or not |" in shown


# --- removing ---------------------------------------------------------------------------------------


class CloudFormation:
    """A stack with these resources, until it is deleted."""

    def __init__(self, resources: list[tuple[str, str]], error: ClientError | None = None) -> None:
        self.resources, self.error, self.deleted = resources, error, [""]

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        return {"Stacks": [{"Outputs": [{"OutputKey": "SourceBucket", "OutputValue": "sam-artifacts"}]}]}

    def get_paginator(self, _: str) -> "CloudFormation":
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        kinds = [{"ResourceType": kind, "PhysicalResourceId": name} for kind, name in self.resources]
        return [{"StackResourceSummaries": [*kinds, {"ResourceType": "AWS::S3::Bucket"}]}]

    def delete_stack(self, *, StackName: str) -> None:  # noqa: N803 (boto3's)
        if self.error:
            raise self.error
        self.deleted.append(StackName)

    def get_waiter(self, _: str) -> "CloudFormation":
        return self

    def wait(self, **_: Any) -> None: ...


OWN = [
    ("AWS::S3::Bucket", "own-archive"),
    ("AWS::DynamoDB::Table", "own-rows"),
    ("AWS::Logs::LogGroup", "own-audit"),
    ("AWS::Lambda::Function", "own-function"),
]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """AWS with what the smoke test made, and the same of somebody else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        s3, dynamodb = session.client("s3"), session.client("dynamodb")
        for name in ("own-archive", "other-archive", "sam-artifacts"):
            s3.create_bucket(Bucket=name)
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        for bucket, key in (
            ("own-archive", "a.wav"),
            ("own-archive", "a.wav"),
            ("other-archive", "a.wav"),
            ("sam-artifacts", f"{NAME}/layer"),
            ("sam-artifacts", "call-recording/layer"),
        ):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        s3.delete_object(Bucket="own-archive", Key="a.wav")
        for name in ("own-rows", "other-rows"):
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        for name in ("own-audit", "other-audit"):
            session.client("logs").create_log_group(logGroupName=name)
        for name in (f"{NAME}/{ACCOUNT_SID}", f"twilio/{ACCOUNT_SID}"):
            session.client("secretsmanager").create_secret(Name=name, SecretString="{}")
        for name in (NAME, "other"):
            session.client("events").create_event_bus(Name=name)
        yield session


def what_there_is(session: boto3.Session) -> set[str]:
    s3 = session.client("s3")
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    objects = [
        f"{bucket}/{each['Key']}"
        for bucket in buckets
        for each in s3.list_object_versions(Bucket=bucket).get("Versions", [])
    ]
    groups = [each["logGroupName"] for each in session.client("logs").describe_log_groups()["logGroups"]]
    secrets = [each["Name"] for each in session.client("secretsmanager").list_secrets()["SecretList"]]
    buses = [each["Name"] for each in session.client("events").list_event_buses()["EventBuses"]]
    return {*buckets, *objects, *groups, *secrets, *buses, *session.client("dynamodb").list_tables()["TableNames"]}


OTHERS = {
    *("other-archive", "other-archive/a.wav", "other-rows", "other-audit", f"twilio/{ACCOUNT_SID}"),
    *("other", "default", "sam-artifacts", "sam-artifacts/call-recording/layer"),
}


def throw_away(session: boto3.Session, formation: CloudFormation) -> ThrowAway:
    made = ThrowAway(NAME, ACCOUNT, session)
    client = made.client
    made.client = lambda service: formation if service == "cloudformation" else client(service)  # type: ignore[method-assign]
    return made


def test_everything_that_was_made_is_removed_and_nothing_of_anybody_else(session: boto3.Session) -> None:
    formation = CloudFormation(OWN)
    made = throw_away(session, formation)

    made.remove()

    assert made.left_behind == []
    assert formation.deleted == ["", NAME]
    assert what_there_is(session) == OTHERS


def test_removing_again_finds_nothing_and_fails_at_nothing(session: boto3.Session) -> None:
    throw_away(session, CloudFormation(OWN)).remove()
    made = throw_away(session, CloudFormation(OWN))

    made.remove()

    assert made.left_behind == []


def test_a_part_that_cannot_be_removed_is_named_and_the_rest_goes(session: boto3.Session) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteStack")
    made = throw_away(session, CloudFormation(OWN, error))

    made.remove()

    assert len(made.left_behind) == 1
    assert made.left_behind[0].startswith(f"stack {NAME}: ")
    assert what_there_is(session) == OTHERS


@pytest.mark.parametrize("name", ["call-recording", "call-recording-dev", PREFIX, ""])
def test_no_stack_of_another_name_is_ever_made_or_removed(name: str) -> None:
    with pytest.raises(ValueError, match=PREFIX):
        ThrowAway(name, ACCOUNT, boto3.Session(region_name="us-east-1"))


def test_what_the_template_keeps_is_of_a_kind_that_is_removed(template: dict[str, Any]) -> None:
    policies = {name: each.get("DeletionPolicy", "Delete") for name, each in template["Resources"].items()}
    kept = {template["Resources"][name]["Type"] for name, policy in policies.items() if policy.startswith("Retain")}

    assert kept == {kind for kind, _ in OWN if kind != "AWS::Lambda::Function"}


# --- the call ---------------------------------------------------------------------------------------


def phone() -> Phone:
    return Phone(ACCOUNT, caller=CALLER, called=CALLED)


def url(path: str) -> str:
    return f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}{path}"


def test_a_call_is_placed_answered_and_hung_up(twilio: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    twilio.post(url("/Calls.json"), json={"sid": CALL_SID}, status=201)
    for status in ("queued", "ringing", "in-progress"):
        twilio.get(url(f"/Calls/{CALL_SID}.json"), json={"status": status})
    twilio.post(url(f"/Calls/{CALL_SID}.json"), json={"status": "completed"})
    line = phone()

    assert line.place() == CALL_SID
    line.wait_until_answered(CALL_SID)
    line.hang_up(CALL_SID)

    assert "To=%2B15005550001" in str(twilio.calls[0].request.body)


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "completed"])
def test_a_call_that_nobody_answers_ends_the_test(twilio: Answers, status: str) -> None:
    twilio.get(url(f"/Calls/{CALL_SID}.json"), json={"status": status})

    with pytest.raises(NotAsExpectedError, match=status):
        phone().wait_until_answered(CALL_SID)


def test_a_refused_call_is_told_by_its_code_alone(twilio: Answers) -> None:
    twilio.post(url("/Calls.json"), json={"code": 21211, "message": f"{CALLED} is no number"}, status=400)

    with pytest.raises(NotAsExpectedError, match=r"^Twilio answered 400, code 21211, to a POST of the call$"):
        phone().place()


def test_recordings_that_are_left_at_twilio_are_deleted_once_they_are_finished(
    twilio: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    for sids in ([RECORDING_SID], [RECORDING_SID], []):
        listed = {"recordings": [{"sid": sid} for sid in sids]}
        twilio.get(url(f"/Calls/{CALL_SID}/Recordings.json"), json=listed)
    twilio.delete(url(f"/Recordings/{RECORDING_SID}.json"), json={"code": 20409}, status=409)
    twilio.delete(url(f"/Recordings/{RECORDING_SID}.json"), status=204)

    phone().delete_recordings(CALL_SID)

    assert [call.request.method for call in twilio.calls] == ["GET", "DELETE", "GET", "DELETE", "GET"]


def test_the_script_can_be_run() -> None:
    assert (PROJECT / "scripts/smoke-aws").stat().st_mode & 0o111
    assert json.dumps((PROJECT / "scripts/smoke-aws").read_text()).startswith('"#!/bin/sh')
