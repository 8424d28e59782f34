"""The commands of docs/how-to/operate, as they stand there: run, and looked at what they did."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Self

import pytest
import requests

from call_recording import clock
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from local.shell import AWS, env_sh, environment
from local.stack import STACK_NAME, Stack, deploy
from local.twilio_simulator.delivery import sign
from local.twilio_simulator.model import Account, Call, CallbackTarget, Recording, new_sid
from local.twilio_simulator.twilio import Callback
from tests.local_stack.conftest import eventually, function_named, hang_up_after, rows, start
from tests.local_stack.test_archive import archived, not_archiving_by_itself, objects, output, record
from tests.project.test_operations import PREAMBLE, blocks

SECRET_PREFIX: Final = "twilio/"

_DONE: Final = "--- that was the block ---"

# Each block is a file that the same shell reads, so that variables and functions stay; what is typed is another.
_READS: Final = f"""
{AWS}
exec 3<&0 < /dev/null
while IFS= read -r -u 3 file; do
  . "$file" < "$file.typed"
  printf '\\n%s\\n' '{_DONE}'
done
"""


@dataclass
class Reader:
    """Somebody who pastes the blocks under a heading into a shell, one after the other."""

    folder: Path
    left: list[str]
    shell: "subprocess.Popen[str]"
    errors: IO[str]
    pasted: int = 0
    last: str = field(default="")

    @classmethod
    def of(cls, heading: str, folder: Path, variables: dict[str, str]) -> Self:
        """Return one who begins to read under the heading."""
        errors = (folder / "errors").open("w+")
        command = ["bash", "-euo", "pipefail", "-c", _READS]
        shell = subprocess.Popen(  # noqa: S603 (the page's own commands)
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        left = [block.text for block in blocks() if block.heading == heading and not block.needs_aws]
        return cls(folder, left, shell, errors)

    def next(self, *, typed: str = "", instead: dict[str, str] | None = None) -> str:
        """Paste the next block, with what the page says is yours to choose in place of its example."""
        self.last = self.left.pop(0)
        for example, own in (instead or {}).items():
            assert example in self.last
            self.last = self.last.replace(example, own)
        return self.paste(self.last, typed=typed)

    def again(self) -> str:
        """Paste the last block again; return what it prints."""
        return self.paste(self.last)

    def set(self, **variables: str) -> None:
        """Set the variables that the page says are yours to set."""
        self.paste("".join(f"{name}='{value}'\n" for name, value in variables.items()))

    def paste(self, text: str, *, typed: str = "") -> str:
        """Run the text; return what it prints."""
        self.pasted += 1
        file = self.folder / f"block-{self.pasted}"
        file.write_text(text)
        file.with_suffix(".typed").write_text(typed)
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{file}\n")
        self.shell.stdin.flush()
        told = ""
        while not told.endswith(f"\n{_DONE}\n"):
            line = self.shell.stdout.readline()
            assert line, f"{text}\n{told}\n{(self.folder / 'errors').read_text()}"
            told += line
        return told.removesuffix(f"\n{_DONE}\n")

    def close(self) -> None:
        """End the shell."""
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.close()
        self.shell.wait(10)
        self.shell.stdout.close()
        self.errors.close()


type Follow = Callable[..., AbstractContextManager[Reader]]


@pytest.fixture(scope="session")
def shell_environment(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands find in their environment: the local AWS, and the tools of the project."""
    tools = Path(sys.executable).parent
    return environment(stack) | {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        # The CLI takes a second or two to compile each time, where nobody keeps what it compiled.
        "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode")),
    }


@pytest.fixture
def follow(shell_environment: dict[str, str], tmp_path: Path) -> Follow:
    """Return what follows the page under one heading, to its end, with variables set beforehand."""

    @contextmanager
    def following(heading: str, **variables: str) -> Iterator[Reader]:
        reader = Reader.of(heading, tmp_path, shell_environment)
        try:
            (preamble,) = [block.text for block in blocks() if block.heading == PREAMBLE]
            reader.paste(preamble)
            if variables:
                reader.set(**variables)
            yield reader
            assert reader.left == [], "the page goes on"
        finally:
            reader.close()

    return following


# --- the world that the commands are run in ---------------------------------------------------------------


@pytest.fixture
def account(stack: Stack) -> Iterator[Account]:
    """A subaccount with its secret: what is done to it here concerns no other test."""
    with stack.simulator.locked() as twilio:
        opened = twilio.add_account(Account(new_sid("AC"), "subaccount-token"))
    name = f"{SECRET_PREFIX}{opened.sid}"
    stack.client("secretsmanager").create_secret(Name=name, SecretString='{"auth_token": "subaccount-token"}')
    yield opened
    forget(stack, opened)


def forget(stack: Stack, account: Account) -> None:
    stack.client("dynamodb").update_item(
        TableName=resource(stack, "IdempotencyTable"),
        Key={"id": {"S": "accounts"}},
        UpdateExpression="DELETE account_sids :account",
        ExpressionAttributeValues={":account": {"SS": [account.sid]}},
    )
    stack.client("secretsmanager").delete_secret(
        SecretId=f"{SECRET_PREFIX}{account.sid}", ForceDeleteWithoutRecovery=True
    )


def resource(stack: Stack, logical_id: str, *, stack_name: str = STACK_NAME) -> str:
    found = stack.client("cloudformation").describe_stack_resource(StackName=stack_name, LogicalResourceId=logical_id)
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def secret(stack: Stack, account: Account) -> dict[str, str]:
    held = stack.client("secretsmanager").get_secret_value(SecretId=f"{SECRET_PREFIX}{account.sid}")
    told: dict[str, str] = json.loads(held["SecretString"])
    return told


def begin_call(stack: Stack, account: Account) -> Call:
    with stack.simulator.locked() as twilio:
        return twilio.begin_call(account.sid)


def call_back(stack: Stack, parameters: dict[str, str], *, token: str, url: str | None = None) -> int:
    """Send a callback that is signed with the token for the address; return what is answered."""
    target = CallbackTarget(url or stack.webhook_url, "POST", frozenset())
    signed = sign(Callback(target, parameters["AccountSid"], parameters), auth_token=token)
    return requests.post(stack.webhook_local_url, data=signed.body, headers=signed.headers, timeout=30).status_code


def parameters_of(account: Account, **more: str) -> dict[str, str]:
    """Return the parameters of a callback about a recording that nobody knows of."""
    told = {"AccountSid": account.sid, "CallSid": new_sid("CA"), "RecordingSid": new_sid("RE")}
    return told | {"RecordingStatus": "in-progress"} | more


def request_event(call: Call, **more: str) -> dict[str, Any]:
    """Return an event that asks for a recording of the call now."""
    return {
        "id": call.sid,
        "time": datetime.now(UTC).isoformat(),
        "detail-type": "Call Recording Requested",
        "source": "somebody",
        "detail": {"CallSid": call.sid, "AccountSid": call.account_sid} | more,
    }


def reconcile(stack: Stack) -> dict[str, Any]:
    answer = stack.client("lambda").invoke(FunctionName=function_named(stack, "ReconcileRecordings"), Payload="{}")
    told: dict[str, Any] = json.loads(answer["Payload"].read())
    return told


def recordings_of(stack: Stack, call: Call) -> list[Recording]:
    return [recording for recording in stack.simulator.twilio.recordings.values() if recording.call.sid == call.sid]


# --- alarms -----------------------------------------------------------------------------------------------


def test_the_alarms_that_are_raised_are_listed(stack: Stack, follow: Follow) -> None:
    name = resource(stack, "RefusedSignaturesAlarm")
    cloudwatch = stack.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="somebody tries")

    with follow("When an alarm is raised") as reader:
        told = reader.next()

    assert told == f"{name}\tsomebody tries\n"
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="over")


def test_what_fails_because_of_us_is_told_with_its_reasons(stack: Stack, account: Account, follow: Follow) -> None:
    call = begin_call(stack, account)
    with stack.simulator.locked() as twilio:
        twilio.accounts[account.sid].auth_token = "another"
    assert start(stack, call, {"AccountSid": account.sid}).status_code == 502
    path = f"/calls/{call.sid}/recordings/Twilio.CURRENT"
    paused = stack.call_control_api("POST", path, json={"AccountSid": account.sid, "Status": "paused"})
    assert paused.status_code == 502

    with follow("OwnFailuresAlarm") as reader:
        reader.next()
        told = eventually(lambda: found if len(found := lines_of(call, reader.again())) > 1 else [])

    assert [(line["message"], line["reason"]) for line in told] == [
        ("recording not started", "credentials-refused"),
        ("request refused", "credentials-refused"),
    ]


def lines_of(call: Call, told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines() if call.sid in line]


def test_what_twilio_did_not_give_is_told_with_its_reasons(stack: Stack, call: Call, follow: Follow) -> None:
    with stack.simulator.locked() as twilio:
        silent = twilio.begin_call(stack.account_sid, is_silent=True)
    start(stack, silent)
    hang_up_after(stack, silent)
    hang_up_after(stack, call, seconds=0)
    start(stack, call)

    with follow("TwilioFailuresAlarm") as reader:
        reader.next()
        refused = [line for line in reader.again().splitlines() if call.sid in line]
        assert eventually(lambda: '"reason":"absent-16102"' in reader.again())

    assert json.loads(refused[0])["reason"] == "call-not-in-progress"


def test_refused_credentials_are_told_with_their_account(stack: Stack, account: Account, follow: Follow) -> None:
    call = begin_call(stack, account)
    with stack.simulator.locked() as twilio:
        twilio.accounts[account.sid].auth_token = "another"
    assert start(stack, call, {"AccountSid": account.sid}).status_code == 502
    assert reconcile(stack)["failed_accounts"] >= 1

    with follow("CredentialsRefusedAlarm") as reader:
        reader.next()
        assert eventually(lambda: "account not reconciled in this run" in reader.again())
        told = reader.again()

    refused = [line for line in told.splitlines() if '"reason":"credentials-refused"' in line]
    assert [line for line in refused if f'"account_sid":"{account.sid}"' in line]


def test_refused_signatures_are_told_with_the_reason(stack: Stack, account: Account, follow: Follow) -> None:
    assert call_back(stack, parameters_of(account), token="somebody else's") == 403

    with follow("RefusedSignaturesAlarm") as reader:
        assert "the signature does not match" in reader.next()


def test_a_pause_that_nobody_ended_is_told(stack: Stack, call: Call, follow: Follow) -> None:
    start(stack, call)
    path = f"/calls/{call.sid}/recordings/Twilio.CURRENT"
    stack.call_control_api("POST", path, json={"Status": "paused", "ResumeWithinSeconds": 1})

    with follow("PausesAlarm") as reader:
        reader.next()
        assert eventually(lambda: "recording still paused" in reader.again())
        late, group = start_while_paused(stack)
        (line,) = eventually(lambda: [line for line in reader.again().splitlines() if late.sid in line])

    assert group in line


def start_while_paused(stack: Stack) -> tuple[Recording, str]:
    """Pause everything on a call, and record it past the stack; return the recording and the pause's group."""
    with stack.simulator.locked() as twilio:
        call = twilio.begin_call(stack.account_sid)
    path = f"/calls/{call.sid}/recordings/ALL"
    paused = stack.call_control_api("POST", path, json={"Status": "paused", "ConferenceSid": "none"})
    assert paused.status_code == requests.codes.ok
    calls_back = {"RecordingStatusCallback": [stack.webhook_url], "RecordingStatusCallbackEvent": ["in-progress"]}
    with stack.simulator.locked() as twilio:
        return twilio.record(call, calls_back, source="RecordVerb"), paused.json()["group"]


def test_audio_that_was_not_archived_is_told_with_the_reason(stack: Stack, call: Call, follow: Follow) -> None:
    with stack.simulator.locked() as twilio:
        twilio.faults.media += ["html"] * 9  # recordings of other tests may be archived just now
    sid = record(stack, call).sid

    with follow("BackgroundFailingAlarm") as reader:
        reader.next()
        (line,) = eventually(lambda: [line for line in reader.again().splitlines() if sid in line])

    with stack.simulator.locked() as twilio:
        twilio.faults.media.clear()
    assert (json.loads(line)["reason"], json.loads(line)["received"]) == ("wrong-media", 1)
    assert eventually(lambda: archived(stack, call)), "it was tried again"


def test_a_recording_that_is_open_too_long_is_told(stack: Stack, account: Account, follow: Follow) -> None:
    began = clock.iso_seconds(datetime.now(UTC) - timedelta(hours=27))
    seen_at = clock.iso_milliseconds(clock.now())
    told = {"call_sid": new_sid("CA"), "start_time": began}
    facts = Facts(new_sid("RE"), account.sid, "in-progress", seen_at, told)
    RecordingsTable(stack.client("dynamodb"), stack.recordings_table, 400).record(facts)
    reconcile(stack)

    with follow("OpenTooLongAlarm") as reader:
        first, *more = reader.next().splitlines()

    assert first.split() == [began, facts.recording_sid, account.sid, "in-progress"]
    assert any("open row not found at Twilio" in line for line in more)
    stack.client("dynamodb").delete_item(
        TableName=stack.recordings_table, Key={"recording_sid": {"S": facts.recording_sid}}
    )


def test_whether_the_reconciler_runs_is_told(stack: Stack, follow: Follow) -> None:
    reconcile(stack)

    with follow("ReconcilerNotRunningAlarm") as reader:
        told = reader.next()

    assert '"ENABLED"' in told
    assert '"message":"reconciled"' in told


def test_errors_are_told_with_their_exception(stack: Stack, follow: Follow) -> None:
    stack.client("lambda").invoke(FunctionName=function_named(stack, "StartRecording"), Payload='{"odd": true}')

    with follow("The errors alarms") as reader:
        assert "UnknownTriggerError" in reader.next()


def test_what_lambda_may_run_at_once_is_told(follow: Follow) -> None:
    with follow("CallersTurnedAwayAlarm") as reader:
        reader.next()
        told = json.loads(reader.next())

    assert told["UnreservedConcurrentExecutions"] <= told["ConcurrentExecutions"]


def test_where_dead_letters_should_have_been_is_told(follow: Follow) -> None:
    with follow("EventsLostAlarm") as reader:
        assert reader.next().count("sqs:SendMessage") >= 3


def test_how_the_stream_is_read_is_told(follow: Follow) -> None:
    with follow("WaitsTooLongAlarm") as reader:
        assert '"Enabled"' in reader.next()


# --- what was switched off by hand ------------------------------------------------------------------------


def test_a_schedule_that_was_switched_off_is_switched_on_as_it_was(stack: Stack, follow: Follow) -> None:
    scheduler, name = stack.client("scheduler"), resource(stack, "ReconcileRecordingsFunctionSchedule")
    kept = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")

    def schedule() -> dict[str, Any]:
        held = scheduler.get_schedule(Name=name)
        return {key: held[key] for key in (*kept, "State")}

    before = schedule()
    scheduler.update_schedule(**before | {"State": "DISABLED"})
    assert schedule() == before | {"State": "DISABLED"}

    with follow("The schedule") as reader:
        reader.next()

    assert schedule() == before | {"State": "ENABLED"}


def test_mappings_that_were_switched_off_are_switched_on(stack: Stack, follow: Follow) -> None:
    functions = stack.client("lambda")
    names = ("PublishChangesFunctionChanges", "ArchiveRecordingFunctionCompleted")
    mappings = [resource(stack, name) for name in names]
    for mapping in mappings:
        functions.update_event_source_mapping(UUID=mapping, Enabled=False)

    with follow("The stream and the archive") as reader:
        reader.next()

    assert {functions.get_event_source_mapping(UUID=mapping)["State"] for mapping in mappings} <= {
        "Enabling",
        "Enabled",
    }


def test_rules_that_were_switched_off_are_switched_on(stack: Stack, follow: Follow) -> None:
    events = stack.client("events")
    of_functions = ("StartRecordingFunctionRequested", "RecordingsApiFunctionRequested")
    names = [
        resource(stack, rule).rpartition("|")[2] for rule in (*of_functions, "RecordingsApiFunctionStartedWhilePaused")
    ]
    for name in names:
        events.disable_rule(Name=name, EventBusName=stack.event_bus)

    with follow("The rules") as reader:
        reader.next()

    assert {events.describe_rule(Name=name, EventBusName=stack.event_bus)["State"] for name in names} == {"ENABLED"}


# --- dead letters -----------------------------------------------------------------------------------------


@pytest.fixture
def empty_queues(stack: Stack) -> Iterator[dict[str, str]]:
    """The dead-letter queues by kind, without what other tests left in them."""
    kinds = ("Start", "Control", "Callback", "Changes", "Archive")
    queues = {kind: output(stack, f"{kind}DeadLetterQueueUrl") for kind in kinds}
    for url in queues.values():
        stack.client("sqs").purge_queue(QueueUrl=url)
    yield queues
    for url in queues.values():
        stack.client("sqs").purge_queue(QueueUrl=url)


def keep(stack: Stack, queue: str, message: object) -> None:
    stack.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(message))


def test_how_much_waits_in_each_queue_is_told(stack: Stack, empty_queues: dict[str, str], follow: Follow) -> None:
    keep(stack, empty_queues["Changes"], {})

    with follow("DeadLettersAlarm") as reader:
        told = dict(line.split(": ") for line in reader.next().splitlines())

    assert told == {
        "Start": "0\t0",
        "Control": "0\t0",
        "Callback": "0\t0",
        "Archive": "0\t0",
        "Changes": "1\t0",
    }


def test_callbacks_that_cannot_be_read_are_told(
    stack: Stack, account: Account, empty_queues: dict[str, str], follow: Follow
) -> None:
    odd = parameters_of(account, RecordingStatus="COMPLETED")
    assert call_back(stack, odd, token=account.auth_token) == 202

    with follow("GivenUpAlarm") as reader:
        assert "RecordingStatus" in reader.next()


@pytest.mark.parametrize("kind", ["Start", "Control", "Callback"])
def test_a_redrive_does_what_was_asked_for_and_leaves_the_queue_empty(
    stack: Stack, call: Call, empty_queues: dict[str, str], follow: Follow, kind: str
) -> None:
    if kind == "Start":
        keep(stack, empty_queues[kind], {"requestPayload": request_event(call)})
        status = "in-progress"
    elif kind == "Control":
        sid = start(stack, call).json()["sid"]
        asked = {"RecordingSid": sid, "Status": "paused"}
        event = request_event(call, **asked) | {"detail-type": "Call Recording Control Requested"}
        keep(stack, empty_queues[kind], {"requestPayload": event})
        status = "paused"
    else:
        sid = start(stack, call).json()["sid"]
        with stack.simulator.locked() as twilio:
            told = twilio.recordings[sid].callback_parameters("absent", base_url=twilio.base_url)
        keep(stack, empty_queues[kind], {"fields": list(told.items())})
        status = "absent"

    with follow("Requests, control events, timers and callbacks") as reader:
        assert call.sid in reader.next(instead={"KIND=Start": f"KIND={kind}"})
        reader.next()
        reader.next()
        assert eventually(lambda: reader.again().split() == ["0", "0"])
        assert "Disabl" in reader.next()

    assert [row["status"] for row in rows(stack, call)] == [status]
    assert len(recordings_of(stack, call)) == 1


def test_what_was_not_published_is_published_as_it_is_now(
    stack: Stack, call: Call, empty_queues: dict[str, str], follow: Follow
) -> None:
    sid = start(stack, call).json()["sid"]
    (row,) = rows(stack, call)
    keep(stack, empty_queues["Changes"], {"DDBStreamBatchInfo": {"shardId": "shardId-00000001"}})

    with follow("Changes that were not published", SINCE=row["start_time"], UNTIL="2999-01-01T00:00:00Z") as reader:
        assert "shardId-00000001" in reader.next()
        assert int(reader.next()) >= 1
        batches = [json.loads(file.read_text())["Records"] for file in sorted(reader.folder.glob("again-*.json"))]
        assert sid in [record["dynamodb"]["NewImage"]["recording_sid"]["S"] for batch in batches for record in batch]
        told = reader.next()
        assert told.count('{"batchItemFailures": []}') == len(batches)
        reader.next()

    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=empty_queues["Changes"], AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    assert attributes == {"ApproximateNumberOfMessages": "0"}


def test_an_event_that_is_replayed_gets_no_second_recording(stack: Stack, call: Call, follow: Follow) -> None:
    with follow("Replay an event") as reader:
        (reader.folder / "event.json").write_text(json.dumps(request_event(call)))
        reader.next()
        assert eventually(lambda: rows(stack, call))
        reader.again()
        time.sleep(2)

    assert len(recordings_of(stack, call)) == 1


# --- credentials and accounts -----------------------------------------------------------------------------


def test_no_callback_is_refused_while_a_token_is_rotated_and_the_old_one_in_the_end(
    stack: Stack, account: Account, follow: Follow
) -> None:
    old, new = account.auth_token, "token-of-tomorrow"
    name = f"{SECRET_PREFIX}{account.sid}"
    held = {"auth_token": old, "api_key_sid": "SK1", "api_key_secret": "kept"}
    stack.client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(held))
    with stack.simulator.locked():
        account.api_keys["SK1"] = "kept"
        account.secondary_auth_token = new

    def answer(token: str) -> int:
        return call_back(stack, parameters_of(account), token=token)

    with follow("Rotate an auth token") as reader:
        reader.next()
        reader.set(ACCOUNT_SID=account.sid)
        assert answer(old) == 204
        reader.next(typed=f"{new}\n")
        reader.next()
        assert secret(stack, account) == held | {"auth_token_secondary": new}
        assert [answer(token) for token in (old, new)] == [204, 204]
        reader.next()

    assert secret(stack, account) == held | {"auth_token": new}
    assert answer(new) == 204
    # A function keeps what it has read for five minutes, unless it is given a reason to doubt.
    assert eventually(lambda: answer("forged") == answer(old) == 403)
    assert answer(new) == 204


def test_a_new_api_key_is_used_once_the_first_is_gone(stack: Stack, account: Account, follow: Follow) -> None:
    name = f"{SECRET_PREFIX}{account.sid}"
    held = {"auth_token": account.auth_token, "api_key_sid": "SK1", "api_key_secret": "first"}
    stack.client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(held))
    with stack.simulator.locked():
        account.api_keys |= {"SK1": "first", "SK2": "second"}

    def is_started() -> bool:
        return start(stack, begin_call(stack, account), {"AccountSid": account.sid}).status_code == 201

    with follow("Rotate an API key", ACCOUNT_SID=account.sid) as reader:
        assert is_started()
        reader.next(typed="SK2\n")
        reader.next(typed="second\n")
        reader.next()
        with stack.simulator.locked():
            del account.api_keys["SK1"]
        assert is_started()

    assert secret(stack, account) == held | {"api_key_sid": "SK2", "api_key_secret": "second"}


def test_an_account_that_is_added_can_be_asked_for_and_is_reconciled(stack: Stack, follow: Follow) -> None:
    with stack.simulator.locked() as twilio:
        added = twilio.add_account(Account(new_sid("AC"), "subaccount-token"))
        elsewhere = twilio.record(twilio.begin_call(added.sid))

    with follow("Add an account", ACCOUNT_SID=added.sid) as reader:
        reader.next(typed=f"{added.auth_token}\n")
        reader.next()
        reader.next()

    reconcile(stack)
    assert [row["requested_by"] for row in rows(stack, elsewhere.call)] == ["twilio"]
    call = begin_call(stack, added)
    assert start(stack, call, {"AccountSid": added.sid}).status_code == 201
    assert eventually(lambda: [a for a in stack.simulator.attempts if a.callback.account_sid == added.sid])
    assert {a.status for a in stack.simulator.attempts if a.callback.account_sid == added.sid} == {204}
    forget(stack, added)


def test_an_account_that_is_removed_is_no_longer_reconciled(stack: Stack, account: Account, follow: Follow) -> None:
    start(stack, begin_call(stack, account), {"AccountSid": account.sid})

    with follow("Remove an account", ACCOUNT_SID=account.sid) as reader:
        reader.next()

    item = stack.client("dynamodb").get_item(
        TableName=resource(stack, "IdempotencyTable"), Key={"id": {"S": "accounts"}}
    )
    assert account.sid not in item.get("Item", {}).get("account_sids", {}).get("SS", [])
    assert "DeletedDate" in stack.client("secretsmanager").describe_secret(SecretId=f"{SECRET_PREFIX}{account.sid}")


# --- two stacks, and another address ----------------------------------------------------------------------


def test_a_stack_can_have_a_bus_of_its_own(stack: Stack, follow: Follow) -> None:
    with follow("Several stacks in one AWS account") as reader:
        reader.next()

    names = [bus["Name"] for bus in stack.client("events").list_event_buses()["EventBuses"]]
    assert "call-recording-dev" in names


def test_the_address_and_what_is_open_are_told_before_a_move(stack: Stack, call: Call, follow: Follow) -> None:
    start(stack, call)

    with follow("Move the webhook to a domain of your own") as reader:
        address = reader.next().strip()
        count, oldest = json.loads(reader.next())

    assert address == stack.webhook_url
    assert count >= 1
    assert oldest <= rows(stack, call)[0]["start_time"]


LEAVING: Final = "leaving"


@pytest.fixture(scope="module")
def leaving(stack: Stack) -> dict[str, str]:
    """A second stack, to be moved and to be removed; its parameters."""
    stack.client("events").create_event_bus(Name=LEAVING)
    parameters = {
        "EventBusName": LEAVING,
        "TwilioAccountSid": stack.account_sid,
        "TwilioApiUrl": stack.twilio_url,
    }
    deploy(stack.endpoint_url, LEAVING, parameters, template=stack.folder / "build/template.yaml")
    return parameters


def test_a_second_stack_that_is_removed_leaves_nothing(
    stack: Stack, leaving: dict[str, str], account: Account, follow: Follow
) -> None:
    bucket = resource(stack, "ArchiveBucket", stack_name=LEAVING)
    table = resource(stack, "RecordingsTable", stack_name=LEAVING)
    s3 = stack.client("s3")
    for key in ("AC1", "AC2"):
        for body in (b"first", b"second"):
            s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.delete_object(Bucket=bucket, Key="AC1")

    with follow("Uninstall", STACK=LEAVING, ACCOUNT_SID=account.sid) as reader:
        reader.next()
        reader.next()
        kept = s3.list_object_versions(Bucket=bucket)
        assert (len(kept["Versions"]), len(kept["DeleteMarkers"])) == (4, 1)
        assert table in stack.client("dynamodb").list_tables()["TableNames"]
        reader.next()
        reader.next()
        reader.next()

    assert not [each for each in s3.list_buckets()["Buckets"] if each["Name"].startswith(LEAVING)]
    assert not [each for each in stack.client("dynamodb").list_tables()["TableNames"] if each.startswith(LEAVING)]
    groups = stack.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/cloudformation/{LEAVING}")["logGroups"]
    assert groups == []
    assert "DeletedDate" in stack.client("secretsmanager").describe_secret(SecretId=f"{SECRET_PREFIX}{account.sid}")


# --- what is missing --------------------------------------------------------------------------------------


def test_a_run_of_the_reconciler_adopts_what_has_no_row(stack: Stack, call: Call, follow: Follow) -> None:
    with stack.simulator.locked() as twilio:
        twilio.record(call)

    with follow("Run the reconciler") as reader:
        summary, status = re.fullmatch(r"(\{.*\})\s*(\d+)\n", reader.next()).groups()  # type: ignore[union-attr]
        bookmarks = reader.next()

    assert (json.loads(summary)["adopted"] >= 1, status) == (True, "200")
    assert [row["requested_by"] for row in rows(stack, call)] == ["twilio"]
    assert f"reconcile#{stack.account_sid}" in bookmarks


def test_recordings_of_days_ago_are_adopted_once_the_bookmark_is_set_back(
    stack: Stack, account: Account, follow: Follow
) -> None:
    call = begin_call(stack, account)
    with stack.simulator.locked() as twilio:
        twilio.record(call).started_at = time.time() - 3 * 86_400
    call_back(stack, parameters_of(account), token=account.auth_token)  # so that the account is known
    reconcile(stack)
    assert rows(stack, call) == [], "a first look goes back a day"
    since = clock.iso_seconds(datetime.now(UTC) - timedelta(days=4))

    with follow("Recordings without a row", ACCOUNT_SID=account.sid, SINCE=since) as reader:
        reader.next()

    assert reconcile(stack)["adopted"] >= 1
    assert [row["requested_by"] for row in rows(stack, call)] == ["twilio"]


def test_audio_from_before_gets_into_the_archive(stack: Stack, call: Call, follow: Follow) -> None:
    with not_archiving_by_itself(stack):
        recording = record(stack, call)
        (row,) = eventually(lambda: [row for row in rows(stack, call) if row["status"] == "completed"])
        time.sleep(2)
    assert objects(stack, recording) == []

    day = str(row["start_time"])[:10]
    with follow("Audio that is not in the archive", ACCOUNT_SID=stack.account_sid, DAY=day) as reader:
        reader.next()
        reader.next()
        assert eventually(lambda: reader.again().split() == ["0", "0"])

    assert [proof["key"] for proof in archived(stack, call)] == objects(stack, recording) != []


def test_rows_that_are_missing_come_back_and_those_that_are_there_stay(
    stack: Stack, call: Call, follow: Follow
) -> None:
    """MiniStack restores what is in the table now, whatever time is asked for: so the accident is put after that."""
    sid = start(stack, call).json()["sid"]
    other = start(stack, call).json()["sid"]
    before = rows(stack, call)
    dynamodb, table = stack.client("dynamodb"), stack.recordings_table

    with follow("Restore rows", BEFORE=clock.iso_seconds(clock.now())) as reader:
        assert "PointInTimeRecoveryStatus" in reader.next()
        assert reader.next().endswith("ACTIVE\n")
        dynamodb.delete_item(TableName=table, Key={"recording_sid": {"S": sid}})
        dynamodb.update_item(
            TableName=table,
            Key={"recording_sid": {"S": other}},
            UpdateExpression="SET price = :price",
            ExpressionAttributeValues={":price": {"S": "-0.0025"}},
        )
        assert reader.next() == "1 rows copied\n"
        reader.next()

    after = {row["recording_sid"]: row for row in rows(stack, call)}
    assert after == {row["recording_sid"]: row for row in before} | {other: after[other]}
    assert after[other]["price"] == "-0.0025"
    assert f"{STACK_NAME}-restored" not in dynamodb.list_tables()["TableNames"]


# --- keys, logs, versions ---------------------------------------------------------------------------------


def test_a_key_lets_the_logs_and_the_events_in(stack: Stack, follow: Follow) -> None:
    with follow("Encrypt with a key of your own") as reader:
        key = reader.next().strip()

    policy = json.loads(stack.client("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == [
        "AdministeredByIam",
        "LogGroupsOfThisAccount",
        "EventsIntoQueues",
    ]
    assert policy["Statement"][1]["Principal"] == {"Service": f"logs.{stack.region}.amazonaws.com"}
    assert policy["Statement"][1]["Condition"]["ArnLike"] == {
        "kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{stack.region}:000000000000:log-group:*"
    }


def test_api_gateway_gets_a_role_for_its_logs_and_writes_them(stack: Stack, follow: Follow) -> None:
    with follow("The API's access log") as reader:
        assert reader.next() == "None\n"
        reader.next()
        log = json.loads(reader.next())
        assert reader.next() == "null\n"

    held = stack.client("apigateway").get_account()["cloudwatchRoleArn"]
    role = stack.client("iam").get_role(RoleName=held.rpartition("/")[2])["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert log["destinationArn"].endswith(f":log-group:{resource(stack, 'ControlApiLogGroup')}")
    assert "identity.userArn" in log["format"]


def test_the_version_that_callers_reach_is_told(follow: Follow) -> None:
    with follow("Upgrade") as reader:
        version, shared = json.loads(reader.next())

    assert (version.isdigit(), shared) == (True, None)


# --- rehearsals -------------------------------------------------------------------------------------------


def test_the_rehearsals_rotate_redrive_replay_and_pause_everything(
    stack: Stack, empty_queues: dict[str, str], follow: Follow, tmp_path: Path
) -> None:
    before, recorded = set(stack.simulator.twilio.accounts), set(stack.simulator.twilio.recordings)
    env = tmp_path / "env.sh"
    env.write_text(env_sh(stack, call_sid=new_sid("CA"), page_url="http://127.0.0.1:1"))

    with follow("Rehearse") as reader:
        reader.next(instead={".local/env.sh": str(env)})
        while reader.left:
            reader.next()

    (opened,) = set(stack.simulator.twilio.accounts) - before
    answers = [attempt.status for attempt in stack.simulator.attempts if attempt.callback.account_sid == opened]
    assert answers == [204, 204, 204], "each of the first recording's two, before and after, and one of the second's"
    rotated, redriven = [r for r in stack.simulator.twilio.recordings.values() if r.call.account_sid == opened]
    assert [row["status"] for row in rows(stack, rotated.call)] == ["completed"]
    assert [row["requested_by"] for row in rows(stack, redriven.call)] == ["eventbridge"]
    forget(stack, stack.simulator.twilio.accounts[opened])
    conference = list(stack.simulator.twilio.conferences.values())[-1]
    paused_alone, *others = [
        one
        for sid, one in stack.simulator.twilio.recordings.items()
        if sid not in recorded and one.source == "StartCallRecordingTwiML"
    ]
    assert (paused_alone.status, {late.status for late in others}) == ("paused", {"in-progress"})
    assert [one.can_be_heard(time.time()) for one in others] == [True]
    for participant in conference.present:
        stack.simulator.twilio.hang_up(participant.call.sid)
