"""A deletion begins where all can still stay, and ends where nothing is left; in between it can be done again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clock
from call_recording.archive.bucket import Archive
from call_recording.deadline import Deadline
from call_recording.delete.deleter import Deleter
from call_recording.errors import (
    ArchiveLockedError,
    ArchiveUnavailableError,
    CallRecordingError,
    CredentialsRefusedError,
    NotNowError,
    RecordingNotFinishedError,
    RecordingNotFoundError,
    TableUnavailableError,
    TwilioNotFoundError,
    TwilioRefusedError,
)
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource, Twilio
from tests.conftest import BUCKET, Time

ACCOUNT, CALL, SID = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32
OTHER_ACCOUNT = "AC" + "2" * 32
STEM = f"{ACCOUNT}/2026/11/22/{CALL}/{SID}."
TOLD = {"call_sid": CALL, "channels": 2, "duration_seconds": 42, "start_time": "2026-11-22T07:33:00Z"}
COMPLETED = Facts(SID, ACCOUNT, "completed", "2026-11-22T07:34:00.000Z", TOLD)

NOT_FOUND = TwilioNotFoundError(http_status=404, code=20404, message="not found")


@dataclass
class TwilioStub:
    """One account at Twilio, with one recording."""

    account_sid: str = ACCOUNT
    owner: str = ACCOUNT
    asked: list[str] = field(default_factory=list)
    refusal: Exception | None = None
    has_forgotten: bool = False
    status: str = "completed"
    deadlines: list[object] = field(default_factory=list)
    before_deleting: Callable[[], object] = lambda: None

    def of(self, _: str) -> "TwilioStub":
        return self

    def delete_recording(self, recording_sid: str, *, deadline: Deadline) -> None:
        self.asked.append(f"delete {recording_sid}")
        self.deadlines.append(deadline)
        self.before_deleting()
        if self.refusal:
            raise self.refusal

    def fetch_recording(self, recording_sid: str, *, deadline: Deadline) -> RecordingResource:
        self.asked.append(f"fetch {recording_sid}")
        self.deadlines.append(deadline)
        if self.has_forgotten:
            raise NOT_FOUND
        told = {"sid": recording_sid, "account_sid": self.owner, "status": self.status, "call_sid": CALL}
        return RecordingResource(told, api_url="https://api.twilio.com")


@pytest.fixture
def twilio() -> TwilioStub:
    return TwilioStub()


@pytest.fixture
def s3(bucket: str, time: Time) -> Any:
    return boto3.client("s3")


@pytest.fixture
def deleter(table: RecordingsTable, s3: Any, twilio: TwilioStub) -> Deleter:
    return Deleter(table, cast("Twilio", twilio), ACCOUNT, Archive(s3, BUCKET))


def delete(deleter: Deleter, **more: Any) -> dict[str, Any]:
    return deleter.delete(SID, **({"account_sid": None, "asked_by": "jane", "deadline": Deadline(20)} | more))


def keys(s3: Any) -> list[str]:
    return [found["Key"] for found in s3.list_object_versions(Bucket=BUCKET).get("Versions", [])]


def failing(client: Any, operation: str, code: str) -> None:
    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, operation)

    client.meta.events.register(f"before-call.{client.meta.service_model.service_name}.{operation}", fail)


# --- what must be sure before anything goes ---------------------------------------------------------------


def test_what_is_locked_twilio_is_not_asked_for(
    deleter: Deleter, table: RecordingsTable, s3: Any, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)
    s3.put_object(Bucket=BUCKET, Key=f"{STEM}mp3", Body=b"no proof of it")
    monkeypatch.setattr(s3, "head_object", lambda **_: {"ObjectLockLegalHoldStatus": "ON"})

    with pytest.raises(ArchiveLockedError):
        delete(deleter)

    assert (twilio.asked, keys(s3), table.reader.one(SID)["status"]) == ([], [f"{STEM}mp3"], "completed")


@pytest.mark.parametrize("code", ["AccessDenied", "SlowDown", "KMS.DisabledException"])
@pytest.mark.parametrize("operation", ["ListObjectVersions", "HeadObject"])
def test_while_the_archive_does_not_say_twilio_is_not_asked(
    deleter: Deleter, table: RecordingsTable, s3: Any, twilio: TwilioStub, operation: str, code: str
) -> None:
    table.record(COMPLETED)
    s3.put_object(Bucket=BUCKET, Key=f"{STEM}wav", Body=b"x")
    failing(s3, operation, code)

    with pytest.raises(ArchiveUnavailableError):
        delete(deleter)

    assert twilio.asked == []


def test_audio_in_a_bucket_that_is_out_of_reach_is_not_called_gone(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub
) -> None:
    """A row that was restored from a former stack names that stack's bucket."""
    table.record(COMPLETED)
    table.note(table.reader.one(SID), archive={"bucket": "former", "key": f"{STEM}wav", "archived_at": "2026"})

    with pytest.raises(ArchiveUnavailableError):
        delete(deleter)

    assert twilio.asked == []


def test_a_table_that_takes_no_note_is_known_before_anything_goes(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    failing(table.client, "UpdateItem", "InternalServerError")

    with pytest.raises(TableUnavailableError):
        delete(deleter)

    assert twilio.asked == []


def test_while_it_is_deleted_nobody_begins_to_store_it(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, time: Time
) -> None:
    table.record(COMPLETED)
    twilio.refusal = TwilioRefusedError(http_status=400, code=20001, message="no")
    noted: list[str] = []
    twilio.before_deleting = lambda: noted.append(table.reader.one(SID)["deleting_until"])

    with pytest.raises(TwilioRefusedError):
        delete(deleter)

    assert noted[0] > clock.iso_milliseconds(clock.now())
    time.turn(120)
    assert noted[0] < clock.iso_milliseconds(clock.now()), "and if nothing came of it, somebody does soon"


def test_a_recording_that_twilio_calls_another_account_s_is_not_touched(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub
) -> None:
    twilio.owner = OTHER_ACCOUNT

    with pytest.raises(RecordingNotFoundError):
        delete(deleter)

    assert (twilio.asked, table.reader.get(SID)) == ([f"fetch {SID}"], None)


def test_a_row_that_is_removed_just_then_is_not_made_anew(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)
    note = RecordingsTable.note

    def remove_and_note(self: RecordingsTable, row: Any, **noted: Any) -> Any:
        table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})
        return note(self, row, **noted)

    monkeypatch.setattr(RecordingsTable, "note", remove_and_note)

    with pytest.raises(RecordingNotFoundError):
        delete(deleter)

    assert (twilio.asked, table.reader.get(SID)) == ([], None)


# --- what is there in the end -----------------------------------------------------------------------------


def test_what_turned_up_elsewhere_while_it_was_deleted_is_swept_away(
    deleter: Deleter, table: RecordingsTable, s3: Any, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    late = f"2026/11/21/{CALL}"

    def store_late() -> None:
        table.note(table.reader.one(SID), uploads={f"{BUCKET}/{late}": "2026-11-22T08:00:00.000Z"})
        s3.put_object(Bucket=BUCKET, Key=f"{ACCOUNT}/{late}/{SID}.wav", Body=b"late")

    twilio.before_deleting = store_late

    delete(deleter)

    assert keys(s3) == []


def test_a_tombstone_is_swept_again_wherever_audio_was_going_to_be(
    deleter: Deleter, table: RecordingsTable, s3: Any, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    elsewhere = f"2026/11/21/{CALL}"
    table.note(table.reader.one(SID), uploads={f"{BUCKET}/{elsewhere}": "2026-11-22T08:00:00.000Z"})
    first = delete(deleter)
    s3.put_object(Bucket=BUCKET, Key=f"{ACCOUNT}/{elsewhere}/{SID}.mp3", Body=b"late")

    assert delete(deleter, asked_by="joe") == first

    assert (keys(s3), len(twilio.asked)) == ([], 1)


def test_of_two_deletions_at_once_both_give_the_first_receipt(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, time: Time
) -> None:
    table.record(COMPLETED)
    receipts: list[dict[str, Any]] = []

    def delete_too() -> None:
        twilio.before_deleting = lambda: None
        receipts.append(delete(deleter, asked_by="joe"))
        time.turn(1)

    twilio.before_deleting = delete_too

    receipts.append(delete(deleter))

    assert [receipt["requested_by"] for receipt in receipts] == ["joe", "joe"]
    assert table.reader.one(SID)["deletion"] == receipts[0]


def test_a_deletion_that_was_done_meanwhile_asks_twilio_for_nothing(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.record(COMPLETED)
    note = RecordingsTable.note

    def delete_first(self: RecordingsTable, row: Any, **noted: Any) -> Any:
        monkeypatch.setattr(RecordingsTable, "note", note)
        delete(deleter, asked_by="joe")
        return note(self, row, **noted)

    monkeypatch.setattr(RecordingsTable, "note", delete_first)

    assert delete(deleter)["requested_by"] == "joe"
    assert len(twilio.asked) == 1


RECEIPTS: list[tuple[bool, bool, str]] = [
    (True, True, "removed"),
    (True, False, "removed"),
    (False, True, "gone-before"),
    (False, False, "never-there"),
]


@pytest.mark.parametrize(("is_there", "is_proven", "said"), RECEIPTS)
def test_the_receipt_says_what_was_in_the_archive(
    deleter: Deleter, table: RecordingsTable, s3: Any, said: str, *, is_there: bool, is_proven: bool
) -> None:
    table.record(COMPLETED)
    if is_there:
        s3.put_object(Bucket=BUCKET, Key=f"{STEM}wav", Body=b"x")
    if is_proven:
        table.note(table.reader.one(SID), archive={"bucket": BUCKET, "key": f"{STEM}wav", "archived_at": "2026"})

    assert delete(deleter)["removed"] == {"twilio": "removed", "archive": said}


def test_a_recording_that_twilio_deleted_long_ago_leaves_its_archive_too(
    deleter: Deleter, table: RecordingsTable, s3: Any, twilio: TwilioStub, time: Time
) -> None:
    table.record(COMPLETED)
    s3.put_object(Bucket=BUCKET, Key=f"{STEM}wav", Body=b"the only copy")
    twilio.refusal, twilio.has_forgotten = NOT_FOUND, True
    time.turn(41 * 86_400)

    assert delete(deleter)["removed"] == {"twilio": "gone-before", "archive": "removed"}

    assert keys(s3) == []


# --- what it says, and to whom ------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [CALL, None])
def test_the_receipt_says_whose_recording_it_was_who_asked_and_when(
    deleter: Deleter, table: RecordingsTable, call: str | None
) -> None:
    """A recording of a conference has no call in what Twilio lists."""
    told = {name: value for name, value in TOLD.items() if name != "call_sid"} | ({"call_sid": call} if call else {})
    table.record(COMPLETED._replace(told=told))

    receipt = delete(deleter)

    assert receipt == {
        "recording_sid": SID,
        "account_sid": ACCOUNT,
        **({"call_sid": call} if call else {}),
        "requested_by": "jane",
        "deleted_at": "2026-11-22T07:33:01.000Z",
        "removed": {"twilio": "removed", "archive": "never-there"},
    }
    assert table.reader.one(SID)["deletion"] == receipt


def test_a_receipt_is_given_again_whether_or_not_twilio_and_the_table_are_to_be_reached(
    deleter: Deleter, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account's credentials are gone, say."""
    table.record(COMPLETED)
    first = delete(deleter)
    monkeypatch.delattr(TwilioStub, "of")
    failing(table.client, "UpdateItem", "InternalServerError")

    assert delete(deleter, asked_by="joe") == first


@pytest.mark.parametrize("account_sid", [None, ACCOUNT])
@pytest.mark.parametrize("status", ["completed", "absent"])
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("refusal", [None, NOT_FOUND])
def test_whatever_twilio_is_asked_ends_with_the_time_there_is(
    deleter: Deleter,
    table: RecordingsTable,
    twilio: TwilioStub,
    account_sid: str | None,
    status: str,
    refusal: Exception | None,
    *,
    is_known: bool,
) -> None:
    if is_known:
        table.record(COMPLETED._replace(status=status))
    twilio.refusal, twilio.status = refusal, "deleted"
    deadline = Deadline(20)

    delete(deleter, account_sid=account_sid, deadline=deadline)

    assert twilio.deadlines
    assert {id(given) for given in twilio.deadlines} == {id(deadline)}
    assert {asked.partition(" ")[2] for asked in twilio.asked} == {SID}


def test_while_twilio_asks_for_patience_it_is_asked_again(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, time: Time
) -> None:
    table.record(COMPLETED)
    twilio.refusal = NotNowError(http_status=400, code=16114, message="not now")

    def do_not_refuse_again() -> None:
        if len(twilio.asked) > 1:
            twilio.refusal = None

    twilio.before_deleting = do_not_refuse_again

    assert delete(deleter)["removed"]["twilio"] == "removed"
    assert twilio.asked == [f"delete {SID}"] * 2


REFUSED = TwilioRefusedError(http_status=400, code=20001, message="no")
NOT_OURS = CredentialsRefusedError(http_status=401, code=20003, message="no")
FROM_A_PROXY = TwilioNotFoundError(http_status=404, code=None, message="not found")


@pytest.mark.parametrize("refusal", [REFUSED, NOT_FOUND, FROM_A_PROXY])
@pytest.mark.parametrize("status", ["deleted", "absent", "failed", "completed", "processing", "new"])
def test_of_what_twilio_refuses_to_delete_it_says_itself_what_became_of_it(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, refusal: TwilioRefusedError, status: str
) -> None:
    table.record(COMPLETED)
    twilio.refusal, twilio.status = refusal, status

    if said := {"deleted": "gone-before", "absent": "never-there", "failed": "never-there"}.get(status):
        assert delete(deleter)["removed"]["twilio"] == said
        return
    with pytest.raises(CallRecordingError) as caught:
        delete(deleter)
    if status == "completed":
        assert caught.value is refusal
    else:
        assert isinstance(caught.value, RecordingNotFinishedError)
        assert caught.value.recording_sid == SID


def test_what_the_row_calls_unfinished_is_not_finished_before_twilio_deletes_it(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED._replace(status="in-progress"))
    twilio.refusal = REFUSED

    with pytest.raises(RecordingNotFinishedError) as caught:
        delete(deleter)

    assert (caught.value.recording_sid, caught.value.__cause__) == (SID, REFUSED)


def test_credentials_that_are_refused_say_nothing_of_the_recording(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub
) -> None:
    table.record(COMPLETED)
    twilio.refusal, twilio.status = NOT_OURS, "deleted"

    with pytest.raises(CredentialsRefusedError):
        delete(deleter)

    assert twilio.asked == [f"delete {SID}"]


DAY = 86_400


@pytest.mark.parametrize(
    ("refusal", "seconds", "is_gone"),
    [
        (NOT_FOUND, 40 * DAY + 1, True),
        (NOT_FOUND, 40 * DAY, False),
        (NOT_FOUND, 0, False),
        (FROM_A_PROXY, 41 * DAY, False),
        (REFUSED, 41 * DAY, False),
    ],
)
def test_a_404_is_believed_once_twilio_would_have_forgotten_it_and_says_so_itself(
    deleter: Deleter,
    table: RecordingsTable,
    twilio: TwilioStub,
    time: Time,
    refusal: TwilioRefusedError,
    seconds: int,
    *,
    is_gone: bool,
) -> None:
    table.record(COMPLETED)
    twilio.refusal, twilio.has_forgotten = refusal, True
    time.turn(seconds - 1)  # the clock stands a second behind the recording's start

    if is_gone:
        assert delete(deleter)["removed"]["twilio"] == "gone-before"
    else:
        with pytest.raises(TwilioRefusedError) as caught:
            delete(deleter)
        assert caught.value is refusal


def test_whoever_asks_for_what_is_not_there_learns_what_was_not_found(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub
) -> None:
    twilio.owner = OTHER_ACCOUNT
    with pytest.raises(RecordingNotFoundError) as at_another:
        delete(deleter)
    twilio.has_forgotten = True
    with pytest.raises(RecordingNotFoundError) as nowhere:
        delete(deleter)
    table.record(COMPLETED)
    with pytest.raises(RecordingNotFoundError) as asked_by_another:
        delete(deleter, account_sid=OTHER_ACCOUNT)

    found = [caught.value.recording_sid for caught in (at_another, nowhere, asked_by_another)]
    assert found == [SID] * 3


@pytest.mark.parametrize("status", ["in-progress", "new"])
def test_what_runs_although_its_row_says_that_it_ended_without_audio_is_not_finished(
    deleter: Deleter, table: RecordingsTable, twilio: TwilioStub, status: str
) -> None:
    table.record(COMPLETED._replace(status="absent"))
    twilio.status = status

    with pytest.raises(RecordingNotFinishedError) as caught:
        delete(deleter)

    assert (caught.value.recording_sid, twilio.asked) == (SID, [f"fetch {SID}"])


# --- a deletion that dies, and is asked for again -----------------------------------------------------------


class KilledError(BaseException):
    """The function is gone."""


def test_wherever_it_dies_asking_again_leaves_nothing_and_gives_the_receipt(
    deleter: Deleter, table: RecordingsTable, s3: Any, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"steps": -1}

    def step(**_: Any) -> None:
        left["steps"] -= 1
        if left["steps"] == 0:
            raise KilledError

    for client in (table.client, s3):
        client.meta.events.register("before-call", step)
    twilio.before_deleting = step
    steps = 0
    while True:
        steps += 1
        left["steps"] = -1
        table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})
        table.record(COMPLETED)
        s3.put_object(Bucket=BUCKET, Key=f"{STEM}wav", Body=b"x")

        left["steps"] = steps
        try:
            delete(deleter)
        except KilledError:
            left["steps"] = -1
        else:
            break
        receipt = delete(deleter)

        assert receipt == table.reader.one(SID)["deletion"]
        assert keys(s3) == [], f"killed before step {steps}"
    assert steps > 12
