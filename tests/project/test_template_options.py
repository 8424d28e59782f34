"""What a platform team can ask of the template beyond the defaults: keys, limits, slow deployments."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from generators.template import Resources, translated
from tests.conftest import SETTINGS

NOTHING = {"Ref": "AWS::NoValue"}


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> Resources:
    found: Resources = template["Resources"]
    return found


def of_type(resources: Resources, kind: str) -> Resources:
    return {name: resource for name, resource in resources.items() if resource["Type"] == kind}


def own_key(kind: str) -> dict[str, Any]:
    return {"Fn::If": ["HasKmsKey", {"Ref": kind}, NOTHING]}


def mentioned(value: Any) -> Iterator[str]:
    """Give every name that an intrinsic function mentions, those of conditions too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::Sub":
                text = inner if isinstance(inner, str) else inner[0]
                yield from re.findall(r"\$\{([^}!]+)\}", text)
            elif key == "Fn::If":
                yield inner[0]
            yield from mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mentioned(inner)


# --- encryption --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "where", "least"),
    [
        ("AWS::DynamoDB::Table", ("SSESpecification", "KMSMasterKeyId"), 2),
        ("AWS::SQS::Queue", ("KmsMasterKeyId",), 6),
        ("AWS::Logs::LogGroup", ("KmsKeyId",), 9),
        ("AWS::SecretsManager::Secret", ("KmsKeyId",), 1),
    ],
)
def test_whatever_keeps_data_takes_the_key_of_the_deployer(
    resources: Resources, kind: str, where: tuple[str, ...], least: int
) -> None:
    keepers = of_type(resources, kind)

    assert len(keepers) >= least
    for name, keeper in keepers.items():
        value = keeper["Properties"]
        for part in where:
            value = value[part]
        assert value == own_key("KmsKeyArn"), name


def test_without_a_key_of_ones_own_everything_is_encrypted_all_the_same(resources: Resources) -> None:
    for queue in of_type(resources, "AWS::SQS::Queue").values():
        assert queue["Properties"]["SqsManagedSseEnabled"] == {"Fn::If": ["HasKmsKey", NOTHING, True]}
    for table in of_type(resources, "AWS::DynamoDB::Table").values():
        assert table["Properties"]["SSESpecification"]["SSEEnabled"] is True


def test_the_key_is_used_through_the_services_that_keep_data_and_not_otherwise(resources: Resources) -> None:
    (statement,) = resources["KmsKeyPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    services = statement["Condition"]["StringEquals"]["kms:ViaService"]

    assert statement["Resource"] == {"Ref": "KmsKeyArn"}
    assert {service["Fn::Sub"].partition(".")[0] for service in services} == {"dynamodb", "secretsmanager", "sqs"}
    assert resources["ResumeTimerRole"]["Properties"]["ManagedPolicyArns"] == {
        "Fn::If": ["HasKmsKey", [{"Ref": "KmsKeyPolicy"}], NOTHING]
    }


# --- who may reach what ------------------------------------------------------------------------------


def test_every_queue_refuses_what_does_not_come_over_tls(resources: Resources) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    policies = {
        policy["Properties"]["Queues"][0]["Ref"]: policy["Properties"]["PolicyDocument"]["Statement"]
        for policy in of_type(resources, "AWS::SQS::QueuePolicy").values()
    }

    assert policies.keys() == queues.keys(), "one policy for each queue: a second would take the first one's place"
    for name, statements in policies.items():
        (tls,) = (statement for statement in statements if statement["Sid"] == "OnlyOverTls")
        assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "sqs:*")
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in statements:
            assert statement["Resource"] == {"Fn::GetAtt": [name, "Arn"]}
            assert statement["Effect"] == "Deny" or "aws:SourceArn" in statement["Condition"]["ArnEquals"]


def test_the_api_s_policy_only_refuses_so_that_a_permission_is_always_needed(resources: Resources) -> None:
    policy = resources["ControlApi"]["Properties"]["Auth"]["ResourcePolicy"]

    assert policy.keys() == {"CustomStatements"}
    assert [statement["Effect"] for statement in policy["CustomStatements"]] == ["Deny"]


def test_by_default_the_api_s_policy_refuses_no_address(template: dict[str, Any]) -> None:
    assert template["Parameters"]["ControlApiAllowedCidrs"]["Default"].split(",") == ["0.0.0.0/0", "::/0"]


# --- web pages ---------------------------------------------------------------------------------------


def test_no_web_page_reads_the_archive_unless_its_origin_is_named(
    template: dict[str, Any], resources: Resources
) -> None:
    condition, cors, otherwise = resources["ArchiveBucket"]["Properties"]["CorsConfiguration"]["Fn::If"]
    (rule,) = cors["CorsRules"]

    assert template["Parameters"]["ArchiveCorsOrigins"]["Default"] == ""
    assert template["Conditions"][condition] == {
        "Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "ArchiveCorsOrigins"}]}, ""]}]
    }
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == ({"Ref": "ArchiveCorsOrigins"}, ["GET", "HEAD"])
    assert otherwise == NOTHING


@pytest.mark.parametrize(
    ("origin", "is_taken"),
    [
        ("", True),
        ("https://desk.example.com", True),
        ("http://localhost:5173", True),
        ("https://*.example.com", True),
        ("*", False),
        ("https://*", False),
        ("https://", False),
        ("https://desk.example.com/", False),  # a browser sends none, so S3 would never find it
        ("https://Desk.example.com", False),
        ("https://desk.example.com/path", False),
        ("desk.example.com", False),
        ("null", False),
        ("https://a.example.com https://b.example.com", False),
    ],
)
def test_an_origin_is_what_a_browser_sends(template: dict[str, Any], origin: str, *, is_taken: bool) -> None:
    pattern = template["Parameters"]["ArchiveCorsOrigins"]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, origin)) is is_taken


# --- versions and deployments ------------------------------------------------------------------------


def test_callbacks_reach_the_alias_as_everything_that_sam_connects_does(
    template: dict[str, Any], resources: Resources
) -> None:
    alias = {"Ref": "RecordingStatusFunction.Alias"}

    assert template["Globals"]["Function"]["AutoPublishAlias"] == "live"
    assert resources["WebhookIntegration"]["Properties"]["IntegrationUri"] == alias
    assert resources["RecordingStatusPermission"]["Properties"]["FunctionName"] == alias


def test_a_new_layer_makes_new_versions(resources: Resources, template: dict[str, Any]) -> None:
    assert resources["SharedLayer"]["Properties"]["PublishLambdaVersion"] is True
    assert template["Globals"]["Function"]["AutoPublishAliasAllProperties"] is True


def test_the_ways_to_deploy_are_those_that_codedeploy_knows_and_none_is_the_default(template: dict[str, Any]) -> None:
    parameter, ways = template["Parameters"]["GradualDeployment"], template["Mappings"]["GradualDeployments"]

    assert parameter["Default"] == "None"
    assert parameter["AllowedValues"] == list(ways)
    for way, preference in ways.items():
        if way == "None":
            assert preference["Enabled"] is False
        else:
            assert preference == {"Enabled": True, "Type": way}
            assert re.fullmatch(r"(Canary10Percent(5|10|15|30)Minutes|Linear10PercentEvery(1|2|3|10)Minutes?)", way)


def test_sam_makes_a_deployment_group_with_its_alarms_for_each_function_that_is_deployed_slowly() -> None:
    groups = of_type(translated(GradualDeployment="Canary10Percent5Minutes"), "AWS::CodeDeploy::DeploymentGroup")

    assert {name.removesuffix("DeploymentGroup") for name in groups} == SETTINGS.keys()
    for group in groups.values():
        assert group["Properties"]["AlarmConfiguration"]["Enabled"]
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["Properties"]["AutoRollbackConfiguration"]["Events"]
        assert group["Properties"]["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": "Canary10Percent5Minutes"}


def test_by_default_sam_makes_nothing_of_codedeploy() -> None:
    assert not [name for name, resource in translated().items() if "CodeDeploy" in resource["Type"]]


def test_sam_names_other_versions_once_the_layer_is_another() -> None:
    before, after = (set(of_type(translated(layer=layer), "AWS::Lambda::Version")) for layer in ("one", "two"))

    assert len(before) == len(after) == len(SETTINGS)
    assert not before & after


@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        ("StartRecordingFunction", "StartRecordingConcurrency"),
        ("RecordingStatusFunction", "RecordingStatusConcurrency"),
        ("RecordingsApiFunction", "RecordingsApiConcurrency"),
    ],
)
def test_whoever_is_called_from_outside_can_be_given_executions_of_its_own(
    resources: Resources, function: str, parameter: str
) -> None:
    assert resources[function]["Properties"]["ReservedConcurrentExecutions"] == {
        "Fn::If": [f"Has{parameter}", {"Ref": parameter}, NOTHING]
    }
