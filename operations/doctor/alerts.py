"""Whether somebody is notified of failures, and whether something has failed already."""

from collections.abc import Iterator
from typing import Any, Final

from operations.doctor.deployed import Deployed
from operations.doctor.findings import Finding, advice

_BATCH: Final = 100
"""Alarms that CloudWatch describes by name in one request."""

_PENDING: Final = "PendingConfirmation"


def no_alarm_is_raised(deployed: Deployed) -> Iterator[Finding]:
    """No alarm of the stack is in ALARM state."""
    for name, alarm in _alarms(deployed).items():
        if alarm["StateValue"] == "ALARM":
            yield Finding(
                f"{name} is in ALARM state: {alarm.get('StateReason', 'CloudWatch gives no reason')}",
                alarm.get("AlarmDescription", "").rpartition(" ")[2],
            )


def alarms_tell_somebody(deployed: Deployed) -> Iterator[Finding]:
    """Each alarm has a topic, its actions are enabled, and each topic has somebody who has confirmed."""
    alarms = {
        name: alarm
        for name, alarm in _alarms(deployed).items()
        # The others are only there for gradual deployments.
        if alarm.get("AlarmDescription", "").startswith(("Page. ", "Ticket. "))
    }
    if mute := [name for name, alarm in alarms.items() if not alarm.get("AlarmActions")]:
        every = len(mute) == len(alarms)
        yield advice(
            "No alarm has a topic: nobody is notified when recordings fail." if every else f"No topic: {_some(mute)}.",
            "Create an SNS topic with a subscription, and deploy with it: docs/reference/template-parameters.md.",
        )
    if off := [name for name, alarm in alarms.items() if alarm.get("AlarmActions") and not alarm["ActionsEnabled"]]:
        yield Finding(
            f"Actions are disabled: {_some(off)}. These alarms notify nobody.",
            f"aws cloudwatch enable-alarm-actions --alarm-names {' '.join(alarms[name]['AlarmName'] for name in off)}",
        )
    topics = {arn for alarm in alarms.values() for arn in alarm.get("AlarmActions", []) if ":sns:" in arn}
    for topic in sorted(topics):
        subscribers = [
            each["SubscriptionArn"]
            for each in deployed.every("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
        ]
        confirmed = [arn for arn in subscribers if arn != _PENDING]
        if not subscribers:
            yield Finding(
                f"Nobody has subscribed to the topic {topic}.",
                f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint you@example.com",
            )
        elif _PENDING in subscribers:
            yield Finding(
                f"{len(subscribers) - len(confirmed)} of {len(subscribers)} subscriptions of {topic} are not "
                "confirmed, and receive nothing until they are.",
                "Confirm with the link in the message from SNS; subscribe again if it is older than two days.",
            )


def no_dead_letter_waits(deployed: Deployed) -> Iterator[Finding]:
    """The dead-letter queues are empty."""
    for name, url in deployed.resources("AWS::SQS::Queue").items():
        if not name.endswith("DeadLetterQueue"):
            continue
        told = deployed.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
        waiting = sum(map(int, told.values()))
        if waiting:
            yield Finding(
                f"{waiting} {'message waits' if waiting == 1 else 'messages wait'} in {name}. SQS deletes each after "
                "its retention period.",
                "Look at the messages, fix the cause, and redrive them: docs/how-to/operate/redrive-dead-letters.md",
            )


CHECKS: Final = (no_alarm_is_raised, alarms_tell_somebody, no_dead_letter_waits)


def _alarms(deployed: Deployed) -> dict[str, dict[str, Any]]:
    """Return CloudWatch's description of the stack's alarms, by their names in the template."""
    named = {physical: name for name, physical in deployed.resources("AWS::CloudWatch::Alarm").items()}
    physical, found = list(named), {}
    for first in range(0, len(physical), _BATCH):
        asked = {"AlarmNames": physical[first : first + _BATCH], "AlarmTypes": ["MetricAlarm"]}
        for alarm in deployed.every("cloudwatch", "describe_alarms", "MetricAlarms", **asked):
            found[named[alarm["AlarmName"]]] = alarm
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
