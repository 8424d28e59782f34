"""The template keeps the names that others rely on, and the promises that only it can keep."""

import json
import re
from typing import Any

import pytest

from call_recording.bus import SOURCE, STATUS_CHANGE
from call_recording.commands.triggers import CONTROL_REQUESTED, START_REQUESTED
from call_recording.start.request import RETRY_FRAGMENT
from local.stack import PROJECT
from tests.conftest import SETTINGS, table_properties

Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> Resources:
    found: Resources = template["Resources"]
    return found


def of_type(resources: Resources, kind: str) -> Resources:
    return {name: resource for name, resource in resources.items() if resource["Type"] == kind}


def test_the_parameters_have_the_defaults_of_the_design(template: dict[str, Any]) -> None:
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}

    assert defaults["TwilioAccountSid"] is None
    assert defaults["TwilioSecretPrefix"] == "twilio/"
    assert defaults["TwilioApiUrl"] == "https://api.twilio.com"
    assert defaults["WebhookBaseUrl"] == ""
    assert defaults["EventBusName"] == "default"
    assert all(parameter["Description"] for parameter in template["Parameters"].values())


def test_the_template_is_read_in_one_sitting(template: dict[str, Any]) -> None:
    # 115 lines of them are for alarms over every queue, rule and function, and for saved queries.
    assert len((PROJECT / "template.yaml").read_text().splitlines()) <= 1580
    # Two topics and where the runbook is; six limits, which fit a new account or a busy centre, and tracing.
    assert len(template["Parameters"]) <= 36


def test_whoever_deploys_in_the_console_is_asked_in_groups_and_by_name(template: dict[str, Any]) -> None:
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    groups, labels = interface["ParameterGroups"], interface["ParameterLabels"]

    assert [name for group in groups for name in group["Parameters"]] == list(template["Parameters"])
    assert labels.keys() == template["Parameters"].keys()
    assert all(group["Label"].keys() == {"default"} and group["Label"]["default"] for group in groups)
    assert all(label.keys() == {"default"} and label["default"] for label in labels.values())


def test_a_reader_meets_the_two_main_functions_first_and_then_the_table(resources: Resources) -> None:
    rooms = [name for name in resources if re.search("(Function|Table|Api|Bucket)$", name)]

    assert rooms[:3] == ["StartRecordingFunction", "RecordingStatusFunction", "RecordingsTable"]


def test_the_logical_ids_and_outputs_are_those_of_the_design(template: dict[str, Any], resources: Resources) -> None:
    assert resources.keys() >= {
        "StartRecordingFunction",
        "RecordingStatusFunction",
        "ReconcileRecordingsFunction",
        "RecordingsApiFunction",
        "PublishChangesFunction",
        "ArchiveRecordingFunction",
        "ArchiveBucket",
        "IdempotencyTable",
        "RecordingsTable",
        "ControlApi",
        "WebhookApi",
    }
    assert template["Outputs"].keys() >= {"ControlApiUrl", "WebhookUrl", "RecordingsTableName", "EventBusName"}


def test_the_settings_are_those_of_every_function(resources: Resources) -> None:
    assert of_type(resources, "AWS::Serverless::Function").keys() == SETTINGS.keys()


@pytest.mark.parametrize("function", SETTINGS)
def test_each_function_is_given_every_setting_it_reads(
    template: dict[str, Any], resources: Resources, function: str
) -> None:
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    own = resources[function]["Properties"]["Environment"]["Variables"]

    assert set(SETTINGS[function].variables()) <= common.keys() | own.keys()


@pytest.mark.parametrize("function", SETTINGS)
def test_the_layer_logs_as_the_function_that_it_works_for(resources: Resources, function: str) -> None:
    """A child logger finds its parent by the service's name; without it, its lines have no fields and no JSON."""
    app = (PROJECT / resources[function]["Properties"]["CodeUri"] / "app.py").read_text()
    service = resources[function]["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]

    assert f'Logger(service="{service}", ' in app


def test_tables_are_on_demand_encrypted_recoverable_and_survive_the_stack(resources: Resources) -> None:
    for table in of_type(resources, "AWS::DynamoDB::Table").values():
        properties = table["Properties"]
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        assert properties["SSESpecification"]["SSEEnabled"] is True
        assert properties["TimeToLiveSpecification"]["Enabled"]


def test_the_recordings_survive_the_stack_and_mistakes(resources: Resources) -> None:
    table = resources["RecordingsTable"]

    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"


KEYED_BY = {
    "by-call": "call_sid",
    "by-account-day": "account_day",
    "open": "open_shard",
    "by-requested-call": "requested_other_call_sid",
    "by-conference": "conference_sid",
    "by-reference": "account_reference",
}


@pytest.mark.parametrize("has_whole_indexes", [False, True])
def test_indexes_show_keys_and_those_of_a_stack_from_before_stay_what_they_are(
    template: dict[str, Any], *, has_whole_indexes: bool
) -> None:
    """CloudFormation would have to make each anew, and makes one at a time; in a new table it makes all at once."""
    table = table_properties(template, "RecordingsTable", has_whole_indexes=has_whole_indexes)
    of_open = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["account_sid", "call_sid", "status"]}
    of_others: dict[str, Any] = {"ProjectionType": "ALL"}
    if not has_whole_indexes:
        of_others = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["account_sid"]}

    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": name,
            "KeySchema": [
                {"AttributeName": attribute, "KeyType": "HASH"},
                {"AttributeName": "start_time", "KeyType": "RANGE"},
            ],
            "Projection": of_open if name == "open" else of_others,
        }
        for name, attribute in KEYED_BY.items()
    ]
    assert {one["AttributeName"] for one in table["AttributeDefinitions"]} == {
        *("recording_sid", "start_time", *KEYED_BY.values())
    }


def test_a_stack_from_before_must_say_that_its_indexes_are_whole(template: dict[str, Any]) -> None:
    """Its own value, a number, is none that CloudFormation would take over."""
    parameter = template["Parameters"]["RecordingsTableIndexes"]

    assert (parameter["Default"], parameter["AllowedValues"]) == ("keys", ["keys", "whole"])
    assert template["Conditions"]["HasWholeIndexes"] == {"Fn::Equals": [{"Ref": "RecordingsTableIndexes"}, "whole"]}


def test_no_policy_grants_a_wildcard_action_or_resource(resources: Resources) -> None:
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        key, own = function["Properties"]["Policies"]
        assert key == {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyPolicy"}, {"Ref": "AWS::NoValue"}]}
        listed = own["Statement"]
        # `!If`: a condition and two statements, or none in place of one.
        either = [choice for s in listed for choice in (s["Fn::If"][1:] if "Fn::If" in s else [s])]
        statements = [s for s in either if s != {"Ref": "AWS::NoValue"}]
        assert statements, name
        for statement in statements:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert all("*" not in action for action in actions), name
            assert statement["Resource"] != "*", name


def test_every_function_writes_to_a_log_group_with_retention(resources: Resources) -> None:
    for function in of_type(resources, "AWS::Serverless::Function").values():
        group = function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
        assert resources[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize(
    ("name", "detail_type", "kept_in", "patience_seconds"),
    [
        ("StartRecordingFunction", START_REQUESTED, "StartDeadLetterQueue", 300),
        # Resume timers come the same way, and are worth an hour.
        ("RecordingsApiFunction", CONTROL_REQUESTED, "ControlDeadLetterQueue", 3600),
    ],
)
def test_an_event_that_fails_is_retried_for_a_while_and_then_kept(
    resources: Resources, name: str, detail_type: str, kept_in: str, patience_seconds: int
) -> None:
    function = resources[name]["Properties"]
    rule = function["Events"]["Requested"]["Properties"]
    queue = {"Fn::GetAtt": [kept_in, "Arn"]}

    assert rule["Pattern"] == {"detail-type": [detail_type]}
    assert (rule["RetryPolicy"]["MaximumEventAgeInSeconds"], rule["DeadLetterConfig"]["Arn"]) == (300, queue)
    assert function["EventInvokeConfig"] == {
        "MaximumEventAgeInSeconds": patience_seconds,
        "MaximumRetryAttempts": 2,
        "DestinationConfig": {"OnFailure": {"Type": "SQS", "Destination": queue}},
    }


def test_whatever_api_gateway_refuses_by_itself_is_a_problem_with_its_status(resources: Resources) -> None:
    responses = resources["ControlApi"]["Properties"]["GatewayResponses"]

    assert len(responses) == 21, "every type that a REST API has"
    for name, response in responses.items():
        template = response["ResponseTemplates"]["application/json"]
        problem = json.loads(template.replace("$context.error.messageString", '"why"'))
        assert problem["status"] == response["StatusCode"], name
        assert problem.keys() == {"type", "title", "status", "detail"}
        assert problem["type"].startswith("urn:problem:call-recording:")
        assert template.endswith("}\n"), "a shell's prompt begins on a line of its own"
        assert response["ResponseParameters"]["Headers"]["Content-Type"] == "'application/problem+json'"


def test_both_apis_are_throttled_and_only_the_webhook_is_open(resources: Resources) -> None:
    control = resources["ControlApi"]["Properties"]
    webhook = resources["WebhookStage"]["Properties"]["DefaultRouteSettings"]

    assert control["Auth"]["DefaultAuthorizer"] == "AWS_IAM"
    for limits, parameter in ((control["MethodSettings"][0], "ControlApiRate"), (webhook, "WebhookRate")):
        assert limits["ThrottlingRateLimit"] == limits["ThrottlingBurstLimit"] == {"Ref": parameter}


def test_the_access_log_never_holds_a_callback(resources: Resources) -> None:
    log = json.loads(resources["WebhookStage"]["Properties"]["AccessLogSettings"]["Format"])

    assert not {"$context.path", "$context.requestOverride"} & set(log.values())
    assert all("query" not in value.lower() for value in log.values())


def test_changes_are_taken_from_the_stream_bit_by_bit_and_kept_when_they_cannot_be_told(resources: Resources) -> None:
    (event,) = resources["PublishChangesFunction"]["Properties"]["Events"].values()
    source = event["Properties"]

    assert event["Type"] == "DynamoDB"
    assert source["Stream"] == {"Fn::GetAtt": ["RecordingsTable", "StreamArn"]}
    assert source["StartingPosition"] == "TRIM_HORIZON", "what happens while the stack is made is told, too"
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["MaximumRecordAgeInSeconds"] < 86_400, "a stream keeps a day: the failure must be noted before"
    assert "MaximumRetryAttempts" not in source
    assert source["DestinationConfig"]["OnFailure"] == {
        "Type": "SQS",
        "Destination": {"Fn::GetAtt": ["ChangesDeadLetterQueue", "Arn"]},
    }


def test_only_completed_recordings_wait_for_the_archive_and_only_if_there_is_to_be_one(resources: Resources) -> None:
    rule = resources["CompletedRule"]["Properties"]
    policy, _ = resources["ArchiveQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert rule["State"] == {"Fn::If": ["ArchivesRecordings", "ENABLED", "DISABLED"]}
    assert rule["EventPattern"] == {
        "source": [SOURCE],
        "detail-type": [STATUS_CHANGE],
        "detail": {"status": ["completed"]},
    }
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["ArchiveQueue", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["ArchiveDeadLetterQueue", "Arn"]}}
    assert policy["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["CompletedRule", "Arn"]}}}


def test_the_webhook_gives_up_before_twilio_does_and_twilio_while_it_can_try_again(resources: Resources) -> None:
    overrides = {name: int(value) for name, _, value in (part.partition("=") for part in RETRY_FRAGMENT.split("&")[:3])}
    most_seconds, cold_start_seconds = resources["RecordingStatusFunction"]["Properties"]["Timeout"], 1

    assert (most_seconds + cold_start_seconds) * 1_000 <= overrides["rt"]
    assert 2 * (overrides["ct"] + overrides["rt"]) <= 15_000, "what Twilio gives all tries together"


def test_the_last_try_to_archive_is_the_one_that_tells_of_the_failure(resources: Resources) -> None:
    function, queue = resources["ArchiveRecordingFunction"]["Properties"], resources["ArchiveQueue"]["Properties"]
    (event,) = function["Events"].values()

    assert int(function["Environment"]["Variables"]["MOST_RECEIVES"]) == queue["RedrivePolicy"]["maxReceiveCount"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["ArchiveDeadLetterQueue", "Arn"]}
    assert queue["VisibilityTimeout"] > function["Timeout"], "nobody else takes what is being archived"
    assert event["Properties"]["BatchSize"] == 1
    assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize("name", ["ArchiveBucket", "ArchiveAccessLogBucket"])
def test_a_bucket_survives_the_stack_and_is_nobody_else_s(resources: Resources, name: str) -> None:
    bucket, policy = resources[name], resources[f"{name}Policy"]["Properties"]

    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert bucket["Properties"]["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["Properties"]["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert policy["Bucket"] == {"Ref": name}
    (denied,) = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
    assert (denied["Principal"], denied["Action"]) == ("*", "s3:*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert denied["Resource"] == [{"Fn::GetAtt": [name, "Arn"]}, {"Fn::Sub": f"${{{name}.Arn}}/*"}]


def test_the_archive_is_versioned_encrypted_logged_and_keeps_nothing_half_done(resources: Resources) -> None:
    archive = resources["ArchiveBucket"]["Properties"]
    (encryption,) = archive["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    rules = [rule for rule in archive["LifecycleConfiguration"]["Rules"] if "Fn::If" not in rule]

    assert archive["VersioningConfiguration"] == {"Status": "Enabled"}
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert archive["LoggingConfiguration"]["DestinationBucketName"] == {"Ref": "ArchiveAccessLogBucket"}
    assert {"DaysAfterInitiation": 1} in [rule.get("AbortIncompleteMultipartUpload") for rule in rules]
    assert all("ExpirationInDays" not in rule for rule in rules), "audio is kept unless somebody says how long"


def test_access_logs_come_from_s3_for_the_archive_alone(resources: Resources) -> None:
    statements = resources["ArchiveAccessLogBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (allowed,) = [statement for statement in statements if statement["Effect"] == "Allow"]
    prefix = resources["ArchiveBucket"]["Properties"]["LoggingConfiguration"]["LogFilePrefix"]

    assert allowed["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert allowed["Action"] == "s3:PutObject"
    assert allowed["Resource"] == {"Fn::Sub": f"${{ArchiveAccessLogBucket.Arn}}/{prefix}*"}
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
