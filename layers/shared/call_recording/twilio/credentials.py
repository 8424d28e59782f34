"""The Twilio credentials of an account in Secrets Manager, also during rotations."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Self

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError
from botocore.exceptions import ClientError

from call_recording import clients, clock, metrics
from call_recording.errors import CredentialsUnavailableError, MalformedSecretError, UnknownAccountError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from call_recording.deadline import Deadline
    from call_recording.settings import SecretSettings
    from call_recording.twilio.accounts import Accounts

_FRESH: Final = timedelta(seconds=300)
_RENEWAL_SECONDS: Final = 10.0
"""The longest time to reload a secret: three attempts of three seconds."""
_REFRESH_SECONDS: Final = 10
"""The minimum time between forced refreshes of one account in one execution environment."""
_REFUSAL_SECONDS: Final = 30


@dataclass(frozen=True)
class Credentials:
    """The contents of a secret; only `auth_token` is required. Never shown by `repr`."""

    account_sid: str
    auth_token: str = field(repr=False)
    auth_token_secondary: str | None = field(default=None, repr=False)
    api_key_sid: str | None = field(default=None, repr=False)
    api_key_secret: str | None = field(default=None, repr=False)
    webhook_shared_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Secrets by key id, with which Twilio signs callbacks if a Webhooks rule says so; for nothing else."""

    @property
    def basic_auths(self) -> tuple[tuple[str, str], ...]:
        """Return users and passwords for Twilio's REST API, in the order to try them.

        The API key if there is one. Otherwise the auth tokens: during a rotation the first may
        already be refused and the second be valid.
        """
        if self.api_key_sid and self.api_key_secret:
            return ((self.api_key_sid, self.api_key_secret),)
        return tuple((self.account_sid, token) for token in self.signing_tokens)

    @property
    def signing_tokens(self) -> tuple[str, ...]:
        """Return the tokens that may have signed a callback: never the API key, and both during a rotation."""
        return (self.auth_token, self.auth_token_secondary) if self.auth_token_secondary else (self.auth_token,)


class _Refusal(NamedTuple):
    """Why an account's secret could not be used, and when; `why` is empty if there is no secret.

    Not the error itself: each time it is raised, its traceback grows and keeps objects alive.
    """

    at: float
    why: str

    def repeat(self, account_sid: str) -> NoReturn:
        raise MalformedSecretError(account_sid, self.why) if self.why else UnknownAccountError(account_sid)


class _Held(NamedTuple):
    """What was read, and when, by the wall clock: the monotonic clock may stop while the function is frozen."""

    credentials: Credentials
    read_at: datetime

    @property
    def is_fresh(self) -> bool:
        # A clock that was set back proves nothing.
        return timedelta() <= clock.now() - self.read_at < _FRESH


class CredentialStore:
    """Reads `${prefix}AC…` and caches it: five minutes to verify callbacks, longer to send requests.

    Anybody on the Internet can make the webhook look up an account or refresh a token. The cost is
    limited: an account without a secret is cached as such for 30 s, only `most_unknown` of them
    are looked up, and a refresh is forced at most every ten seconds. Accounts that this stack has used do not
    have to wait for those that somebody invents.
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        prefix: str,
        *,
        most_unknown: int | None = None,
        accounts: "Accounts | None" = None,
    ) -> None:
        """Cache what is read with `client`.

        `most_unknown` accounts without a usable secret are looked up in 30 s (None: no limit); more must
        wait, except for `accounts`, and for every account that was read once.
        """
        self.client = client
        self._provider = SecretsProvider(boto3_client=client)
        self._prefix = prefix
        self._most_unknown = most_unknown
        self._accounts = accounts
        self._known_account_sids = {accounts.default_account_sid} if accounts else set[str]()
        self._held: dict[str, _Held] = {}
        self._to_renew: set[str] = set()
        self._refreshed_at: dict[str, float] = {}
        self._refresh_failed: set[str] = set()
        self._refusals: dict[str, _Refusal] = {}  # the oldest first

    @classmethod
    def connect(cls, settings: "SecretSettings") -> Self:
        """Return the store of the secrets for the settings."""
        return cls(clients.secrets_manager(), settings.twilio_secret_prefix)

    def get(self, account_sid: str) -> Credentials:
        """Return the account's credentials, read at most five minutes ago.

        `account_sid` must be validated before: it becomes part of the secret's name.

        Raises UnknownAccountError (no such secret), MalformedSecretError, or
        CredentialsUnavailableError (Secrets Manager did not answer, or too many accounts that do not
        exist were asked for).
        """
        held = self._held.get(account_sid)
        if held and held.is_fresh:
            return held.credentials
        self._forget_old_refusals()
        if refusal := self._refusals.get(account_sid):
            refusal.repeat(account_sid)
        is_flooded = self._most_unknown is not None and len(self._refusals) >= self._most_unknown
        if is_flooded and not self._is_known(account_sid):
            raise CredentialsUnavailableError(account_sid)
        return self._read(account_sid)

    def to_send(self, account_sid: str) -> Credentials:
        """Return the account's credentials for requests to Twilio, as last read, however long ago that was.

        A caller does not have to wait for Secrets Manager: Twilio refuses outdated credentials, and
        then they are refreshed. Never use them to verify callbacks. Old ones must be renewed afterwards.

        Raises what `get` raises, for an account whose credentials were never read.
        """
        held = self._held.get(account_sid)
        if held is None:
            return self.get(account_sid)
        if not held.is_fresh:
            self._to_renew.add(account_sid)
        return held.credentials

    def renew(self, *, deadline: "Deadline") -> None:
        """Reload old credentials that were used for requests, after the caller's work is done.

        If that fails, or if there is no time, the old ones are used again: only those of a missing or malformed
        secret are dropped.
        """
        while self._to_renew and deadline.remaining_seconds() >= _RENEWAL_SECONDS:
            with suppress(CredentialsUnavailableError, MalformedSecretError, UnknownAccountError):
                self.refresh(self._to_renew.pop())

    def refresh(self, account_sid: str) -> Credentials | None:
        """Return the credentials after reloading the secret, or None if it was reloaded a moment ago.

        Raises what `get` raises; also after a refresh that failed a moment ago and is not repeated yet,
        because then its result is unknown.
        """
        now = clock.monotonic()
        if now - self._refreshed_at.get(account_sid, float("-inf")) < _REFRESH_SECONDS:
            if account_sid in self._refresh_failed:
                raise CredentialsUnavailableError(account_sid)
            return None
        self._refreshed_at[account_sid] = now
        self._refresh_failed.add(account_sid)
        fresh = self._read(account_sid)
        self._refresh_failed.discard(account_sid)
        return fresh

    def _read(self, account_sid: str) -> Credentials:
        self._refusals.pop(account_sid, None)
        read_at = clock.now()
        try:
            credentials = self._parsed(account_sid)
        except (UnknownAccountError, MalformedSecretError) as error:
            self._held.pop(account_sid, None)
            self._refusals[account_sid] = _Refusal(clock.monotonic(), error.why)
            if isinstance(error, MalformedSecretError) or account_sid in self._known_account_sids:
                metrics.CREDENTIALS_REFUSED.add()  # the same alarm: the stored credentials are wrong, not the request
            raise
        self._held[account_sid] = _Held(credentials, read_at)
        self._known_account_sids.add(account_sid)
        return credentials

    def _is_known(self, account_sid: str) -> bool:
        is_read = account_sid in self._known_account_sids
        return is_read or (self._accounts is not None and self._accounts.knows(account_sid))

    def _forget_old_refusals(self) -> None:
        now = clock.monotonic()
        # A copy, because a thread of the init phase also reads secrets.
        old = [sid for sid, refusal in list(self._refusals.items()) if now - refusal.at >= _REFUSAL_SECONDS]
        for account_sid in old:
            del self._refusals[account_sid]

    def _parsed(self, account_sid: str) -> Credentials:
        name = self._name(account_sid)
        try:
            secret = self._provider.get(name, transform="json", force_fetch=True)
        except TransformParameterError as error:
            raise MalformedSecretError(account_sid, "it is not JSON") from error
        except GetParameterError as error:
            # Powertools wraps errors without `from`; the cause is in the context.
            cause = error.__context__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ResourceNotFoundException":
                raise UnknownAccountError(account_sid) from error
            raise CredentialsUnavailableError(account_sid) from error
        return parse(account_sid, secret)

    def _name(self, account_sid: str) -> str:
        return f"{self._prefix}{account_sid}"


_NAMES: Final = ("auth_token", "auth_token_secondary", "api_key_sid", "api_key_secret")


def parse(account_sid: str, secret: Any) -> Credentials:
    """Return the credentials that a secret holds, read from its JSON.

    Raises MalformedSecretError, which says what is wrong without revealing the contents.
    """
    if not isinstance(secret, dict):
        raise MalformedSecretError(account_sid, "it is not a JSON object")
    given = {name: secret[name] for name in _NAMES if secret.get(name) not in (None, "")}
    shared_keys = secret.get("webhook_shared_keys")
    if shared_keys is None:
        shared_keys = {}
    if not isinstance(shared_keys, dict):
        raise MalformedSecretError(account_sid, "webhook_shared_keys is not an object")
    for name, value in given.items():
        _check(account_sid, name, value)
    for key_id, key in shared_keys.items():
        _check(account_sid, "a key id of webhook_shared_keys", key_id)
        _check(account_sid, "a secret of webhook_shared_keys", key)
    if "auth_token" not in given:
        raise MalformedSecretError(account_sid, "auth_token is missing")
    if ("api_key_sid" in given) != ("api_key_secret" in given):
        raise MalformedSecretError(account_sid, "api_key_sid and api_key_secret are only valid together")
    return Credentials(account_sid, **given, webhook_shared_keys=shared_keys)


def _check(account_sid: str, name: str, value: object) -> None:
    """Refuse values that Twilio cannot have issued, for example with a line break from a shell or an editor.

    With such a value every valid signature would look forged, and every request would be refused. An empty
    key would verify anybody's signature.
    """
    if not isinstance(value, str):
        raise MalformedSecretError(account_sid, f"{name} is not a string")
    if not value:
        raise MalformedSecretError(account_sid, f"{name} is empty")
    if value != value.strip():
        raise MalformedSecretError(account_sid, f"{name} starts or ends with blanks or line breaks")
    if not (value.isascii() and value.isprintable()) or any(odd in value for odd in " \"'"):
        raise MalformedSecretError(account_sid, f"{name} has characters that Twilio never uses")
