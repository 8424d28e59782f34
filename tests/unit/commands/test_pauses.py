"""What is known of pauses of everything: by whoever starts a recording, cheaply, and never too late."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clock
from call_recording.commands.pauses import MOST_CONFERENCES, UNTOLD, Pauses
from call_recording.errors import PauseEndedError, StateUnavailableError
from generators.sample_events import ACCOUNT_SID, CALL_SID
from tests.conftest import IDEMPOTENCY_TABLE, Time

LEG, OTHER_ACCOUNT = "CA" + "2" * 32, "AC" + "f" * 32


class Counting:
    """DynamoDB, with a count of what it is asked to read."""

    def __init__(self) -> None:
        self.client: Any = boto3.client("dynamodb")
        self.reads = 0

    def batch_get_item(self, **asked: Any) -> Any:
        self.reads += 1
        return self.client.batch_get_item(**asked)

    def update_item(self, **asked: Any) -> Any:
        return self.client.update_item(**asked)


@pytest.fixture
def dynamodb(aws: None, time: Time) -> Counting:
    return Counting()


@pytest.fixture
def pauses(dynamodb: Counting) -> Pauses:
    return Pauses(dynamodb, IDEMPOTENCY_TABLE)  # type: ignore[arg-type]


def test_whoever_saw_that_an_account_has_none_does_not_look_again_for_two_seconds(
    pauses: Pauses, dynamodb: Counting, time: Time
) -> None:
    for _ in range(3):
        assert pauses.active_on(ACCOUNT_SID, CALL_SID) is None
        assert pauses.active_on(ACCOUNT_SID, LEG) is None
    assert dynamodb.reads == 1
    assert pauses.active_on(OTHER_ACCOUNT, CALL_SID) is None
    assert dynamodb.reads == 2

    time.turn(UNTOLD.total_seconds())
    assert pauses.active_on(ACCOUNT_SID, CALL_SID) is None
    assert dynamodb.reads == 3


@pytest.mark.parametrize("stopped", ["monotonic", "now"])
def test_a_machine_that_was_frozen_looks_again_whichever_of_its_clocks_stood_still(
    pauses: Pauses, dynamodb: Counting, time: Time, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    pauses.active_on(ACCOUNT_SID, CALL_SID)
    stands_still = getattr(clock, stopped)()
    monkeypatch.setattr(clock, stopped, lambda: stands_still)
    time.turn(3600)

    pauses.active_on(ACCOUNT_SID, CALL_SID)
    assert dynamodb.reads == 2


def test_the_first_pause_in_an_account_waits_until_everybody_must_have_looked(pauses: Pauses, time: Time) -> None:
    elsewhere = Pauses(boto3.client("dynamodb"), IDEMPOTENCY_TABLE)
    assert elsewhere.active_on(ACCOUNT_SID, CALL_SID) is None

    pause = pauses.begin(ACCOUNT_SID, CALL_SID)

    assert elsewhere.active_on(ACCOUNT_SID, CALL_SID) is None
    time.turn(pause.untold_until - clock.monotonic())
    found = elsewhere.active_on(ACCOUNT_SID, CALL_SID)
    assert found is not None
    assert found.name == pause.name


def test_a_later_one_need_not_wait_but_one_that_follows_within_what_clocks_differ_does(
    pauses: Pauses, time: Time
) -> None:
    pauses.begin(ACCOUNT_SID, CALL_SID)
    time.turn((clock.SKEW + UNTOLD).total_seconds() - 1)
    assert pauses.begin(ACCOUNT_SID, LEG).untold_until > clock.monotonic()
    time.turn(1)
    assert pauses.begin(ACCOUNT_SID, LEG).untold_until <= clock.monotonic()


def test_what_dynamodb_has_not_removed_yet_still_keeps_everybody_looking(
    pauses: Pauses, dynamodb: Counting, time: Time
) -> None:
    pauses.begin(ACCOUNT_SID, CALL_SID)
    time.turn(timedelta(days=2).total_seconds())

    for _ in range(2):
        assert pauses.active_on(ACCOUNT_SID, CALL_SID) is None  # that pause itself is forgotten
    assert dynamodb.reads == 2
    assert pauses.in_use({ACCOUNT_SID, OTHER_ACCOUNT}) == {ACCOUNT_SID}


def test_a_pause_that_was_forgotten_makes_room_for_a_new_one(pauses: Pauses, time: Time) -> None:
    first = pauses.begin(ACCOUNT_SID, CALL_SID)
    time.turn(timedelta(days=2).total_seconds())
    second = pauses.begin(ACCOUNT_SID, CALL_SID)

    assert second.name != first.name
    assert [span.name for span in second.past] == [first.name]


def test_one_that_is_asked_for_again_goes_on_and_one_after_its_end_is_new(pauses: Pauses, time: Time) -> None:
    first = pauses.begin(ACCOUNT_SID, CALL_SID, timer="one", due_at=clock.now())
    pauses.meet(first, "RE" + "1" * 32, {"was": "in-progress", "call": CALL_SID})
    again = pauses.begin(ACCOUNT_SID, CALL_SID)
    pauses.end(again)
    new = pauses.begin(ACCOUNT_SID, CALL_SID)

    assert (again.name, again.span.timer) == (first.name, "one")
    assert list(again.recordings) == ["RE" + "1" * 32]
    assert new.name != first.name
    assert (dict(new.recordings), new.span.timer, set(new.covered)) == ({}, "", {CALL_SID})
    assert [(span.name, span.timer) for span in new.past] == [(first.name, "one")]


def test_nothing_is_noted_of_a_pause_that_was_ended(pauses: Pauses, time: Time) -> None:
    pause = pauses.begin(ACCOUNT_SID, CALL_SID)
    pauses.end(pause)

    with pytest.raises(PauseEndedError):
        pauses.meet(pause, "RE" + "1" * 32, {"was": "in-progress", "call": CALL_SID})
    with pytest.raises(PauseEndedError):
        pauses.prove(pause, clock.now(), ())


def test_what_covers_a_call_is_found_however_much_it_covers(pauses: Pauses, time: Time) -> None:
    pause = pauses.begin(ACCOUNT_SID, CALL_SID)
    covered = [f"CA{number:032x}" for number in range(150)]
    pauses.cover(pause, covered)

    assert [found.name for found in pauses.covering(ACCOUNT_SID, [*covered, *covered])] == [pause.name]
    assert pauses.covering(OTHER_ACCOUNT, covered) == []


def test_an_account_s_item_names_the_latest_conferences_only(pauses: Pauses, time: Time) -> None:
    pause = pauses.begin(ACCOUNT_SID, CALL_SID)
    named = [f"CF{number:032x}" for number in range(MOST_CONFERENCES + 5)]
    for conference_sid in named:
        time.turn(1)
        pauses.cover(pause, [conference_sid])

    assert pauses.conferences(ACCOUNT_SID) == named[:4:-1]


def test_where_dynamodb_does_not_answer_nobody_takes_that_for_nothing_is_paused(
    pauses: Pauses, dynamodb: Counting, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "BatchGetItem")

    monkeypatch.setattr(dynamodb, "batch_get_item", fails)
    for read in (pauses.active_on, pauses.of):
        with pytest.raises(StateUnavailableError):
            read(ACCOUNT_SID, CALL_SID)


def test_what_boto3_writes_once_more_because_its_answer_was_lost_has_ended_the_pause(
    pauses: Pauses, dynamodb: Counting, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = pauses.begin(ACCOUNT_SID, CALL_SID)
    update = dynamodb.update_item

    def twice(**asked: Any) -> Any:
        update(**asked)
        return update(**asked)

    monkeypatch.setattr(dynamodb, "update_item", twice)
    pauses.end(pause)

    ended = pauses.of(ACCOUNT_SID, CALL_SID)
    assert ended is not None
    assert not ended.is_active
