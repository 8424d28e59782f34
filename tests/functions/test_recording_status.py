"""The webhook: what Twilio signed is in the table before the answer; nothing else changes anything."""

import base64
import json
import re
from collections.abc import Callable
from copy import replace
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from twilio.request_validator import RequestValidator

from call_recording import clients
from call_recording.http.request import MOST_BODY_BYTES
from call_recording.recordings.merge import MOST_METADATA, MOST_UNKNOWN_STATUSES
from call_recording.recordings.row import attributes
from call_recording.start.request import RETRY_FRAGMENT
from call_recording.twilio.accounts import Accounts
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID, RECORDING_SID, WEBHOOK_URL
from local.api_gateway import http_api_event
from local.twilio_simulator import delivery
from local.twilio_simulator.delivery import Signed, sign
from local.twilio_simulator.model import CallbackTarget
from local.twilio_simulator.twilio import Callback
from tests.conftest import IDEMPOTENCY_TABLE, Context, Time, capture_log, put_secret, rows, written_metrics

Sample = Callable[[str], dict[str, Any]]
OTHER_ACCOUNT = "AC" + "9" * 32
CONFERENCE_SID = "CF" + "c" * 32
STATUSES = ["in-progress", "completed", "absent", "failed"]
PARAMETERS = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "RecordingSid": RECORDING_SID,
    "RecordingStatus": "completed",
    "RecordingDuration": "42",
    "RecordingStartTime": "Sun, 22 Nov 2026 07:33:00 +0000",
}


def signed(
    method: str = "POST", *, auth_token: str = AUTH_TOKEN, url: str = WEBHOOK_URL, **changes: str | None
) -> Signed:
    """Return a valid callback with some parameters changed (None: left out), signed afterwards."""
    parameters = {name: value for name, value in (PARAMETERS | changes).items() if value is not None}
    target = CallbackTarget(url, method, frozenset())
    return sign(Callback(target, ACCOUNT_SID, parameters), auth_token=auth_token)


@pytest.fixture
def receive(recording_status: ModuleType) -> Callable[[Signed], int]:
    """Return a function that lets WebhookApi hand a request over, and gives the status it answers."""

    def send(request: Signed) -> int:
        event = http_api_event(request.method, request.url, headers=request.headers, body=request.body)
        status: int = recording_status.handler(event, Context())["statusCode"]
        return status

    return send


def kept(queue: str) -> list[dict[str, Any]]:
    messages = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


# --- what is believed --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", ["post", "get"])
def test_the_sample_callbacks_are_in_the_table_when_answered(
    recording_status: ModuleType, sample: Sample, method: str, status: str
) -> None:
    answer = recording_status.handler(sample(f"callback-{method}-{status}.json"), Context())

    assert answer == {"statusCode": 204}
    (row,) = rows()
    expected = {
        "recording_sid": RECORDING_SID,
        "account_sid": ACCOUNT_SID,
        "call_sid": CALL_SID,
        "status": status,
        "channels": 2,
        "track": "both",
        "source": "StartCallRecordingAPI",
        "start_time": "2026-11-22T07:33:00Z",
        "recording_url": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{RECORDING_SID}",
        "requested_by": "twilio",
    }
    outcomes: dict[str, dict[str, Any]] = {
        "in-progress": {},
        "completed": {"duration_seconds": 42},
        "absent": {"duration_seconds": 0, "error_code": "16102"},
        "failed": {"duration_seconds": 0, "error_code": "16104"},
    }
    outcome = outcomes[status]
    assert {name: value for name, value in row.items() if name in expected | outcome} == expected | outcome
    assert ("error_code" in row) == ("error_code" in outcome)


def test_a_plain_body_is_as_good_as_a_base64_one(recording_status: ModuleType, sample: Sample) -> None:
    event = sample("callback-post-completed.json")
    assert event["isBase64Encoded"]
    event |= {"body": base64.b64decode(event["body"]).decode(), "isBase64Encoded": False}

    assert recording_status.handler(event, Context())["statusCode"] == 204
    assert len(rows()) == 1


def test_twilios_published_example_of_a_signature_is_what_the_simulator_makes() -> None:
    parameters = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    target = CallbackTarget("https://mycompany.com/myapp.php?foo=1&bar=2#rc=5", "POST", frozenset())

    made = sign(Callback(target, ACCOUNT_SID, parameters), auth_token="12345")

    assert made.headers["X-Twilio-Signature"] == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_either_token_is_accepted_while_they_rotate(receive: Callable[[Signed], int], method: str) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": "new-token", "auth_token_secondary": AUTH_TOKEN})

    assert receive(signed(method, RecordingSid="RE" + "1" * 32)) == 204
    assert receive(signed(method, auth_token="new-token", RecordingSid="RE" + "2" * 32)) == 204
    assert len(rows()) == 2


def test_a_subaccount_is_proven_by_its_own_token(receive: Callable[[Signed], int]) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other-token"})

    assert receive(signed(auth_token="other-token", AccountSid=OTHER_ACCOUNT)) == 204
    assert rows()[0]["account_sid"] == OTHER_ACCOUNT


def test_a_subaccount_that_has_been_used_is_proven_amid_a_flood_of_invented_ones(
    receive: Callable[[Signed], int],
) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "another"})
    Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID).note(OTHER_ACCOUNT)
    flood = [receive(signed(AccountSid=f"AC{number:032x}")) for number in range(25)]

    assert set(flood) == {403, 503}
    assert receive(signed(AccountSid=OTHER_ACCOUNT, auth_token="another")) == 204


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_query_of_our_own_webhook_address_is_part_of_what_is_signed(
    receive: Callable[[Signed], int], method: str
) -> None:
    assert receive(signed(method, url=f"{WEBHOOK_URL}?b=%7E1&a=x%20y&b=2")) == 204
    assert len(rows()) == 1


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_callback_of_before_the_webhook_moved_is_believed(receive: Callable[[Signed], int], method: str) -> None:
    """Its call began when the stack named another address: the one that it now comes in by."""
    assert receive(signed(method, url="https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/recording-status")) == 204


@pytest.mark.parametrize("url", [WEBHOOK_URL.replace(".com/", ".com:443/")])
def test_the_port_may_be_in_the_signed_address(receive: Callable[[Signed], int], url: str) -> None:
    assert receive(signed(url=url)) == 204


def test_blank_and_unusual_values_are_part_of_what_is_signed(receive: Callable[[Signed], int]) -> None:
    assert receive(signed(Empty="", Spaced="  a b ", Accented="é✓", Plus="a+b&c=d")) == 204

    assert rows()[0]["metadata"] == {"Empty": "", "Spaced": "  a b ", "Accented": "é✓", "Plus": "a+b&c=d"}


def test_encryption_details_have_the_names_of_the_resource(receive: Callable[[Signed], int]) -> None:
    details = {"public_key_sid": "CR1", "encrypted_cek": "y", "iv": "x", "version": 1.5}
    assert receive(signed(EncryptionDetails=json.dumps(details))) == 204

    named = {"encryption_public_key_sid": "CR1", "encryption_cek": "y", "encryption_iv": "x", "version": "1.5"}
    assert rows()[0]["encryption_details"] == named


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_recording_of_a_conference_names_no_call(receive: Callable[[Signed], int], method: str) -> None:
    assert receive(signed(method, CallSid=None, ConferenceSid=CONFERENCE_SID)) == 204

    (row,) = rows()
    assert (row.get("call_sid"), row["conference_sid"], row["status"]) == (None, CONFERENCE_SID, "completed")


def test_call_and_conference_are_both_kept_where_both_are_named(receive: Callable[[Signed], int]) -> None:
    assert receive(signed(ConferenceSid=CONFERENCE_SID, RecordingStatus="in-progress")) == 204
    assert receive(signed(CallSid=None, ConferenceSid=CONFERENCE_SID)) == 204

    (row,) = rows()
    assert (row["call_sid"], row["conference_sid"], row["status"]) == (CALL_SID, CONFERENCE_SID, "completed")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_a_caller_added_to_the_address_is_kept(receive: Callable[[Signed], int], method: str) -> None:
    assert receive(signed(method, url=f"{WEBHOOK_URL}?roomId=room-17&empty=", New="x")) == 204

    assert rows()[0]["metadata"] == {"roomId": "room-17", "empty": "", "New": "x"}


def test_a_forms_own_parameter_counts_where_the_address_has_one_of_the_same_name(
    receive: Callable[[Signed], int],
) -> None:
    url = f"{WEBHOOK_URL}?New=theirs&RecordingDuration=7&ErrorCode=16101&ConferenceSid={CONFERENCE_SID}"

    assert receive(signed(url=url, New="Twilio's")) == 204

    (row,) = rows()
    assert row["metadata"] == {"New": "Twilio's"}
    assert row["duration_seconds"] == 42
    assert not {"error_code", "conference_sid"} & row.keys(), "only Twilio reports of a recording, in the form"


def test_numbers_that_no_row_can_hold_are_kept_as_text(receive: Callable[[Signed], int]) -> None:
    assert receive(signed(EncryptionDetails=f'{{"serial": {"9" * 45}, "version": 2}}')) == 204

    assert rows()[0]["encryption_details"] == {"serial": "9" * 45, "version": 2}


def test_only_four_parameters_are_required(receive: Callable[[Signed], int]) -> None:
    assert receive(signed(RecordingDuration=None, RecordingStartTime=None)) == 204

    (row,) = rows()
    assert "duration_seconds" not in row


def test_a_status_that_twilio_adds_one_day_is_stored(receive: Callable[[Signed], int]) -> None:
    assert receive(signed(RecordingStatus="transcoding")) == 204
    assert receive(signed(RecordingStatus="in-progress")) == 204

    (row,) = rows()
    assert row["status"] == "in-progress"
    assert set(row["status_at"]) == {"transcoding", "in-progress"}


@pytest.mark.parametrize(
    "spell",
    [
        lambda query: query.replace("%3A", ":").replace("%40", "@"),
        lambda query: query.replace("%40", "@"),
        lambda query: query.replace("%3A", ":").replace("%2C", ","),
        lambda query: re.sub("%(3A|40|2C|2F)", lambda found: unquote(found[0]), query),
        lambda query: query.replace("%20", "+"),
        lambda query: re.sub("%..", lambda found: found[0].lower(), query),
        lambda query: re.sub(
            "%..", lambda found: found[0].lower(), query.replace("%3A", ":").replace("%40", "@").replace("%20", "+")
        ),
    ],
    ids=["colon and at", "at", "colon and comma", "all that can be", "plus", "lower case", "several at once"],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("spelt_anew", ["what is sent", "what is signed"])
def test_a_query_is_proven_however_it_is_spelt_on_its_way(
    receive: Callable[[Signed], int], method: str, spell: Callable[[str], str], spelt_anew: str
) -> None:
    """Twilio signs one spelling, and another one arrives."""
    own = urlencode({"who": "a@b.example", "at": "7:30, Monday", "tag": "x/y+z&é"}, quote_via=quote, safe="")
    valid = signed(method, url=f"{WEBHOOK_URL}?{own}")
    other = f"{WEBHOOK_URL}?{spell(valid.url.partition('?')[2])}"
    assert other != valid.url

    if spelt_anew == "what is sent":
        request = replace(valid, url=other)
    else:
        form = dict(parse_qsl(valid.body.decode(), keep_blank_values=True))
        signature = RequestValidator(AUTH_TOKEN).compute_signature(other, form)
        request = replace(valid, headers=valid.headers | {"X-Twilio-Signature": signature})

    assert receive(request) == 204
    assert rows()[0]["metadata"] == {"who": "a@b.example", "at": "7:30, Monday", "tag": "x/y+z&é"}


# --- shared keys ---------------------------------------------------------------------------------------

KEY_ID = "webhooks_sharedkey_01hzy"
SETTINGS = f"key={KEY_ID},algorithm=HMAC_SHA256"


def signed_by_key(
    method: str = "POST", *, key: str = "shared", settings: str | None = SETTINGS, algorithm: str = "HMAC_SHA256"
) -> Signed:
    """Return a callback as Twilio signs it for an account with a Webhooks rule, or something much like that."""
    valid = signed(method)
    form = dict(parse_qsl(valid.body.decode(), keep_blank_values=True))
    signature = RequestValidator(key).compute_signature(valid.url, form, algorithm)
    headers = {"X-Twilio-Signature": signature}
    if settings is not None:
        headers["X-Twilio-Webhooks-Signature-Settings"] = settings
    return replace(valid, headers=valid.headers | headers)


@pytest.fixture
def shared_key(recording_status: ModuleType) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "webhook_shared_keys": {KEY_ID: "shared", "another": "other"}})


@pytest.mark.usefixtures("shared_key")
@pytest.mark.parametrize("settings", [SETTINGS, f" algorithm = HMAC_SHA256 , key = {KEY_ID}", f"{SETTINGS},version=1"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_callback_that_a_shared_key_signed_is_believed(
    receive: Callable[[Signed], int], method: str, settings: str
) -> None:
    assert receive(signed_by_key(method, settings=settings)) == 204
    assert receive(signed(method)) == 204, "and so is what the auth token signs, without naming a key"


@pytest.mark.usefixtures("shared_key")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"settings": "key=unknown,algorithm=HMAC_SHA256"}, "not in the account's secret"),
        ({"settings": "key=another,algorithm=HMAC_SHA256"}, "does not match"),
        ({"settings": f"key={KEY_ID},algorithm=HMAC_SHA512"}, "algorithm"),
        ({"settings": f"key={KEY_ID},algorithm=HMAC_SHA1", "algorithm": "HMAC_SHA1"}, "algorithm"),
        ({"settings": f"key={KEY_ID}", "algorithm": "HMAC_SHA1"}, "algorithm"),
        ({"settings": f"key={KEY_ID},algorithm=", "algorithm": "HMAC_SHA1"}, "algorithm"),
        ({"settings": f"{SETTINGS},algorithm=HMAC_SHA1"}, "algorithm"),
        ({"settings": f"{SETTINGS},key=another"}, "no shared key, or several"),
        ({"settings": "key=,algorithm=HMAC_SHA256"}, "no shared key, or several"),
        ({"settings": "algorithm=HMAC_SHA256"}, "no shared key, or several"),
        ({"settings": "nothing we know"}, "algorithm"),
        ({"settings": None}, "does not match"),
        ({"settings": None, "algorithm": "HMAC_SHA1"}, "does not match"),
        ({"key": AUTH_TOKEN}, "does not match"),
        ({"key": AUTH_TOKEN, "algorithm": "HMAC_SHA1"}, "does not match"),
        ({"key": AUTH_TOKEN, "settings": "key=unknown,algorithm=HMAC_SHA256"}, "not in the account's secret"),
        ({"key": AUTH_TOKEN, "settings": None}, "does not match"),
        ({"algorithm": "HMAC_SHA1"}, "does not match"),
    ],
    ids=str,
)
def test_a_shared_key_proves_what_it_is_named_for_and_nothing_else_does(
    receive: Callable[[Signed], int], recording_status: ModuleType, changes: dict[str, Any], why: str
) -> None:
    log = capture_log(recording_status)

    assert receive(signed_by_key(**changes)) == 403

    assert rows() == []
    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if "callback refused" in line]
    assert why in line["why"]
    assert not {secret for secret in ("shared", AUTH_TOKEN, KEY_ID) if f'"{secret}' in log.getvalue()}


@pytest.mark.usefixtures("shared_key")
def test_a_name_of_a_key_that_comes_twice_is_refused(receive: Callable[[Signed], int]) -> None:
    valid = signed_by_key()

    assert (
        receive(
            replace(valid, headers=valid.headers | {"X-Twilio-Webhooks-Signature-Settings": f"{SETTINGS},{SETTINGS}"})
        )
        == 403
    )


def test_a_shared_key_that_was_stored_meanwhile_is_read_at_once(receive: Callable[[Signed], int], time: Time) -> None:
    assert receive(signed()) == 204
    assert receive(signed_by_key()) == 403

    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "webhook_shared_keys": {KEY_ID: "shared"}})
    time.turn(10)

    assert receive(signed_by_key()) == 204


# --- what is not believed ----------------------------------------------------------------------------


def spoiled(name: str) -> Signed:  # noqa: C901, PLR0911, PLR0912 (a list, not a decision)
    """Return a valid callback with one thing spoiled."""
    valid, valid_get = signed(), signed("GET")
    headers = valid.headers
    signature = headers["X-Twilio-Signature"]
    match name:
        case "no signature":
            return replace(valid, headers={k: v for k, v in headers.items() if k != "X-Twilio-Signature"})
        case "an empty signature":
            return replace(valid, headers=headers | {"X-Twilio-Signature": ""})
        case "a wrong signature":
            return replace(
                valid,
                headers=headers
                | {"X-Twilio-Signature": "A" + signature[1:] if signature[0] != "A" else "B" + signature[1:]},
            )
        case "a non-ASCII signature":
            return replace(valid, headers=headers | {"X-Twilio-Signature": "é" + signature[1:]})
        case "two signatures":
            return replace(valid, headers=headers | {"X-Twilio-Signature": f"wrong,{signature}"})
        case "the signature of another address":
            return replace(signed(url="https://elsewhere.example.com/recording-status"), url=WEBHOOK_URL)
        case "the signature of another path":
            return replace(signed(url=f"{WEBHOOK_URL}/"), url=WEBHOOK_URL)
        case "the signature of plain http":
            return replace(signed(url=WEBHOOK_URL.replace("https", "http")), url=WEBHOOK_URL)
        case "another account's token":
            return signed(auth_token="other-token")
        case "another account's token for a third account":
            return signed(auth_token="other-token", AccountSid="AC" + "7" * 32)
        case "an unknown account":
            return signed(AccountSid="AC" + "8" * 32)
        case "a parameter added":
            return replace(valid, body=valid.body + b"&RecordingChannels=2")
        case "a parameter repeated":
            return replace(valid, body=valid.body + b"&RecordingStatus=absent")
        case "a parameter removed":
            return replace(valid, body=valid.body.replace(b"&RecordingDuration=42", b""))
        case "a parameter changed":
            return replace(valid, body=valid.body.replace(b"RecordingDuration=42", b"RecordingDuration=43"))
        case "a parameter in the query added":
            return replace(valid_get, url=valid_get.url + "&RecordingChannels=2")
        case "a parameter in the query removed":
            return replace(valid_get, url=valid_get.url.replace("&RecordingDuration=42", ""))
        case "a parameter in the query changed":
            return replace(valid_get, url=valid_get.url.replace("RecordingDuration=42", "RecordingDuration=43"))
        case "parameters in the query in another order":
            query = valid_get.url.partition("?")[2].split("&")
            return replace(valid_get, url=f"{WEBHOOK_URL}?{'&'.join(reversed(query))}")
        case "a query added to a form":
            return replace(valid, url=f"{WEBHOOK_URL}?x=1")
        case "a signed form sent as a query":
            return replace(valid_get, headers=valid_get.headers | {"X-Twilio-Signature": signature})
        case "a signed query sent as a form":
            return replace(valid, headers=headers | {"X-Twilio-Signature": valid_get.headers["X-Twilio-Signature"]})
        case "a body hash of the attacker's":
            return replace(valid, url=f"{WEBHOOK_URL}?bodySHA256={'0' * 64}")
        case "no parameters":
            return replace(valid, body=b"")
        case "bytes that are not text":
            return replace(valid, body=b"\xff\xfe=\xff")
        case "an API key instead of a token":
            return signed(auth_token="key-secret")
    raise LookupError(name)


SPOILED = [
    "no signature",
    "an empty signature",
    "a wrong signature",
    "a non-ASCII signature",
    "two signatures",
    "the signature of another address",
    "the signature of another path",
    "the signature of plain http",
    "another account's token",
    "another account's token for a third account",
    "an unknown account",
    "a parameter added",
    "a parameter repeated",
    "a parameter removed",
    "a parameter changed",
    "a parameter in the query added",
    "a parameter in the query removed",
    "a parameter in the query changed",
    "parameters in the query in another order",
    "a query added to a form",
    "a signed form sent as a query",
    "a signed query sent as a form",
    "a body hash of the attacker's",
    "no parameters",
    "bytes that are not text",
    "an API key instead of a token",
]


@pytest.mark.parametrize("name", SPOILED)
def test_a_callback_that_is_not_proven_is_403_and_changes_nothing(
    recording_status: ModuleType, callback_queue: str, name: str
) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other-token"})
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "api_key_sid": "SK1", "api_key_secret": "key-secret"})
    request = spoiled(name)
    event = http_api_event(request.method, request.url, headers=request.headers, body=request.body)

    answer = recording_status.handler(event, Context())

    assert answer["statusCode"] == 403
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert rows() == []
    assert kept(callback_queue) == []


def test_the_spoiled_callbacks_are_refused_for_what_was_spoiled(receive: Callable[[Signed], int]) -> None:
    assert receive(signed()) == 204
    assert receive(signed("GET")) == 204


def test_a_body_larger_than_any_callback_is_413_whatever_its_signature(
    recording_status: ModuleType, callback_queue: str
) -> None:
    fits, larger = (signed(New="x" * (MOST_BODY_BYTES - more), RecordingStatus="ODD") for more in (1_000, 0))

    answers = [
        recording_status.handler(http_api_event("POST", s.url, headers=s.headers, body=s.body), Context())
        for s in (fits, larger, replace(larger, body=larger.body * 50))
    ]

    assert [answer["statusCode"] for answer in answers] == [202, 413, 413]
    assert json.loads(answers[1]["body"])["type"] == "urn:problem:call-recording:too-large"
    assert rows() == []
    assert len(kept(callback_queue)) == 1, "the one that is small enough to be proven"


def test_broken_base64_is_403(recording_status: ModuleType, sample: Sample) -> None:
    event = sample("callback-post-completed.json")

    assert recording_status.handler(event | {"body": "%%%"}, Context())["statusCode"] == 403


def test_an_account_cannot_write_into_another_accounts_recording(
    receive: Callable[[Signed], int], callback_queue: str
) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other-token"})
    receive(signed(RecordingStatus="in-progress"))
    before = rows()

    assert receive(signed(auth_token="other-token", AccountSid=OTHER_ACCOUNT)) == 403
    assert rows() == before
    assert kept(callback_queue) == []


def test_the_tokens_of_a_broken_secret_prove_nothing(receive: Callable[[Signed], int]) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": ""})

    assert receive(signed(auth_token="")) == 503
    assert rows() == []


BROKEN: dict[str, dict[str, Any]] = {
    "a line break behind the token": {"auth_token": f"{AUTH_TOKEN}\n"},
    "a blank before the token": {"auth_token": f" {AUTH_TOKEN}"},
    "a token that is no text": {"auth_token": 12345},
    "a second token with a tab": {"auth_token": AUTH_TOKEN, "auth_token_secondary": "next\t"},
    "an API key's secret with a line break": {
        "auth_token": AUTH_TOKEN,
        "api_key_sid": "SK1",
        "api_key_secret": "secret\r\n",
    },
    "shared keys in a list": {"auth_token": AUTH_TOKEN, "webhook_shared_keys": ["shared"]},
    "a shared key that is empty": {"auth_token": AUTH_TOKEN, "webhook_shared_keys": {KEY_ID: ""}},
    "a shared key that is a number": {"auth_token": AUTH_TOKEN, "webhook_shared_keys": {KEY_ID: 1}},
    "a shared key with a line break": {"auth_token": AUTH_TOKEN, "webhook_shared_keys": {KEY_ID: "shared\n"}},
}


@pytest.mark.parametrize("secret", BROKEN.values(), ids=BROKEN.keys())
def test_a_secret_that_we_stored_wrongly_is_our_fault_and_nobodys_forgery(
    receive: Callable[[Signed], int],
    recording_status: ModuleType,
    capsys: pytest.CaptureFixture[str],
    secret: dict[str, Any],
) -> None:
    put_secret(ACCOUNT_SID, secret)
    log = capture_log(recording_status)

    assert receive(signed()) == 503
    why = json.loads(log.getvalue().splitlines()[0])["why"]
    assert [name for name in secret if name in why], "the operator is told what is wrong"
    assert receive(signed_by_key(key="")) == 503

    assert [metric["name"] for metric in written_metrics(capsys.readouterr().out)] == ["CredentialsRefused"]
    assert rows() == []


# --- what is kept --------------------------------------------------------------------------------------

UNREADABLE: dict[str, dict[str, str | None]] = {
    "no recording": {"RecordingSid": None},
    "a malformed recording": {"RecordingSid": "RE1"},
    "no status": {"RecordingStatus": None},
    "a status in capitals": {"RecordingStatus": "COMPLETED"},
    "no account": {"AccountSid": None},
    "neither call nor conference": {"CallSid": ""},
    "a malformed conference and no call": {"CallSid": None, "ConferenceSid": "CF1"},
    "parameters run together": {"RecordingStatus": "completedRecordingTrackboth"},
}


@pytest.mark.parametrize("changes", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_signed_callback_that_cannot_be_read_is_kept_and_answered_2xx(
    receive: Callable[[Signed], int], callback_queue: str, changes: dict[str, str | None]
) -> None:
    request = signed("POST", **changes)  # type: ignore[arg-type]

    assert receive(request) == 202

    (message,) = kept(callback_queue)
    assert [tuple(field) for field in message["fields"]] == parse_qsl(request.body.decode(), keep_blank_values=True)
    assert rows() == []


def test_what_is_kept_is_logged_with_what_it_names(
    receive: Callable[[Signed], int], recording_status: ModuleType, callback_queue: str
) -> None:
    log = capture_log(recording_status)

    assert receive(signed(RecordingStatus="COMPLETED")) == 202
    assert receive(signed(RecordingSid="+15005550006")) == 202

    first, second = [json.loads(line) for line in log.getvalue().splitlines() if "dead-letter" in line]
    sids = {"account_sid": ACCOUNT_SID, "call_sid": CALL_SID, "recording_sid": RECORDING_SID}
    assert sids.items() <= first.items()
    assert (second["call_sid"], "recording_sid" in second) == (CALL_SID, False)


def test_what_is_refused_is_logged_with_the_account_that_it_names(
    receive: Callable[[Signed], int], recording_status: ModuleType
) -> None:
    log = capture_log(recording_status)

    assert receive(signed(auth_token="another")) == 403
    assert receive(signed(AccountSid=OTHER_ACCOUNT)) == 403
    assert receive(signed(AccountSid="+15005550006", auth_token="another")) == 403

    lines = [json.loads(line) for line in log.getvalue().splitlines() if "callback refused" in line]
    assert [line["account_sid"] for line in lines] == [ACCOUNT_SID, OTHER_ACCOUNT, ACCOUNT_SID]


@pytest.mark.parametrize("much", ["x" * 17_000, "🎙" * 4_500], ids=["ASCII", "more bytes than characters"])
def test_far_too_much_that_is_not_known_is_cut_and_the_rest_is_in_the_row(
    receive: Callable[[Signed], int], callback_queue: str, much: str
) -> None:
    assert receive(signed("POST", New=much, Other="kept")) == 204

    (row,) = rows()
    assert (row["status"], row["metadata"]) == ("completed", {"New": much[:1024], "Other": "kept"})
    assert kept(callback_queue) == []


ODD: dict[str, dict[str, str]] = {
    "a start in ISO 8601": {"RecordingStartTime": "2026-11-22T07:33:00Z"},
    "a start that is no time": {"RecordingStartTime": "yesterday"},
    "a duration with a fraction": {"RecordingDuration": "42.0"},
    "a duration that is no number": {"RecordingDuration": "long"},
    "no error, as JSON says it": {"ErrorCode": "null"},
    "channels by name": {"RecordingChannels": "dual"},
    "an address that is none": {"RecordingUrl": "javascript:alert(1)"},
    "a source run together with its neighbour": {"RecordingSource": "APIRecordingStartTimeSun, 22 Nov"},
    "a track of blanks": {"RecordingTrack": "  "},
    "a conference that is none": {"ConferenceSid": "CF1"},
    "details that are no JSON": {"EncryptionDetails": "{'iv'"},
    "details that are no object": {"EncryptionDetails": "[]"},
    "several oddities": {"RecordingDuration": "NaN", "ErrorCode": "none", "RecordingChannels": "1.0"},
    "a start that no calendar has": {"RecordingStartTime": "Fri, 31 Dec 9999 23:59:59 -1200"},
    "a start before telephones": {"RecordingStartTime": "Fri, 31 Dec 100 23:59:59 +0000"},
    "details nested without end": {"EncryptionDetails": "[" * 20_000},
    "details nested deeper than a row": {"EncryptionDetails": '{"a":' * 400 + "1" + "}" * 400},
    "a list nested deeper than a row": {"EncryptionDetails": '{"a":' + "[" * 40 + "]" * 40 + "}"},
    "details with half a character": {"EncryptionDetails": '{"iv": "\\ud800"}'},
    "details with a number of a book": {"EncryptionDetails": '{"n": ' + "9" * 10_000 + "}"},
    "a duration of 45 digits": {"RecordingDuration": "9" * 45},
    "channels of 45 digits": {"RecordingChannels": "9" * 45},
    "an error code of 45 digits": {"ErrorCode": "9" * 45},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_odd_optional_value_is_kept_in_the_row_and_keeps_nothing_out_of_it(
    receive: Callable[[Signed], int], callback_queue: str, method: str, changes: dict[str, str]
) -> None:
    assert receive(signed(method, **changes)) == 204

    (row,) = rows()
    assert row["status"] == "completed"
    assert row["metadata"] == {name: value[:1_024] for name, value in changes.items()}
    assert kept(callback_queue) == []


def test_what_an_odd_value_was_meant_to_say_is_told_by_a_later_report(receive: Callable[[Signed], int]) -> None:
    assert receive(signed(RecordingDuration="42.0")) == 204
    assert "duration_seconds" not in rows()[0]

    assert receive(signed()) == 204

    assert rows()[0]["duration_seconds"] == 42


@pytest.mark.parametrize(
    "name", ["RecordingDuration", "RecordingStartTime", "ErrorCode", "EncryptionDetails", "ConferenceSid"]
)
def test_an_empty_optional_value_says_nothing(receive: Callable[[Signed], int], name: str) -> None:
    assert receive(signed(**{name: ""})) == 204

    assert "metadata" not in rows()[0]


def test_an_optional_parameter_that_is_repeated_is_odd_and_no_fact(receive: Callable[[Signed], int]) -> None:
    request = signed()
    twice = [*PARAMETERS.items(), ("RecordingDuration", "43")]
    signature = RequestValidator(AUTH_TOKEN).compute_signature(
        WEBHOOK_URL + "".join(name + value for name, value in sorted(twice)), {}
    )

    answer = receive(
        replace(
            request,
            body=request.body + b"&RecordingDuration=43",
            headers=request.headers | {"X-Twilio-Signature": signature},
        )
    )

    assert answer == 204
    assert "duration_seconds" not in rows()[0]
    assert rows()[0]["metadata"] == {"RecordingDuration": "42,43"}


@pytest.mark.parametrize("code", ["ValidationException", "SerializationException"])
def test_a_callback_that_does_not_fit_into_a_row_is_kept(
    receive: Callable[[Signed], int], callback_queue: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "too large"}}, "UpdateItem")

    monkeypatch.setattr(clients.dynamodb(), "update_item", refuse)

    assert receive(signed()) == 202
    assert len(kept(callback_queue)) == 1


@pytest.mark.parametrize(
    "edited",
    [
        {"account_sid": None},
        {"fact_ranks": "none"},
        {"metadata": {"a"}, "fact_ranks": {}},
        {"status_at": ["x"]},
        {"status": {"in-progress"}},
        {"control": {"seen_at": "x"}, "fact_ranks": 7},
    ],
    ids=str,
)
def test_a_callback_that_cannot_be_merged_into_a_row_that_somebody_edited_is_kept(
    receive: Callable[[Signed], int], callback_queue: str, edited: dict[str, Any]
) -> None:
    receive(signed(RecordingStatus="in-progress", New="x"))
    row = {name: value for name, value in (rows()[0] | edited).items() if value is not None}
    boto3.client("dynamodb").put_item(TableName="recordings", Item=attributes(row))

    assert receive(signed(New="x")) == 202
    assert len(kept(callback_queue)) == 1


def test_a_row_remembers_few_of_the_statuses_that_somebody_makes_up(receive: Callable[[Signed], int]) -> None:
    for number in range(12):
        assert receive(signed(RecordingStatus=f"made-up-{chr(ord('a') + number)}")) == 204
    assert receive(signed()) == 204

    (row,) = rows()
    assert (row["status"], len(row["status_at"])) == ("completed", MOST_UNKNOWN_STATUSES + 1)


def test_a_row_stays_small_whatever_parameters_are_made_up(
    receive: Callable[[Signed], int], callback_queue: str
) -> None:
    for number in range(60):
        assert receive(signed(RecordingStatus="in-progress", **{f"MadeUp{number}": "🎙" * 4_000})) == 204

    assert receive(signed()) == 204

    (row,) = rows()
    assert (row["status"], len(row["metadata"])) == ("completed", MOST_METADATA)
    assert kept(callback_queue) == []


@pytest.mark.parametrize("character", ["\x01", "é", '"', "🎙"])
def test_the_largest_callback_that_can_be_proven_is_kept(
    receive: Callable[[Signed], int], callback_queue: str, character: str
) -> None:
    """What is not escaped on its way grows most where it is kept."""
    parameters = PARAMETERS | {"RecordingStatus": "ODD", "New": ""}
    most = MOST_BODY_BYTES - 500
    parameters["New"] = character * (most // len(character.encode()))
    request = sign(
        Callback(CallbackTarget(WEBHOOK_URL, "POST", frozenset()), ACCOUNT_SID, parameters), auth_token=AUTH_TOKEN
    )
    body = "&".join(f"{quote(name)}={value if name == 'New' else quote(value)}" for name, value in parameters.items())

    assert receive(replace(request, body=body.encode())) == 202
    assert kept(callback_queue)[0]["fields"][-1] == ["New", parameters["New"]]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_half_a_character_in_the_query_is_403(recording_status: ModuleType, sample: Sample, method: str) -> None:
    event = sample(f"callback-{method.lower()}-completed.json") | {"rawQueryString": "a=\ud800"}

    assert recording_status.handler(event, Context())["statusCode"] == 403


def test_a_repeated_parameter_is_kept_because_the_signature_does_not_say_which_counts(
    receive: Callable[[Signed], int], callback_queue: str
) -> None:
    request = signed()
    url_and_parameters = WEBHOOK_URL + "".join(
        name + value for name, value in sorted([*PARAMETERS.items(), ("RecordingStatus", "absent")])
    )
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url_and_parameters, {})
    repeated = replace(
        request,
        body=request.body + b"&RecordingStatus=absent",
        headers=request.headers | {"X-Twilio-Signature": signature},
    )

    assert receive(repeated) == 202
    assert len(kept(callback_queue)) == 1


# --- what is not about a recording ----------------------------------------------------------------------

PHONE, SAID = "+15005550006", "my card number is 4111"
SOMETHING_ELSE: dict[str, dict[str, str | None]] = {
    "<Record action>": {"RecordingStatus": None, "CallStatus": "completed", "From": PHONE},
    "a transcription": {"RecordingStatus": None, "TranscriptionSid": "TR1", "TranscriptionText": SAID},
    "a call's StatusCallback": {
        **dict.fromkeys(["RecordingSid", "RecordingStatus", "RecordingDuration", "RecordingStartTime"]),
        "CallStatus": "ringing",
        "From": PHONE,
        "To": PHONE,
    },
}


@pytest.mark.parametrize("changes", SOMETHING_ELSE.values(), ids=SOMETHING_ELSE.keys())
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_twilio_signs_of_something_else_is_answered_counted_and_not_kept(
    receive: Callable[[Signed], int],
    recording_status: ModuleType,
    callback_queue: str,
    capsys: pytest.CaptureFixture[str],
    method: str,
    changes: dict[str, str | None],
) -> None:
    log = capture_log(recording_status)

    assert receive(signed(method, **changes)) == 204  # type: ignore[arg-type]

    assert rows() == []
    assert kept(callback_queue) == []
    assert [(metric["name"], metric["value"]) for metric in written_metrics(capsys.readouterr().out)] == [
        ("OtherRequests", 1)
    ]
    assert not {value for value in (PHONE[1:], SAID, CALL_SID, RECORDING_SID) if value in log.getvalue()}


@pytest.mark.parametrize("changes", SOMETHING_ELSE.values(), ids=SOMETHING_ELSE.keys())
def test_what_is_not_signed_is_refused_whatever_it_is_about(
    receive: Callable[[Signed], int], changes: dict[str, str | None]
) -> None:
    request = signed(**changes)  # type: ignore[arg-type]

    assert receive(replace(request, headers={"Content-Type": request.headers["Content-Type"]})) == 403


def test_what_an_earlier_version_kept_of_something_else_does_not_come_back_for_ever(
    recording_status: ModuleType,
) -> None:
    message = json.dumps({"fields": [["AccountSid", ACCOUNT_SID], ["CallSid", CALL_SID], ["CallStatus", "ringing"]]})
    batch = {"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": message}]}

    assert recording_status.handler(batch, Context()) == {"batchItemFailures": []}
    assert rows() == []


# --- what is sent again --------------------------------------------------------------------------------


class Webhook:
    """The webhook as Twilio meets it: the first `hanging` requests get no answer, and time passes meanwhile."""

    def __init__(self, recording_status: ModuleType, *, hanging: int) -> None:
        self.recording_status = recording_status
        self.hanging = hanging
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def request(self, method: str, url: str, *, data: bytes, headers: Any, timeout: tuple[float, float]) -> Any:
        if self.hanging:
            self.hanging -= 1
            self.seconds += timeout[1]
            raise requests.ReadTimeout
        event = http_api_event(method, url, headers=headers, body=data or b"")
        answer = requests.Response()
        answer.status_code = self.recording_status.handler(event, Context())["statusCode"]
        return answer


@pytest.mark.parametrize(("fragment", "hanging", "answers"), [
    (RETRY_FRAGMENT, 0, [204]),
    (RETRY_FRAGMENT, 1, [None, 204]),
    (RETRY_FRAGMENT, 3, [None, None, None, 204]),
    ("rc=5&rp=ct,rt,5xx", 1, [None]),
    ("", 1, [None]),
])  # fmt: skip
def test_a_webhook_that_hangs_gets_its_callback_all_the_same(
    recording_status: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    fragment: str,
    hanging: int,
    answers: list[int | None],
) -> None:
    """All tries together have 15 s, so the fragment has to ask for less patience with each."""
    webhook = Webhook(recording_status, hanging=hanging)
    monkeypatch.setattr("local.twilio_simulator.delivery.time.monotonic", webhook.monotonic)
    monkeypatch.setattr("local.twilio_simulator.delivery.requests.request", webhook.request)
    callback = Callback(CallbackTarget(f"{WEBHOOK_URL}#{fragment}", "POST", frozenset()), ACCOUNT_SID, PARAMETERS)

    attempts = delivery.deliver(callback, auth_token=AUTH_TOKEN, route=lambda url: (url, {}))

    assert [attempt.status for attempt in attempts] == answers
    assert webhook.seconds <= 15
    assert [row["status"] for row in rows()] == (["completed"] if answers[-1] else [])


# --- what fails ------------------------------------------------------------------------------------------


def test_2xx_only_after_the_write(receive: Callable[[Signed], int]) -> None:
    boto3.client("dynamodb").delete_table(TableName="recordings")

    assert receive(signed()) == 503


def test_secrets_that_cannot_be_read_are_503_so_that_twilio_tries_again(
    receive: Callable[[Signed], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients.secrets_manager()

    def fail(**_: object) -> None:
        raise client.exceptions.InternalServiceError({"Error": {"Code": "InternalServiceError"}}, "GetSecretValue")

    monkeypatch.setattr(client, "get_secret_value", fail)

    assert receive(signed()) == 503


def test_nothing_secret_is_logged(receive: Callable[[Signed], int], recording_status: ModuleType) -> None:
    log = capture_log(recording_status)
    planted = "+15005550006"
    valid = signed(From=planted)
    receive(valid)
    receive(replace(valid, body=valid.body + b"&x=y"))
    receive(signed(From=planted, RecordingSid=None))

    logged = log.getvalue()
    for expected in ("callback recorded", "callback refused", "callback sent"):
        assert expected in logged
    for secret in (planted, planted[1:], AUTH_TOKEN, valid.headers["X-Twilio-Signature"]):
        assert secret not in logged
