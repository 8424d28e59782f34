"""Twilio's REST API, as far as this application uses it."""

import contextlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Self, cast, override
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.utils import default_user_agent, get_environ_proxies
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError

from call_recording import authorities, clock, metrics
from call_recording.connections import KeptConnections
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    ChannelsRefusedError,
    CredentialsRefusedError,
    MediaNotReadyError,
    NotActionableError,
    RateLimitedError,
    SeveralActiveRecordingsError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioTimedOutError,
    TwilioUnavailableError,
    TwilioUnreachableError,
)
from call_recording.sids import RECORDING, is_sid
from call_recording.twilio.credentials import Credentials, CredentialStore

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

    from call_recording.settings import TwilioSettings

PAGE_SIZE: Final = 1000
"""Recordings on a page: Twilio's maximum."""

_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = 8.0

_CALL_NOT_IN_PROGRESS: Final = 21220
_SEVERAL_ACTIVE: Final = 16108
_CHANNELS_NOT_THERE: Final = 16113
_NOT_ACTIONABLE: Final = 16114
_CREDENTIALS_REFUSED: Final = (20003, 20005, 20006, 20008, 70051)
"""Wrong credentials, a suspended or closed account, no access, test credentials, or a restricted key without
the permission: none of these is the caller's fault.
"""
_NOT_FOUND: Final = 20404
_WHOLE_SECONDS: Final = timedelta(seconds=2)
_TOO_MANY_REQUESTS: Final = 20429
_LONGEST_MESSAGE: Final = 1000
_MOST_DIGITS: Final = 18
# All headers that are sent: requests are prepared without a session's additions, above all cookies.
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": f"call-recording {default_user_agent()}",
}
# Uncompressed: the length in the headers must be that of the body.
_MEDIA_HEADERS: Final = _HEADERS | {"Accept": "*/*", "Accept-Encoding": "identity"}


class Session(requests.Session):
    """A session that does not use connections which may be dead after an idle time.

    If a start is sent on a dead connection, it takes seconds to find out that it did not arrive.
    Source: https://github.com/psf/requests/issues/4506, and AWS Lambda's freezing between invocations.
    """

    def __init__(self) -> None:
        super().__init__()
        # Following a redirect, requests would send the cookies of earlier answers, which other accounts got.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._connections = KeptConnections(self.close)
        self._ahead: HTTPConnection | None = None

    def connect(self, url: str) -> None:
        """Open a connection to that server before the first request; if that fails, the request opens its own.

        Not possible through a proxy. urllib3 has no public method for it; its version is pinned.
        """
        asked = requests.Request("GET", url).prepare()
        adapter = cast("HTTPAdapter", self.get_adapter(url))
        pool: Any = adapter.get_connection_with_tls_context(asked, self.verify, proxies=self.proxies)
        if pool.proxy is not None:
            return
        self._connections.before_use()
        with contextlib.suppress(HTTPError, OSError):
            connection = pool._get_conn()  # noqa: SLF001 (see above)
            if connection.is_closed:
                connection.timeout = _CONNECT_SECONDS
                connection.connect()
                self._ahead = connection
            pool._put_conn(connection)  # noqa: SLF001
            self._connections.after_use()

    @override
    def send(self, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        self._connections.before_use()
        if self._ahead:
            _take_tickets(self._ahead)
            self._ahead = None
        response = super().send(request, **named)
        self._connections.after_use()
        return response


def _take_tickets(connection: HTTPConnection) -> None:
    """Read the messages that a TLS 1.3 server sends after the handshake.

    Unread, they would look like a closed connection: urllib3 does not reuse a connection with readable data.
    """
    if isinstance(connection.sock, ssl.SSLSocket):
        connection.sock.settimeout(0)
        with contextlib.suppress(OSError):  # nothing else to read: ssl.SSLWantReadError
            connection.sock.recv(1)
        connection.sock.settimeout(_CONNECT_SECONDS)


@cache
def session(api_url: str) -> Session:
    """Return the session whose connections are kept between invocations.

    The environment's proxy and certificate authorities for `api_url` are looked up once, not for
    every request.
    """
    kept = media_session(api_url)
    kept.proxies = get_environ_proxies(api_url)
    kept.trust_env = False
    return kept


def media_session(api_url: str) -> Session:
    """Return a session for audio, which may be on other hosts, with other proxies."""
    kept = Session()
    named = kept.merge_environment_settings(api_url, {}, None, None, None)["verify"]
    kept.verify = authorities.instead_of(named)
    return kept


class Twilio(NamedTuple):
    """Twilio's REST API; `api_url` has no path."""

    session: requests.Session
    api_url: str
    credentials: CredentialStore

    @classmethod
    def connect(cls, settings: "TwilioSettings", *, kept: requests.Session | None = None) -> Self:
        """Return Twilio's API for the settings, with the given session `kept` or the usual one."""
        url = settings.twilio_api_url
        return cls(kept or session(url), url, CredentialStore.connect(settings))

    def of(self, account_sid: str) -> "TwilioAccount":
        """Return the API client of the account."""
        return TwilioAccount(self.session, self.api_url, self.credentials, account_sid)

    def open_connection(self) -> None:
        """Open a connection in the usual session before the first request."""
        session(self.api_url).connect(self.api_url)


class RecordingResource(dict[str, Any]):
    """A recording resource, in Twilio's format.

    `audio_url` is the audio's URL without a suffix: the resource's own `uri` may contain the call, the
    audio's URL does not. `ran_before`: Twilio answered a start with a running recording. `answered_at` is
    Twilio's time of the answer, if known.
    """

    ran_before = False
    answered_at: datetime | None = None

    def __init__(self, resource: Mapping[str, Any], *, api_url: str) -> None:
        super().__init__(resource)
        self.audio_url = f"{api_url}/2010-04-01/Accounts/{self['account_sid']}/Recordings/{self['sid']}"

    def was_so_before(self, seconds: float) -> bool:
        """Return whether, according to Twilio, nothing has changed since the request that many seconds ago.

        Both times are Twilio's own, in whole seconds, if its answer has a Date header.
        """
        changed = clock.from_rfc_2822(self.get("date_updated"))
        return changed is not None and changed < self.asked_by(seconds)

    def asked_by(self, seconds: float) -> datetime:
        """Return the earliest time, by Twilio's clock, of anything caused by a request `seconds` ago."""
        asked = self.answered_at - _WHOLE_SECONDS if self.answered_at else clock.now() - clock.SKEW
        return asked - timedelta(seconds=seconds)


class TwilioAccount(NamedTuple):
    """Twilio's API for one account.

    Every method sends one request, or a second one if Twilio refuses the credentials and others
    are available. All raise TwilioRefusedError or a subclass (Twilio did nothing),
    TwilioUnreachableError (it got no request), TwilioTimedOutError or TwilioUnavailableError (it
    may have acted), and what CredentialStore raises.
    """

    session: requests.Session
    api_url: str
    credentials: CredentialStore
    account_sid: str

    def create_call_recording(
        self, call_sid: str, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> RecordingResource:
        """Start a recording on a live call and return Twilio's recording resource.

        `form` contains the body parameters with Twilio's names.
        """
        asked_at = clock.monotonic()
        response = self._send("create", "POST", f"/Calls/{call_sid}/Recordings.json", form=form, deadline=deadline)
        recording = self._recording(response)
        is_told = response.status_code == requests.codes.ok  # some of Twilio's examples show this for a new one, too
        recording.ran_before = is_told and _ran_before(recording, seconds=clock.monotonic() - asked_at)
        return recording

    def update_call_recording(
        self, call_sid: str, recording_sid: str, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> RecordingResource:
        """Pause, resume or stop a recording and return Twilio's recording resource.

        `recording_sid` may be `Twilio.CURRENT`. Raises SeveralActiveRecordingsError if that matches
        more than one.
        """
        path = f"/Calls/{call_sid}/Recordings/{recording_sid}.json"
        return self._recording(self._send("update", "POST", path, form=form, deadline=deadline))

    def update_conference_recording(
        self, conference_sid: str, recording_sid: str, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> RecordingResource:
        """Pause or resume a recording of a conference and return Twilio's recording resource."""
        path = f"/Conferences/{conference_sid}/Recordings/{recording_sid}.json"
        return self._recording(self._send("update", "POST", path, form=form, deadline=deadline))

    def delete_recording(self, recording_sid: str, *, deadline: Deadline) -> None:
        """Delete a finished recording's audio; Twilio keeps its resource for 40 days."""
        self._send("delete", "DELETE", f"/Recordings/{recording_sid}.json", deadline=deadline)

    def list_call_recordings(self, call_sid: str, *, deadline: Deadline) -> list[RecordingResource]:
        """Return the call's recordings, oldest first."""
        query = [("PageSize", str(PAGE_SIZE))]
        response = self._send("list", "GET", f"/Calls/{call_sid}/Recordings.json", query=query, deadline=deadline)
        return self._recordings(_json_object(response))[::-1]

    def list_conference_recordings(self, conference_sid: str, *, deadline: Deadline) -> list[RecordingResource]:
        """Return the conference's recordings, oldest first."""
        path, query = f"/Conferences/{conference_sid}/Recordings.json", [("PageSize", str(PAGE_SIZE))]
        return self._recordings(self.get("list", path, query=query, deadline=deadline))[::-1]

    def list_recordings(
        self, *, created_after: datetime, created_before: datetime, page: str | None, deadline: Deadline
    ) -> tuple[list[RecordingResource], str | None]:
        """Return one page of the account's recordings created in that time, and the name of the next page or None.

        `page` is a name that an earlier call returned for the same time.
        """
        query = [
            ("DateCreated>", clock.iso_seconds(created_after)),
            ("DateCreated<", clock.iso_seconds(created_before)),
            ("PageSize", str(PAGE_SIZE)),
        ]
        body = _json_object(
            self._send("list", "GET", "/Recordings.json", query=parse_qsl(page) if page else query, deadline=deadline)
        )
        return self._recordings(body), next_page(body)

    def fetch_recording(self, recording_sid: str, *, deadline: Deadline) -> RecordingResource:
        """Return the recording's resource; status `deleted` for 40 days after it was deleted."""
        query = [("IncludeSoftDeleted", "true")]
        return self._recording(
            self._send("fetch", "GET", f"/Recordings/{recording_sid}.json", query=query, deadline=deadline)
        )

    @contextlib.contextmanager
    def media(self, recording_sid: str, *, suffix: str, channels: int, deadline: Deadline) -> Iterator["Media"]:
        """Yield a completed recording's audio as a stream, and close it at the end.

        `suffix` is `wav` or `mp3`, `channels` 1 or 2. Raises MediaNotReadyError if Twilio has the
        recording but no audio of it (yet), ChannelsRefusedError if it has none with that many channels.
        """
        path, query = f"/Recordings/{recording_sid}.{suffix}", [("RequestedChannels", str(channels))]
        try:
            response = self._send("media", "GET", path, query=query, deadline=deadline, stream=True)
        except TwilioNotFoundError as error:
            raise MediaNotReadyError(recording_sid) from error
        with contextlib.closing(response):
            yield Media(response)

    def get(
        self, operation: str, path: str, *, query: Sequence[tuple[str, str]] = (), deadline: Deadline
    ) -> dict[str, Any]:
        """Return the JSON object at a path below the account's. `operation` is its name in metrics."""
        return _json_object(self._send(operation, "GET", path, query=query, deadline=deadline))

    def _recording(self, response: requests.Response) -> RecordingResource:
        resource = _json_object(response)
        if not is_sid(resource.get("sid"), RECORDING):  # `Twilio.CURRENT`, as in the request
            path = str(resource.get("uri")).partition("?")[0]
            resource["sid"] = path.rpartition("/")[2].removesuffix(".json")
        if not _is_recording(resource):
            raise TwilioUnavailableError("Twilio answered success without a recording")
        recording = RecordingResource(resource, api_url=self.api_url)
        recording.answered_at = clock.from_rfc_2822(response.headers.get("Date"))
        return recording

    def _recordings(self, body: dict[str, Any]) -> list[RecordingResource]:
        found = body.get("recordings")
        if not isinstance(found, list) or not all(isinstance(item, dict) and _is_recording(item) for item in found):
            raise TwilioUnavailableError("Twilio answered success without a list of recordings")
        return [RecordingResource(item, api_url=self.api_url) for item in found]

    def _send(  # noqa: PLR0913 (the parts of a request)
        self,
        operation: str,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        form: Sequence[tuple[str, str]] | None = None,
        query: Sequence[tuple[str, str]] = (),
        stream: bool = False,
    ) -> requests.Response:
        url = f"{self.api_url}/2010-04-01/Accounts/{self.account_sid}{path}"
        request = requests.Request(
            method,
            url,
            headers=_MEDIA_HEADERS if stream else _HEADERS,
            params=list(query),
            data=list(form) if form is not None else None,
        )
        # Callers wait for changes of a call, not for reads.
        credentials_of = self.credentials.to_send if method == "POST" else self.credentials.get
        held = credentials_of(self.account_sid)
        began = clock.monotonic()
        try:
            return self._send_refreshed(held, request, deadline, stream=stream)
        except TwilioRefusedError as error:
            metrics.TWILIO_REFUSALS.add(code=str(error.code or error.http_status))
            if isinstance(error, CredentialsRefusedError):
                metrics.CREDENTIALS_REFUSED.add()
            raise
        finally:
            metrics.TWILIO_LATENCY.add((clock.monotonic() - began) * 1000, operation=operation)

    def _send_refreshed(
        self, held: Credentials, request: requests.Request, deadline: Deadline, *, stream: bool
    ) -> requests.Response:
        try:
            return self._send_as(held, request, deadline, stream=stream)
        except CredentialsRefusedError:
            # They may have been rotated since they were read.
            fresh = self.credentials.refresh(self.account_sid)
            if fresh is None or fresh == held:
                raise
            return self._send_as(fresh, request, deadline, stream=stream)

    def _send_as(
        self, credentials: Credentials, request: requests.Request, deadline: Deadline, *, stream: bool
    ) -> requests.Response:
        *others, last = credentials.basic_auths
        for auth in others:
            with contextlib.suppress(CredentialsRefusedError):
                return self._exchange(auth, request, deadline, stream=stream)
        return self._exchange(last, request, deadline, stream=stream)

    def _exchange(
        self, auth: tuple[str, str], request: requests.Request, deadline: Deadline, *, stream: bool
    ) -> requests.Response:
        try:
            prepared = request.prepare()
            prepared.prepare_auth(auth)
            response = self.session.send(
                prepared,
                timeout=(deadline.at_most(_CONNECT_SECONDS), deadline.at_most(_READ_SECONDS)),
                # Audio may be on another host; then requests removes the credentials.
                allow_redirects=stream,
                stream=stream,
            )
            if not response.ok:
                _ = response.content  # while streaming, an error's body has not been read yet
        except requests.ConnectTimeout as error:
            raise TwilioUnreachableError("no connection to Twilio in time") from error
        except requests.Timeout as error:
            raise TwilioTimedOutError("Twilio did not answer in time") from error
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise TwilioUnreachableError("no connection to Twilio") from error
            raise TwilioUnavailableError("the connection to Twilio was closed early") from error
        # requests lets others through when it follows a redirect: of a body that is cut, or a broken Location.
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise TwilioUnavailableError("Twilio's answer could not be read") from error
        if not response.ok or response.is_redirect:
            _raise_refusal(response)
        return response


class Media(NamedTuple):
    """Audio as Twilio sends it."""

    response: requests.Response

    @property
    def content_type(self) -> str:
        """The content type, without parameters, in lower case."""
        return self.response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        """The content encoding, such as `gzip`; empty if there is none."""
        encoding = self.response.headers.get("Content-Encoding", "").strip().lower()
        return "" if encoding == "identity" else encoding

    @property
    def length(self) -> int | None:
        """The announced number of bytes, after compression; None if unknown."""
        return _whole_number(self.response.headers.get("Content-Length")) if not self._is_chunked else None

    @property
    def came(self) -> int:
        """The number of received bytes, before decompression."""
        return int(self.response.raw.tell())

    @property
    def is_bounded(self) -> bool:
        """Whether the answer marks its end, so that a truncation is noticed; otherwise it ends with the connection."""
        return self._is_chunked or self.length is not None

    @property
    def _is_chunked(self) -> bool:
        return "chunked" in self.response.headers.get("Transfer-Encoding", "").lower()

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the audio in pieces of at most that size.

        Raises TwilioUnavailableError if it stops in the middle.
        """
        try:
            yield from self.response.iter_content(most_bytes)
        except (requests.RequestException, ValueError) as error:  # ValueError: a negative chunk size
            raise TwilioUnavailableError("the audio stopped in the middle") from error


def _is_recording(resource: dict[str, Any]) -> bool:
    return is_sid(resource.get("sid"), RECORDING) and all(resource.get(name) for name in ("account_sid", "status"))


def _never_connected(error: requests.ConnectionError) -> bool:
    """Return whether the connection itself failed, so that no byte of the request was sent."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, NewConnectionError)


def next_page(body: Mapping[str, Any]) -> str | None:
    """Return the query of the page after this one of a list, or None after the last.

    Raises TwilioUnavailableError.
    """
    uri = body.get("next_page_uri")
    try:
        return urlsplit(str(uri)).query if uri else None
    except ValueError as error:
        raise TwilioUnavailableError("Twilio answered with an invalid next page") from error


def _json_object(response: requests.Response) -> dict[str, Any]:
    """Return the answer's JSON object; a proxy's HTML or XML becomes TwilioUnavailableError."""
    try:
        body = response.json()
    except (ValueError, RecursionError) as error:  # also a number or nesting that Python cannot parse
        raise TwilioUnavailableError(f"Twilio answered {response.status_code} with a body that is not JSON") from error
    if not isinstance(body, dict):
        raise TwilioUnavailableError(f"Twilio answered {response.status_code} with a body that is not an object")
    return body


def _ran_before(recording: RecordingResource, *, seconds: float) -> bool:
    """Return whether the recording existed before the request that many seconds ago.

    Both times are Twilio's own, in whole seconds, if its answer has a Date header. A recording without a creation
    time does not count as new.
    """
    made = clock.from_rfc_2822(recording.get("date_created") or recording.get("start_time"))
    return made is None or made < recording.asked_by(seconds)


def _raise_refusal(response: requests.Response) -> NoReturn:
    """Raise the error for Twilio's refusal, or for an answer after which its action is unknown."""
    try:
        body = _json_object(response)
    except TwilioUnavailableError:
        body = {}  # error bodies can come from a proxy, as HTML or XML
    status = response.status_code
    code = body["code"] if isinstance(body.get("code"), int) else None
    message = str(body.get("message") or f"Twilio answered {status}")[:_LONGEST_MESSAGE]
    more_info = str(body["more_info"]) if body.get("more_info") else None

    if status == requests.codes.too_many_requests or code == _TOO_MANY_REQUESTS:
        raise RateLimitedError(
            retry_after_seconds=_whole_number(response.headers.get("Retry-After")),
            code=code,
            message=message,
            more_info=more_info,
        )
    # 16114 also comes with 408, but unlike a timeout it means that nothing was done.
    if (status == requests.codes.request_timeout and code != _NOT_ACTIONABLE) or not 400 <= status < 500:
        raise TwilioUnavailableError(message, code=code, more_info=more_info)
    raise _kind(status, code)(http_status=status, code=code, message=message, more_info=more_info)


def _kind(status: int, code: int | None) -> type[TwilioRefusedError]:
    if status == requests.codes.unauthorized:
        return CredentialsRefusedError  # with any code
    if code is None:
        return TwilioNotFoundError if status == requests.codes.not_found else TwilioRefusedError
    return _KINDS.get(code, TwilioRefusedError)


def _whole_number(header: str | None) -> int | None:
    """Return the header's number; None if it has none, or one that is too long for Python to parse."""
    return int(header) if header and header.isdecimal() and len(header) <= _MOST_DIGITS else None


_KINDS: Final[dict[int, type[TwilioRefusedError]]] = {
    _CALL_NOT_IN_PROGRESS: CallNotInProgressError,
    _SEVERAL_ACTIVE: SeveralActiveRecordingsError,
    _CHANNELS_NOT_THERE: ChannelsRefusedError,
    _NOT_ACTIONABLE: NotActionableError,
    _NOT_FOUND: TwilioNotFoundError,
    **dict.fromkeys(_CREDENTIALS_REFUSED, CredentialsRefusedError),
}
