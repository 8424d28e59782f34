"""examples/edge/ stands before the APIs of the stack, with what that stack says of itself."""

import json
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from local.stack import PROJECT
from tests.project.test_template_options import mentioned

PARAMETERS = {
    "ControlApiCertificateArn",
    "ControlApiDomainName",
    "ControlApiId",
    "ControlApiWebAclArn",
    "HostedZoneId",
    "WebhookApiId",
    "WebhookCertificateArn",
    "WebhookDomainName",
    "WebhookWebAclArn",
}


@pytest.fixture(scope="module")
def edge() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml_parse((PROJECT / "examples/edge/template.yaml").read_text())
    return loaded


def test_the_two_stacks_have_what_the_other_is_told(edge: dict[str, Any], template: dict[str, Any]) -> None:
    assert edge["Parameters"].keys() == PARAMETERS
    assert template["Outputs"].keys() >= {"ControlApiId", "WebhookApiId"}
    assert edge["Outputs"].keys() >= {"WebhookBaseUrl", "ControlApiUrl"}
    assert "WebhookBaseUrl" in template["Parameters"]


def test_only_the_apis_have_to_be_named(edge: dict[str, Any]) -> None:
    needed = {name for name, parameter in edge["Parameters"].items() if "Default" not in parameter}

    assert needed == {"ControlApiId", "WebhookApiId"}
    assert all(parameter["Description"] for parameter in edge["Parameters"].values())
    assert all("Condition" in resource for resource in edge["Resources"].values()), "nothing unless it is asked for"


def test_every_parameter_is_in_a_group_and_labelled(edge: dict[str, Any]) -> None:
    interface = edge["Metadata"]["AWS::CloudFormation::Interface"]

    assert [name for group in interface["ParameterGroups"] for name in group["Parameters"]] == list(edge["Parameters"])
    assert interface["ParameterLabels"].keys() == edge["Parameters"].keys()


def test_a_domain_needs_its_certificate(edge: dict[str, Any]) -> None:
    named = {name: set(mentioned(rule)) for name, rule in edge["Rules"].items()}

    assert named["WebhookDomain"] >= {"WebhookDomainName", "WebhookCertificateArn"}
    assert named["ControlApiDomain"] >= {"ControlApiDomainName", "ControlApiCertificateArn"}


def test_no_domain_takes_an_old_tls(edge: dict[str, Any]) -> None:
    resources = edge["Resources"]
    webhook = resources["WebhookDomain"]["Properties"]["DomainNameConfigurations"][0]
    viewers = resources["WebhookDistribution"]["Properties"]["DistributionConfig"]["ViewerCertificate"]["Fn::If"][1]

    assert resources["ControlApiDomain"]["Properties"]["SecurityPolicy"] == "TLS_1_2"
    assert webhook["SecurityPolicy"] == "TLS_1_2"
    assert viewers["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_the_stages_are_those_of_the_stack(edge: dict[str, Any], template: dict[str, Any]) -> None:
    ours, theirs = edge["Resources"], template["Resources"]
    control_stage = theirs["ControlApi"]["Properties"]["StageName"]

    assert ours["ControlApiMapping"]["Properties"]["Stage"] == control_stage
    assert ours["ControlApiWebAclAssociation"]["Properties"]["ResourceArn"]["Fn::Sub"].endswith(f"/{control_stage}")
    assert ours["WebhookMapping"]["Properties"]["Stage"] == theirs["WebhookStage"]["Properties"]["StageName"]


def test_cloudformation_takes_the_file_as_it_is(edge: dict[str, Any]) -> None:
    """It is deployed without SAM, so nothing would expand anchors and merge keys."""
    text = (PROJECT / "examples/edge/template.yaml").read_text()

    assert "Transform" not in edge
    assert "<<:" not in text
    assert len(json.dumps(edge)) < 51_200, "as CloudFormation takes it without a bucket"
