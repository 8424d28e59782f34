"""Where the simulated Twilio is as unkind as Twilio: what it refuses or shows elsewhere, and how it calls back."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from twilio.request_validator import RequestValidator, get_signature_algorithm

from local.twilio_simulator import other_requests
from local.twilio_simulator.delivery import Overrides, deliver, sign
from local.twilio_simulator.exchange import Callback
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, CallbackTarget, Recording, SharedKey
from local.twilio_simulator.twilio import Answer, Request, Twilio
from tests.project.conftest import Now, basic

ACCOUNT, CALL = "AC" + "1" * 32, "CA" + "1" * 32
ROOT = f"/2010-04-01/Accounts/{ACCOUNT}"
OF_CALL = f"{ROOT}/Calls/{CALL}/Recordings"
HOOK = "https://hook.example.com/status"
EVENTS = {"RecordingStatusCallbackEvent": ["in-progress completed absent failed"]}


@pytest.fixture
def twilio(now: Now) -> Twilio:
    made = Twilio(clock=lambda: now.seconds, base_url="https://api.twilio.com")
    made.add_account(Account(ACCOUNT, "token"))
    made.begin_call(ACCOUNT, call_sid=CALL)
    return made


def ask(twilio: Twilio, method: str, path: str, query: str = "", **form: str) -> Answer:
    return twilio.handle(Request(method, path, query, basic(ACCOUNT), urlencode(form).encode()))


def refusal(answer: Answer) -> tuple[int, int]:
    assert answer.json()["status"] == answer.status
    return answer.status, answer.json()["code"]


@pytest.fixture
def finish(twilio: Twilio, now: Now) -> Callable[[float], list[Callback]]:
    """Return a function that lets the call last so much longer, and gives all that is called back."""

    def finish(seconds: float) -> list[Callback]:
        now.seconds += seconds
        twilio.hang_up(CALL)
        now.seconds += 1
        return twilio.due_callbacks()

    return finish


@pytest.mark.parametrize(("behaviour", "duration"), [("", 30), ("silence", 30), ("skip", 20)])
def test_only_a_pause_that_skips_makes_a_recording_shorter(
    twilio: Twilio, now: Now, finish: Callable[[float], Any], behaviour: str, duration: int
) -> None:
    sid = ask(twilio, "POST", f"{OF_CALL}.json").json()["sid"]
    now.seconds += 10
    more = {"PauseBehavior": behaviour} if behaviour else {}
    ask(twilio, "POST", f"{OF_CALL}/{sid}.json", Status="paused", **more)
    now.seconds += 10
    ask(twilio, "POST", f"{OF_CALL}/{sid}.json", Status="in-progress")

    finish(10)

    assert twilio.recordings[sid].duration == duration


@pytest.mark.parametrize("query", ["PageSize=x", "PageSize=0", "PageSize=1001", "PageSize=-1", "Page=x", "Page=3"])
def test_a_page_that_cannot_be_is_refused(twilio: Twilio, query: str) -> None:
    assert refusal(ask(twilio, "GET", f"{ROOT}/Recordings.json", query)) == (400, 20001)
    assert refusal(ask(twilio, "GET", f"{OF_CALL}.json", query)) == (400, 20001)


@pytest.mark.parametrize("query", ["DateCreated=x", "DateCreated%3C=x", "DateCreated%3E=2026-13-01", "PageToken=PAx"])
def test_a_filter_or_a_token_that_means_nothing_is_refused(twilio: Twilio, query: str) -> None:
    assert refusal(ask(twilio, "GET", f"{ROOT}/Recordings.json", query)) == (400, 20001)


def test_a_call_can_be_recorded_a_moment_after_it_was_answered(twilio: Twilio, now: Now) -> None:
    call = twilio.begin_call(ACCOUNT, in_progress_after_seconds=0.3)
    path = f"{ROOT}/Calls/{call.sid}/Recordings.json"

    early = ask(twilio, "POST", path)
    now.seconds += 0.3

    assert refusal(early) == (400, 21220)
    assert ask(twilio, "POST", path).status == 201


def test_some_calls_can_never_be_recorded(twilio: Twilio) -> None:
    call = twilio.begin_call(ACCOUNT, refuses_recordings=True)

    assert refusal(ask(twilio, "POST", f"{ROOT}/Calls/{call.sid}/Recordings.json")) == (400, 21220)


@pytest.mark.parametrize(("track", "channels"), [("inbound", 1), ("outbound", 1), ("both", 2)])
def test_one_track_is_one_channel(twilio: Twilio, track: str, channels: int) -> None:
    made = ask(twilio, "POST", f"{OF_CALL}.json", RecordingChannels="dual", RecordingTrack=track).json()

    assert (made["channels"], made["track"]) == (channels, track)


def test_two_channels_of_what_has_one_are_refused(twilio: Twilio, finish: Callable[[float], Any]) -> None:
    sid = ask(twilio, "POST", f"{OF_CALL}.json").json()["sid"]
    finish(5)

    answer = ask(twilio, "GET", f"{ROOT}/Recordings/{sid}.wav", "RequestedChannels=2")

    assert refusal(answer) == (400, 16113)


def test_audio_in_a_bucket_of_the_accounts_own_is_not_at_twilio(twilio: Twilio, finish: Callable[[float], Any]) -> None:
    twilio.accounts[ACCOUNT].external_storage_url = "https://bucket.s3.amazonaws.com/calls"
    sid = ask(twilio, "POST", f"{OF_CALL}.json").json()["sid"]
    finish(5)

    media, shown = (
        ask(twilio, "GET", f"{ROOT}/Recordings/{sid}.wav"),
        ask(twilio, "GET", f"{ROOT}/Recordings/{sid}.json"),
    )

    assert refusal(media) == (404, 20404)
    assert (shown.json()["status"], shown.json()["media_url"]) == (
        "completed",
        f"https://bucket.s3.amazonaws.com/calls/{sid}",
    )


def test_encryption_has_other_names_in_callbacks_than_in_the_resource(
    twilio: Twilio, finish: Callable[[float], list[Callback]]
) -> None:
    twilio.accounts[ACCOUNT].public_key_sid = "CR" + "1" * 32
    recording = twilio.record(twilio.calls[CALL], {"RecordingStatusCallback": [HOOK]})

    (callback,) = finish(5)

    told, shown = json.loads(callback.parameters["EncryptionDetails"]), recording.resource()["encryption_details"]
    assert set(told) == {"public_key_sid", "encrypted_cek", "iv"}
    assert set(shown) == {"encryption_public_key_sid", "encryption_cek", "encryption_iv"}
    assert sorted(told.values()) == sorted(shown.values())
    assert refusal(ask(twilio, "GET", f"{ROOT}/Recordings/{recording.sid}.mp3")) == (400, 16109)
    assert ask(twilio, "GET", f"{ROOT}/Recordings/{recording.sid}.wav").status == 200


def test_what_cannot_be_encrypted_has_failed(twilio: Twilio, finish: Callable[[float], list[Callback]]) -> None:
    twilio.calls[CALL].fails_with = 16105
    twilio.record(twilio.calls[CALL], {"RecordingStatusCallback": [HOOK], **EVENTS})

    callbacks = finish(5)

    assert [(one.parameters["RecordingStatus"], one.parameters["ErrorCode"]) for one in callbacks] == [
        ("in-progress", "0"),
        ("failed", "16105"),
    ]


def test_what_is_recorded_of_a_conference_calls_back_without_a_call(twilio: Twilio, now: Now) -> None:
    other = twilio.begin_call(ACCOUNT)
    conference = twilio.begin_conference([twilio.calls[CALL], other])
    twilio.record_conference(conference, {"RecordingStatusCallback": [HOOK], **EVENTS})
    now.seconds += 5
    twilio.hang_up(CALL)
    running = twilio.due_callbacks()

    twilio.hang_up(other.sid)
    now.seconds += 1
    over = twilio.due_callbacks()

    assert [one.parameters["RecordingStatus"] for one in running] == ["in-progress"], "as long as somebody is in it"
    assert [one.parameters["RecordingStatus"] for one in over] == ["completed"]
    assert [one.parameters["ConferenceSid"] for one in running + over] == [conference.sid] * 2
    assert not [one for one in running + over if "CallSid" in one.parameters]


def test_the_child_leg_ends_with_its_parent_and_calls_back_in_its_name(twilio: Twilio, now: Now) -> None:
    child = twilio.begin_call(ACCOUNT, parent_call_sid=CALL)
    twilio.record(child, {"RecordingStatusCallback": [HOOK], **EVENTS})
    now.seconds += 5

    twilio.hang_up(CALL)
    now.seconds += 1

    assert [one.parameters["CallSid"] for one in twilio.due_callbacks()] == [CALL, CALL]
    assert not child.is_live


def test_the_answer_to_an_update_can_say_current_for_a_sid(twilio: Twilio) -> None:
    twilio.names_current = True
    sid = ask(twilio, "POST", f"{OF_CALL}.json").json()["sid"]

    answer = ask(twilio, "POST", f"{OF_CALL}/Twilio.CURRENT.json", Status="paused").json()

    assert (answer["sid"], answer["uri"]) == ("Twilio.CURRENT", f"{OF_CALL}/{sid}.json")


def test_a_resource_that_is_being_modified_is_408(twilio: Twilio) -> None:
    twilio.faults.requests.append(RequestFault(408, code=16114))

    assert refusal(ask(twilio, "POST", f"{OF_CALL}/Twilio.CURRENT.json", Status="paused")) == (408, 16114)


def test_a_price_has_a_unit_only_when_it_is_known(twilio: Twilio, finish: Callable[[float], Any]) -> None:
    made = ask(twilio, "POST", f"{OF_CALL}.json").json()
    finish(5)

    shown = ask(twilio, "GET", f"{OF_CALL}/{made['sid']}.json").json()

    assert (made["price"], made["price_unit"]) == (None, None)
    assert (shown["price"], shown["price_unit"]) == ("-0.00250", "USD")


# --- callbacks -----------------------------------------------------------------------------------


def a_callback(url: str, *, method: str = "POST") -> Callback:
    return Callback(CallbackTarget(url, method, frozenset()), ACCOUNT, {"RecordingSid": "RE1", "b": "c d"})


def test_every_try_of_a_callback_has_the_same_idempotency_token() -> None:
    callback = a_callback(HOOK)

    tokens = [sign(one, auth_token="t").headers["I-Twilio-Idempotency-Token"] for one in (callback, callback)]

    assert tokens[0] == tokens[1] != sign(a_callback(HOOK), auth_token="t").headers["I-Twilio-Idempotency-Token"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_shared_key_signs_instead_of_the_token_and_says_so(method: str) -> None:
    key = SharedKey("webhooks_sharedkey_1", "shared secret")

    signed = sign(a_callback(HOOK, method=method), auth_token="token", shared_key=key)

    settings = signed.headers["X-Twilio-Webhooks-Signature-Settings"]
    form = {name: values[0] for name, values in parse_qs(signed.body.decode()).items()}
    proof = (signed.url, form, signed.headers["X-Twilio-Signature"], get_signature_algorithm(settings))
    assert settings == "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
    assert RequestValidator("shared secret").validate(*proof)
    assert not RequestValidator("token").validate(*proof)


FRAGMENTS = {
    "": Overrides(),
    "rc=5&rp=ct,rt,5xx": Overrides(retries=5, policy=frozenset({"ct", "rt", "5xx"})),
    "ct=2000&rt=4000&tt=9000": Overrides(connect_seconds=2, read_seconds=4, total_seconds=9),
    "ct=99&rt=15001&tt=20000&rc=6": Overrides(),
    "ct=x&rt=&rc=-1&rp=nothing": Overrides(policy=frozenset()),
}


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_the_fragment_says_how_long_to_wait_and_when_to_ask_again(fragment: str) -> None:
    assert Overrides.of(f"{HOOK}#{fragment}") == FRAGMENTS[fragment]


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The address of somebody who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("fragment", "tries"),
    [
        ("tt=400&rc=5&rp=rt", 1),  # the first one takes all there is
        ("tt=400&rt=100&rc=5&rp=rt", 4),
        ("tt=400&rt=100&rc=1&rp=rt", 2),
        ("tt=400&rt=100&rc=5&rp=ct", 1),
    ],
)
def test_a_hang_takes_the_whole_time_unless_reading_may_take_less(silent_url: str, fragment: str, tries: int) -> None:
    attempts = deliver(a_callback(f"{silent_url}#{fragment}"), auth_token="t", route=lambda url: (url, {}))

    # One more or less, on a machine that is busy.
    assert abs(len(attempts) - tries) <= (tries > 2)
    assert {attempt.status for attempt in attempts} == {None}


def test_other_requests_come_to_the_same_url_with_a_signature_of_their_own(
    twilio: Twilio, finish: Callable[[float], Any]
) -> None:
    recording: Recording = twilio.record(twilio.calls[CALL], source="RecordVerb")
    finish(5)
    for parameters in (
        other_requests.record_action(recording, base_url=twilio.base_url),
        other_requests.transcription(recording, base_url=twilio.base_url),
        other_requests.call_status(recording.call, recording=recording, base_url=twilio.base_url),
    ):
        twilio.send(HOOK, ACCOUNT, parameters)

    sent = twilio.due_callbacks()

    assert len(sent) == 3
    assert not [one for one in sent if "RecordingStatus" in one.parameters]
    assert all({"CallStatus", "From", "To", "RecordingSid"} <= one.parameters.keys() for one in sent)
    assert ["TranscriptionSid" in one.parameters for one in sent] == [False, True, False]
