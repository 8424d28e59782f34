"""Page tokens: where a list continues, signed, so that nobody can forge one or use it for another list."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from itsdangerous import BadData, URLSafeSerializer

from call_recording.errors import FieldError, InvalidRequestError, PageTokenKeyUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CACHE_SECONDS: Final = 3600

PAGE_TOKEN: Final = "PageToken"  # noqa: S105 (a field's name)


@dataclass(frozen=True)
class PageTokens:
    """Creates and reads tokens, with a key that only this stack has."""

    client: "SecretsManagerClient"
    secret_id: str

    @cached_property
    def _provider(self) -> SecretsProvider:
        return SecretsProvider(boto3_client=self.client)

    def sign(self, position: dict[str, Any], *, listing: str) -> str:
        """Return a token for a position in a list; `listing` names the list and its filters."""
        return str(self._serializer(listing).dumps(position))

    def read(self, token: str, *, listing: str) -> dict[str, Any]:
        """Return the position.

        Raises InvalidRequestError if the token was changed, is from another stack, or belongs
        to another list.
        """
        try:
            position: dict[str, Any] = self._serializer(listing).loads(token)
        except BadData as error:
            message = "is not a token of this list"
            raise InvalidRequestError([FieldError(PAGE_TOKEN, message)]) from error
        return position

    def _serializer(self, listing: str) -> URLSafeSerializer:
        try:
            key = self._provider.get(self.secret_id, max_age=_CACHE_SECONDS)
        except GetParameterError as error:
            raise PageTokenKeyUnavailableError from error
        return URLSafeSerializer(str(key), salt=listing)
