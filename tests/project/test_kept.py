"""An upgrade replaces nothing that keeps data or that others have the address of: `kept.json` says what that is.

CloudFormation replaces a resource whose logical id or type is another, or one of the properties that can be given to a
new resource alone. A new resource is added to the file; a line of it that has to change is a migration.
"""

import json
from pathlib import Path
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from generators.template import Resources, translated

KEPT = Path(__file__).with_name("kept.json")
KEEPERS = {
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::DynamoDB::Table",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::Scheduler::ScheduleGroup",
    "AWS::SecretsManager::Secret",
}


def kept(resources: Resources) -> dict[str, Any]:
    """Return what says of each resource that keeps something whether an upgrade keeps it."""
    return {
        name: {
            "Type": resource["Type"],
            "DeletionPolicy": resource.get("DeletionPolicy"),
            "UpdateReplacePolicy": resource.get("UpdateReplacePolicy"),
            "for good": {key: resource["Properties"].get(key) for key in for_good(resource["Type"])},
        }
        for name, resource in sorted(resources.items())
        if resource["Type"] in KEEPERS
    }


def for_good(kind: str) -> list[str]:
    """Return the properties that CloudFormation cannot change without a new resource."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    paths = [*schema.get("createOnlyProperties", []), *schema.get("conditionalCreateOnlyProperties", [])]
    return sorted({path.split("/")[2] for path in paths})


def test_what_keeps_data_or_an_address_is_not_replaced() -> None:
    assert kept(translated()) == json.loads(KEPT.read_text())


def test_what_a_table_is_found_by_is_among_what_cannot_change() -> None:
    assert "KeySchema" in for_good("AWS::DynamoDB::Table")
    assert for_good("AWS::Scheduler::ScheduleGroup") == ["Name"]
