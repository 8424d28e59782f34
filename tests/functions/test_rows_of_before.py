"""Rows of the version before: no list loses them, in a table that stays as in one that they are copied into."""

import json
import re
import sys
from collections.abc import Callable
from textwrap import dedent
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest

from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.stack import PROJECT
from tests.conftest import TABLE, create_table

Api = Callable[..., dict[str, Any]]
ONE, OF_CALL, OF_DAY = "get-rest-api.json", "list-of-call-rest-api.json", "list-of-day-rest-api.json"
CONFERENCE, OTHER_CALL, FORMER = "CF" + "1" * 32, "CA" + "9" * 32, "former"
NUMBER = "00000000000000000000000000000000"

BEFORE = """{
  "recording_sid": {"S": "RE00000000000000000000000000000000"},
  "account_sid": {"S": "AC0123456789abcdef0123456789abcdef"},
  "call_sid": {"S": "CA0123456789abcdef0123456789abcdef"},
  "conference_sid": {"S": "CF11111111111111111111111111111111"},
  "channels": {"N": "2"},
  "source": {"S": "StartCallRecordingAPI"},
  "track": {"S": "both"},
  "start_time": {"S": "2026-11-22T07:33:01Z"},
  "recording_url": {"S": "https://api.twilio.com/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Recordings/RE00000000000000000000000000000000"},
  "fact_ranks": {"M": {"call_sid": {"N": "7"}, "conference_sid": {"N": "7"}, "duration_seconds": {"N": "7"}, "channels": {"N": "7"}, "source": {"N": "7"}, "track": {"N": "7"}, "start_time": {"N": "7"}, "recording_url": {"N": "7"}}},
  "status": {"S": "completed"},
  "status_at": {"M": {"in-progress": {"S": "2026-11-22T07:33:01.000Z"}, "completed": {"S": "2026-11-22T07:33:46.000Z"}}},
  "intent": {"S": "http#00000000000000000000000000000000"},
  "requested_by": {"S": "http"},
  "reference": {"S": "room-17"},
  "callback_url": {"S": "https://f6g7h8i9j0.execute-api.us-east-1.amazonaws.com/recording-status#ct=2000&rt=4000&rc=5&rp=ct,rt,5xx"},
  "requested_call_sid": {"S": "CA99999999999999999999999999999999"},
  "requested_other_call_sid": {"S": "CA99999999999999999999999999999999"},
  "account_day": {"S": "AC0123456789abcdef0123456789abcdef#2026-11-22"},
  "account_reference": {"S": "AC0123456789abcdef0123456789abcdef#room-17"},
  "expires_at": {"N": "1829892781"},
  "duration_seconds": {"N": "43"},
  "uploads": {"M": {"archive/2026/11/22/CA0123456789abcdef0123456789abcdef": {"S": "2026-11-22T07:35:24.000Z"}}},
  "archive": {"M": {"bucket": {"S": "archive"}, "key": {"S": "AC0123456789abcdef0123456789abcdef/2026/11/22/CA0123456789abcdef0123456789abcdef/RE00000000000000000000000000000000.wav"}, "version_id": {"S": "86ad6177-d8fc-4414-8447-f76d366d53a6"}, "bytes": {"N": "1376044"}, "sha256": {"S": "aa10f154b86713a99fc1c111651abf62f0f38f5f8cef5becd816379bc20d1e64"}, "s3_checksum": {"S": "qhDxVLhnE6mfwcERZRq/YvDzj1+M71vs2BY3m8INHmQ="}, "content_type": {"S": "audio/x-wav"}, "channels": {"N": "2"}, "duration_milliseconds": {"N": "43000"}, "archived_at": {"S": "2026-11-22T07:33:46.000Z"}}}
}"""  # noqa: E501 (as that version wrote it)


def of_before(number: int) -> dict[str, Any]:
    item: dict[str, Any] = json.loads(BEFORE.replace(NUMBER, f"{number:032x}"))
    return item


def as_now(number: int) -> Facts:
    """Return the report of such a recording, all in one."""
    told = {"call_sid": CALL_SID, "conference_sid": CONFERENCE, "start_time": "2026-11-22T07:33:01Z"}
    facts = Facts(f"RE{number:032x}", ACCOUNT_SID, "completed", "2026-11-22T07:33:46.000Z", told)
    intent = f"http#{number:032x}"
    callback_url = json.loads(BEFORE)["callback_url"]["S"]
    return facts.asked_for(
        by="http", callback_url=callback_url, intent=intent, call_sid=OTHER_CALL, reference="room-17"
    )


def listed(api: Api, name: str, *, size: int = 3, **changes: Any) -> list[int]:
    """Return what a list has on all of its pages, each with so many."""
    found: list[int] = []
    query = {"PageSize": str(size)} | changes.pop("query", {})
    while True:
        answer = api(name, query=query, **changes)
        assert answer["statusCode"] == 200, answer["body"]
        found += [int(row["recording_sid"].removeprefix("RE"), 16) for row in answer["json"]["recordings"]]
        if answer["json"]["next_page_token"] is None:
            return found
        query |= {"PageToken": answer["json"]["next_page_token"]}


def assert_every_list_has(api: Api, numbers: list[int]) -> None:
    expected = sorted(numbers, reverse=True)
    day = {"AccountSid": ACCOUNT_SID, "Date": "2026-11-22"}

    assert listed(api, OF_DAY, query=day) == expected
    assert listed(api, OF_DAY, query=day | {"Status": "completed"}) == expected
    assert listed(api, OF_DAY, query={"From": "2026-11-21", "To": "2026-11-23"}) == expected
    assert listed(api, OF_DAY, query={"Reference": "room-17"}) == expected
    assert listed(api, OF_DAY, query={"ConferenceSid": CONFERENCE}) == expected
    assert listed(api, OF_CALL) == listed(api, OF_CALL, path={"CallSid": OTHER_CALL}) == expected


@pytest.mark.parametrize("has_whole_indexes", [True, False])
def test_while_both_versions_write_every_list_has_what_either_wrote(
    api: Api, table: RecordingsTable, template: dict[str, Any], *, has_whole_indexes: bool
) -> None:
    table.client.delete_table(TableName=TABLE)
    create_table(template, "RecordingsTable", TABLE, has_whole_indexes=has_whole_indexes)
    for number in range(20):
        if number % 3:
            table.client.put_item(TableName=TABLE, Item=of_before(number))
        else:
            table.record(as_now(number))

    assert_every_list_has(api, list(range(20)))
    for number in range(20):  # one more report each: a row of before gets what this version would have written
        table.record(as_now(number)._replace(told={**as_now(number).told, "price": "-0.0025"}))
    assert_every_list_has(api, list(range(20)))


def test_a_row_of_before_is_shown_as_it_was(api: Api, table: RecordingsTable, recordings_api: ModuleType) -> None:
    item = of_before(7)
    table.client.put_item(TableName=TABLE, Item=item)
    shown = api(ONE, path={"RecordingSid": item["recording_sid"]["S"]})["json"]

    table.record(as_now(7)._replace(told={**as_now(7).told, "price": "-0.0025"}))

    assert shown["archive"]["key"] == item["archive"]["M"]["key"]["S"]
    assert api(ONE, path={"RecordingSid": item["recording_sid"]["S"]})["json"] == shown | {"price": "-0.0025"}


def copy_by_the_upgrade(former: str, table: str) -> None:
    """Run what docs/how-to/operate/upgrade.md says, with moto for AWS."""
    text = (PROJECT / "docs/how-to/operate/upgrade.md").read_text()
    (script,) = re.findall(r"<<'END'\n(.*?)\n *END\n", text, flags=re.DOTALL)
    with patch.object(sys, "argv", ["-", former, table]):
        exec(compile(dedent(script), "upgrade.md", "exec"), {})  # noqa: S102 (a command of our own page)


def test_rows_that_are_copied_into_a_new_table_are_in_every_list(
    api: Api, table: RecordingsTable, template: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    create_table(template, "RecordingsTable", FORMER, has_whole_indexes=True)
    for number in range(12):
        table.client.put_item(TableName=FORMER, Item=of_before(number))
    for number in range(12, 15):
        table.record(as_now(number))

    copy_by_the_upgrade(FORMER, TABLE)
    copy_by_the_upgrade(FORMER, TABLE)

    assert_every_list_has(api, list(range(15)))
    assert "12 rows copied" in capsys.readouterr().out


def test_a_copied_row_replaces_one_that_knows_less_and_no_other(
    table: RecordingsTable, template: dict[str, Any]
) -> None:
    """The new stack's reconciler gives rows to what the former stack started, and the other way round."""
    create_table(template, "RecordingsTable", FORMER, has_whole_indexes=True)
    former = RecordingsTable(table.client, FORMER, 400)
    for number in (1, 2):
        adopted = as_now(number)._replace(requested_by="twilio", intent=None, reference=None, callback_url=None)
        (table if number == 1 else former).record(adopted)
    table.client.put_item(TableName=FORMER, Item=of_before(1))
    table.record(as_now(2))

    copy_by_the_upgrade(FORMER, TABLE)

    for number in (1, 2):
        row = table.reader.one(f"RE{number:032x}")
        assert (row["requested_by"], row["reference"], row["intent"]) == ("http", "room-17", f"http#{number:032x}")
