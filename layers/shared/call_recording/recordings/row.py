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
    """What there is to know of an attribute; docs/reference/row.md is made of it.

    `kind` is DynamoDB's name of its type. `is_told` by Twilio, in reports that can be late, repeated or contradicting.
    `is_public`: callers and consumers see it; the rest of a row is for merging and for the indexes. An attribute that
    `leads_to` AUDIO goes when somebody deletes the recording; one that leads to TWILIO goes when it is gone there.
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
"""Items that DynamoDB gives by their keys in one request."""

_FIRST_WAIT_SECONDS: Final = 0.05
_MOST_IN_VAIN: Final = 5
"""Requests in a row of which DynamoDB may leave out every key: 1.5 s at most are waited between them."""

MOST_DIGITS: Final = 38
"""Digits of a number that DynamoDB keeps. Source: "Supported data types and naming rules", DynamoDB developer guide."""

ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    KEY: Attribute("S", "Twilio's SID of the recording; the table's key"),
    "call_sid": Attribute(
        "S", "Twilio's SID of the call; missing where a conference was recorded and Twilio names no call", is_told=True
    ),
    "account_sid": Attribute("S", "Twilio's SID of the account"),
    "conference_sid": Attribute(
        "S", "Twilio's SID of the conference, for a recording of one; key of the index `by-conference`", is_told=True
    ),
    "requested_call_sid": Attribute(
        "S", "the call that the start named; `call_sid` can be another, as Twilio names the parent of two legs"
    ),
    "status": Attribute(
        "S", "the highest status that was reported; Twilio's latest answer decides between `in-progress` and `paused`"
    ),
    "status_at": Attribute(
        "M",
        "when each status was first heard of (ISO 8601, UTC, milliseconds); of statuses that we do not know the "
        "first eight, and the row's own",
    ),
    "start_time": Attribute(
        "S",
        "when the recording began (ISO 8601, UTC, seconds); when it was first heard of, until Twilio says",
        is_told=True,
    ),
    "duration_seconds": Attribute("N", "how long the recording is", is_told=True),
    "channels": Attribute("N", "how many channels it has", is_told=True),
    "source": Attribute("S", "what started it, such as `StartCallRecordingAPI`", is_told=True),
    "track": Attribute("S", "which sides of the call it holds: `inbound`, `outbound` or `both`", is_told=True),
    "error_code": Attribute("S", "Twilio's error code, such as `16102`; missing when there is no error", is_told=True),
    "price": Attribute(
        "S",
        "what Twilio charged; told only when Twilio is asked for the recording, so it can be missing for good",
        is_told=True,
    ),
    "price_unit": Attribute("S", "the currency of `price`", is_told=True),
    "recording_url": Attribute("S", "where the audio is, at Twilio", is_told=True, leads_to=TWILIO),
    "stored_elsewhere": Attribute(
        "S",
        "where the audio is if the account has Twilio store it in a bucket of its own: the address without "
        "credentials and query",
        is_told=True,
        leads_to=AUDIO,
    ),
    "encryption_details": Attribute(
        "M",
        "of encrypted recordings: `encryption_public_key_sid`, `encryption_cek` and `encryption_iv`, as Twilio's "
        "resource names them; callbacks call them `public_key_sid`, `encrypted_cek` and `iv`",
        is_told=True,
        leads_to=AUDIO,
    ),
    "requested_by": Attribute("S", "`http`, `eventbridge`, or `twilio` when only Twilio told us of the recording"),
    "reference": Attribute("S", "your own name for the recording, as the start's `Reference` gave it; set once"),
    "callback_url": Attribute(
        "S", "where the callbacks of a recording that we started go, without user name and password"
    ),
    "metadata": Attribute(
        "M",
        "what callbacks say beside that, under the names it came with: parameters that this version does not "
        "know, those of a callback address's own query, and values that cannot be read; up to 1,024 characters "
        "each",
        leads_to=AUDIO,
    ),
    "archive": Attribute("M", "where the audio is kept, and its proof", leads_to=AUDIO),
    "uploads": Attribute(
        "M",
        "where audio was going to be stored, by bucket, day and call, and until when that could last; it proves "
        "nothing, and stays after a deletion",
        is_public=False,
    ),
    "deleting_until": Attribute(
        "S",
        "until when somebody may be deleting the recording, who has no receipt yet",
        is_public=False,
        leads_to=AUDIO,
    ),
    "deleted_at_twilio": Attribute(
        "S",
        "when the archived recording was deleted at Twilio, with `DeleteAtTwilioAfterArchiving` (ISO 8601, UTC, "
        "milliseconds)",
    ),
    "deletion": Attribute("M", "the receipt, if the recording was deleted through this stack"),
    "expires_at": Attribute(
        "N", "`start_time` and `RowRetentionDays`, in seconds since 1970; DynamoDB then removes the row"
    ),
    "fact_ranks": Attribute(
        "M",
        "at which rank of status each attribute was told, so that the order of reports does not matter",
        is_public=False,
    ),
    "intent": Attribute(
        "S",
        "the request that the recording serves: `http#` and the `Idempotency-Key`, or one made up where there was"
        " none; `eventbridge#` and the event's `id`; missing if no request here claims it; set once",
        is_public=False,
    ),
    "control": Attribute(
        "M",
        "when Twilio last paused, resumed or stopped it (`changed_at`), when we had the answer (`seen_at`), the "
        "`seen_at` that was there before Twilio was asked (`after`), the latest one of the other answers of that "
        "second (`rival`), the pause's `timer`, and a hash of the request's key (`by`)",
        is_public=False,
    ),
    "timers": Attribute(
        "M",
        "for each of the last 20 timers: when its pause was surely done, or that it `ended` and when, or that it "
        "was `overdue` or `resumed` by the timer",
        is_public=False,
    ),
    "pauses_ended_at": Attribute(
        "S", "when Twilio last resumed or stopped it, or began a watched pause", is_public=False
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
        "`requested_call_sid`, only where `call_sid` is another; key of the index `by-requested-call`",
        is_public=False,
    ),
    "open_shard": Attribute(
        "S", "`open#0` to `open#7` while the status is not final; key of the index `open`", is_public=False
    ),
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
