"""The Twilio credentials of an account, as Secrets Manager keeps them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError
from botocore.exceptions import ClientError

from call_recording.errors import CredentialsUnavailableError, MalformedSecretError, UnknownAccountError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CACHE_SECONDS: Final = 300


@dataclass(frozen=True)
class Credentials:
    """What a secret holds; only `auth_token` is required. Never shown by `repr`."""

    account_sid: str
    auth_token: str = field(repr=False)
    auth_token_secondary: str | None = field(default=None, repr=False)
    api_key_sid: str | None = field(default=None, repr=False)
    api_key_secret: str | None = field(default=None, repr=False)

    @property
    def basic_auth(self) -> tuple[str, str]:
        """Return user and password for Twilio's REST API: the API key if there is one, else the auth token."""
        if self.api_key_sid and self.api_key_secret:
            return self.api_key_sid, self.api_key_secret
        return self.account_sid, self.auth_token

    @property
    def signing_tokens(self) -> tuple[str, ...]:
        """Return the tokens that may have signed a callback: never the API key, and both while they rotate."""
        return (self.auth_token, self.auth_token_secondary) if self.auth_token_secondary else (self.auth_token,)


@dataclass(frozen=True)
class CredentialStore:
    """Reads `${prefix}AC…` and keeps what it read for five minutes."""

    client: "SecretsManagerClient"
    prefix: str

    @cached_property
    def _provider(self) -> SecretsProvider:
        return SecretsProvider(boto3_client=self.client)

    def get(self, account_sid: str, *, refresh: bool = False) -> Credentials:
        """Return the account's credentials; with `refresh`, read them afresh.

        `account_sid` must already be known to look like a SID: it becomes part of the secret's name.

        Raises UnknownAccountError (no such secret), MalformedSecretError, or
        CredentialsUnavailableError (Secrets Manager did not answer, or not to us).
        """
        try:
            secret = self._provider.get(
                f"{self.prefix}{account_sid}", max_age=_CACHE_SECONDS, transform="json", force_fetch=refresh
            )
        except TransformParameterError as error:
            raise MalformedSecretError(account_sid, "it is not JSON") from error
        except GetParameterError as error:
            # Powertools wraps whatever went wrong without `from`; the cause is the context.
            cause = error.__context__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ResourceNotFoundException":
                raise UnknownAccountError(account_sid) from error
            raise CredentialsUnavailableError(account_sid) from error
        return _parse(account_sid, secret)


def _parse(account_sid: str, secret: Any) -> Credentials:
    if not isinstance(secret, dict):
        raise MalformedSecretError(account_sid, "it is not a JSON object")
    names = ("auth_token", "auth_token_secondary", "api_key_sid", "api_key_secret")
    for name in names:
        if not isinstance(secret.get(name, ""), str | None):
            raise MalformedSecretError(account_sid, f"{name} is not a string")
    if not secret.get("auth_token"):
        raise MalformedSecretError(account_sid, "auth_token is missing")
    if bool(secret.get("api_key_sid")) != bool(secret.get("api_key_secret")):
        raise MalformedSecretError(account_sid, "api_key_sid and api_key_secret belong together")
    optional = {name: secret.get(name) or None for name in names[1:]}
    return Credentials(account_sid, secret["auth_token"], **optional)
