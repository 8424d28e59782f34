"""A row comes from DynamoDB and goes back as it is, and its readers get what JSON can say of it."""

import json
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary

from call_recording.recordings.row import attributes, plain, public

ODD: dict[str, Any] = {
    "a fraction": {"N": "42.5"},
    "a large number": {"N": "1E+125"},
    "a small number": {"N": "1E-130"},
    "thirty-eight digits": {"N": "-12345678901234567890123456789012345678"},
    "bytes": {"B": b"\x00\xff"},
    "texts": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5"]},
    "several bytes": {"BS": [b"a", b"b"]},
    "nothing": {"NULL": True},
    "a list": {"L": [{"M": {"n": {"N": "0.1"}}}]},
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
def test_what_somebody_put_into_a_row_goes_back_as_it_was(value: dict[str, Any]) -> None:
    item = {"source": value}

    back = attributes(plain(item))

    assert plain(back) == plain(item)
    assert back["source"].keys() == value.keys()


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
def test_whatever_is_in_a_row_is_shown_as_json(value: dict[str, Any]) -> None:
    shown = public(plain({"source": value, "intent": {"S": "ours"}}))

    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert shown.keys() == {"source"}


def test_whole_numbers_are_integers_and_others_are_kept_exactly() -> None:
    assert plain({"a": {"N": "42"}, "b": {"N": "42.10"}, "c": {"N": "1E+30"}}) == {
        "a": 42,
        "b": Decimal("42.1"),
        "c": 10**30,
    }


def test_bytes_of_a_stream_are_base64_as_lambda_hands_them_over() -> None:
    assert plain({"a": {"B": "AP8="}}) == {"a": Binary(b"\x00\xff")}
