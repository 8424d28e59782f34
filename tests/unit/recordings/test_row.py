"""A row comes from DynamoDB and goes back as it is, and its readers get what JSON can say of it."""

import json
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError

from call_recording import clock
from call_recording.recordings.row import BATCH, attributes, items_of, plain, public

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


class Busy:
    """DynamoDB's side of BatchGetItem: of each request it gives as many items as it is planned to, in the end all."""

    def __init__(self, *plan: int) -> None:
        self.plan = list(plan)
        self.asked: list[list[dict[str, Any]]] = []

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        ((name, wanted),) = RequestItems.items()
        keys = wanted["Keys"]
        self.asked.append(keys)
        given = self.plan.pop(0) if self.plan else len(keys)
        left_out = {name: wanted | {"Keys": keys[given:]}} if keys[given:] else {}
        return {"Responses": {name: keys[:given]}, "UnprocessedKeys": left_out}


KEYS = [{"recording_sid": {"S": f"RE{number:032x}"}} for number in range(BATCH + 20)]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited."""
    waited: list[float] = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    return waited


def test_items_that_are_all_given_are_waited_for_by_nobody(waits: list[float]) -> None:
    busy: Any = Busy()

    assert list(items_of(busy, "table", KEYS)) == [plain(key) for key in KEYS]
    assert ([len(keys) for keys in busy.asked], waits) == ([BATCH, 20], [])


@pytest.mark.parametrize("plan", [(0,), (99,), (30, 0, 0), (0, 0, 0, 0, 50, 0, 0, 0, 0)], ids=str)
def test_keys_that_are_left_out_are_asked_for_again_after_a_wait_and_each_item_is_given_once(
    waits: list[float], plan: tuple[int, ...]
) -> None:
    busy: Any = Busy(*plan)

    found = [item["recording_sid"] for item in items_of(busy, "table", KEYS)]

    assert sorted(found) == [key["recording_sid"]["S"] for key in KEYS]
    assert len(waits) == len(plan)
    assert all(0.025 <= wait <= 0.8 for wait in waits)


def test_each_wait_in_vain_is_longer_and_they_come_to_an_end(waits: list[float]) -> None:
    busy: Any = Busy(*[0] * 100)

    with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
        list(items_of(busy, "table", KEYS[:3]))

    assert len(busy.asked) == 5
    assert len(waits) == 4
    assert sum(waits) <= 1.5
    for number, wait in enumerate(waits, start=1):
        assert 0.025 <= wait / 2**number <= 0.05


def test_two_functions_that_were_left_out_together_do_not_come_back_together(waits: list[float]) -> None:
    for _ in range(2):
        list(items_of(Busy(0, 0, 0), "table", KEYS[:3]))  # type: ignore[arg-type]

    assert waits[:3] != waits[3:]
