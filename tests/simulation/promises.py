"""What must hold when the faults have stopped and the reconciler has run, whatever the seed."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

from call_recording.recordings import facts
from call_recording.recordings.statuses import rank
from local.twilio_simulator.model import Recording
from tests.conftest import TABLE
from tests.simulation.scenario import Request, Scenario

_deserialize = TypeDeserializer().deserialize


def broken_promises(scenario: Scenario) -> list[str]:
    """Return a sentence for everything that does not hold; nothing, if all is well."""
    rows = {row["recording_sid"]: row for row in map(_plain, scenario.world.rows())}
    return [
        *_rows_are_not_the_truth(scenario, rows),
        *_not_one_recording_per_intent(scenario, rows),
        *_statuses_went_backwards(),
        *_unproven_facts_were_believed(scenario),
    ]


def _rows_are_not_the_truth(scenario: Scenario, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    recordings = scenario.world.twilio.recordings
    for sid in rows.keys() - recordings.keys():
        yield f"{sid} has a row, but never existed"
    for sid, recording in recordings.items():
        row = rows.get(sid)
        if row is None:
            yield f"{sid} has no row"
            continue
        for name, truth in _truth(recording).items():
            if row.get(name) != truth:
                yield f"{sid} says {name} = {row.get(name)!r}, Twilio {truth!r}"


def _truth(recording: Recording) -> dict[str, Any]:
    """Return what a finished recording's row must say, in the table's words."""
    return {
        "status": recording.status,
        "call_sid": recording.call.sid,
        "account_sid": recording.call.account_sid,
        "duration_seconds": recording.duration,
        "channels": recording.channels,
        "source": recording.source,
        "track": recording.track,
        "start_time": facts.moment(recording.resource()["start_time"]),
        "error_code": facts.error_code(recording.error_code),
        "open_shard": None,
    }


def _not_one_recording_per_intent(scenario: Scenario, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    failed = {f"eventbridge#{event['event_id']}" for event in scenario.world.published}
    by_intent = Counter(row["intent"] for row in rows.values() if "intent" in row)
    met_on_call: Counter[str] = Counter()
    for request in scenario.requests:
        made = by_intent[request.name]
        met_on_call[request.call.sid] += made
        yield from _answer_is_wrong(request, made=made, has_failed=request.name in failed)
    started = Counter(
        recording.call.sid
        for recording in scenario.world.twilio.recordings.values()
        if recording.source == "StartCallRecordingAPI"
    )
    for call_sid, number in started.items():
        if number != met_on_call[call_sid]:
            yield f"call {call_sid} has {number} recordings for {met_on_call[call_sid]} requests that were met"
    if scenario.dead_letters:
        yield f"{len(scenario.dead_letters)} dead letters did not come back"


def _answer_is_wrong(request: Request, *, made: int, has_failed: bool) -> Iterator[str]:
    if made > 1:
        yield f"{request.name} has {made} recordings"
    if len(request.recordings) > 1:
        yield f"{request.name} was answered with several recordings: {sorted(request.recordings)}"
    if request.recordings and not made:
        yield f"{request.name} was answered with a recording whose row does not say so"
    if not made and not request.refusals and not has_failed:
        yield f"{request.name} has no recording and was not refused"
    if made and request.refusals and not request.recordings:
        yield f"{request.name} was refused and has a recording"
    if made and has_failed:
        yield f"{request.name} was said to have failed and has a recording"


def _statuses_went_backwards() -> Iterator[str]:
    for old, new in _stream():
        if rank(new["status"]) < rank(old["status"]):
            yield f"{new['recording_sid']} went from {old['status']} back to {new['status']}"
        if old.get("intent", new.get("intent")) != new.get("intent"):
            yield f"{new['recording_sid']} changed its intent"


def _stream() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Give every change of a row, before and after, as the table's stream has it."""
    streams = boto3.client("dynamodbstreams")
    arn = boto3.client("dynamodb").describe_table(TableName=TABLE)["Table"]["LatestStreamArn"]
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            page = streams.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                change = record["dynamodb"]
                if "OldImage" in change:
                    yield _plain(change["OldImage"]), _plain(change["NewImage"])
            iterator = page.get("NextShardIterator") if page["Records"] else None


def _unproven_facts_were_believed(scenario: Scenario) -> Iterator[str]:
    if scenario.world.kept_callbacks:
        yield f"{len(scenario.world.kept_callbacks)} callbacks could not be read"
    for is_twilios, status in scenario.world.answers_to_callbacks:
        if is_twilios and status == 403:
            yield "a callback of Twilio's was refused"
        if not is_twilios and status is not None and status < 400:
            yield f"a forged callback was answered {status}"


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in item.items()}
