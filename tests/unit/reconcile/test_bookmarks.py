"""Bookmarks keep texts, and say so when DynamoDB does not answer."""

from typing import Any

import boto3
import pytest

from call_recording.errors import StateUnavailableError
from call_recording.reconcile.bookmarks import Bookmarks
from tests.conftest import IDEMPOTENCY_TABLE


@pytest.fixture
def bookmarks(aws: None) -> Bookmarks:
    return Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE)


def test_what_was_put_is_what_is_found(bookmarks: Bookmarks) -> None:
    bookmarks.put("open", {"a": "b"})

    assert (bookmarks.get("open"), bookmarks.get("accounts")) == ({"a": "b"}, {})


def test_what_is_no_text_says_nothing(bookmarks: Bookmarks) -> None:
    item: dict[str, Any] = {
        "id": {"S": "reconcile#open"},
        "a": {"N": "1"},
        "b": {"M": {}},
        "c": {"NULL": True},
        "d": {"S": "e"},
    }
    bookmarks.client.put_item(TableName=IDEMPOTENCY_TABLE, Item=item)

    assert bookmarks.get("open") == {"d": "e"}


def test_a_table_that_does_not_answer_is_an_error_of_ours(bookmarks: Bookmarks) -> None:
    bookmarks.client.delete_table(TableName=IDEMPOTENCY_TABLE)

    with pytest.raises(StateUnavailableError):
        bookmarks.get("open")
    with pytest.raises(StateUnavailableError):
        bookmarks.put("open", {})
