"""What a reconciliation costs follows what is open, not what is stored: measured in DynamoDB's own units."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched
from typing import Any

import pytest
import requests

from call_recording.deadline import Deadline
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.reconciler import Reconciler
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import Row, attributes
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio
from call_recording.twilio.credentials import CredentialStore
from local.stack import Stack
from local.twilio_simulator.model import Account, new_sid
from tests.conftest import create_table

OPEN = 100


@dataclass
class Bill:
    """Capacity units by operation, and requests to Twilio."""

    units: dict[str, float]
    twilio_requests: int


@contextmanager
def account_of_its_own(stack: Stack) -> Iterator[Account]:
    """Give an account for which nothing else is listed."""
    with stack.simulator.locked() as twilio:
        account = twilio.add_account(Account(new_sid("AC"), "token"))
    stack.client("secretsmanager").create_secret(Name=f"twilio/{account.sid}", SecretString='{"auth_token": "token"}')
    yield account
    stack.client("secretsmanager").delete_secret(SecretId=f"twilio/{account.sid}", ForceDeleteWithoutRecovery=True)


@pytest.fixture
def account(stack: Stack) -> Iterator[Account]:
    with account_of_its_own(stack) as account:
        yield account


def stored(account: Account, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Give rows, as DynamoDB takes them, of recordings that ended long ago; made from one that `merge` made."""
    told = {
        "call_sid": new_sid("CA"),
        "channels": 2,
        "duration_seconds": 42,
        "source": "StartCallRecordingAPI",
        "start_time": "2026-01-01T00:00:00Z",
        "track": "both",
    }
    facts = Facts(new_sid("RE"), account.sid, "completed", "2026-11-01T00:00:00.000Z", told)
    one = attributes(merge(None, facts, retention_days=400))
    for number in numbers:
        day = f"2026-0{1 + number % 9}-{1 + number % 28:02d}"
        yield one | {
            "recording_sid": {"S": f"RE{number:032x}"},
            "call_sid": {"S": f"CA{number:032x}"},
            "start_time": {"S": f"{day}T{number % 24:02d}:00:00Z"},
            "account_day": {"S": f"{account.sid}#{day}"},
        }


def running(stack: Stack, account: Account) -> list[Row]:
    """Return the rows of recordings that have been running for an hour."""
    with stack.simulator.locked() as twilio:
        call = twilio.begin_call(account.sid)
        recordings = [twilio.record(call) for _ in range(OPEN)]
        for recording in recordings:
            recording.started_at = time.time() - 3600
        reports = [
            Facts.from_recording(RecordingResource(r.resource(status="in-progress"), api_url=stack.twilio_url))
            for r in recordings
        ]
    return [merge(None, report, retention_days=400) for report in reports]


def write(client: Any, table: str, items: Iterable[dict[str, Any]]) -> None:
    def put(some: tuple[dict[str, Any], ...]) -> None:
        puts = [{"PutRequest": {"Item": item}} for item in some]
        assert not client.batch_write_item(RequestItems={table: puts})["UnprocessedItems"]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, batched(items, 25, strict=False)))


def reconcile(stack: Stack, account: Account, table: str, state: str) -> Bill:
    """Reconcile once and return what it cost."""
    client = stack.client("dynamodb")
    units: dict[str, float] = {}

    def ask_for_the_bill(params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def add_up(parsed: dict[str, Any], model: Any, **_: object) -> None:
        billed = parsed.get("ConsumedCapacity", [])
        for entry in billed if isinstance(billed, list) else [billed]:
            units[model.name] = units.get(model.name, 0) + entry["CapacityUnits"]

    client.meta.events.register("provide-client-params.dynamodb", ask_for_the_bill)
    client.meta.events.register("after-call.dynamodb", add_up)
    run = Reconciler(
        accounts=Accounts(client, state, account.sid),
        bookmarks=Bookmarks(client, state),
        recordings=RecordingsTable(client, table, 400),
        twilio=Twilio(requests.Session(), stack.twilio_url, CredentialStore(stack.client("secretsmanager"), "twilio/")),
        stale_after=timedelta(minutes=10),
        deadline=Deadline(120),
    )
    summary = run.run()
    assert (summary.checked, summary.is_finished, summary.adopted, summary.repaired) == (OPEN, True, 0, 0)
    return Bill(units, summary.twilio_requests)


def bills(stack: Stack, account: Account, template: dict[str, Any], totals: Iterable[int]) -> dict[int, Bill]:
    """Return what a reconciliation costs with so many rows in the table, whatever the total 100 of them open."""
    client = stack.client("dynamodb")
    create_table(template, "RecordingsTable", "capacity", client)
    create_table(template, "IdempotencyTable", "capacity-state", client)
    write(client, "capacity", map(attributes, running(stack, account)))
    found: dict[int, Bill] = {}
    so_far = OPEN
    for total in totals:
        write(client, "capacity", stored(account, range(so_far, total)))
        so_far = total
        client.delete_table(TableName="capacity-state")
        create_table(template, "IdempotencyTable", "capacity-state", client)

        found[total] = reconcile(stack, account, "capacity", "capacity-state")
    return found


def test_twenty_times_as_many_rows_cost_the_same(stack: Stack, account: Account, template: dict[str, Any]) -> None:
    """`make bench` has a hundred times as many, which take a minute to write."""
    found = bills(stack, account, template, (1_000, 20_000))

    assert found[20_000] == found[1_000]
    assert found[1_000].units["Query"] > 0
