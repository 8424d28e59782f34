"""The alarms: one for each question, each told to those who can act on it, and nothing in the stack goes unwatched.

All of it is read off the template as SAM translates it, so that a new function, queue or rule cannot be forgotten.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import pytest
from samcli.yamlhelper import yaml_parse

from call_recording import metrics
from call_recording.errors import Cause
from call_recording.metrics import Metric
from generators.template import Resources, translated
from local.for_ministack import for_ministack
from local.stack import PROJECT

OWN: Final = "CallRecording/${AWS::StackName}"
PAGE: Final = {"OwnFailuresAlarm", "CredentialsRefusedAlarm", "CallersTurnedAwayAlarm", "EventsLostAlarm"}
TICKET: Final = {
    "TwilioFailuresAlarm",
    "BackgroundFailingAlarm",
    "WaitsTooLongAlarm",
    "DeadLettersAlarm",
    "GivenUpAlarm",
    "PausesAlarm",
    "RefusedSignaturesAlarm",
    "OpenTooLongAlarm",
    "ReconcilerNotRunningAlarm",
}
# From AWS's lists of metrics: docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html,
# …/eventbridge/latest/userguide/eb-monitoring.html, …/scheduler/latest/UserGuide/monitoring-cloudwatch-metrics.html,
# …/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
OF_AWS: Final = {
    "AWS/Lambda": {
        *("Errors", "Throttles", "AsyncEventAge", "AsyncEventsDropped", "DestinationDeliveryFailures", "IteratorAge")
    },
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/Events": {"FailedInvocations", "InvocationsFailedToBeSentToDlq"},
    "AWS/Scheduler": {"InvocationDroppedCount", "InvocationsFailedToBeSentToDeadLetterCount"},
}


class Watched(NamedTuple):
    """A metric that an alarm or a widget looks at; of AWS's, `of` is the logical id of what it is about."""

    namespace: str
    name: str
    of: tuple[str, ...] = ()
    """The names and values of the dimensions for our own metrics, the logical ids for AWS's."""


NOT_WATCHED: Final = re.compile(r"^EventBusName$|FunctionVersion[0-9a-f]{10}$")
"""What dimensions name beside the function, queue or rule: where a rule is, and which version."""


@pytest.fixture(scope="module")
def resources() -> Resources:
    return translated()


@pytest.fixture(scope="module")
def alarms(resources: Resources) -> Resources:
    return {name: each["Properties"] for name, each in of_type(resources, "AWS::CloudWatch::Alarm").items()}


def of_type(resources: Resources, kind: str) -> Resources:
    return {name: resource for name, resource in resources.items() if resource["Type"] == kind}


def logical_ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("Ref", "Fn::GetAtt"):
                yield inner if isinstance(inner, str) else inner[0]
            else:
                yield from logical_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from logical_ids(inner)


def metric_of(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the metrics that an alarm looks at."""
    if "Metrics" not in alarm:
        yield alarm
    for query in alarm.get("Metrics", []):
        if "MetricStat" in query:
            yield query["MetricStat"]["Metric"]


def watched_by(alarm: dict[str, Any]) -> Iterator[Watched]:
    for metric in metric_of(alarm):
        namespace, dimensions = metric["Namespace"], metric.get("Dimensions", [])
        if namespace == {"Fn::Sub": OWN}:
            of = tuple(word for each in dimensions for word in (each["Name"], each["Value"]))
            yield Watched(OWN, metric["MetricName"], of)
        else:
            of = tuple(sorted({name for name in logical_ids(dimensions) if not NOT_WATCHED.search(name)}))
            yield Watched(namespace, metric["MetricName"], of)


def watched(alarms: Resources, names: set[str] = PAGE | TICKET) -> set[Watched]:
    return {each for name in names for each in watched_by(alarms[name])}


def about(found: set[Watched], metric: str) -> set[str]:
    """Return the logical ids of what a metric of AWS's is watched of."""
    return {each.of[0] for each in found if each.name == metric}


# --- who is told, of what, and with which link ---------------------------------------------------------


def test_there_is_an_alarm_for_each_question_and_the_list_fits_on_one_screen(alarms: Resources) -> None:
    told = {name for name, alarm in alarms.items() if "AlarmActions" in alarm or "OKActions" in alarm}

    assert told == PAGE | TICKET
    assert len(told) <= 15


def test_the_alarms_that_tell_nobody_are_those_that_deployments_go_back_on(
    alarms: Resources, resources: Resources
) -> None:
    guards = {name.removesuffix("Function") + "ErrorsAlarm" for name in of_type(resources, "AWS::Lambda::Function")}

    assert alarms.keys() - PAGE - TICKET == guards
    for name in guards:
        assert alarms[name]["AlarmDescription"]["Fn::Sub"].startswith("Notifies nobody; ")


@pytest.mark.parametrize(
    ("topics", "page", "ticket"),
    [
        ({"PageTopicArn", "TicketTopicArn"}, "PageTopicArn", "TicketTopicArn"),
        ({"TicketTopicArn"}, "TicketTopicArn", "TicketTopicArn"),
        ({"PageTopicArn"}, "PageTopicArn", None),
        (set(), None, None),
    ],
    ids=["both", "tickets only", "pages only", "neither"],
)
def test_a_page_goes_to_the_tickets_where_no_other_topic_is_and_a_ticket_never_wakes_anybody(
    alarms: Resources, topics: set[str], page: str | None, ticket: str | None
) -> None:
    def chosen(value: Any) -> Any:
        if isinstance(value, dict) and "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return chosen(yes if condition.removeprefix("Has") + "Arn" in topics else no)
        return value

    for names, topic in ((PAGE, page), (TICKET, ticket)):
        expected = [{"Ref": topic}] if topic else {"Ref": "AWS::NoValue"}
        for name in names:
            assert chosen(alarms[name]["AlarmActions"]) == expected, name
            assert chosen(alarms[name]["OKActions"]) == expected, name


def headings(page: str) -> dict[str, str]:
    """Return the headings of a page by their anchors."""
    found = re.findall(r"^#+ (.+)$", (PROJECT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-"): heading for heading in found}


def test_each_alarm_says_how_urgent_it_is_what_happened_and_where_the_runbook_is(
    alarms: Resources, template: dict[str, Any]
) -> None:
    folder = template["Parameters"]["RunbookUrl"]["Default"]
    for name, alarm in alarms.items():
        found = re.fullmatch(
            r"(Page\.|Ticket\.|Notifies nobody;) (.+[.]) \$\{RunbookUrl\}/(\w+\.md)#([\w-]+)",
            alarm["AlarmDescription"]["Fn::Sub"],
        )
        assert found, name
        urgency, what, page, anchor = found.groups()

        assert urgency == ("Page." if name in PAGE else "Ticket." if name in TICKET else "Notifies nobody;")
        assert headings(f"{folder}/{page}")[anchor] == (name if name in PAGE | TICKET else "The errors alarms")
        assert len(what) < 300, "CloudWatch takes 1,024, and the address, of at most 501, is yet to come"


def test_what_callers_and_strangers_send_pages_nobody(alarms: Resources) -> None:
    """Ours are told apart by their cause. Of AWS's figures, strangers reach those of the public webhook alone."""
    for each in watched(alarms, PAGE):
        if each.namespace == OWN:
            assert each.of == ("cause", "ours") or each == Watched(OWN, "CredentialsRefused")
        assert "RecordingStatusFunction" not in each.of
        assert "CallbackDeadLetterQueue" not in each.of
    assert not {each for each in watched(alarms) if "caller" in each.of}, "it is counted, and no more"


# --- what is watched -----------------------------------------------------------------------------------


def catalogue() -> dict[str, Metric]:
    return {found.name: found for found in vars(metrics).values() if isinstance(found, Metric)}


def test_each_metric_that_an_alarm_waits_for_is_one_that_somebody_writes_with_those_dimensions(
    alarms: Resources, template: dict[str, Any]
) -> None:
    for name, alarm in alarms.items():
        for each in watched_by(alarm):
            if each.namespace == OWN:
                assert each.of[::2] == catalogue()[each.name].dimensions, name
                assert dict(zip(each.of[::2], each.of[1::2], strict=True)).get("cause", "ours") in get_args(Cause)
            else:
                assert each.name in OF_AWS[each.namespace], name
                assert len(each.of) == 1, name
    environment = template["Globals"]["Function"]["Environment"]["Variables"]
    assert environment["POWERTOOLS_METRICS_NAMESPACE"] == {"Fn::Sub": OWN}


def test_every_function_s_errors_and_throttles_are_watched(alarms: Resources, resources: Resources) -> None:
    functions = of_type(resources, "AWS::Lambda::Function").keys()
    found = watched(alarms)

    assert about(found, "Errors") == functions
    assert about(found, "Throttles") == functions - {"ReconcileRecordingsFunction"}, "a missed run has its own alarm"


def test_every_queue_s_age_is_watched_and_the_depth_where_nothing_takes_messages_out(
    alarms: Resources, resources: Resources
) -> None:
    queues = of_type(resources, "AWS::SQS::Queue").keys()
    mappings = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    emptied = {
        name
        for mapping in mappings
        if mapping["Properties"].get("Enabled", True) is True
        for name in logical_ids(mapping["Properties"]["EventSourceArn"])
    }
    found = watched(alarms)

    assert about(found, "ApproximateAgeOfOldestMessage") == queues
    assert about(found, "ApproximateNumberOfMessagesVisible") == queues - emptied
    assert "ArchiveQueue" in emptied


def test_every_other_way_that_nobody_waits_for_is_watched(alarms: Resources, resources: Resources) -> None:
    """Its age where AWS tells one, that it gave up, and that not even the letter got through."""
    found = watched(alarms)
    invoked = {
        next(logical_ids(each["Properties"]["FunctionName"]))
        for each in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
        if "OnFailure" in each["Properties"].get("DestinationConfig", {})
    }
    streams = {
        next(logical_ids(each["Properties"]["FunctionName"])).removesuffix("Aliaslive")
        for each in of_type(resources, "AWS::Lambda::EventSourceMapping").values()
        if "DestinationConfig" in each["Properties"]
    }
    rules = of_type(resources, "AWS::Events::Rule").keys()
    groups = of_type(resources, "AWS::Scheduler::ScheduleGroup").keys()

    assert about(found, "AsyncEventAge") == about(found, "AsyncEventsDropped") == invoked
    assert about(found, "IteratorAge") == streams
    assert about(found, "DestinationDeliveryFailures") == invoked | streams
    assert about(found, "FailedInvocations") == about(found, "InvocationsFailedToBeSentToDlq") == rules
    assert about(found, "InvocationDroppedCount") == groups
    assert about(found, "InvocationsFailedToBeSentToDeadLetterCount") == groups
    assert [len(each) for each in (invoked, streams, rules, groups)] == [2, 1, 4, 1]
    # A schedule of this stack's own runs the reconciler, which counts its runs: too few are an alarm.
    assert of_type(resources, "AWS::Scheduler::Schedule").keys() == {"ReconcileRecordingsFunctionSchedule"}
    assert Watched(OWN, "ReconcilerRuns") in found


def test_every_kind_of_work_that_a_batch_gives_back_is_watched(alarms: Resources) -> None:
    """Such an invocation is a success, of which Lambda counts no error."""
    sources = [*(PROJECT / "layers/shared/call_recording").rglob("*.py"), *(PROJECT / "functions").rglob("*.py")]
    counted = {
        work
        for source in sources
        for work in re.findall(r'(?:with attempt\(|FAILED_ATTEMPTS\.add\(work=)"(\w+)"', source.read_text())
    }
    giving_back = {
        source.name if source.name != "app.py" else source.parent.name
        for source in sources
        if re.search(r"batchItemFailures|process_partial_response\(", source.read_text())
    }

    assert {each.of for each in watched(alarms) if each.name == "FailedAttempts"} == {
        ("work", work, "cause", "ours") for work in counted
    }
    assert counted == {"archive", "changes", "redrive"}
    assert giving_back == {"archive_recording", "publish_changes", "dead_letters.py"}, "one for each kind of work"


# --- how it is computed --------------------------------------------------------------------------------


def test_an_alarm_over_several_metrics_is_raised_by_any_of_them_and_by_none_that_is_missing(alarms: Resources) -> None:
    several = {name: alarm for name, alarm in alarms.items() if "Metrics" in alarm}
    for name, alarm in several.items():
        computed, *found = alarm["Metrics"]

        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold"), name
        assert 1 < len(found) <= 10, "CloudWatch takes no more"
        assert all(each["ReturnData"] is False and each["MetricStat"]["Period"] == 300 for each in found), name
        ids = [each["Id"] for each in alarm["Metrics"]]
        assert len(set(ids)) == len(ids), name
        assert all(re.fullmatch(r"[a-z]\w*", each) for each in ids), name
        if name != "WaitsTooLongAlarm":
            assert computed["Expression"] == "SUM(FILL(METRICS(), 0))", name
    assert len(several) == 8


def test_what_waits_is_measured_by_what_it_may_wait(alarms: Resources, resources: Resources) -> None:
    computed, *found = alarms["WaitsTooLongAlarm"]["Metrics"]
    limits = {name: int(most) for name, most in re.findall(r"FILL\((\w+), 0\) / (\d+)", computed["Expression"])}
    inner = ", ".join(f"FILL({name}, 0) / {most}" for name, most in limits.items())
    invoked = resources["StartRecordingFunctionEventInvokeConfig"]["Properties"]
    stream = resources["PublishChangesFunctionChanges"]["Properties"]

    assert computed["Expression"] == f"MAX([{inner}])"
    assert list(limits) == [each["Id"] for each in found]
    assert {each["MetricStat"]["Stat"] for each in found} == {"Maximum"}
    assert limits["start"] < invoked["MaximumEventAgeInSeconds"] * 1000
    assert limits["changes"] < stream["MaximumRecordAgeInSeconds"] * 1000
    for name, most in limits.items():
        if name == "archive" or name.endswith("_letter"):
            (queue,) = [each for each in found if each["Id"] == name]
            (logical,) = logical_ids(queue["MetricStat"]["Metric"]["Dimensions"])
            assert most <= resources[logical]["Properties"]["MessageRetentionPeriod"] - 3 * 24 * 3600


def test_an_alarm_for_which_no_news_is_bad_news_stops_no_deployment(alarms: Resources, resources: Resources) -> None:
    breaching = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] != "notBreaching"}
    # With parameters, as without them SAM makes no deployment groups.
    groups = of_type(translated(GradualDeployment="Canary10Percent5Minutes"), "AWS::CodeDeploy::DeploymentGroup")
    named = {name for group in groups.values() for name in logical_ids(group["Properties"]["AlarmConfiguration"])}

    assert breaching == {"ReconcilerNotRunningAlarm"}
    assert not breaching & named
    assert named <= alarms.keys()


def test_the_local_stack_has_each_alarm_by_its_name(template: dict[str, Any], tmp_path: Path) -> None:
    """It computes nothing, so an alarm over several metrics looks at the first there; the dashboard names them all."""
    built = tmp_path / "template.yaml"
    built.write_text((PROJECT / "template.yaml").read_text())

    local = yaml_parse(for_ministack(built).read_text())["Resources"]

    found = of_type(local, "AWS::CloudWatch::Alarm")
    assert found.keys() == of_type(template["Resources"], "AWS::CloudWatch::Alarm").keys()
    assert all(
        {"MetricName", "Namespace", "Period", "Statistic"} <= each["Properties"].keys() for each in found.values()
    )
    assert not [name for name, each in found.items() if "Metrics" in each["Properties"]]
    assert not of_type(local, "AWS::Logs::QueryDefinition"), "which it does not know"


# --- the dashboard -------------------------------------------------------------------------------------


def dashboard(template: dict[str, Any], *, default_bus: bool) -> dict[str, Any]:
    """Return the dashboard's body as JSON, with logical ids in place of what CloudFormation puts in."""

    def chosen(value: Any) -> str:
        text, names = value["Fn::If"][1 if default_bus else 2]["Fn::Sub"]
        (rule,) = logical_ids(names["Name"])
        return str(text).replace("${Name}", rule)

    text, names = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, value in names.items():
        text = text.replace("${" + name + "}", chosen(value))
    body: dict[str, Any] = json.loads(text)
    return body


def shown(body: dict[str, Any]) -> Iterator[Watched]:
    """Give the single metrics of the widgets; searches are looked at elsewhere."""
    for widget in body["widgets"]:
        before: list[str] = []
        for told in widget["properties"].get("metrics", []):
            words = [word for word in told if isinstance(word, str)]
            if words[:1] == ["..."]:
                words = before[: len(before) - len(words) + 1] + words[1:]
            if words:
                before = words
                namespace, name, *of = words
                if namespace == OWN:
                    yield Watched(namespace, name, tuple(of))
                else:
                    (logical,) = {re.sub(r"\$\{(\w+).*\}", r"\1", word) for word in of[1::2]} - {"EventBusName"}
                    yield Watched(namespace, name, (logical,))


@pytest.mark.parametrize("default_bus", [True, False], ids=["the default bus", "a bus of one's own"])
def test_the_dashboard_says_which_function_queue_or_rule_an_alarm_is_about(
    alarms: Resources, template: dict[str, Any], *, default_bus: bool
) -> None:
    body = dashboard(template, default_bus=default_bus)
    searched = {
        (name, tuple(dimensions.split(",")))
        for dimensions, name in re.findall(
            r'SEARCH\(\'\{"' + re.escape(OWN) + r'",([\w,]+)\} MetricName="(\w+)"',
            json.dumps(body).replace('\\"', '"'),
        )
    }
    missing = {
        each for each in watched(alarms) - set(shown(body)) if (each.name, each.of[::2]) not in searched or not each.of
    }

    assert missing == set()


def test_the_dashboard_shows_the_alarms_that_tell_somebody(template: dict[str, Any]) -> None:
    (listed,) = [w["properties"] for w in dashboard(template, default_bus=True)["widgets"] if w["type"] == "alarm"]
    names = [re.sub(r"\$\{(\w+)\.Arn\}", r"\1", arn) for arn in listed["alarms"]]

    assert set(names[: len(PAGE)]) == PAGE
    assert set(names) == PAGE | TICKET
    assert len(names) == len(set(names))


def test_a_search_leaves_the_period_to_whoever_looks(template: dict[str, Any]) -> None:
    text = json.dumps(dashboard(template, default_bus=True)).replace('\\"', '"')
    searches = re.findall(r"SEARCH\('[^']+', '(\w+)'(.)", text)

    assert len(searches) == text.count("SEARCH(") > 5
    assert {after for _, after in searches} == {")"}
