"""Whether the stack's resources work as intended, and whether the account's quotas are sufficient."""

from collections.abc import Iterator
from typing import Any, Final

from botocore.exceptions import ClientError

from operations.doctor.deployed import Deployed
from operations.doctor.findings import Finding, advice

LEAST_UNRESERVED: Final = 100
"""Concurrent executions that Lambda always leaves unreserved, and that six functions need for bursts."""

_STABLE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
_REDRIVE: Final = "docs/how-to/operate/redrive-dead-letters.md"


def last_deployment_went_through(deployed: Deployed) -> Iterator[Finding]:
    """The last deployment succeeded."""
    status = deployed.description["StackStatus"]
    if status == "UPDATE_ROLLBACK_COMPLETE":
        yield advice(
            "The last deployment was rolled back; the stack runs as before.",
            f"See the reason: aws cloudformation describe-stack-events --stack-name {deployed.name}",
        )
    elif status not in _STABLE:
        yield Finding(
            f"The stack is in status {status}.",
            "If that does not change, see the stack's events in the CloudFormation console.",
        )


def functions_can_run(deployed: Deployed) -> Iterator[Finding]:
    """Each function is active, and none is blocked by a reserved concurrency of 0."""
    client = deployed.client("lambda")
    for name, physical in deployed.resources("AWS::Lambda::Function").items():
        told = client.get_function_configuration(FunctionName=physical)
        if told.get("State", "Active") != "Active" or told.get("LastUpdateStatus", "Successful") == "Failed":
            yield Finding(
                f"{name} is {told.get('State')}, and its last change is {told.get('LastUpdateStatus')}: "
                f"{told.get('StateReason') or told.get('LastUpdateStatusReason') or 'Lambda gives no reason'}",
                "Deploy again; if that does not help, look into the reason.",
            )
        if client.get_function_concurrency(FunctionName=physical).get("ReservedConcurrentExecutions") == 0:
            yield Finding(
                f"{name} does not run: its reserved concurrency is 0.",
                f"aws lambda delete-function-concurrency --function-name {physical}",
            )


def concurrency_suffices(deployed: Deployed) -> Iterator[Finding]:
    """The account's quota of concurrent executions is enough for this stack's reservations, archiving, and bursts."""
    client = deployed.client("lambda")
    limits = client.get_account_settings()["AccountLimit"]
    total, unreserved = limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]
    archiving = sum(
        each.get("ScalingConfig", {}).get("MaximumConcurrency", 0)
        for each in _mappings(deployed).values()
        if each.get("State") != "Disabled"
    )
    if unreserved < LEAST_UNRESERVED + archiving:
        yield Finding(
            f"The quota of this account and Region is {total} concurrent executions, {unreserved} of them unreserved. "
            f"Archiving alone uses up to {archiving}; bursts of callbacks and starts will be throttled.",
            "Request an increase in the Service Quotas console: AWS Lambda, Concurrent executions (1,000 is usual).",
        )


def apis_may_answer_as_often_as_they_are_set_to(deployed: Deployed) -> Iterator[Finding]:
    """The account's throttle of API Gateway is not lower than the stack's own."""
    client = deployed.client("apigateway")
    account = client.get_account().get("throttleSettings", {}).get("rateLimit")
    for name, api_id in deployed.resources("AWS::ApiGateway::RestApi").items():
        for stage in client.get_stages(restApiId=api_id)["item"]:
            rates = [each.get("throttlingRateLimit", -1) for each in stage.get("methodSettings", {}).values()]
            if account is not None and max(rates, default=-1) > account:
                yield Finding(
                    f"{name} accepts {max(rates):g} requests per second, but the quota of the account is {account:g} "
                    "for all its APIs in the Region.",
                    "Request an increase in the Service Quotas console: Amazon API Gateway, Throttle rate.",
                )


def mappings_are_as_they_should_be(deployed: Deployed) -> Iterator[Finding]:
    """The redrive mappings are disabled, and all other event source mappings are enabled."""
    for name, told in _mappings(deployed).items():
        state, uuid = told.get("State"), told["UUID"]
        if "Redrive" in name and state in {"Enabled", "Enabling", "Creating", "Updating"}:
            yield Finding(
                f"{name} is enabled: messages that can never succeed are retried every few minutes.",
                f"aws lambda update-event-source-mapping --uuid {uuid} --no-enabled   # {_REDRIVE}",
            )
        elif "Redrive" not in name and state in {"Disabled", "Disabling"}:
            yield Finding(
                f"{name} is disabled: its messages are not processed.",
                f"aws lambda update-event-source-mapping --uuid {uuid} --enabled",
            )


def schedules_are_on(deployed: Deployed) -> Iterator[Finding]:
    """The reconciler's schedule and the rules are enabled."""
    for name, physical in deployed.resources("AWS::Scheduler::Schedule").items():
        if deployed.client("scheduler").get_schedule(Name=physical).get("State") == "DISABLED":
            yield Finding(
                f"The schedule {name} is disabled: recordings whose callbacks are lost stay open forever.",
                "Enable it in the EventBridge Scheduler console, or deploy again.",
            )
    bus = deployed.parameters["EventBusName"]
    for name, physical in deployed.resources("AWS::Events::Rule").items():
        # CloudFormation calls a rule of another bus than the default one `bus|rule`.
        rule = deployed.client("events").describe_rule(Name=physical.rpartition("|")[2], EventBusName=bus)
        if rule.get("State") == "DISABLED":
            yield Finding(
                f"The rule {name} is disabled: its events are lost.",
                f"aws events enable-rule --name {rule['Name']} --event-bus-name {bus}",
            )


def bus_is_there(deployed: Deployed) -> Iterator[Finding]:
    """The event bus for requests and changes exists."""
    bus = deployed.parameters["EventBusName"]
    try:
        deployed.client("events").describe_event_bus(Name=bus)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        yield Finding(
            f"The event bus {bus} does not exist: no event arrives or is published.",
            f"aws events create-event-bus --name {bus}   # then deploy again, to create its rules",
        )


def keys_can_be_used(deployed: Deployed) -> Iterator[Finding]:
    """Your own KMS keys are enabled."""
    for parameter in ("KmsKeyArn", "ArchiveKmsKeyArn"):
        if not (arn := deployed.parameters.get(parameter)):
            continue
        state = deployed.client("kms").describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
        if state != "Enabled":
            yield Finding(
                f"The key of {parameter} is {state}: data that it encrypts cannot be read or written.",
                "Enable it, or cancel its deletion, in the KMS console. Without the key its data is lost.",
            )


def audio_is_archived(deployed: Deployed) -> Iterator[Finding]:
    """The stack archives audio."""
    if deployed.parameters.get("ArchiveRecordings") == "false":
        yield advice(
            "The archive is switched off: audio stays only at Twilio.",
            "If that is not intended, deploy with ArchiveRecordings=true.",
        )


CHECKS: Final = (
    last_deployment_went_through,
    functions_can_run,
    concurrency_suffices,
    apis_may_answer_as_often_as_they_are_set_to,
    mappings_are_as_they_should_be,
    schedules_are_on,
    bus_is_there,
    keys_can_be_used,
    audio_is_archived,
)


def _mappings(deployed: Deployed) -> dict[str, dict[str, Any]]:
    """Return the stack's event source mappings by their names in the translated template."""
    client = deployed.client("lambda")
    found = deployed.resources("AWS::Lambda::EventSourceMapping")
    return {name: client.get_event_source_mapping(UUID=uuid) for name, uuid in found.items()}
