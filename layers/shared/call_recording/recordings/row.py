"""A row of RecordingsTable: which attributes there are, who sees them, and how DynamoDB takes them."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

if TYPE_CHECKING:
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

ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    KEY: Attribute(),
    "call_sid": Attribute(is_told=True),
    "account_sid": Attribute(),
    "conference_sid": Attribute(is_told=True),
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
    "encryption_details": Attribute(is_told=True, leads_to=AUDIO),
    "requested_by": Attribute(),
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
    "account_day": Attribute(is_public=False),
    "open_shard": Attribute(is_public=False),
}
"""Every attribute, in the order in which callers see them."""


def names(of: Callable[[Attribute], bool]) -> tuple[str, ...]:
    """Return the names of the attributes for which that holds."""
    return tuple(name for name, attribute in ATTRIBUTES.items() if of(attribute))


PUBLIC: Final = names(lambda attribute: attribute.is_public)


def public(row: Mapping[str, Any]) -> Row:
    """Return what callers and consumers see of a row."""
    return {name: row[name] for name in PUBLIC if name in row}


_serialize: Final = TypeSerializer().serialize
_deserialize: Final = TypeDeserializer().deserialize


def serialize(value: Any) -> "AttributeValueTypeDef":
    """Return a plain value as DynamoDB takes it."""
    # Nearly all are texts, and boto3 looks for everything else first.
    return {"S": value} if type(value) is str else _serialize(value)


def attributes(row: Mapping[str, Any]) -> dict[str, "AttributeValueTypeDef"]:
    """Return plain values as DynamoDB takes them."""
    return {name: serialize(value) for name, value in row.items()}


def plain(item: Mapping[str, Any]) -> Row:
    """Return what DynamoDB gave as plain values; numbers are int where they are whole."""
    return {name: _without_decimals(_deserialize(value)) for name, value in item.items()}


def _without_decimals(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _without_decimals(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_decimals(inner) for inner in value]
    return value
