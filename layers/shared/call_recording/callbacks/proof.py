"""Verifies that a callback is from Twilio: only its signature over exactly these parameters proves that."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self
from urllib.parse import parse_qsl

from call_recording.callbacks.facts import callback_account_sid, with_query
from call_recording.errors import (
    CredentialsUnavailableError,
    InvalidRequestError,
    MalformedSecretError,
    UnknownAccountError,
    UnprovenCallbackError,
)
from call_recording.http.request import HttpRequest, body_bytes, signed_fields
from call_recording.twilio.credentials import Credentials, CredentialStore

if TYPE_CHECKING:

    class Validator(Protocol):
        """What Twilio's `RequestValidator` does, once it has a token."""

        def validate(self, uri: str, params: Any, signature: str, algorithm: str | None = None, /) -> bool:
            """Return whether the token signed that URL with these parameters."""
            ...


Fields = list[tuple[str, str]]

SHARED_KEY_ALGORITHM: Final = "HMAC_SHA256"
"""The only algorithm with which Twilio signs by a shared key. Source: `twilio.request_validator`."""


class Proof(NamedTuple):
    """Everything that is needed to verify a callback.

    `validator` is Twilio's `RequestValidator`, which only the webhook's function ships. `webhook_url` is
    the current callback URL.
    """

    credentials: CredentialStore
    validator: Callable[[str], "Validator"]
    webhook_url: str
    default_account_sid: str

    def ahead(self) -> Iterable[Callable[[], object]]:
        """Return what a first callback would wait for: the auth tokens of the stack's own account."""
        yield partial(self.credentials.get, self.default_account_sid)

    def proven_fields(self, http: HttpRequest) -> Fields:
        """Return the callback's parameters, after verifying Twilio's signature over exactly them.

        The secret is that of the account that the callback names: subaccounts sign with their own token, and
        another account's valid signature proves nothing. A callback that names no account can still be
        Twilio's; it is then verified with the stack's own account. A callback that names a shared key
        is verified only with that key, every other one only with the auth tokens.

        Raises UnprovenCallbackError for everything that is not verified: it fails closed. Raises
        RequestTooLargeError for a body that is too large to check, and CredentialsUnavailableError if
        the tokens could not be read, so that Twilio retries.
        """
        request = _SignedRequest.read(http)
        account_sid = callback_account_sid(request.fields) or self.default_account_sid
        try:
            held = self.credentials.get(account_sid)
            if self._is_signed(request, held):
                return request.fields
            # The tokens or keys may have been rotated since they were read.
            fresh = self.credentials.refresh(account_sid)
        except UnknownAccountError as error:
            raise UnprovenCallbackError("no credentials are stored for the account", account_sid) from error
        except MalformedSecretError as error:
            raise CredentialsUnavailableError(account_sid, error.why) from error
        if fresh is not None and self._is_signed(request, fresh):
            return request.fields
        if request.key_id and request.key_id not in (fresh or held).webhook_shared_keys:
            raise UnprovenCallbackError("the shared key that it names is not in the account's secret", account_sid)
        raise UnprovenCallbackError("the signature does not match", account_sid)

    def _is_signed(self, request: "_SignedRequest", by: Credentials) -> bool:
        keys, algorithm = by.signing_tokens, None
        if request.key_id:
            keys = tuple(key for key_id, key in by.webhook_shared_keys.items() if key_id == request.key_id)
            algorithm = SHARED_KEY_ALGORITHM
        validators, form = [self.validator(key) for key in keys], _Signed(request.form)
        return bool(validators) and any(
            validator.validate(url, form, request.signature, algorithm)
            for url in self._signed_urls(request)
            for validator in validators
        )

    def _signed_urls(self, request: "_SignedRequest") -> Iterator[str]:
        """Yield the URLs that Twilio can have signed: the current callback URL, and the one that was called.

        They differ for calls that began before the webhook moved to another URL. The sender cannot choose
        the second: API Gateway sets it, and accepts only its own names.
        """
        for query in _spellings(request.query) if len(request.form) <= _MOST_FIELDS_RESPELT else [request.query]:
            for url in dict.fromkeys([self.webhook_url, request.url]):
                yield f"{url}?{query}" if query else url


_NEVER_SENT: Final = re.compile(r"[\x00-\x20\x7f#]")
"""Twilio's validator removes these from a URL before it verifies it, but this code would read them."""

_MOST_FIELDS_RESPELT: Final = 60
"""The most parameters of a form (Twilio's have some dozens) for which other spellings of its URL are tried."""


class _SignedRequest(NamedTuple):
    """What a signature is verified with. `key_id` is the id of the shared key that it names, if any."""

    url: str
    query: str
    form: Fields
    fields: Fields
    signature: str
    key_id: str

    @classmethod
    def read(cls, http: HttpRequest) -> Self:
        query = http.query if isinstance(http.query, str) else ""  # payload 1.0 is not from this API
        try:
            signature = http.header("X-Twilio-Signature")
            settings = http.header("X-Twilio-Webhooks-Signature-Settings")
        except InvalidRequestError as error:
            raise UnprovenCallbackError("several signatures, or several signature settings") from error
        if not signature or not signature.isascii():
            raise UnprovenCallbackError("no signature, or a malformed one")
        key_id = _shared_key_id(settings) if settings else ""
        try:
            http.url.encode()
            in_query = query.encode()
            form = signed_fields(body_bytes(http)) if http.method == "POST" else []
            if _NEVER_SENT.search(query):
                raise UnprovenCallbackError("its query has characters that no URL has")
            asked = parse_qsl(in_query.decode(), keep_blank_values=True, errors="replace")
            fields = with_query(form, asked) if http.method == "POST" else asked
        except (InvalidRequestError, UnicodeEncodeError) as error:
            raise UnprovenCallbackError("the parameters cannot be read, so no signature can match them") from error
        return cls(http.url, query, form, fields, signature, key_id)


def _spellings(query: str) -> Iterator[str]:
    yield query
    if query:
        # Imported here to shorten cold starts: nearly all callbacks have no query, or one that is verified as sent.
        from call_recording.callbacks.spellings import spellings  # noqa: PLC0415

        yield from spellings(query)[1:]


def _shared_key_id(settings: str) -> str:
    """Return the id of the shared key: `X-Twilio-Webhooks-Signature-Settings` is `key=…,algorithm=…`.

    Raises UnprovenCallbackError for any other value of that header: `get_signature_algorithm` of Twilio's
    library would treat it as an auth token's signature, which it does not claim to be.
    """
    named = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in settings.split(","))]
    keys, algorithms = ([value for name, value in named if name == wanted] for wanted in ("key", "algorithm"))
    if [algorithm.upper() for algorithm in algorithms] != [SHARED_KEY_ALGORITHM]:
        raise UnprovenCallbackError("the algorithm of its signature is unknown")
    if len(keys) != 1 or not keys[0]:
        raise UnprovenCallbackError("its signature's settings name no shared key, or several")
    return keys[0]


class _Signed(dict[str, list[str]]):
    """Form parameters in the form that Twilio's validator reads: every value of a repeated name."""

    def __init__(self, form: Fields) -> None:
        super().__init__()
        for name, value in form:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]
