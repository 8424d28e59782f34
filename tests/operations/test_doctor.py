"""The doctor says what is wrong with a stack, and nothing of one that is as it should be; it changes nothing."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import responses

from local.stack import PROJECT
from operations.doctor import __main__ as doctor
from operations.doctor import alerts, aws, twilio
from operations.doctor.__main__ import CHECKS, examine, report
from operations.doctor.findings import Check, Finding
from tests.operations.conftest import (
    ACCOUNT_SID,
    API_URL,
    ARCHIVING,
    OTHER_SID,
    REDRIVE,
    TOKEN,
    TOPIC,
    WEBHOOK_URL,
    Aws,
    refusal,
)

KEY_SID, KEY_SECRET = "SK" + "3" * 32, "key-secret"
SECOND_TOKEN = "f" * 32
OWN_KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"


class Twilio:
    """What Twilio answers to whom, in each of its regions, and who asked."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.accepts = {(API_URL, ACCOUNT_SID, TOKEN)}
        self.code = 20003
        self.recordings: list[dict[str, Any]] = []
        self.rules: list[dict[str, Any]] | None = []
        mock.add_callback("GET", re.compile(r"https://api[.a-z0-9]*\.twilio\.com/.*"), self._list)
        mock.add_callback("GET", re.compile(re.escape(twilio.RULES)), self._rules)

    def _list(self, request: Any) -> tuple[int, dict[str, str], str]:
        user, _, password = base64.b64decode(request.headers["Authorization"].split()[1]).decode().partition(":")
        region = request.url.partition("/2010-04-01/")[0]
        if (region, user, password) not in self.accepts:
            return 401, {}, json.dumps({"code": self.code, "message": "Authenticate", "status": 401})
        return 200, {}, json.dumps({"recordings": self.recordings})

    def _rules(self, _: Any) -> tuple[int, dict[str, str], str]:
        if self.rules is None:
            return 403, {}, "{}"
        return 200, {}, json.dumps({"rules": self.rules, "meta": {"key": "rules"}})


@pytest.fixture
def answering() -> Iterator[Twilio]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Twilio(mock)


def found(check: Check, aws_answers: Aws) -> list[Finding]:
    return list(check(aws_answers.deployed()))


def one(check: Check, aws_answers: Aws) -> Finding:
    (finding,) = found(check, aws_answers)
    return finding


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_is_said_of_a_stack_that_is_as_it_should_be(check: Check, aws_answers: Aws, answering: Twilio) -> None:
    assert found(check, aws_answers) == []


def test_everything_is_only_read_and_the_page_lists_what_that_takes(aws_answers: Aws, answering: Twilio) -> None:
    aws_answers.parameters["KmsKeyArn"] = OWN_KEY
    report(CHECKS, aws_answers.deployed())

    page = (PROJECT / "docs/how-to/ask-the-doctor.md").read_text()
    assert aws_answers.asked
    needed = {name for name in aws_answers.asked if not name.startswith("apigateway.")}
    assert [name for name in needed if f":{name.partition('.')[2]}`" not in page] == [], "each permission is listed"
    assert [
        name for name in aws_answers.asked if not name.partition(".")[2].startswith(("Get", "List", "Describe"))
    ] == []


# --- Twilio -----------------------------------------------------------------------------------------


def test_a_secret_that_is_missing(aws_answers: Aws) -> None:
    aws_answers.secrets = {}

    assert f"secret twilio/{ACCOUNT_SID} does not exist" in one(twilio.secrets_are_whole, aws_answers).what


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("not JSON", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ("{}", "auth_token is missing"),
        (json.dumps({"auth_token": TOKEN + "\n"}), "auth_token starts or ends with blanks or line breaks"),
        (json.dumps({"auth_token": TOKEN, "api_key_sid": KEY_SID}), "only valid together"),
    ],
)
def test_a_secret_that_is_malformed_and_nothing_of_what_is_in_it(
    aws_answers: Aws, answering: Twilio, capsys: pytest.CaptureFixture[str], secret: str, why: str
) -> None:
    aws_answers.secrets[f"twilio/{ACCOUNT_SID}"] = secret

    assert why in one(twilio.secrets_are_whole, aws_answers).what
    assert report(CHECKS, aws_answers.deployed()) == 1
    assert TOKEN not in "".join(capsys.readouterr())


def test_the_secret_of_another_account_under_the_prefix(aws_answers: Aws) -> None:
    aws_answers.secrets |= {f"twilio/{OTHER_SID}": "{}", "twilio/notes": "mine", "elsewhere/x": "x"}

    assert OTHER_SID in one(twilio.secrets_are_whole, aws_answers).what


@pytest.mark.parametrize(
    ("secret_key", "own_key", "is_wrong"),
    [
        (OWN_KEY, "", True),
        (OWN_KEY, OWN_KEY, False),
        ("1234", OWN_KEY, False),
        ("alias/aws/secretsmanager", "", False),
        (f"{OWN_KEY}5", OWN_KEY, True),
    ],
)
def test_a_secret_whose_key_the_functions_may_not_use(
    aws_answers: Aws, secret_key: str, own_key: str, *, is_wrong: bool
) -> None:
    aws_answers.parameters["KmsKeyArn"] = own_key
    aws_answers.answers["secretsmanager.DescribeSecret"] = {"KmsKeyId": secret_key}

    assert bool(found(twilio.secrets_are_whole, aws_answers)) is is_wrong


def test_an_auth_token_that_twilio_refuses(aws_answers: Aws, answering: Twilio) -> None:
    answering.accepts.clear()

    finding = one(twilio.credentials_are_accepted, aws_answers)

    assert finding.what == f"Twilio refuses auth_token of twilio/{ACCOUNT_SID} (HTTP 401, code 20003)."
    assert finding.is_problem


def test_an_auth_token_that_twilio_refuses_though_it_takes_the_api_key(aws_answers: Aws, answering: Twilio) -> None:
    """Requests work, and every callback is refused."""
    secret = {"auth_token": "old", "api_key_sid": KEY_SID, "api_key_secret": KEY_SECRET}
    aws_answers.secrets[f"twilio/{ACCOUNT_SID}"] = json.dumps(secret)
    answering.accepts.add((API_URL, KEY_SID, KEY_SECRET))

    assert "auth_token of" in one(twilio.credentials_are_accepted, aws_answers).what


def test_an_api_key_that_twilio_refuses(aws_answers: Aws, answering: Twilio) -> None:
    secret = {"auth_token": TOKEN, "api_key_sid": KEY_SID, "api_key_secret": "other"}
    aws_answers.secrets[f"twilio/{ACCOUNT_SID}"] = json.dumps(secret)

    assert "api_key_sid of" in one(twilio.credentials_are_accepted, aws_answers).what


def test_a_second_token_that_is_not_yet_right_is_only_advice(aws_answers: Aws, answering: Twilio) -> None:
    secret = {"auth_token": TOKEN, "auth_token_secondary": SECOND_TOKEN}
    aws_answers.secrets[f"twilio/{ACCOUNT_SID}"] = json.dumps(secret)

    assert not one(twilio.credentials_are_accepted, aws_answers).is_problem


@pytest.mark.parametrize("region", [url for url in twilio.REGIONS if url != API_URL])
def test_credentials_of_another_region(aws_answers: Aws, answering: Twilio, region: str) -> None:
    answering.accepts = {(region, ACCOUNT_SID, TOKEN)}

    assert f"TwilioApiUrl={region}" in one(twilio.credentials_are_accepted, aws_answers).to_do


def test_a_twilio_that_does_not_answer(aws_answers: Aws, answering: Twilio) -> None:
    aws_answers.parameters["TwilioApiUrl"] = "https://twilio.invalid"

    finding = one(twilio.credentials_are_accepted, aws_answers)

    assert finding.what.startswith("Twilio at https://twilio.invalid did not answer")


def test_nobody_but_twilio_is_shown_credentials_in_search_of_their_region(aws_answers: Aws, answering: Twilio) -> None:
    aws_answers.parameters["TwilioApiUrl"] = "http://127.0.0.1:1"

    found(twilio.credentials_are_accepted, aws_answers)
    found(twilio.no_rule_changes_callbacks, aws_answers)


@pytest.mark.parametrize(
    ("media_url", "is_wrong"),
    [
        ("https://audio.s3.amazonaws.com/RE1.wav", True),
        ("https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1", False),
        ("https://eviltwilio.com/RE1", True),
        (None, False),
    ],
)
def test_audio_that_is_in_a_storage_of_the_account_s_own(
    aws_answers: Aws, answering: Twilio, media_url: str | None, *, is_wrong: bool
) -> None:
    answering.recordings = [{"sid": "RE1", "media_url": media_url}]

    assert bool(found(twilio.audio_is_at_twilio, aws_answers)) is is_wrong
    aws_answers.parameters["ArchiveRecordings"] = "false"
    assert found(twilio.audio_is_at_twilio, aws_answers) == []


@pytest.mark.parametrize(
    ("rule", "is_wrong"),
    [
        ({"id": "rule_1", "matchType": "exact", "value": WEBHOOK_URL}, True),
        ({"id": "rule_1", "matchType": "prefix", "prefix": WEBHOOK_URL[:40]}, True),
        ({"id": "rule_1", "matchType": "prefix", "prefix": "https://example.com/"}, False),
        ({"id": "rule_1", "matchType": "exact", "value": WEBHOOK_URL + "/x"}, False),
    ],
)
def test_a_webhooks_rule_that_applies_to_the_webhook(
    aws_answers: Aws, answering: Twilio, rule: dict[str, Any], *, is_wrong: bool
) -> None:
    answering.rules = [rule]

    assert bool(found(twilio.no_rule_changes_callbacks, aws_answers)) is is_wrong


def test_rules_that_twilio_does_not_show_are_only_advice(aws_answers: Aws, answering: Twilio) -> None:
    answering.rules = None

    assert not one(twilio.no_rule_changes_callbacks, aws_answers).is_problem


# --- AWS --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_problem"),
    [("UPDATE_ROLLBACK_COMPLETE", False), ("ROLLBACK_COMPLETE", True), ("UPDATE_ROLLBACK_FAILED", True)],
)
def test_a_deployment_that_did_not_go_through(aws_answers: Aws, status: str, *, is_problem: bool) -> None:
    aws_answers.status = status

    assert one(aws.last_deployment_went_through, aws_answers).is_problem is is_problem


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("GetFunctionConfiguration", {"State": "Failed", "StateReason": "no image"}),
        ("GetFunctionConfiguration", {"State": "Active", "LastUpdateStatus": "Failed"}),
        ("GetFunctionConcurrency", {"ReservedConcurrentExecutions": 0}),
    ],
)
def test_a_function_that_cannot_run(aws_answers: Aws, operation: str, answer: dict[str, Any]) -> None:
    aws_answers.answers[f"lambda.{operation}"] = answer

    assert one(aws.functions_can_run, aws_answers).what.startswith("StartRecordingFunction ")


@pytest.mark.parametrize(("unreserved", "is_wrong"), [(10, True), (109, True), (110, False)])
def test_a_quota_of_concurrency_that_archiving_takes_up(aws_answers: Aws, unreserved: int, *, is_wrong: bool) -> None:
    limits = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": unreserved}
    aws_answers.answers["lambda.GetAccountSettings"] = {"AccountLimit": limits}

    assert bool(found(aws.concurrency_suffices, aws_answers)) is is_wrong


def test_a_throttle_of_the_account_that_is_lower_than_the_api_s(aws_answers: Aws) -> None:
    aws_answers.answers["apigateway.GetAccount"] = {"throttleSettings": {"rateLimit": 50.0}}

    assert "100 requests per second" in one(aws.apis_may_answer_as_often_as_they_are_set_to, aws_answers).what


@pytest.mark.parametrize(("uuid", "state"), [(REDRIVE, "Enabled"), (ARCHIVING, "Disabled"), (ARCHIVING, "Disabling")])
def test_a_mapping_that_was_left_enabled_or_disabled(aws_answers: Aws, uuid: str, state: str) -> None:
    healthy = aws_answers.answers["lambda.GetEventSourceMapping"]
    aws_answers.answers["lambda.GetEventSourceMapping"] = lambda asked: (
        healthy(asked) | ({"State": state} if asked["UUID"] == uuid else {})
    )

    assert f"--uuid {uuid} " in one(aws.mappings_are_as_they_should_be, aws_answers).to_do


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("scheduler.GetSchedule", {"State": "DISABLED"}),
        ("eventbridge.DescribeRule", {"Name": "completed", "State": "DISABLED"}),
    ],
)
def test_a_schedule_or_rule_that_is_disabled(aws_answers: Aws, operation: str, answer: dict[str, Any]) -> None:
    aws_answers.answers[operation] = answer

    assert " is disabled: " in one(aws.schedules_are_on, aws_answers).what


def test_a_bus_that_does_not_exist(aws_answers: Aws) -> None:
    aws_answers.answers["eventbridge.DescribeEventBus"] = refusal("ResourceNotFoundException")

    assert "event bus default does not exist" in one(aws.bus_is_there, aws_answers).what


@pytest.mark.parametrize("parameter", ["KmsKeyArn", "ArchiveKmsKeyArn"])
def test_a_key_that_is_disabled(aws_answers: Aws, parameter: str) -> None:
    aws_answers.parameters[parameter] = OWN_KEY
    assert found(aws.keys_can_be_used, aws_answers) == []
    aws_answers.answers["kms.DescribeKey"] = {"KeyMetadata": {"KeyId": "1234", "KeyState": "PendingDeletion"}}

    assert f"key of {parameter} is PendingDeletion" in one(aws.keys_can_be_used, aws_answers).what


def test_an_archive_that_is_switched_off_is_only_advice(aws_answers: Aws) -> None:
    aws_answers.parameters["ArchiveRecordings"] = "false"

    assert not one(aws.audio_is_archived, aws_answers).is_problem


# --- who hears of it --------------------------------------------------------------------------------


def test_an_alarm_that_is_raised_leads_to_its_page(aws_answers: Aws) -> None:
    aws_answers.alarms["stack-DeadLettersAlarm"] |= {"StateValue": "ALARM", "StateReason": "3 datapoints"}

    finding = one(alerts.no_alarm_is_raised, aws_answers)

    assert finding.what == "DeadLettersAlarm is in ALARM state: 3 datapoints"
    page, _, anchor = finding.to_do.partition("#")
    assert f"## {anchor}\n" in (PROJECT / page).read_text().lower()


def test_alarms_without_a_topic_are_advice(aws_answers: Aws) -> None:
    aws_answers.alarms["stack-DeadLettersAlarm"]["AlarmActions"] = []
    assert "No topic: DeadLettersAlarm." in one(alerts.alarms_tell_somebody, aws_answers).what
    aws_answers.alarms["stack-OwnFailuresAlarm"]["AlarmActions"] = []

    finding = one(alerts.alarms_tell_somebody, aws_answers)

    assert finding.what.startswith("No alarm has a topic")
    assert not finding.is_problem


def test_alarms_whose_actions_are_disabled(aws_answers: Aws) -> None:
    aws_answers.alarms["stack-DeadLettersAlarm"]["ActionsEnabled"] = False

    assert one(alerts.alarms_tell_somebody, aws_answers).to_do.endswith(" stack-DeadLettersAlarm")


@pytest.mark.parametrize(
    ("subscriptions", "told"),
    [
        ([], "Nobody has subscribed"),
        (["PendingConfirmation"], "1 of 1 subscriptions"),
        ([f"{TOPIC}:1", "PendingConfirmation"], "1 of 2 subscriptions"),
    ],
)
def test_a_topic_that_reaches_nobody(aws_answers: Aws, subscriptions: list[str], told: str) -> None:
    listed = [{"SubscriptionArn": arn} for arn in subscriptions]
    aws_answers.answers["sns.ListSubscriptionsByTopic"] = {"Subscriptions": listed}

    assert one(alerts.alarms_tell_somebody, aws_answers).what.startswith(told)


def test_dead_letters_that_wait(aws_answers: Aws) -> None:
    waiting = {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"}
    aws_answers.answers["sqs.GetQueueAttributes"] = {"Attributes": waiting}

    finding = one(alerts.no_dead_letter_waits, aws_answers)

    assert finding.what.startswith("3 messages wait in StartDeadLetterQueue."), "and none of ArchiveQueue"


# --- the program ------------------------------------------------------------------------------------


def test_what_cannot_be_looked_at_is_a_problem_and_the_rest_is_looked_at(
    aws_answers: Aws, answering: Twilio, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_answers.answers["lambda.GetAccountSettings"] = refusal("AccessDeniedException")

    assert report(CHECKS, aws_answers.deployed()) == 1
    printed = capsys.readouterr().out
    assert printed.count("PROBLEM") == 1
    assert printed.count("  ok  ") == len(CHECKS) - 1
    assert len(list(examine(aws.concurrency_suffices, aws_answers.deployed()))) == 1


def test_advice_alone_is_no_failure(aws_answers: Aws, answering: Twilio, capsys: pytest.CaptureFixture[str]) -> None:
    aws_answers.parameters["ArchiveRecordings"] = "false"

    assert report(CHECKS, aws_answers.deployed()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 problems, 1 piece of advice"


def test_a_stack_that_there_is_not(
    aws_answers: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_answers.answers["cloudformation.DescribeStacks"] = refusal("ValidationError")
    session = aws_answers.session()
    monkeypatch.setattr(boto3, "Session", lambda **_: session)

    assert doctor.main(["no-such-stack"]) == 2
    assert "Cannot read the stack: " in capsys.readouterr().err
