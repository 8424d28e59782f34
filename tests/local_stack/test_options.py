"""A second stack beside the first, with what is off by default, and what stands before it; and changed parameters."""

from dataclasses import dataclass
from typing import Any

import pytest

from local.stack import PROJECT, Stack, deploy
from tests.local_stack.conftest import physical_id

NAME = "options"
EDGE = "options-edge"
DOMAIN, API_DOMAIN = "hooks.example.com", "recordings.example.com"


@dataclass(frozen=True)
class Options:
    """The second stack: what it was given, and how to look at it."""

    stack: Stack
    parameters: dict[str, str]

    def change(self, **parameters: str) -> None:
        template = self.stack.folder / "build/template.yaml"
        deploy(self.stack.endpoint_url, NAME, self.parameters | parameters, template=template)

    def resource(self, logical_id: str) -> str:
        return physical_id(self.stack, logical_id, stack_name=NAME)

    def outputs(self) -> dict[str, str]:
        return outputs(self.stack, NAME)

    def live(self, function: str) -> dict[str, Any]:
        """Return the configuration of the version that callers reach."""
        found: dict[str, Any] = self.stack.client("lambda").get_function_configuration(
            FunctionName=self.resource(function), Qualifier="live"
        )
        return found


@dataclass(frozen=True)
class Edge:
    """examples/edge/ before the second stack."""

    stack: Stack
    parameters: dict[str, str]

    def deploy(self, **parameters: str) -> None:
        cloudformation = self.stack.client("cloudformation")
        exists = any(stack["StackName"] == EDGE for stack in cloudformation.describe_stacks()["Stacks"])
        (cloudformation.update_stack if exists else cloudformation.create_stack)(
            StackName=EDGE,
            TemplateBody=(PROJECT / "examples/edge/template.yaml").read_text(),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in (self.parameters | parameters).items()
            ],
        )
        cloudformation.get_waiter("stack_update_complete" if exists else "stack_create_complete").wait(
            StackName=EDGE, WaiterConfig={"Delay": 1}
        )

    def outputs(self) -> dict[str, str]:
        return outputs(self.stack, EDGE)

    def records(self) -> set[str]:
        """Return the names that the hosted zone knows."""
        found = self.stack.client("route53").list_resource_record_sets(HostedZoneId=self.parameters["HostedZoneId"])
        return {record["Name"].rstrip(".") for record in found["ResourceRecordSets"]}


def outputs(stack: Stack, name: str) -> dict[str, str]:
    (found,) = stack.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


@pytest.fixture(scope="module")
def options(stack: Stack) -> Options:
    made = Options(
        stack,
        {
            "TwilioAccountSid": stack.account_sid,
            "TwilioApiUrl": stack.twilio_url,
            "KmsKeyArn": stack.client("kms").create_key()["KeyMetadata"]["Arn"],
            "ControlApiAllowedCidrs": "192.0.2.0/24",
            "RecordingStatusConcurrency": "7",
            "SnapStart": "PublishedVersions",
        },
    )
    made.change()
    return made


@pytest.fixture(scope="module")
def edge(stack: Stack, options: Options) -> Edge:
    zone = stack.client("route53").create_hosted_zone(Name="example.com", CallerReference=NAME)["HostedZone"]["Id"]
    certificate = stack.client("acm").request_certificate(DomainName="*.example.com")["CertificateArn"]
    told = options.outputs()
    made = Edge(
        stack,
        {
            "ControlApiCertificateArn": certificate,
            "ControlApiDomainName": API_DOMAIN,
            "ControlApiId": told["ControlApiId"],
            "HostedZoneId": zone.rpartition("/")[2],
            "WebhookApiId": told["WebhookApiId"],
            "WebhookCertificateArn": certificate,
            "WebhookWebAclArn": "arn:aws:wafv2:us-east-1:000000000000:global/webacl/callbacks/1",
        },
    )
    made.deploy()
    return made


def test_a_queue_is_encrypted_with_the_key(options: Options) -> None:
    queue = options.stack.client("sqs").get_queue_attributes(
        QueueUrl=options.outputs()["StartDeadLetterQueueUrl"], AttributeNames=["All"]
    )

    assert queue["Attributes"]["KmsMasterKeyId"] == options.parameters["KmsKeyArn"]


def test_a_webhook_behind_a_web_acl_has_the_address_of_its_distribution(edge: Edge) -> None:
    assert edge.outputs()["WebhookBaseUrl"].endswith(".cloudfront.net")
    (distribution,) = edge.stack.client("cloudfront").list_distributions()["DistributionList"]["Items"]
    (origin,) = distribution["Origins"]["Items"]
    assert origin["DomainName"].startswith(edge.parameters["WebhookApiId"] + ".execute-api.")


def test_what_is_changed_later_reaches_the_version_that_callers_reach(options: Options, edge: Edge) -> None:
    before = options.live("RecordingStatusFunction")

    edge.deploy(WebhookDomainName=DOMAIN)
    options.change(RowRetentionDays="31", WebhookBaseUrl=edge.outputs()["WebhookBaseUrl"])

    after = options.live("RecordingStatusFunction")
    assert after["Version"] != before["Version"]
    assert after["Environment"]["Variables"]["ROW_RETENTION_DAYS"] == "31"
    assert options.outputs()["WebhookUrl"] == f"https://{DOMAIN}/recording-status"
    for function in ("StartRecordingFunction", "RecordingStatusFunction"):
        assert options.live(function)["Environment"]["Variables"]["WEBHOOK_URL"] == options.outputs()["WebhookUrl"]
    assert edge.outputs()["ControlApiUrl"] == f"https://{API_DOMAIN}"
    assert edge.records() >= {API_DOMAIN, DOMAIN}
