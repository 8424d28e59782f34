"""moto's DynamoDB without the wire between: rules and expressions as they are, in a quarter of the time."""

import json
import re
from typing import Any

from botocore.exceptions import ClientError
from moto.core import DEFAULT_ACCOUNT_ID  # type: ignore[attr-defined]
from moto.core.exceptions import JsonRESTError
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

REGION = "us-east-1"


def table(name: str) -> Table:
    """Return a table as moto has it."""
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].get_table(name)


def answer(operation: str, arguments: dict[str, Any]) -> Any:
    """Return what DynamoDB answers.

    Raises ClientError, as a client of it would.
    """
    handler: Any = DynamoHandler()
    # Copies, as the wire makes them: neither side holds what the other may change.
    handler.region, handler.current_account, handler.body = REGION, DEFAULT_ACCOUNT_ID, _copied(arguments)
    try:
        result = getattr(handler, _name(operation))().result
    except JsonRESTError as error:
        told = json.loads(error.description)
        refusal: Any = {"Error": {"Code": told["__type"].rpartition("#")[2], "Message": error.message}}
        if "Item" in told:
            refusal["Item"] = told["Item"]
        raise ClientError(refusal, operation) from error
    return _copied(result)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _name(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
