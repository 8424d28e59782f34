"""What changed comes out on the bus, and audio gets into the bucket: stream, bus, queue, function and S3 together."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from call_recording.callbacks.facts import callback_facts
from call_recording.recordings.table import RecordingsTable
from local.stack import ACCESS_KEY, SECRET_KEY, STACK_NAME, Stack
from local.twilio_simulator.audio import wav
from local.twilio_simulator.model import Call, Recording
from tests.conftest import archive_message
from tests.local_stack.conftest import BUILD, REASON, Published, eventually, hang_up_after, rows, start

GIBIBYTE = 1024**3
WAV_BYTES_PER_SECOND = 32_000


def record(stack: Stack, call: Call) -> Recording:
    """Record a call on two channels until it ends."""
    sid = start(stack, call, {"RecordingChannels": "dual"}).json()["sid"]
    hang_up_after(stack, call)
    return stack.simulator.twilio.recordings[sid]


def archived(stack: Stack, call: Call) -> list[dict[str, Any]]:
    return [row["archive"] for row in rows(stack, call) if "archive" in row]


def objects(stack: Stack, recording: Recording) -> list[str]:
    listed = stack.client("s3").list_object_versions(Bucket=stack.archive_bucket)
    return [version["Key"] for version in listed.get("Versions", []) if recording.sid in version["Key"]]


def sound(recording: Recording) -> bytes:
    return b"".join(wav(seconds=recording.duration or 0, channels=2).pieces)


def test_a_completed_recording_is_archived_and_its_audio_is_a_link_away(stack: Stack, call: Call) -> None:
    recording = record(stack, call)

    (proof,) = eventually(lambda: archived(stack, call))
    day = str(rows(stack, call)[0]["start_time"])[:10].replace("-", "/")
    assert proof["key"] == f"{stack.account_sid}/{day}/{call.sid}/{recording.sid}.wav"
    answer = stack.call_control_api("GET", f"/recordings/{recording.sid}/media?Reason={REASON}", follow=False)
    assert answer.status_code == 302
    audio = requests.get(answer.headers["Location"], timeout=10)
    assert (audio.headers["Content-Type"], audio.content) == ("audio/x-wav", sound(recording))

    entries = [entry for entry in audit_entries(stack) if entry["recording_sid"] == recording.sid]
    assert [(entry["what"], entry["reason"]) for entry in entries] == [("media", REASON)]

    receipt = stack.call_control_api("DELETE", f"/recordings/{recording.sid}").json()
    assert receipt["removed"] == {"twilio": "removed", "archive": "removed"}
    assert objects(stack, recording) == []


def audit_entries(stack: Stack) -> list[dict[str, Any]]:
    logs = stack.client("logs")
    group = output(stack, "AuditLogGroupName")
    return [json.loads(event["message"]) for event in logs.filter_log_events(logGroupName=group)["events"]]


def output(stack: Stack, name: str) -> str:
    outputs = stack.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]["Outputs"]
    return next(str(found["OutputValue"]) for found in outputs if found["OutputKey"] == name)


def test_every_change_comes_out_once_and_in_order(stack: Stack, call: Call, published: Published) -> None:
    recording = record(stack, call)

    def ours() -> list[dict[str, Any]]:
        return [event for event in published("") if event["detail"]["recording_sid"] == recording.sid]

    assert eventually(lambda: len(ours()) == 3)
    found = ours()
    told = [(e["detail-type"], e["detail"].get("previous_status"), e["detail"]["status"]) for e in found]
    assert told == [
        ("Call Recording Status Change", None, "in-progress"),
        ("Call Recording Status Change", "in-progress", "completed"),
        ("Call Recording Archived", None, "completed"),
    ]
    assert len({event["detail"]["id"] for event in found}) == 3


def test_audio_that_is_not_ready_or_is_an_error_page_is_waited_for(stack: Stack, call: Call) -> None:
    with stack.simulator.locked() as twilio:
        twilio.faults.media.append("html")

    recording = record(stack, call)

    (proof,) = eventually(lambda: archived(stack, call))
    assert proof["bytes"] == len(sound(recording))
    assert objects(stack, recording) == [proof["key"]]


def test_a_message_that_comes_twice_makes_one_object(stack: Stack, call: Call) -> None:
    recording = record(stack, call)
    assert eventually(lambda: archived(stack, call))
    detail = {"recording_sid": recording.sid, "account_sid": stack.account_sid, "status": "completed"}
    queue = output(stack, "ArchiveQueueUrl")

    stack.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps({"detail": detail}))

    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    sqs = stack.client("sqs")
    assert eventually(
        lambda: set(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"].values()) == {"0"}
    )
    assert len(objects(stack, recording)) == 1


# In a process of its own, from what `sam build` made: its memory is that of the function.
RUN = """
import json, sys
from pathlib import Path
sys.path += json.loads(sys.argv[1])
import app

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "f", 256, "r"
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    def get_remaining_time_in_millis(self):
        return 900_000

answer = app.handler(json.loads(sys.argv[2]), Context())
# Not getrusage: what it calls the largest resident set begins with that of the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"answer": answer, "peak": int(status["VmHWM"].split()[0]) * 1024}))
"""


def run_archive(stack: Stack, runtime: Path, recording: Recording) -> dict[str, Any]:
    message = archive_message(recording.sid, account_sid=stack.account_sid)
    environment = {
        "ARCHIVE_BUCKET": str(stack.archive_bucket),
        "ARCHIVE_CHANNELS": "as-recorded",
        "ARCHIVE_FORMAT": "wav",
        "ARCHIVE_QUEUE_URL": output(stack, "ArchiveQueueUrl"),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "DELETE_AT_TWILIO_AFTER_ARCHIVING": "false",
        "EVENT_BUS_NAME": stack.event_bus,
        "MOST_RECEIVES": "12",
        "POWERTOOLS_METRICS_NAMESPACE": "CallRecording/test",
        "RECORDINGS_TABLE": stack.recordings_table,
        "ROW_RETENTION_DAYS": "400",
        "TWILIO_API_URL": stack.twilio_url,
        "TWILIO_SECRET_PREFIX": "twilio/",
    }
    paths = [str(BUILD / "ArchiveRecordingFunction"), str(BUILD / "SharedLayer" / "python"), str(runtime)]
    done = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-I", "-S", "-c", RUN, json.dumps(paths), json.dumps({"Records": [message]})],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["answer"] == {"batchItemFailures": []}, done.stdout
    return told


@contextlib.contextmanager
def not_archiving_by_itself(stack: Stack) -> Iterator[None]:
    """Switch the rule off that leads completed recordings to the deployed function."""
    events = stack.client("events")
    (rule,) = [rule["Name"] for rule in events.list_rules()["Rules"] if "CompletedRule" in rule["Name"]]
    events.disable_rule(Name=rule)
    yield
    events.enable_rule(Name=rule)


def archive_large(stack: Stack, call: Call, runtime: Path, *, size: int) -> int:
    """Have the built function archive so many bytes; return its peak memory in bytes."""
    with stack.simulator.locked() as twilio:
        recording = twilio.record(call, {"RecordingChannels": ["dual"]})
    recording.status, recording.duration = "completed", size // WAV_BYTES_PER_SECOND + 1
    parameters = recording.callback_parameters("completed", base_url=stack.twilio_url)
    facts = callback_facts(parameters.items())

    with not_archiving_by_itself(stack):
        RecordingsTable(stack.client("dynamodb"), stack.recordings_table, 400).record(facts)
        time.sleep(3)
    told = run_archive(stack, runtime, recording)

    (proof,) = archived(stack, call)
    assert proof["bytes"] > size
    head = stack.client("s3").head_object(Bucket=proof["bucket"], Key=proof["key"], ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumSHA256"]) == (proof["bytes"], proof["s3_checksum"])
    stack.client("s3").delete_object(Bucket=proof["bucket"], Key=proof["key"], VersionId=proof["version_id"])
    return int(told["peak"])


def test_a_gibibyte_is_archived_in_the_memory_of_a_small_function(stack: Stack, call: Call, runtime: Path) -> None:
    assert archive_large(stack, call, runtime, size=GIBIBYTE) <= 160 * 1024**2
