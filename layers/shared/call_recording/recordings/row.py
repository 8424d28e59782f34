"""A row of RecordingsTable: which attributes there are, who sees them, and how DynamoDB takes them."""

import base64
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from call_recording import clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Row = dict[str, Any]
"""A row as plain Python values, keyed by attribute name."""


class Attribute(NamedTuple):
    """What there is to know of an attribute.

    `is_told` by Twilio, in reports that can be late, repeated or contradicting. `is_public`: callers and
    consumers see it; the rest of a row is for merging and for the indexes. An attribute that `leads_to`
    AUDIO goes when somebody deletes the recording; one that leads to TWILIO goes when it is gone there.
    """

    is_told: bool = False
    is_public: bool = True
    leads_to: str = ""


AUDIO: Final = "audio"
TWILIO: Final = "twilio"

KEY: Final = "recording_sid"

BATCH: Final = 100
"""Items that DynamoDB gives by their keys in one request."""

_FIRST_WAIT_SECONDS: Final = 0.05
_MOST_IN_VAIN: Final = 5
"""Requests in a row of which DynamoDB may leave out every key: 1.5 s at most are waited between them."""

MOST_DIGITS: Final = 38
"""Digits of a number that DynamoDB keeps. Source: "Supported data types and naming rules", DynamoDB developer guide."""

ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    KEY: Attribute(),
    "call_sid": Attribute(is_told=True),
    "account_sid": Attribute(),
    "conference_sid": Attribute(is_told=True),
    "requested_call_sid": Attribute(),  # the call that the start named
    "status": Attribute(),
    "status_at": Attribute(),  # when each status was first seen
    "start_time": Attribute(is_told=True),
    "duration_seconds": Attribute(is_told=True),
    "channels": Attribute(is_told=True),
    "source": Attribute(is_told=True),
    "track": Attribute(is_told=True),
    "error_code": Attribute(is_told=True),
    "price": Attribute(is_told=True),
    "price_unit": Attribute(is_told=True),
    "recording_url": Attribute(is_told=True, leads_to=TWILIO),
    "stored_elsewhere": Attribute(is_told=True, leads_to=AUDIO),  # in a storage of the account's own
    "encryption_details": Attribute(is_told=True, leads_to=AUDIO),
    "requested_by": Attribute(),
    "reference": Attribute(),
    "callback_url": Attribute(),
    "metadata": Attribute(leads_to=AUDIO),  # parameters that we do not know may hold links, too
    "archive": Attribute(leads_to=AUDIO),  # the proof
    "uploads": Attribute(is_public=False),  # where audio can be, proven or not: see `archive.custody`
    "deleting_until": Attribute(is_public=False, leads_to=AUDIO),  # until when somebody may be deleting it
    "deleted_at_twilio": Attribute(),  # when we had the archived audio deleted there
    "deletion": Attribute(),  # the receipt
    "expires_at": Attribute(),
    "fact_ranks": Attribute(is_public=False),  # see `merge`
    "intent": Attribute(is_public=False),  # the request that it was started for
    "control": Attribute(is_public=False),  # see `facts.Control`
    "timers": Attribute(is_public=False),  # see `watches`, as of the next one
    "pauses_ended_at": Attribute(is_public=False),
    "account_day": Attribute(is_public=False),
    "account_reference": Attribute(is_public=False),
    "requested_other_call_sid": Attribute(is_public=False),  # where it is another than `call_sid`
    "open_shard": Attribute(is_public=False),
}
"""Every attribute, in the order in which callers see them."""


def names(of: Callable[[Attribute], bool]) -> tuple[str, ...]:
    """Return the names of the attributes for which that holds."""
    return tuple(name for name, attribute in ATTRIBUTES.items() if of(attribute))


PUBLIC: Final = names(lambda attribute: attribute.is_public)


def public(row: Mapping[str, Any]) -> Row:
    """Return what callers and consumers see of a row, as JSON can say it.

    A row that somebody edited can hold whatever DynamoDB has: a set becomes a sorted list, bytes become
    base64, and a number that is not whole the nearest one that JSON's readers have.
    """
    return {name: as_json(row[name]) for name in PUBLIC if name in row}


def as_json(value: Any) -> Any:
    """Return a value of a row as JSON can say it."""
    if isinstance(value, dict):
        return {name: as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(map(as_json, value))
    if isinstance(value, Decimal):
        whole = _whole(value)
        return float(whole) if isinstance(whole, Decimal) else whole
    if isinstance(value, Binary):
        held: Any = value  # its stubs do not know what it holds
        return base64.b64encode(held.value).decode()
    return value


class _Deserializer(TypeDeserializer):
    """Takes what DynamoDB's client gives, and what Lambda hands over of a stream: there bytes are base64."""

    def _deserialize_b(self, value: bytes | str) -> Binary:
        return Binary(base64.b64decode(value) if isinstance(value, str) else value)


_serialize: Final = TypeSerializer().serialize
_deserialize: Final = _Deserializer().deserialize


def serialize(value: Any) -> "AttributeValueTypeDef":
    """Return a plain value as DynamoDB takes it."""
    # Nearly all are texts, and boto3 looks for everything else first.
    return {"S": value} if type(value) is str else _serialize(value)


def attributes(row: Mapping[str, Any]) -> dict[str, "AttributeValueTypeDef"]:
    """Return plain values as DynamoDB takes them."""
    return {name: serialize(value) for name, value in row.items()}


def plain(item: Mapping[str, Any]) -> Row:
    """Return what DynamoDB gave as plain values, which it takes back as they are.

    Numbers are int where they are whole and short enough to be written back as one.
    """
    return {name: _with_integers(_deserialize(value)) for name, value in item.items()}


def items_of(
    client: "DynamoDBClient", table_name: str, keys: Iterable[Mapping[str, Any]], **asked: Any
) -> Iterator[Row]:
    """Give each item that there is of those keys, as it is now, however many they are; none may be there twice.

    What DynamoDB leaves out, as its partition is busy or the answer full, is asked for again, each time after a longer
    wait. `asked` is what else BatchGetItem shall do. Raises what boto3 raises; also what it raises where DynamoDB gives
    nothing at all, if that gives nothing of a request again and again.
    Source: "BatchGetItem", Amazon DynamoDB API reference.
    """
    left, in_vain = list(keys), 0
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        wanted: Any = {table_name: {"Keys": batch, "ConsistentRead": True, **asked}}
        answer: Any = client.batch_get_item(RequestItems=wanted)
        yield from map(plain, answer["Responses"].get(table_name, []))
        left_out = answer.get("UnprocessedKeys", {}).get(table_name, {}).get("Keys", [])
        left += left_out
        in_vain = in_vain + 1 if len(left_out) == len(batch) else 0
        if in_vain == _MOST_IN_VAIN:
            message = "every key was left out, again and again"
            error: Any = {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": message}}
            raise ClientError(error, "BatchGetItem")
        if left_out:
            clock.sleep(random.uniform(0.5, 1) * _FIRST_WAIT_SECONDS * 2**in_vain)  # noqa: S311 (so as not to meet others)


def _with_integers(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _whole(value)
    if isinstance(value, dict):
        return {name: _with_integers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_integers(inner) for inner in value]
    return value


def _whole(value: Decimal) -> int | Decimal:
    return int(value) if value.adjusted() < MOST_DIGITS and value == value.to_integral_value() else value
