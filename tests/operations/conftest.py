"""A deployed stack that is as it should be, of which each test spoils one thing."""

import json
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

from generators.template import parsed
from operations.doctor.deployed import Deployed

ACCOUNT_SID = "AC" + "1" * 32
OTHER_SID = "AC" + "2" * 32
TOKEN = "0123456789abcdef0123456789abcdef"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
WEBHOOK_URL = "https://f6g7h8i9j0.execute-api.eu-west-1.amazonaws.com/recording-status"
API_URL = "https://api.twilio.com"

_NAMES = {"secrets-manager": "secretsmanager", "api-gateway": "apigateway"}

REDRIVE, ARCHIVING = "1" * 36, "2" * 36

RESOURCES = [
    ("StartRecordingFunction", "AWS::Lambda::Function", "start"),
    ("StartRecordingFunctionRedrive", "AWS::Lambda::EventSourceMapping", REDRIVE),
    ("ArchiveRecordingFunctionQueue", "AWS::Lambda::EventSourceMapping", ARCHIVING),
    ("StartDeadLetterQueue", "AWS::SQS::Queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/dead"),
    ("ArchiveQueue", "AWS::SQS::Queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/archive"),
    ("OwnFailuresAlarm", "AWS::CloudWatch::Alarm", "stack-OwnFailuresAlarm"),
    ("DeadLettersAlarm", "AWS::CloudWatch::Alarm", "stack-DeadLettersAlarm"),
    ("StartRecordingErrorsAlarm", "AWS::CloudWatch::Alarm", "stack-StartRecordingErrorsAlarm-7"),
    ("ControlApi", "AWS::ApiGateway::RestApi", "a1b2c3d4e5"),
    ("ReconcileRecordingsFunctionSchedule", "AWS::Scheduler::Schedule", "reconcile"),
    ("CompletedRule", "AWS::Events::Rule", "default|completed"),
]


def alarm(name: str) -> dict[str, Any]:
    """Return the alarm as CloudWatch describes one that the template makes."""
    logical_id = name.split("-")[1]
    described = parsed()["Resources"][logical_id]["Properties"]["AlarmDescription"]["Fn::Sub"]
    return {
        "AlarmName": name,
        "AlarmDescription": described.replace("${RunbookUrl}", "docs/how-to/operate"),
        "AlarmActions": [TOPIC] if described.startswith(("Page. ", "Ticket. ")) else [],
        "ActionsEnabled": True,
        "StateValue": "OK",
    }


class Aws:
    """What AWS answers, by service and operation: a whole answer, a function of what was asked, or an error."""

    def __init__(self) -> None:
        self.status = "CREATE_COMPLETE"
        self.parameters = {
            "TwilioAccountSid": ACCOUNT_SID,
            "TwilioSecretPrefix": "twilio/",
            "TwilioApiUrl": API_URL,
            "EventBusName": "default",
            "ArchiveRecordings": "true",
            "KmsKeyArn": "",
            "ArchiveKmsKeyArn": "",
        }
        self.secrets: dict[str, str] = {f"twilio/{ACCOUNT_SID}": json.dumps({"auth_token": TOKEN})}
        self.alarms = {name: alarm(name) for _, kind, name in RESOURCES if kind == "AWS::CloudWatch::Alarm"}
        self.answers: dict[str, Any] = {
            "cloudformation.DescribeStacks": lambda _: {"Stacks": [self._stack()]},
            "cloudformation.ListStackResources": {
                "StackResourceSummaries": [
                    {
                        "LogicalResourceId": name,
                        "ResourceType": kind,
                        "PhysicalResourceId": physical,
                        "LastUpdatedTimestamp": "2026-11-22T07:33:00Z",
                        "ResourceStatus": "CREATE_COMPLETE",
                    }
                    for name, kind, physical in RESOURCES
                ]
            },
            "secretsmanager.ListSecrets": lambda _: {"SecretList": [{"Name": name} for name in self.secrets]},
            "secretsmanager.GetSecretValue": self._secret,
            "secretsmanager.DescribeSecret": {},
            "lambda.GetFunctionConfiguration": {"State": "Active", "LastUpdateStatus": "Successful"},
            "lambda.GetFunctionConcurrency": {},
            "lambda.GetAccountSettings": {
                "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}
            },
            "lambda.GetEventSourceMapping": lambda asked: {
                "UUID": asked["UUID"],
                "State": "Disabled" if asked["UUID"] == REDRIVE else "Enabled",
                "ScalingConfig": {"MaximumConcurrency": 10},
            },
            "sqs.GetQueueAttributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
            "cloudwatch.DescribeAlarms": lambda asked: {
                "MetricAlarms": [self.alarms[name] for name in asked["AlarmNames"]]
            },
            "sns.ListSubscriptionsByTopic": {"Subscriptions": [{"SubscriptionArn": f"{TOPIC}:1"}]},
            "apigateway.GetAccount": {"throttleSettings": {"rateLimit": 10_000.0}},
            "apigateway.GetStages": {
                "item": [{"stageName": "v1", "methodSettings": {"*/*": {"throttlingRateLimit": 100.0}}}]
            },
            "scheduler.GetSchedule": {"State": "ENABLED"},
            "eventbridge.DescribeRule": {"Name": "completed", "State": "ENABLED"},
            "eventbridge.DescribeEventBus": {"Name": "default"},
            "kms.DescribeKey": {"KeyMetadata": {"KeyId": "key", "KeyState": "Enabled"}},
        }
        self.asked: list[str] = []

    def _stack(self) -> dict[str, Any]:
        return {
            "StackName": "stack",
            "CreationTime": "2026-11-22T07:33:00Z",
            "StackStatus": self.status,
            "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()],
            "Outputs": [{"OutputKey": "WebhookUrl", "OutputValue": WEBHOOK_URL}],
        }

    def _secret(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["SecretId"] not in self.secrets:
            raise refusal("ResourceNotFoundException")
        return {"SecretString": self.secrets[asked["SecretId"]]}

    def answer(self, name: str, asked: dict[str, Any], shape: Any) -> Any:
        """Return what AWS answers, held against AWS's own model."""
        self.asked.append(name)
        told = self.answers[name]
        if isinstance(told, Exception):
            raise told
        told = told(asked) if callable(told) else told
        validate_parameters(told, shape)
        return told

    def deployed(self) -> Deployed:
        return Deployed("stack", self.session())

    def session(self) -> boto3.Session:
        """Return a session whose clients check what is asked, and get these answers."""
        session, answering = _session()
        answering[:] = [self]
        return session


@cache  # AWS's models take long to read
def _session() -> tuple[boto3.Session, list[Aws]]:
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="eu-west-1")
    answering: list[Aws] = []
    asked: dict[str, Any] = {}

    def remember(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked[model.name] = params

    def answer(model: Any, **_: Any) -> tuple[AWSResponse, Any]:
        service = model.service_model.service_id.hyphenize()
        name = f"{_NAMES.get(service, service)}.{model.name}"
        told = answering[0].answer(name, asked[model.name], model.output_shape)
        return AWSResponse("", 200, HTTPHeaders(), None), told

    events = session._session.get_component("event_emitter")  # noqa: SLF001 (said nowhere else)
    events.register("provide-client-params.*.*", remember)
    events.register("before-call.*.*", answer)
    return session, answering


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Operation")


@pytest.fixture
def aws_answers() -> Aws:
    return Aws()
