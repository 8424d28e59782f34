"""Whether a callback is Twilio's: only its signature over exactly these parameters proves it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from call_recording.callbacks.facts import callback_account_sid
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

        def validate(self, uri: str, params: Any, signature: str, /) -> bool:
            """Tell whether the token signed that address with these parameters."""
            ...


Fields = list[tuple[str, str]]


class Proof(NamedTuple):
    """Everything that proving a callback needs.

    `validator` is Twilio's `RequestValidator`, which only the webhook's function ships. `webhook_url` is
    the address that Twilio is told now.
    """

    credentials: CredentialStore
    validator: Callable[[str], "Validator"]
    webhook_url: str
    default_account_sid: str

    def proven_fields(self, http: HttpRequest) -> Fields:
        """Return the callback's parameters, once Twilio's signature over exactly them is verified.

        The secret is that of the account the callback names: subaccounts sign with their own token, and
        another account's valid signature proves nothing. A callback that names no account can still be
        Twilio's; it is then held against the stack's own account.

        Raises UnprovenCallbackError for everything that is not proven: it fails closed. Raises
        RequestTooLargeError for a body that is not even looked at, and CredentialsUnavailableError when
        the tokens could not be read, so that Twilio tries again.
        """
        query = http.query if isinstance(http.query, str) else ""  # payload 1.0 is not ours, and proves nothing
        try:
            signature = http.header("X-Twilio-Signature")
        except InvalidRequestError as error:
            raise UnprovenCallbackError("several signatures") from error
        if not signature or not signature.isascii():
            raise UnprovenCallbackError("no signature, or one that cannot be Twilio's")
        try:
            http.url.encode()
            in_query, form = query.encode(), signed_fields(body_bytes(http)) if http.method == "POST" else []
            fields = form if http.method == "POST" else signed_fields(in_query)
        except (InvalidRequestError, UnicodeEncodeError) as error:
            raise UnprovenCallbackError("the parameters cannot be read, so no signature can hold for them") from error
        account_sid = callback_account_sid(fields) or self.default_account_sid

        urls, signed = self._signed_urls(http.url, query), _Signed(form)

        def is_signed(by: Credentials) -> bool:
            return any(
                self.validator(token).validate(url, signed, signature) for token in by.signing_tokens for url in urls
            )

        try:
            held = self.credentials.get(account_sid)
            if is_signed(held):
                return fields
            # The tokens may have been rotated since we read them.
            fresh = self.credentials.refresh(account_sid)
        except UnknownAccountError as error:
            raise UnprovenCallbackError("no credentials are stored for the account") from error
        except MalformedSecretError as error:
            raise CredentialsUnavailableError(account_sid) from error
        if fresh is None or not is_signed(fresh):
            raise UnprovenCallbackError("the signature does not match")
        return fields

    def _signed_urls(self, called: str, query: str) -> list[str]:
        """Return the addresses that Twilio can have signed: the one that it is told now, and the one that was called.

        They differ for calls that began before the webhook moved to another address. The second is no
        choice of the sender's: API Gateway names itself, and answers to no name that is not its own.
        """
        return [f"{url}?{query}" if query else url for url in dict.fromkeys([self.webhook_url, called])]


class _Signed(dict[str, list[str]]):
    """Form parameters as Twilio's validator reads them: every value of a repeated name."""

    def __init__(self, form: Fields) -> None:
        super().__init__()
        for name, value in form:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]
