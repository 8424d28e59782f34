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
    """The definition of an attribute, from which docs/reference/row.md is generated.

    `kind` is DynamoDB's name of its type. `is_told`: Twilio reports it, perhaps late, repeatedly or contradictorily.
    `is_public`: callers and consumers see it; all others are for merging and for the indexes. An attribute that
    `leads_to` AUDIO is removed when the recording is deleted; one that leads to TWILIO, when Twilio deletes it.
    """

    kind: str
    meaning: str
    is_told: bool = False
    is_public: bool = True
    leads_to: str = ""


AUDIO: Final = "audio"
TWILIO: Final = "twilio"

KEY: Final = "recording_sid"

BATCH: Final = 100
"""Items that DynamoDB returns by their keys in one request."""

_FIRST_WAIT_SECONDS: Final = 0.05
_MOST_IN_VAIN: Final = 5
"""Consecutive requests for which DynamoDB may return no item: the waits between them take at most 1.5 s."""

MOST_DIGITS: Final = 38
"""The most digits of a DynamoDB number. Source: "Supported data types and naming rules", DynamoDB developer guide."""

ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    KEY: Attribute("S", "Twilio's SID of the recording; the table's key"),
    "call_sid": Attribute(
        "S", "Twilio's SID of the call; missing where a conference was recorded and Twilio names no call", is_told=True
    ),
    "account_sid": Attribute("S", "Twilio's SID of the account"),
    "conference_sid": Attribute(
        "S", "Twilio's SID of the conference, if one was recorded; key of the index `by-conference`", is_told=True
    ),
    "requested_call_sid": Attribute(
        "S", "the call that the start request named; `call_sid` can differ, because Twilio names the parent of two legs"
    ),
    "status": Attribute(
        "S", "the highest status that was reported; Twilio's latest answer decides between `in-progress` and `paused`"
    ),
    "status_at": Attribute(
        "M",
        "when each status was first reported (ISO 8601, UTC, milliseconds); of unknown statuses only the "
        "first eight, and the row's own",
    ),
    "start_time": Attribute(
        "S",
        "when the recording began (ISO 8601, UTC, seconds); until Twilio reports that, when it was first reported",
        is_told=True,
    ),
    "duration_seconds": Attribute("N", "the recording's length in seconds", is_told=True),
    "channels": Attribute("N", "the number of channels", is_told=True),
    "source": Attribute("S", "what started the recording, such as `StartCallRecordingAPI`", is_told=True),
    "track": Attribute("S", "which sides of the call it contains: `inbound`, `outbound` or `both`", is_told=True),
    "error_code": Attribute("S", "Twilio's error code, such as `16102`; missing when there is no error", is_told=True),
    "price": Attribute(
        "S",
        "what Twilio charged; only fetching the recording from Twilio reveals it, so it can stay missing",
        is_told=True,
    ),
    "price_unit": Attribute("S", "the currency of `price`", is_told=True),
    "recording_url": Attribute("S", "the audio's URL at Twilio", is_told=True, leads_to=TWILIO),
    "stored_elsewhere": Attribute(
        "S",
        "the audio's URL if Twilio stores it in the account's own bucket, without credentials and query",
        is_told=True,
        leads_to=AUDIO,
    ),
    "encryption_details": Attribute(
        "M",
        "for encrypted recordings: `encryption_public_key_sid`, `encryption_cek` and `encryption_iv`, as in Twilio's "
        "resource; callbacks call them `public_key_sid`, `encrypted_cek` and `iv`",
        is_told=True,
        leads_to=AUDIO,
    ),
    "requested_by": Attribute("S", "`http`, `eventbridge`, or `twilio` if this stack did not request it"),
    "reference": Attribute("S", "your own name for the recording, from the start's `Reference`; set once"),
    "callback_url": Attribute(
        "S", "the callback URL of a recording that this stack started, without user name and password"
    ),
    "metadata": Attribute(
        "M",
        "other callback parameters under their original names: parameters that this version does not know, "
        "those of the callback URL's own query, and values that cannot be read; the first 40 by name, with "
        "up to 1,024 characters each, and names of up to 100",
        leads_to=AUDIO,
    ),
    "archive": Attribute("M", "where the audio is archived, and the proof that it is complete", leads_to=AUDIO),
    "uploads": Attribute(
        "M",
        "where audio was going to be stored, by bucket, day and call, and until when that could take; it proves "
        "nothing, and stays after a deletion",
        is_public=False,
    ),
    "deleting_until": Attribute(
        "S",
        "until when a deletion of the recording without a receipt may still be in progress",
        is_public=False,
        leads_to=AUDIO,
    ),
    "deleted_at_twilio": Attribute(
        "S",
        "when the archived recording was deleted at Twilio, with `DeleteAtTwilioAfterArchiving` (ISO 8601, UTC, "
        "milliseconds)",
    ),
    "deletion": Attribute("M", "the receipt of a deletion through this stack"),
    "expires_at": Attribute(
        "N", "`start_time` plus `RowRetentionDays`, in seconds since 1970; DynamoDB then deletes the row"
    ),
    "fact_ranks": Attribute(
        "M",
        "the rank of the status with which each attribute was reported, so that the order of reports does not matter",
        is_public=False,
    ),
    "intent": Attribute(
        "S",
        "the request that the recording belongs to: `http#` and the `Idempotency-Key`, or a generated key if there was"
        " none; `eventbridge#` and the event's `id`; missing if it belongs to no request here; set once",
        is_public=False,
    ),
    "control": Attribute(
        "M",
        "when Twilio last paused, resumed or stopped it (`changed_at`), when we got the answer (`seen_at`), the "
        "`seen_at` of the row before the request (`after`), the latest `seen_at` of answers of the same second "
        "to others (`rival`), the pause's `timer`, and a hash of the request's key (`by`)",
        is_public=False,
    ),
    "timers": Attribute(
        "M",
        "for each of the last 20 timers: by when its pause was certainly done, or that the pause `ended` and when, or "
        "that it was `overdue` or `resumed` by the timer",
        is_public=False,
    ),
    "pauses_ended_at": Attribute(
        "S", "when Twilio last resumed or stopped it, or began a monitored pause", is_public=False
    ),
    "account_day": Attribute(
        "S",
        "`3#AC…#2026-11-22`: shard, account and UTC day of `start_time`; key of the index `by-account-day`",
        is_public=False,
    ),
    "account_reference": Attribute(
        "S", "`3#AC…#room-17`: shard, account and `reference`; key of the index `by-reference`", is_public=False
    ),
    "requested_other_call_sid": Attribute(
        "S",
        "`requested_call_sid`, only if it differs from `call_sid`; key of the index `by-requested-call`",
        is_public=False,
    ),
    "open_shard": Attribute(
        "S", "`open#0` to `open#7` while the status is not final; key of the index `open`", is_public=False
    ),
}
"""Every attribute, in the order in which callers get them."""


def names(of: Callable[[Attribute], bool]) -> tuple[str, ...]:
    """Return the names of the attributes for which the condition holds."""
    return tuple(name for name, attribute in ATTRIBUTES.items() if of(attribute))


PUBLIC: Final = names(lambda attribute: attribute.is_public)


def public(row: Mapping[str, Any]) -> Row:
    """Return the public attributes of a row, as JSON values.

    A row that somebody edited can contain any DynamoDB type: a set becomes a sorted list, bytes become
    base64, and a number that is not an integer becomes the nearest floating point number.
    """
    return {name: as_json(row[name]) for name in PUBLIC if name in row}


def recorded(row: Mapping[str, Any]) -> set[str]:
    """Return the SIDs of the calls and the conference of the row's recording, and of the request for it."""
    return {row[name] for name in ("call_sid", "requested_call_sid", "conference_sid") if name in row}


def as_json(value: Any) -> Any:
    """Return a value of a row as a JSON value."""
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
        held: Any = value  # its stubs have no element type
        return base64.b64encode(held.value).decode()
    return value


class _Deserializer(TypeDeserializer):
    """Reads values from DynamoDB's client, and from Lambda's stream records, in which bytes are base64."""

    def _deserialize_b(self, value: bytes | str) -> Binary:
        return Binary(base64.b64decode(value) if isinstance(value, str) else value)


_serialize: Final = TypeSerializer().serialize
_deserialize: Final = _Deserializer().deserialize


def serialize(value: Any) -> "AttributeValueTypeDef":
    """Return a plain value in DynamoDB's format."""
    # Nearly all are strings, and boto3 checks for every other type first.
    return {"S": value} if type(value) is str else _serialize(value)


def attributes(row: Mapping[str, Any]) -> dict[str, "AttributeValueTypeDef"]:
    """Return plain values in DynamoDB's format."""
    return {name: serialize(value) for name, value in row.items()}


def plain(item: Mapping[str, Any]) -> Row:
    """Return DynamoDB's values as plain values, which it accepts again unchanged.

    Numbers are int if they are integers short enough to be written back as such.
    """
    return {name: _with_integers(_deserialize(value)) for name, value in item.items()}


def items_of(
    client: "DynamoDBClient", table_name: str, keys: Iterable[Mapping[str, Any]], **asked: Any
) -> Iterator[Row]:
    """Yield each existing item of those keys (strongly consistent), for any number of keys without duplicates.

    Keys that DynamoDB leaves unprocessed, because a partition is busy or the answer is full, are requested again, each
    time after a longer wait. `asked` are more parameters of BatchGetItem. Raises what boto3 raises, and the same error
    as for a throttled request if DynamoDB repeatedly returns no item at all.
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
            message = "every key was repeatedly left unprocessed"
            error: Any = {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": message}}
            raise ClientError(error, "BatchGetItem")
        if left_out:
            clock.sleep(random.uniform(0.5, 1) * _FIRST_WAIT_SECONDS * 2**in_vain)  # noqa: S311 (jitter)


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
