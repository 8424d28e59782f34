"""Deployments go through and go back as they should, with the template as SAM and CloudFormation read it."""

import re
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from generators.template import Resources
from tests.conftest import SETTINGS
from tests.project.deployed import STACK_NAME, deployed
from tests.project.test_template_options import mentioned, of_type

GRADUALLY = "Canary10Percent5Minutes"


# --- what stops a deployment ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gradual() -> Resources:
    return deployed(GradualDeployment=GRADUALLY)


def guards(resources: Resources, function: str) -> dict[str, Any]:
    """Return the alarms that stop the deployment of the function."""
    group = resources[f"{function}DeploymentGroup"]["Properties"]["AlarmConfiguration"]
    assert group["Enabled"]
    return {alarm["Name"]: resources[alarm["Name"]]["Properties"] for alarm in group["Alarms"]}


def of_version(resources: Resources, function: str) -> dict[str, Any]:
    """Return the one alarm among them that watches a version."""
    (alarm,) = (alarm for alarm in guards(resources, function).values() if "Metrics" not in alarm)
    found: dict[str, Any] = alarm
    return found


def version_of(resources: Resources, function: str) -> str:
    (name,) = [name for name in of_type(resources, "AWS::Lambda::Version") if name.startswith(f"{function}Version")]
    return name


@pytest.mark.parametrize("function", SETTINGS)
def test_no_alarm_that_a_caller_or_stranger_can_raise_stops_a_deployment(gradual: Resources, function: str) -> None:
    """A refusal, a forged callback or a call that has ended is answered: to Lambda, that is no error."""
    watched = guards(gradual, function)

    assert watched
    for alarm in watched.values():
        assert alarm["TreatMissingData"] == "notBreaching", "or nothing could be deployed while nobody calls"
        if "Metrics" not in alarm:
            assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
            continue
        for metric in (it["MetricStat"]["Metric"] for it in alarm["Metrics"] if "MetricStat" in it):
            assert metric["Dimensions"] == [{"Name": "cause", "Value": "ours"}]


@pytest.mark.parametrize("function", SETTINGS)
def test_what_this_stack_fails_at_without_an_error_stops_a_deployment_too(gradual: Resources, function: str) -> None:
    """A start that is answered with 500 is no error to Lambda."""
    ours = [name for name in guards(gradual, function) if name == "OwnFailuresAlarm"]

    assert len(ours) == (function in {"StartRecordingFunction", "RecordingsApiFunction"})


@pytest.mark.parametrize("function", SETTINGS)
def test_only_errors_of_the_new_version_itself_stop_its_deployment(gradual: Resources, function: str) -> None:
    """What the former version did would stop the deployment that mends it."""
    alarm = of_version(gradual, function)

    assert {one["Name"]: one["Value"] for one in alarm["Dimensions"]} == {
        "FunctionName": function,
        "Resource": f"{function}:live",
        "ExecutedVersion": f"{version_of(gradual, function)}.Version",
    }


def test_a_new_version_has_an_alarm_that_has_never_been_raised(gradual: Resources) -> None:
    """CloudWatch leaves the state of an alarm that is changed; one with another name begins without."""
    after = deployed(GradualDeployment=GRADUALLY, layer="another")

    for function in SETTINGS:
        before, made = of_version(gradual, function), of_version(after, function)
        assert before["AlarmName"] != made["AlarmName"]
        assert made["AlarmName"].startswith(f"{STACK_NAME}-{function.removesuffix('Function')}ErrorsAlarm-")


# --- what makes a version ------------------------------------------------------------------------------

# What is the function's and not the version's: Lambda publishes nothing for it.
OF_NO_VERSION = {"ReservedConcurrentExecutions", "Tags"}

OTHER: dict[str, list[str]] = {
    "ArchiveCorsOrigins": ["https://desk.example.com"],
    "ArchiveKmsKeyArn": ["arn:aws:kms:us-east-1:000000000000:key/1"],
    "ControlApiAllowedCidrs": ["203.0.113.0/24"],
    "EventBusName": ["calls"],
    "KmsKeyArn": ["arn:aws:kms:us-east-1:000000000000:key/2"],
    "PageTopicArn": ["arn:aws:sns:us-east-1:000000000000:pages"],
    "RunbookUrl": ["https://example.com/runbook"],
    "TicketTopicArn": ["arn:aws:sns:us-east-1:000000000000:tickets"],
    "TwilioAccountSid": ["AC" + "1" * 32],
    "TwilioApiUrl": ["https://api.dublin.ie1.twilio.com"],
    "TwilioSecretPrefix": ["prod/twilio/"],
    # The second is the address that the API has anyway: then the functions stay as they are.
    "WebhookBaseUrl": ["https://calls.example.com", "https://WebhookApi.execute-api.us-east-1.amazonaws.com"],
}
"""Values beside the default of parameters that are not chosen from a list and are no numbers."""


def others(name: str, parameter: dict[str, Any]) -> list[str]:
    """Return values of a parameter beside its default."""
    if allowed := parameter.get("AllowedValues"):
        return [str(value) for value in allowed if str(value) != str(parameter["Default"])][:2]
    if parameter["Type"] == "Number":
        return [str(parameter["Default"] + 1), str(parameter["Default"] + 7)]
    return OTHER[name]


def versions(resources: Resources) -> dict[str, tuple[str, str]]:
    """Return what CloudFormation knows a function's version by: with another one of these, it publishes one."""
    return {
        function: (name, resources[name]["Properties"]["Description"])
        for function in SETTINGS
        for name in [version_of(resources, function)]
    }


def contents(resources: Resources) -> dict[str, dict[str, Any]]:
    """Return what Lambda compares with the last version: if nothing is new, publishing fails the deployment."""
    return {
        function: {
            name: value for name, value in resources[function]["Properties"].items() if name not in OF_NO_VERSION
        }
        for function in SETTINGS
    }


def assert_versions_follow(before: Resources, after: Resources) -> None:
    (versions_before, contents_before), (versions_after, contents_after) = (
        (versions(resources), contents(resources)) for resources in (before, after)
    )
    for function in SETTINGS:
        is_new = contents_before[function] != contents_after[function]
        assert (versions_before[function] != versions_after[function]) == is_new, function


def bases(template: dict[str, Any]) -> list[dict[str, str]]:
    """Return a stack with every default, and one with none."""
    parameters = template["Parameters"].items()
    return [
        {},
        {name: others(name, parameter)[0] for name, parameter in parameters} | {"ArchiveRecordings": "true"},
    ]


@pytest.mark.parametrize("is_base_of_defaults", [True, False], ids=["from-defaults", "from-others"])
def test_a_version_is_published_if_and_only_if_its_function_changes(
    template: dict[str, Any], *, is_base_of_defaults: bool
) -> None:
    """Without one the alias goes on with the old values, in silence; with one too many the deployment fails."""
    base = bases(template)[0 if is_base_of_defaults else 1]
    before = deployed(**base)

    for name, parameter in template["Parameters"].items():
        for value in others(name, parameter):
            if (name, value) in {("ArchiveRecordings", "false"), ("ArchiveLockMode", "COMPLIANCE")}:
                continue  # rules refuse these with what else the two stacks have; the functions know nothing of them
            assert_versions_follow(before, deployed(**base | {name: value}))


@pytest.mark.parametrize("name", [name for name in OTHER if name.endswith(("Arn", "Url"))])
def test_a_parameter_that_is_taken_away_again_leaves_versions_that_are_right(name: str) -> None:
    for value in OTHER[name]:
        assert_versions_follow(deployed(**{name: value}), deployed())


def test_what_a_version_is_known_by_cannot_mean_two_things(template: dict[str, Any]) -> None:
    """Its values stand one after the other, with spaces between them."""
    resources = template["Resources"]
    named = {
        name for function in SETTINGS for name in mentioned(resources[function]["Properties"]["VersionDescription"])
    }

    assert "TwilioApiUrl" in named
    for name in OTHER.keys() & named:
        pattern = template["Parameters"][name]["AllowedPattern"]
        for value in OTHER[name]:
            assert re.fullmatch(pattern, value)
            for spoilt in (f"{value} x", f"x {value}", f"{value[:-2]} {value[-2:]}", f"{value[:9]}\t{value[9:]}"):
                assert not re.fullmatch(pattern, spoilt), name


def test_what_a_version_is_known_by_has_room_for_long_values() -> None:
    longest_region = len("ap-southeast-1") - len("us-east-1")
    for function, (_, description) in versions(deployed()).items():
        assert len(description) + longest_region <= 256 - 60, function


# --- what is left over ---------------------------------------------------------------------------------


def test_a_version_that_is_rolled_back_is_in_nobody_s_way(gradual: Resources) -> None:
    """SAM keeps versions unless told otherwise, and Lambda publishes the same code and settings once."""
    for resources in (gradual, deployed()):
        made = of_type(resources, "AWS::Lambda::Version")
        assert len(made) == len(SETTINGS)
        for version in made.values():
            assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Delete", "Delete")


def test_what_keeps_data_survives_the_stack_but_not_a_first_deployment_that_failed() -> None:
    kept = {
        name: (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
        for name, resource in deployed().items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }

    names = ("RecordingsTable", "ArchiveBucket", "ArchiveAccessLogBucket", "AuditLogGroup")
    assert kept == dict.fromkeys(names, ("RetainExceptOnCreate", "Retain"))


def named(resources: Resources) -> dict[str, str]:
    """Return the resources that the template itself names, and how."""
    found = {}
    for name, resource in resources.items():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema
        identity = {path.removeprefix("/properties/") for path in schema["primaryIdentifier"]}
        read_only = {path.removeprefix("/properties/") for path in schema.get("readOnlyProperties", [])}
        for key in identity - read_only:
            value = resource["Properties"].get(key)
            if isinstance(value, str) and value not in resources and value.partition(".")[0] not in resources:
                found[f"{name}.{key}"] = value
    return found


def test_two_stacks_of_an_account_do_not_take_each_other_s_names() -> None:
    """What the template names has the stack in its name; the rest, CloudFormation names."""
    names = named(deployed(GradualDeployment=GRADUALLY))

    assert names.keys() >= {"Dashboard.DashboardName", "ResumeTimerGroup.Name", "WebhookLogGroup.LogGroupName"}
    for name, value in names.items():
        if not name.endswith((".Qualifier", ".StageName")):  # beside the function's name, and the API's id
            assert STACK_NAME in value or "1234abcd" in value, name


def test_the_webhook_s_log_leaves_the_account_s_resource_policy_alone() -> None:
    """API Gateway adds every other log group to it, and it holds 5,120 characters."""
    resources = deployed()
    group = resources["WebhookLogGroup"]["Properties"]["LogGroupName"]

    assert resources["WebhookStage"]["Properties"]["AccessLogSettings"]["DestinationArn"] == "WebhookLogGroup.Arn"
    assert re.fullmatch(rf"/aws/vendedlogs/{STACK_NAME}-1234abcd-webhook", group)


# --- how much at once ----------------------------------------------------------------------------------


def test_the_apis_take_as_many_requests_a_second_as_the_parameters_say() -> None:
    resources = deployed(ControlApiRate="70", WebhookRate="90")
    (control,) = resources["ControlApiv1Stage"]["Properties"]["MethodSettings"]
    webhook = resources["WebhookStage"]["Properties"]["DefaultRouteSettings"]

    assert (control["ResourcePath"], control["HttpMethod"]) == ("/*", "*")
    assert (control["ThrottlingRateLimit"], control["ThrottlingBurstLimit"]) == ("70", "70")
    assert (webhook["ThrottlingRateLimit"], webhook["ThrottlingBurstLimit"]) == ("90", "90")


def test_what_is_started_can_be_called_back(template: dict[str, Any]) -> None:
    """A callback that is answered with 429 does not come again, and each recording has two."""
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}

    assert defaults["ControlApiRate"] >= 1000
    assert defaults["WebhookRate"] >= 2 * defaults["ControlApiRate"]


def test_the_archive_takes_as_many_executions_as_the_parameter_says_and_by_default_half_of_a_new_account_s() -> None:
    def at_once(**parameters: str) -> str:
        found: str = deployed(**parameters)["ArchiveRecordingFunctionCompleted"]["Properties"]["ScalingConfig"][
            "MaximumConcurrency"
        ]
        return found

    assert at_once(ArchiveConcurrency="400") == "400"
    assert int(at_once()) <= 10 / 2
    for refused in ("1", "1001"):
        with pytest.raises(ValueError, match="ArchiveConcurrency"):
            at_once(ArchiveConcurrency=refused)


def test_changes_are_published_in_as_many_batches_as_the_parameter_says() -> None:
    mapping = deployed(StreamParallelization="10")["PublishChangesFunctionChanges"]["Properties"]

    assert mapping["ParallelizationFactor"] == "10"
    assert mapping["BisectBatchOnFunctionError"] is True
    for refused in ("0", "11"):
        with pytest.raises(ValueError, match="StreamParallelization"):
            deployed(StreamParallelization=refused)


def test_a_redrive_works_on_two_messages_at_once_at_most() -> None:
    mappings = of_type(deployed(), "AWS::Lambda::EventSourceMapping")
    redrives = {name: one["Properties"] for name, one in mappings.items() if name.endswith("Redrive")}

    assert len(redrives) == 3
    for redrive in redrives.values():
        assert (redrive["Enabled"], redrive["BatchSize"]) == (False, 1)
        assert redrive["ScalingConfig"] == {"MaximumConcurrency": 2}


# --- who may call, and what is traced -------------------------------------------------------------------


@pytest.mark.parametrize(
    "cidrs",
    ["203.0.113.0/24", "0.0.0.0/0,::/0", "203.0.113.7/32,2001:db8::/32,2001:DB8:0:1::/64", "::ffff:198.51.100.0/120"],
)
def test_addresses_are_a_list_in_the_api_s_policy(cidrs: str) -> None:
    """One string with commas would be one address, which no caller has: IAM would refuse everybody."""
    api = deployed(ControlApiAllowedCidrs=cidrs)["ControlApi"]["Properties"]["Body"]
    (statement,) = api["x-amazon-apigateway-policy"]["Statement"]

    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"NotIpAddress": {"aws:SourceIp": cidrs.split(",")}}


@pytest.mark.parametrize(
    "cidrs",
    ["", "203.0.113.0/24, 198.51.100.0/24", "203.0.113.0/24,", "example.com/24", "203.0.113.0", "0.0.0.0/0 ::/0"],
)
def test_what_is_no_list_of_addresses_is_refused_before_anything_is_made(cidrs: str) -> None:
    with pytest.raises(ValueError, match="ControlApiAllowedCidrs"):
        deployed(ControlApiAllowedCidrs=cidrs)


@pytest.mark.parametrize(("tracing", "is_on"), [("PassThrough", False), ("Active", True)])
def test_requests_and_functions_are_traced_if_somebody_wants_it(tracing: str, *, is_on: bool) -> None:
    resources = deployed(Tracing=tracing)

    assert resources["ControlApiv1Stage"]["Properties"]["TracingEnabled"] is is_on
    for function in SETTINGS:
        assert resources[function]["Properties"]["TracingConfig"] == {"Mode": tracing}


def test_by_default_nothing_is_traced_that_aws_would_bill(template: dict[str, Any]) -> None:
    assert template["Parameters"]["Tracing"]["Default"] == "PassThrough"


# --- what makes no sense together ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"DeleteAtTwilioAfterArchiving": "true", "ArchiveRecordings": "false"}, "needs ArchiveRecordings"),
        ({"ArchiveLockMode": "COMPLIANCE"}, "needs ArchiveLockDays"),
    ],
)
def test_what_makes_no_sense_together_is_refused_before_anything_is_made(parameters: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        deployed(**parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"DeleteAtTwilioAfterArchiving": "true"},
        {"ArchiveRecordings": "false"},
        {"ArchiveLockMode": "COMPLIANCE", "ArchiveLockDays": "365"},
        {"ArchiveLockDays": "365"},
    ],
)
def test_what_makes_sense_is_not_refused(parameters: dict[str, str]) -> None:
    assert deployed(**parameters)


def test_audio_that_is_deleted_before_it_would_be_cold_fails_no_deployment() -> None:
    """S3 refuses a transition after the expiration for the same filter; for an overlapping one, the expiration wins.

    CloudFormation's rules cannot compare numbers.
    """
    archive = deployed(ArchiveColdAfterDays="90", ArchiveRetentionDays="30")["ArchiveBucket"]["Properties"]
    rules = {rule["Id"]: rule for rule in archive["LifecycleConfiguration"]["Rules"]}

    assert rules["retention"]["ExpirationInDays"] == "30"
    assert rules["cold"]["Transitions"] == [{"StorageClass": "GLACIER_IR", "TransitionInDays": "90"}]
    assert (rules["retention"].get("Prefix", ""), rules["cold"]["Prefix"]) == ("", "AC"), "every key begins so"
