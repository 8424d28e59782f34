"""What docs/explanation/threats.md says of attacks: each is tried here, also the ones that it says get through."""

import gc
import json
import logging
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from copy import replace
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
import requests
import responses

from call_recording import clients, clock
from call_recording.callbacks.facts import callback_facts
from call_recording.deadline import Deadline
from call_recording.errors import TwilioUnavailableError
from call_recording.http.request import MOST_BODY_BYTES
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import Twilio, TwilioAccount
from call_recording.twilio.credentials import Credentials, CredentialStore
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID, RECORDING_SID, WEBHOOK_URL
from local.api_gateway import http_api_event
from local.twilio_simulator.delivery import Signed, sign
from local.twilio_simulator.model import CallbackTarget
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Callback
from tests.conftest import (
    Context,
    Time,
    archive_message,
    capture_log,
    load_archive_recording,
    put_secret,
    rows,
    written_metrics,
)

Ask = Callable[..., dict[str, Any]]
Api = Callable[..., dict[str, Any]]
Sample = Callable[[str], dict[str, Any]]
Receive = Callable[..., int]

OTHER_ACCOUNT, OTHER_RECORDING = "AC" + "9" * 32, "RE" + "9" * 32
METADATA_SERVICE = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
COMPLETED = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "ErrorCode": "0",
    "RecordingChannels": "2",
    "RecordingDuration": "42",
    "RecordingSid": RECORDING_SID,
    "RecordingSource": "StartCallRecordingAPI",
    "RecordingStartTime": "Sun, 22 Nov 2026 07:33:00 +0000",
    "RecordingStatus": "completed",
    "RecordingTrack": "both",
    "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{RECORDING_SID}",
}
STARTED = {name: value for name, value in COMPLETED.items() if name != "RecordingDuration"} | {
    "RecordingStatus": "in-progress"
}


def signed(
    parameters: dict[str, str], method: str = "POST", *, url: str = WEBHOOK_URL, auth_token: str = AUTH_TOKEN
) -> Signed:
    """Return what Twilio sends to an address that it was told, with these parameters."""
    target = CallbackTarget(url, method, frozenset())
    return sign(Callback(target, ACCOUNT_SID, parameters), auth_token=auth_token)


@pytest.fixture
def receive(recording_status: ModuleType) -> Receive:
    """Return a function that lets WebhookApi hand a request over, and gives the status it answers."""

    def send(request: Signed, **headers: str) -> int:
        event = http_api_event(request.method, request.url, headers=request.headers, body=request.body)
        event["headers"] |= headers
        answer: int = recording_status.handler(event, Context())["statusCode"]
        return answer

    return send


def delete_row(recording_sid: str) -> None:
    boto3.client("dynamodb").delete_item(TableName="recordings", Key={"recording_sid": {"S": recording_sid}})


# --- an anonymous sender ----------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "x-original-host", "forwarded", "x-forwarded-proto"])
def test_a_host_that_the_sender_names_is_no_address_of_ours(receive: Receive, header: str) -> None:
    """Twilio's signature over a callback to another program of the same account is no proof here."""
    value = {"forwarded": "host=elsewhere.example.com;proto=https", "x-forwarded-proto": "http"}
    url = WEBHOOK_URL.replace("https", "http") if header == "x-forwarded-proto" else "https://elsewhere.example.com"
    elsewhere = signed(COMPLETED, url=url if "recording-status" in url else f"{url}/recording-status")

    answer = receive(replace(elsewhere, url=WEBHOOK_URL), **{header: value.get(header, "elsewhere.example.com")})

    assert answer == 403
    assert rows() == []


@pytest.mark.parametrize("account_sid", ["AC" + "0" * 31, "AC../../" + "0" * 26, f"{OTHER_ACCOUNT}\n", "billing", ""])
def test_what_is_no_sid_is_never_part_of_a_secrets_name(
    receive: Receive, ask: Ask, account_sid: str, twilio: TwilioServer
) -> None:
    looked_up: list[str] = []
    clients.secrets_manager().meta.events.register(
        "provide-client-params.secretsmanager.GetSecretValue", lambda params, **_: looked_up.append(params["SecretId"])
    )

    assert receive(signed(COMPLETED | {"AccountSid": account_sid}, auth_token="guessed")) == 403
    assert ask({"AccountSid": account_sid})["statusCode"] == 400

    assert set(looked_up) <= {f"twilio/{ACCOUNT_SID}"}
    assert twilio.twilio.requests == []


@pytest.mark.parametrize("secret", [None, "not JSON"], ids=str)
def test_a_flood_for_an_account_that_cannot_be_proven_does_not_grow_the_log_or_the_memory(
    receive: Receive, recording_status: ModuleType, secret: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("recording-status"), "propagate", False)  # pytest keeps what it captures
    if secret:
        put_secret(OTHER_ACCOUNT, secret)
    log = capture_log(recording_status)

    def flood(times: int) -> None:
        for _ in range(times):
            forged = signed(COMPLETED | {"AccountSid": OTHER_ACCOUNT, "New": "x" * 30_000}, auth_token="guessed")
            assert receive(forged) == (503 if secret else 403)

    flood(5)
    gc.collect()
    tracemalloc.start()
    flood(30)
    gc.collect()
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held_bytes < 10 * 30_000, "less than a third of the bodies"
    first, *_, last = [line for line in log.getvalue().splitlines() if "callback refused" in line][1:]
    assert len(last) < len(first) + 50


# --- somebody who has one callback that Twilio signed -------------------------------------------------


def test_a_callback_that_is_sent_again_changes_nothing(receive: Receive) -> None:
    callbacks = [signed(STARTED), signed(COMPLETED)]
    assert [receive(callback) for callback in callbacks] == [204, 204]
    before = rows()

    assert [receive(callback) for callback in [*callbacks, *reversed(callbacks)]] == [204] * 4
    assert rows() == before


def test_a_callback_that_is_sent_again_does_not_bring_back_what_was_deleted(
    receive: Receive, api: Api, twilio: TwilioServer, table: RecordingsTable
) -> None:
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[CALL_SID])
    recording.status, recording.duration = "completed", 42
    callback = signed(recording.callback_parameters("completed", base_url=twilio.url))
    assert receive(callback) == 204
    assert api("delete-rest-api.json", path={"RecordingSid": recording.sid})["statusCode"] == 200

    assert receive(callback) == 204
    (row,) = rows()
    assert row["status"] == "deleted"
    assert not {"recording_url", "archive", "metadata"} & row.keys()


def test_a_callback_is_worth_nothing_once_its_token_is_no_longer_kept(receive: Receive, time: Time) -> None:
    callback = signed(COMPLETED)
    put_secret(ACCOUNT_SID, {"auth_token": "new"})

    assert receive(callback) == 403
    assert rows() == []


def cut_differently(parameters: dict[str, str]) -> Iterator[list[tuple[str, str]]]:
    """Give other parameters with the same signature: Twilio signs names and values without anything in between."""
    pairs = sorted(parameters.items())
    for number, (name, value) in enumerate(pairs):
        before, behind = pairs[:number], pairs[number + 1 :]
        for more in {1, len(value) // 2, len(value)} - {0}:
            yield [*before, (name + value[:more], value[more:]), *behind]
        yield [*before, (name[:-1], name[-1] + value), *behind]
        if behind:
            yield [*before, (name, value + "".join(behind[0])), *behind[1:]]
    last, value = pairs[-1]
    for length in range(1, len(value), 10):
        yield [*pairs[:-1], (last, value[:length]), (value[length:], "")]


def test_a_callback_that_is_cut_differently_says_nothing_that_twilio_did_not_say(receive: Receive) -> None:
    """Facts can be missing, and what is left of them stands in `metadata`; none is another."""
    original = signed(COMPLETED)
    assert receive(original) == 204
    (whole,) = rows()
    follow = {"metadata", "fact_ranks", "status_at", "start_time", "account_day", "expires_at"}
    answers = []

    for pairs in cut_differently(COMPLETED):
        delete_row(RECORDING_SID)
        answers.append(receive(replace(original, body=urlencode(pairs).encode())))
        for row in rows():
            assert {name for name in row if row[name] != whole.get(name)} <= follow | {"recording_url"}
            assert whole["recording_url"].startswith(row.get("recording_url", "")), "a beginning of it, at worst"

    assert set(answers) == {202, 204, 403}
    assert answers.count(204) > 10, "otherwise little was tried"


def test_a_signed_get_that_is_sent_as_an_empty_form_says_nothing(receive: Receive) -> None:
    """Its signature holds, so it is kept; somebody can fill the dead-letter queue like that."""
    assert receive(replace(signed(COMPLETED, "GET"), method="POST")) == 202
    assert rows() == []


def test_a_callback_that_is_sent_again_after_its_rows_retention_makes_the_row_anew(receive: Receive) -> None:
    """What gets through: nothing remembers a row that has gone."""
    callback = signed(COMPLETED)
    receive(callback)
    delete_row(RECORDING_SID)  # as DynamoDB does when its time has come

    assert receive(callback) == 204
    assert [row["status"] for row in rows()] == ["completed"]


# --- somebody who can have Twilio send something -------------------------------------------------------


def test_a_caller_cannot_word_callbacks_about_other_recordings(receive: Receive) -> None:
    """A callback of one's own may be our webhook, with a query that Twilio signs and adds its own parameters to."""
    url = f"{WEBHOOK_URL}?RecordingSid={OTHER_RECORDING}&RecordingStatus=deleted"

    assert receive(signed(STARTED, "GET", url=url)) == 202, "contradictions are kept, not believed"
    assert receive(signed(STARTED, "POST", url=url)) == 204, "of a form only what Twilio wrote is read"

    assert [(row["recording_sid"], row["status"]) for row in rows()] == [(RECORDING_SID, "in-progress")]


def worded(status: str, recording_sid: str = RECORDING_SID) -> Signed:
    """Return what Twilio sends when it is to GET something about a call, such as TwiML, from an address like that."""
    url = f"{WEBHOOK_URL}?RecordingSid={recording_sid}&RecordingStatus={status}"
    voice = {"AccountSid": ACCOUNT_SID, "CallSid": CALL_SID, "CallStatus": "ringing", "Direction": "outbound-api"}
    return signed(voice, "GET", url=url)


def test_whoever_has_twilio_get_something_from_the_webhook_can_word_a_callback(receive: Receive) -> None:
    """What gets through: a signature proves the account, and not what Twilio was asked to call for."""
    assert receive(signed(STARTED)) == 204

    assert receive(worded("absent")) == 204
    assert [row["status"] for row in rows()] == ["absent"]
    assert receive(signed(COMPLETED)) == 204
    assert [row["status"] for row in rows()] == ["completed"], "Twilio's own word outranks it"


def test_no_callback_can_call_a_recording_deleted(receive: Receive) -> None:
    """Twilio's callbacks have no such status, and here it outranks every other."""
    assert receive(signed(COMPLETED)) == 204

    assert receive(worded("deleted")) == 202, "kept for a look, not believed"

    assert [row["status"] for row in rows()] == ["completed"]


def test_archived_audio_of_a_row_that_only_twilio_calls_deleted_stays(
    receive: Receive, twilio: TwilioServer, bucket: str, monkeypatch: pytest.MonkeyPatch, table: RecordingsTable
) -> None:
    """It may be the only copy, and nobody asked us to delete it."""
    app = load_archive_recording(bucket, twilio, monkeypatch)
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[CALL_SID])
    recording.status, recording.duration = "completed", 42
    assert receive(signed(recording.callback_parameters("completed", base_url=twilio.url))) == 204
    assert archive(app, recording.sid) == []

    table.record(Facts.gone(recording.sid, ACCOUNT_SID))
    kept = boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]
    assert archive(app, recording.sid) == []

    assert (kept, boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]) == (1, 1)


def test_another_account_with_a_secret_here_writes_rows_of_its_own_alone(receive: Receive) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "theirs"})
    assert receive(signed(COMPLETED)) == 204
    before = rows()
    theirs = COMPLETED | {"AccountSid": OTHER_ACCOUNT}

    assert receive(signed(theirs | {"RecordingStatus": "absent"}, auth_token="theirs")) == 403
    assert receive(signed(COMPLETED | {"RecordingStatus": "absent"}, auth_token="theirs")) == 403
    assert rows() == before
    assert receive(signed(theirs | {"RecordingSid": OTHER_RECORDING}, auth_token="theirs")) == 204


def test_a_status_that_an_account_makes_up_makes_no_metric_of_its_own(
    receive: Receive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert receive(signed(COMPLETED | {"RecordingStatus": "made-up"})) == 204

    counted = [metric for metric in written_metrics(capsys.readouterr().out) if metric["name"] == "Callbacks"]
    assert [metric["dimensions"] for metric in counted] == [{"status": "other"}]


# --- a caller ------------------------------------------------------------------------------------------


def test_a_key_that_another_caller_used_gives_that_callers_answer(ask: Ask, sample: Sample) -> None:
    """What gets through: all callers of a stack share the keys, as docs/explanation/security.md says."""
    context = sample("start-rest-api.json")["requestContext"]
    other = context | {"identity": context["identity"] | {"userArn": "arn:aws:iam::123456789012:user/other"}}
    mine = ask({"Trim": "trim-silence"}, key="key-1")

    same = ask({"Trim": "trim-silence"}, key="key-1", requestContext=other)
    different = ask({"Trim": "do-not-trim"}, key="key-1", requestContext=other)

    assert (same["statusCode"], same["json"]) == (201, mine["json"])
    assert same["headers"]["Idempotent-Replayed"] == "true"
    assert different["statusCode"] == 422
    assert mine["json"]["sid"] not in different["body"]


def test_a_body_larger_than_64_kib_is_413_for_controls_too(api: Api, twilio: TwilioServer) -> None:
    answer = api("control-rest-api.json", {"Status": "paused", "More": "x" * MOST_BODY_BYTES})

    assert (answer["statusCode"], answer["json"]["type"]) == (413, "urn:problem:call-recording:too-large")
    assert twilio.twilio.requests == []


# --- addresses that somebody names ----------------------------------------------------------------------


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every host that our code wants to connect to."""
    hosts: set[str] = set()
    look_up, ours = socket.getaddrinfo, threading.current_thread()

    def note(host: Any, *args: Any, **more: Any) -> Any:
        if threading.current_thread() is ours:
            hosts.add(str(host))
        return look_up(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", note)
    return hosts


def test_no_address_of_a_request_or_a_callback_is_ever_called(
    ask: Ask,
    receive: Receive,
    twilio: TwilioServer,
    bucket: str,
    asked_for: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not the caller's callback, which is Twilio's to call, and not RecordingUrl: audio is asked of TwilioApiUrl."""
    twilio.twilio.faults.callbacks.extend([()] * 2)
    sid = ask({"RecordingStatusCallback": METADATA_SERVICE})["json"]["sid"]
    recording = twilio.twilio.recordings[sid]
    recording.status, recording.duration = "completed", 42
    told = recording.callback_parameters("completed", base_url=twilio.url) | {"RecordingUrl": METADATA_SERVICE}
    assert receive(signed(told)) == 204

    assert archive(load_archive_recording(bucket, twilio, monkeypatch), sid) == []

    assert asked_for == {"127.0.0.1"}, "the simulated Twilio"
    assert {row["recording_url"] for row in rows() if "archive" in row} == {METADATA_SERVICE}


def archive(app: ModuleType, recording_sid: str) -> list[Any]:
    """Let the archiving function have a message about the recording; return what it wants to have again."""
    message = archive_message(recording_sid, received=12)
    failed: list[Any] = app.handler({"Records": [message]}, Context())["batchItemFailures"]
    return failed


class _Held(CredentialStore):
    """Credentials that need no Secrets Manager."""

    def __init__(self) -> None:
        self.held = Credentials(ACCOUNT_SID, "the-token")

    def get(self, _account_sid: str) -> Credentials:
        return self.held


@pytest.fixture
def twilio_api() -> TwilioAccount:
    return Twilio(requests.Session(), "https://api.twilio.com", _Held()).of(ACCOUNT_SID)


ACCOUNT_URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}"
ELSEWHERE = "https://elsewhere.example.com/audio"


@responses.activate
def test_the_next_page_that_twilio_names_is_asked_of_twilio_alone(twilio_api: TwilioAccount, time: Time) -> None:
    answer = {"recordings": [], "next_page_uri": f"{ELSEWHERE}?Page=1&PageToken=x"}
    responses.get(f"{ACCOUNT_URL}/Recordings.json", json=answer)
    between: dict[str, Any] = {"created_after": clock.now(), "created_before": clock.now(), "deadline": Deadline(20)}

    _, page = twilio_api.list_recordings(page=None, **between)
    twilio_api.list_recordings(page=page, **between)

    assert [str(call.request.url).partition("?")[0] for call in responses.calls] == [
        f"{ACCOUNT_URL}/Recordings.json"
    ] * 2


@responses.activate
def test_audio_that_lies_elsewhere_is_fetched_without_our_credentials(twilio_api: TwilioAccount, time: Time) -> None:
    responses.get(f"{ACCOUNT_URL}/Recordings/{RECORDING_SID}.wav", status=302, headers={"Location": ELSEWHERE})
    responses.get(ELSEWHERE, body=b"RIFF", content_type="audio/x-wav")

    with twilio_api.media(RECORDING_SID, suffix="wav", channels=1, deadline=Deadline(20)) as media:
        assert b"".join(media.pieces(1000)) == b"RIFF"

    assert ["Authorization" in call.request.headers for call in responses.calls] == [True, False]


@responses.activate
def test_nothing_but_audio_is_fetched_from_elsewhere(twilio_api: TwilioAccount, time: Time) -> None:
    responses.get(f"{ACCOUNT_URL}/Recordings/{RECORDING_SID}.json", status=302, headers={"Location": ELSEWHERE})

    with pytest.raises(TwilioUnavailableError):
        twilio_api.fetch_recording(RECORDING_SID, deadline=Deadline(20))

    assert len(responses.calls) == 1


# --- whoever may put events on the bus ----------------------------------------------------------------


def test_a_made_up_event_archives_nothing_that_is_not_completed_in_the_table(
    archive_recording: ModuleType, twilio: TwilioServer, table: RecordingsTable
) -> None:
    with twilio.locked() as simulated:
        running = simulated.record(simulated.calls[CALL_SID])
    table.record(callback_facts(running.callback_parameters("in-progress", base_url=twilio.url).items()))

    assert archive(archive_recording, running.sid) == []
    assert archive(archive_recording, OTHER_RECORDING) == [{"itemIdentifier": "1"}], "told as a failure"

    assert twilio.twilio.requests == []
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="archive")


# --- somebody with access to logs ------------------------------------------------------------------------

FORGED = '{"level":"INFO","message":"recording deleted"}'


def test_nobody_can_make_up_a_line_of_a_log(
    ask: Ask, receive: Receive, recording_status: ModuleType, start_recording: ModuleType
) -> None:
    logs = [capture_log(recording_status), capture_log(start_recording)]
    line = f"x\n{FORGED}\n"

    ask({"Trim": line, line: line, "AccountSid": line}, key=line)
    ask({}, pathParameters={"CallSid": line})
    receive(signed(COMPLETED | {"RecordingStatus": line, line: line}))
    receive(replace(signed(COMPLETED), headers={"X-Twilio-Signature": line}))

    lines = [line for log in logs for line in log.getvalue().splitlines()]
    messages = [json.loads(line)["message"] for line in lines]
    assert set(messages) == {"recording not started", "callback sent to the dead-letter queue", "callback refused"}
