"""What each of Twilio's answers, and each way of not answering, becomes."""

import contextlib
import gzip
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import responses
from requests.utils import resolve_proxies
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    CallRecordingError,
    CredentialsRefusedError,
    NotActionableError,
    RateLimitedError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioTimedOutError,
    TwilioUnavailableError,
    TwilioUnreachableError,
)
from call_recording.twilio.api import Media, Twilio, TwilioAccount, media_session, session
from call_recording.twilio.credentials import Credentials, CredentialStore
from tests.conftest import Time

ACCOUNT, CALL = "AC" + "1" * 32, "CA" + "1" * 32
URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}/Recordings.json"
RECORDING = {"sid": "RE" + "1" * 32, "account_sid": ACCOUNT, "call_sid": CALL, "status": "in-progress"}

Create = Callable[[], dict[str, Any]]


class Store(CredentialStore):
    """Credentials that need no Secrets Manager, and never change."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def get(self, _account_sid: str) -> Credentials:
        return self.credentials

    def to_send(self, account_sid: str) -> Credentials:
        return self.get(account_sid)

    def refresh(self, _account_sid: str) -> Credentials | None:
        return None


class Rotating(Store):
    """Credentials that were changed since they were read."""

    def __init__(self, held: Credentials, fresh: Credentials) -> None:
        super().__init__(held)
        self.fresh, self.refreshed = fresh, 0

    def refresh(self, _account_sid: str) -> Credentials | None:
        self.refreshed += 1
        return self.fresh


def twilio(url: str = "https://api.twilio.com") -> TwilioAccount:
    return Twilio(requests.Session(), url, Store(Credentials(ACCOUNT, "token"))).of(ACCOUNT)


@pytest.fixture
def create() -> Create:
    api = twilio()
    return lambda: api.create_call_recording(CALL, [("Trim", "do-not-trim")], deadline=Deadline(20))


@pytest.mark.parametrize("status", [200, 201])
@responses.activate
def test_success_is_201_and_in_some_examples_200(create: Create, status: int) -> None:
    responses.post(URL, json=RECORDING, status=status)

    assert create() == RECORDING


REFUSALS: list[tuple[int, int | None, type[CallRecordingError]]] = [
    (400, 21220, CallNotInProgressError),
    (401, 20003, CredentialsRefusedError),
    (404, 20404, TwilioNotFoundError),
    (429, 20429, RateLimitedError),
    (400, 21201, TwilioRefusedError),
    (403, 20003, CredentialsRefusedError),
    (403, 20005, CredentialsRefusedError),
    (403, 20006, CredentialsRefusedError),
    (403, 20008, CredentialsRefusedError),
    (403, 70051, CredentialsRefusedError),
    (400, 70051, CredentialsRefusedError),
    (401, 20101, CredentialsRefusedError),
    (401, 21220, CredentialsRefusedError),
    (401, 16114, CredentialsRefusedError),
    (403, 20007, TwilioRefusedError),
    (429, 20003, RateLimitedError),
    (500, 20003, TwilioUnavailableError),
    (500, 20500, TwilioUnavailableError),
    (503, 20503, TwilioUnavailableError),
    (408, 16114, NotActionableError),
    (400, 16114, NotActionableError),
    (500, 16114, TwilioUnavailableError),
    (408, 20408, TwilioUnavailableError),
    (302, None, TwilioUnavailableError),
]


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS)
@responses.activate
def test_a_refusal_becomes_the_error_that_names_it(
    create: Create, status: int, code: int | None, kind: type[CallRecordingError]
) -> None:
    body = {"code": code, "message": "Why", "more_info": "https://example.com/why", "status": status}
    responses.post(URL, json=body, status=status, headers={"Location": "https://elsewhere.example.com/"})

    with pytest.raises(kind, match="Why") as raised:
        create()

    assert type(raised.value) is kind
    assert (getattr(raised.value, "code", None), getattr(raised.value, "more_info", None)) == (code, body["more_info"])
    assert len(responses.calls) == 1, "a redirect is not followed: it would lose the POST"


PROXIES: list[tuple[int, type[CallRecordingError]]] = [
    (401, CredentialsRefusedError),
    (404, TwilioNotFoundError),
    (429, RateLimitedError),
    (400, TwilioRefusedError),
    (502, TwilioUnavailableError),
    (200, TwilioUnavailableError),
]


UNREADABLE = ["<html>Bad gateway</html>", "<?xml version='1.0'?><Error/>", "", "[]", "null"]
UNREADABLE += ['{"code": ' + "9" * 5_000 + "}", '{"a":' * 100_000, '{"sid": "\\ud8"}', "\x00"]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: body[:20])
@pytest.mark.parametrize(("status", "kind"), PROXIES)
@responses.activate
def test_a_body_that_is_not_twilios_json_is_never_trusted(
    create: Create, status: int, kind: type[CallRecordingError], body: str
) -> None:
    responses.post(URL, body=body, status=status)

    with pytest.raises(kind) as raised:
        create()

    assert type(raised.value) is kind
    assert "<" not in str(raised.value)


@pytest.mark.parametrize("missing", ["sid", "account_sid", "status"])
@responses.activate
def test_success_without_a_recording_is_no_success(create: Create, missing: str) -> None:
    responses.post(URL, json=RECORDING | {missing: None}, status=201)

    with pytest.raises(TwilioUnavailableError):
        create()


CURRENT = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}/Recordings/Twilio.CURRENT.json"
URI = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}/Recordings/{RECORDING['sid']}.json"


@pytest.mark.parametrize("sid", ["Twilio.CURRENT", "", None])
@pytest.mark.parametrize("uri", [URI, URI.replace(f"/Calls/{CALL}", ""), URI.removesuffix(".json"), f"{URI}?a=b"])
@responses.activate
def test_an_answer_that_repeats_the_name_it_was_asked_for_says_in_its_uri_which_recording_it_is(
    sid: str | None, uri: str
) -> None:
    responses.post(CURRENT, json=RECORDING | {"sid": sid, "uri": uri})

    updated = twilio().update_call_recording(CALL, "Twilio.CURRENT", [("Status", "paused")], deadline=Deadline(9))

    assert updated["sid"] == RECORDING["sid"]
    assert updated.audio_url.endswith(f"/Recordings/{RECORDING['sid']}")


@pytest.mark.parametrize("uri", [None, 7, "", "http://[", URI.replace("RE1", "CA1"), URI.replace("/RE", "/Twilio.RE")])
@responses.activate
def test_an_answer_that_says_nowhere_which_recording_it_is_is_no_success(uri: object) -> None:
    responses.post(CURRENT, json=RECORDING | {"sid": "Twilio.CURRENT", "uri": uri})

    with pytest.raises(TwilioUnavailableError):
        twilio().update_call_recording(CALL, "Twilio.CURRENT", [("Status", "paused")], deadline=Deadline(9))


def _media(api: TwilioAccount, sid: str) -> None:
    with api.media(sid, suffix="wav", channels=1, deadline=Deadline(9)):
        pass


OPERATIONS: dict[str, Callable[[TwilioAccount, str], object]] = {
    "create": lambda api, _: api.create_call_recording(CALL, [], deadline=Deadline(9)),
    "update": lambda api, sid: api.update_call_recording(CALL, sid, [], deadline=Deadline(9)),
    "list of a call": lambda api, _: api.list_call_recordings(CALL, deadline=Deadline(9)),
    "list": lambda api, _: api.list_recordings(
        created_after=datetime.now(UTC), created_before=datetime.now(UTC), page=None, deadline=Deadline(9)
    ),
    "fetch": lambda api, sid: api.fetch_recording(sid, deadline=Deadline(9)),
    "delete": lambda api, sid: api.delete_recording(sid, deadline=Deadline(9)),
    "media": _media,
}


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, None), (401, 20107), (403, 20003), (403, 20005), (400, 20006), (403, 20008), (403, 70051)],
)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@responses.activate
def test_whatever_is_asked_refused_credentials_are_read_afresh_once_and_then_ours_to_mend(
    operation: Callable[[TwilioAccount, str], object], status: int, code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in (responses.GET, responses.POST, responses.DELETE):
        responses.add(method, re.compile(".*"), json={"code": code, "message": "Why"}, status=status)
    store = Rotating(Credentials(ACCOUNT, "token"), Credentials(ACCOUNT, "other"))

    with pytest.raises(CredentialsRefusedError):
        operation(Twilio(requests.Session(), "https://api.twilio.com", store).of(ACCOUNT), RECORDING["sid"])

    assert (len(responses.calls), store.refreshed) == (2, 1)
    assert capsys.readouterr().out.count('"CredentialsRefused":[1.0]') == 1


@pytest.mark.parametrize(("status", "ran_before"), [(201, False), (200, True)])
@responses.activate
def test_a_200_says_that_the_recording_ran_before(status: int, *, ran_before: bool) -> None:
    responses.post(URL, json=RECORDING, status=status)

    assert twilio().create_call_recording(CALL, [], deadline=Deadline(9)).ran_before is ran_before


@pytest.mark.parametrize(
    ("date", "created", "ran_before"),
    [
        ("Sun, 22 Nov 2026 07:33:10 GMT", "Sun, 22 Nov 2026 07:33:10 +0000", False),
        ("Sun, 22 Nov 2026 07:33:10 GMT", "Sun, 22 Nov 2026 07:33:08 +0000", False),
        ("Sun, 22 Nov 2026 07:33:10 GMT", "Sun, 22 Nov 2026 07:33:05 +0000", True),
        ("Sun, 22 Nov 2026 07:33:10 GMT", None, True),
        ("soon", "Sun, 22 Nov 2026 07:32:30 +0000", False),
        ("soon", "Sun, 22 Nov 2026 07:31:30 +0000", True),
    ],
)
@responses.activate
def test_a_200_for_a_recording_that_was_just_made_is_that_of_a_new_one(
    time: Time, date: str, created: str | None, *, ran_before: bool
) -> None:
    responses.post(URL, json=RECORDING | {"date_created": created, "start_time": None}, headers={"Date": date})

    assert twilio().create_call_recording(CALL, [], deadline=Deadline(9)).ran_before is ran_before


NOT_ANSWERED: list[tuple[Exception, type[TwilioUnavailableError]]] = [
    (requests.ConnectTimeout(), TwilioUnreachableError),
    (requests.ReadTimeout(), TwilioTimedOutError),
    (requests.ConnectionError(ProtocolError("Connection aborted.")), TwilioUnavailableError),
    (requests.exceptions.ChunkedEncodingError(), TwilioUnavailableError),
]


@pytest.mark.parametrize(("failure", "kind"), NOT_ANSWERED)
@responses.activate
def test_no_answer_tells_whether_twilio_can_have_acted(
    create: Create, failure: Exception, kind: type[TwilioUnavailableError]
) -> None:
    responses.post(URL, body=failure)

    with pytest.raises(TwilioUnavailableError) as raised:
        create()

    assert type(raised.value) is kind


@responses.activate
def test_a_wait_that_nobody_could_wait_is_none(create: Create) -> None:
    responses.post(URL, json={"code": 20429}, status=429, headers={"Retry-After": "9" * 5000})

    with pytest.raises(RateLimitedError) as raised:
        create()

    assert raised.value.retry_after_seconds is None


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    api = twilio("http://127.0.0.1:1")

    with pytest.raises(TwilioUnreachableError):
        api.create_call_recording(CALL, [], deadline=Deadline(5))


def test_a_failed_connection_is_told_from_a_cut_one() -> None:
    refused = MaxRetryError(None, "/", NewConnectionError(None, "refused"))  # type: ignore[arg-type]
    with responses.RequestsMock() as mock:
        mock.post(URL, body=requests.ConnectionError(refused))
        api = twilio()

        with pytest.raises(TwilioUnreachableError):
            api.create_call_recording(CALL, [], deadline=Deadline(5))


@responses.activate
def test_time_outs_never_exceed_the_time_left(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    stated: list[Any] = []

    def send(*_: object, timeout: tuple[float, float], **__: object) -> None:
        stated.append(timeout)
        raise requests.ReadTimeout

    monkeypatch.setattr(requests.Session, "send", send)
    api = twilio()

    for seconds in (20, 5, 1, 0):
        with pytest.raises(TwilioTimedOutError):
            api.create_call_recording(CALL, [], deadline=Deadline(seconds))

    assert [(round(connect), round(read)) for connect, read in stated] == [(3, 8), (3, 5), (1, 1), (0, 0)]
    assert all(seconds > 0 for pair in stated for seconds in pair), "zero would mean: wait for ever"


def test_credentials_do_not_show_in_their_repr() -> None:
    credentials = Credentials(ACCOUNT, "token-1", "token-2", "SK1", "secret-1")

    assert "token" not in repr(credentials).replace("auth_token", "")
    assert "secret-1" not in repr(credentials)


def test_the_environments_proxy_and_authorities_are_used_and_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/authorities.pem")
    session.cache_clear()
    kept = session("https://api.twilio.com")
    monkeypatch.delenv("HTTPS_PROXY")

    assert (kept.proxies["https"], kept.verify) == ("http://proxy.example.com:3128", "/etc/authorities.pem")
    assert session("https://api.twilio.com") is kept
    session.cache_clear()


def test_a_host_that_the_environment_excepts_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "api.twilio.com")
    session.cache_clear()

    assert session("https://api.twilio.com").proxies == {}
    session.cache_clear()


def test_audio_on_another_host_goes_through_the_proxy_of_that_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "api.twilio.com")
    kept = media_session("https://api.twilio.com")

    def proxies(url: str) -> dict[str, str]:
        return resolve_proxies(requests.Request("GET", url).prepare(), dict(kept.proxies), kept.trust_env)

    assert "https" not in proxies("https://api.twilio.com/audio")
    assert proxies("https://media.example.com/audio")["https"] == "http://proxy.example.com:3128"


@responses.activate
def test_twilio_is_told_who_asks_and_gets_no_cookie_back() -> None:
    responses.post(URL, json=RECORDING, status=201, headers={"Set-Cookie": "a=b"})
    api = twilio()
    for _ in range(2):
        api.create_call_recording(CALL, [], deadline=Deadline(9))

    for call in responses.calls:
        assert call.request.headers["User-Agent"].startswith("call-recording ")
        assert "Cookie" not in call.request.headers


@responses.activate
def test_where_audio_is_elsewhere_nobody_gets_the_cookie_of_another_account() -> None:
    elsewhere = {"Location": "https://media.example.com/audio", "Set-Cookie": "a=b"}
    responses.get(MEDIA, status=302, headers=elsewhere)
    responses.get(elsewhere["Location"], body=b"audio", headers={"Set-Cookie": "c=d"})
    api = twilio()._replace(session=media_session("https://api.twilio.com"))
    for _ in range(2):
        with api.media(SID, suffix="wav", channels=2, deadline=Deadline(9)):
            pass

    assert [call.request.headers.get("Cookie") for call in responses.calls] == [None] * 4


# --- audio ------------------------------------------------------------------------------------------

SID = "RE" + "1" * 32
MEDIA = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/{SID}.wav"


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Give the URL of a server that sends this to whoever asks first, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def media(url: str) -> contextlib.AbstractContextManager[Media]:
    return twilio(url).media(SID, suffix="wav", channels=2, deadline=Deadline(9))


CUT: dict[str, bytes] = {
    "chunked": b'Transfer-Encoding: chunked\r\n\r\n40\r\n{"code": 20404',
    "with its length": b'Content-Length: 400\r\n\r\n{"code": 20404',
    "compressed": b"Content-Length: 16\r\nContent-Encoding: gzip\r\n\r\nthis is not gzip",
}


@pytest.mark.parametrize("status", [b"400 Bad Request", b"401 Unauthorized", b"404 Not Found", b"503 Unavailable"])
@pytest.mark.parametrize("rest", CUT.values(), ids=CUT)
def test_an_error_whose_body_is_cut_says_nothing_for_sure(status: bytes, rest: bytes) -> None:
    with (
        answering(b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n" + rest) as url,
        pytest.raises(TwilioUnavailableError),
        media(url),
    ):
        pass


REDIRECTS: dict[str, bytes] = {
    "cut, and not what it says": (
        b"Location: http://127.0.0.1:1/\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\nthis is no gzip"
    ),
    "no address": b"Location: http://[::1/audio\r\nContent-Length: 0\r\n\r\n",
    "no host": b"Location: http://media..example/audio\r\nContent-Length: 0\r\n\r\n",
    "no text": b"Location: http://media.example/\xff\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("rest", REDIRECTS.values(), ids=REDIRECTS)
def test_a_redirect_that_leads_nowhere_is_a_failure_of_twilio_and_not_ours(rest: bytes) -> None:
    with (
        answering(b"HTTP/1.1 302 Found\r\n" + rest) as url,
        pytest.raises(TwilioUnavailableError),
        media(url),
    ):
        pass


@pytest.mark.parametrize(
    "rest",
    [*CUT.values(), b"Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n"],
    ids=[*CUT, "in chunks of no size"],
)
def test_audio_that_is_cut_is_noticed(rest: bytes) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n" + rest) as url, media(url) as audio:
        assert audio.is_bounded
        with pytest.raises(TwilioUnavailableError):
            list(audio.pieces(1000))


ENDS: list[tuple[dict[str, str], bool, int | None]] = [
    ({"Content-Length": "5"}, True, 5),
    ({"Transfer-Encoding": "chunked"}, True, None),
    ({"Transfer-Encoding": "chunked", "Content-Length": "7"}, True, None),
    ({"Content-Length": "five"}, False, None),
    ({"Content-Length": "9" * 5000}, False, None),
    ({}, False, None),
]


@pytest.mark.parametrize(("headers", "is_bounded", "length"), ENDS)
@responses.activate
def test_whether_audio_says_where_it_ends(headers: dict[str, str], length: int | None, *, is_bounded: bool) -> None:
    responses.get(MEDIA, body=b"audio", headers=headers)

    with media("https://api.twilio.com") as audio:
        assert (audio.is_bounded, audio.length) == (is_bounded, length)


@responses.activate
def test_audio_that_is_compressed_on_the_way_is_counted_as_it_comes() -> None:
    compressed = gzip.compress(b"audio" * 1000)
    length = str(len(compressed))
    responses.get(MEDIA, body=compressed, headers={"Content-Encoding": "gzip", "Content-Length": length})

    with media("https://api.twilio.com") as audio:
        assert b"".join(audio.pieces(1000)) == b"audio" * 1000
        assert (audio.encoding, audio.came, audio.length) == ("gzip", len(compressed), len(compressed))
