"""A second stack beside the first, with what is off by default; and what a changed parameter changes."""

from dataclasses import dataclass
from typing import Any

import pytest

from local.stack import Stack, deploy
from tests.local_stack.conftest import physical_id

NAME = "options"


@dataclass(frozen=True)
class Options:
    """The second stack: what it was given, and how to look at it."""

    stack: Stack
    parameters: dict[str, str]

    def change(self, **parameters: str) -> None:
        deploy(self.stack.endpoint_url, NAME, self.parameters | parameters)

    def resource(self, logical_id: str) -> str:
        return physical_id(self.stack, logical_id, stack_name=NAME)

    def outputs(self) -> dict[str, str]:
        (stack,) = self.stack.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def live(self, function: str) -> dict[str, Any]:
        """Return the configuration of the version that callers reach."""
        found: dict[str, Any] = self.stack.client("lambda").get_function_configuration(
            FunctionName=self.resource(function), Qualifier="live"
        )
        return found

    def records(self) -> set[str]:
        """Return the names that the hosted zone knows."""
        found = self.stack.client("route53").list_resource_record_sets(HostedZoneId=self.parameters["HostedZoneId"])
        return {record["Name"].rstrip(".") for record in found["ResourceRecordSets"]}


@pytest.fixture(scope="module")
def options(stack: Stack) -> Options:
    zone = stack.client("route53").create_hosted_zone(Name="example.com", CallerReference=NAME)["HostedZone"]["Id"]
    certificate = stack.client("acm").request_certificate(DomainName="*.example.com")["CertificateArn"]
    made = Options(
        stack,
        {
            "TwilioAccountSid": stack.account_sid,
            "TwilioApiUrl": stack.twilio_url,
            "KmsKeyArn": stack.client("kms").create_key()["KeyMetadata"]["Arn"],
            "ControlApiAccessLogs": "true",
            "ControlApiAllowedCidrs": "192.0.2.0/24",
            "ControlApiCertificateArn": certificate,
            "ControlApiDomainName": "recordings.example.com",
            "HostedZoneId": zone.rpartition("/")[2],
            "RecordingStatusConcurrency": "7",
            "SnapStart": "PublishedVersions",
            "WebhookWebAclArn": "arn:aws:wafv2:us-east-1:000000000000:global/webacl/callbacks/1",
        },
    )
    made.change()
    return made


def test_a_webhook_behind_a_web_acl_has_the_address_of_its_distribution(options: Options) -> None:
    url = options.outputs()["WebhookUrl"]

    assert url.endswith(".cloudfront.net/recording-status")
    for function in ("StartRecordingFunction", "RecordingStatusFunction"):
        assert options.live(function)["Environment"]["Variables"]["WEBHOOK_URL"] == url


def test_a_queue_is_encrypted_with_the_key(options: Options) -> None:
    queue = options.stack.client("sqs").get_queue_attributes(
        QueueUrl=options.outputs()["StartDeadLetterQueueUrl"], AttributeNames=["All"]
    )

    assert queue["Attributes"]["KmsMasterKeyId"] == options.parameters["KmsKeyArn"]


def test_what_is_changed_later_reaches_the_version_that_callers_reach(options: Options) -> None:
    before = options.live("RecordingStatusFunction")

    options.change(
        RowRetentionDays="31",
        WebhookDomainName="hooks.example.com",
        WebhookCertificateArn=options.parameters["ControlApiCertificateArn"],
    )

    after = options.live("RecordingStatusFunction")
    assert after["Version"] != before["Version"]
    assert after["Environment"]["Variables"]["ROW_RETENTION_DAYS"] == "31"
    assert after["Environment"]["Variables"]["WEBHOOK_URL"] == options.outputs()["WebhookUrl"]
    assert options.outputs()["WebhookUrl"] == "https://hooks.example.com/recording-status"
    assert options.outputs()["ControlApiUrl"] == "https://recordings.example.com"
    assert options.records() >= {"recordings.example.com", "hooks.example.com"}
