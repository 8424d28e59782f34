"""A start is answered once its row is written, and what an earlier attempt may have made is looked for first."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import boto3
import pytest

from call_recording import clock
from call_recording.commands.intents import Intent
from call_recording.commands.pauses import Pauses
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    CallRecordingError,
    OutcomeUnknownError,
    RateLimitedError,
    RequestTooOldError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
    TwilioUnreachableError,
    UnknownAccountError,
)
from call_recording.recordings.facts import BY_HTTP, BY_TWILIO, Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.start.request import StartRequest
from call_recording.start.starter import Starter
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio
from generators.sample_events import ACCOUNT_SID, CALL_SID, WEBHOOK_URL
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Time, rows

OTHER_ACCOUNT = "AC" + "9" * 32
ASKED_AT = datetime(2026, 11, 22, 7, 33, 1, tzinfo=UTC)


@pytest.fixture
def starter(table: RecordingsTable, connection: Twilio) -> Starter:
    return Starter(
        accounts=Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID),
        recordings=table,
        twilio=connection,
        webhook_url=WEBHOOK_URL,
        pauses=Pauses(boto3.client("dynamodb"), IDEMPOTENCY_TABLE),
    )


@pytest.fixture
def intent(time: Time) -> Intent:
    return Intent("http#key-1", clock.now())


def start(starter: Starter, intent: Intent, *, call_sid: str = CALL_SID) -> dict[str, Any]:
    request = StartRequest(ACCOUNT_SID, call_sid)
    return starter.start(request, intent=intent, requested_by=BY_HTTP, deadline=Deadline(20))


def test_a_recording_that_was_started_has_a_row_with_its_intent(starter: Starter, intent: Intent) -> None:
    recording = start(starter, intent)

    (row,) = rows()
    assert (row["recording_sid"], row["status"], row["intent"]) == (recording["sid"], "in-progress", "http#key-1")


def test_what_twilio_made_without_saying_so_is_taken_and_not_made_again(
    starter: Starter, intent: Intent, twilio: TwilioServer
) -> None:
    twilio.twilio.faults.requests.append(RequestFault("cut", after_acting=True))

    recording = start(starter, intent)

    assert [recording["sid"]] == list(twilio.twilio.recordings)
    assert [row["intent"] for row in rows()] == ["http#key-1"]


def test_a_refusal_leaves_nothing_open_for_the_next_delivery(starter: Starter, intent: Intent) -> None:
    with pytest.raises(TwilioNotFoundError):
        start(starter, intent, call_sid="CA" + "9" * 32)

    assert not intent.may_exist
    assert rows() == []


# --- each attempt, with a Twilio that says what the test wants ---------------------------------------


class Script:
    """A Twilio that answers what it is told: to each request the next answer, to more requests the last one.

    An answer is an error, a recording or a list of them, or a function that gives one of these.
    """

    def __init__(self, *, create: list[Any] | None = None, listed: list[Any] | None = None) -> None:
        self.create, self.listed = create or [], listed or [[]]
        self.fetched: dict[str, RecordingResource] = {}
        self.credentials = self
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.deadlines: list[Deadline] = []
        self.accounts: list[str] = []

    def to_send(self, account_sid: str) -> None:
        if account_sid == OTHER_ACCOUNT:
            raise UnknownAccountError(account_sid)

    def of(self, account_sid: str) -> "Script":
        self.accounts.append(account_sid)
        return self

    def create_call_recording(self, call_sid: str, form: list[tuple[str, str]], *, deadline: Deadline) -> Any:
        self.forms.append(dict(form))
        return self._answer("create", call_sid, self.create, deadline)

    def list_call_recordings(self, call_sid: str, *, deadline: Deadline) -> Any:
        return self._answer("list", call_sid, self.listed, deadline)

    def fetch_recording(self, recording_sid: str, *, deadline: Deadline) -> Any:
        self.asked.append(f"fetch {recording_sid}")
        self.deadlines.append(deadline)
        return self.fetched[recording_sid]

    def _answer(self, verb: str, call_sid: str, answers: list[Any], deadline: Deadline) -> Any:
        assert call_sid == CALL_SID
        self.asked.append(verb)
        self.deadlines.append(deadline)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


def made(number: int = 1, *, at: datetime = ASKED_AT, **changes: Any) -> RecordingResource:
    """Return a recording as Twilio shows it that can be this request's, with changes (None: left out)."""
    resource = {
        "sid": f"RE{number:032x}",
        "account_sid": ACCOUNT_SID,
        "call_sid": CALL_SID,
        "status": "processing",
        "source": "StartCallRecordingAPI",
        "channels": 1,
        "track": "both",
        "start_time": format_datetime(at),
    } | changes
    told = {name: value for name, value in resource.items() if value is not None}
    return RecordingResource(told, api_url="https://api.twilio.com")


Start = Callable[..., dict[str, Any]]
REFUSED = TwilioRefusedError(http_status=400, code=21220, message="no")
LIMITED = RateLimitedError(retry_after_seconds=1, code=20429, message="slowly", more_info=None)
UNAVAILABLE = TwilioUnavailableError("Twilio answered 500")
SECONDS = 20.0


@pytest.fixture
def begin(table: RecordingsTable, intent: Intent) -> Start:
    """Return a function that starts a recording with a scripted Twilio, for the intent of the test or another one."""

    def run(
        twilio: Any,
        *,
        key: Intent = intent,
        sent_at: datetime | None = None,
        seconds: float = SECONDS,
        account_sid: str = ACCOUNT_SID,
        **said: Any,
    ) -> dict[str, Any]:
        accounts = Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID)
        starter = Starter(accounts, table, twilio, WEBHOOK_URL, Pauses(boto3.client("dynamodb"), IDEMPOTENCY_TABLE))
        request = StartRequest(account_sid, CALL_SID, **said)
        return starter.start(request, intent=key, requested_by=BY_HTTP, deadline=Deadline(seconds), sent_at=sent_at)

    return run


def left_open(intent: Intent, *, until: datetime | None = None) -> Intent:
    intent.may_exist, intent.asked_until = True, until
    return intent


def test_a_new_intent_asks_at_once_and_waits_for_nothing(begin: Start, intent: Intent, time: Time) -> None:
    twilio = Script(create=[made()])
    intent.asked_until = clock.now()

    assert begin(twilio, recording_channels="mono") == made()
    assert (twilio.asked, twilio.accounts) == (["create"], [ACCOUNT_SID])
    assert twilio.forms[0]["RecordingChannels"] == "mono"
    assert twilio.forms[0]["RecordingStatusCallback"].startswith(WEBHOOK_URL)
    assert intent.may_exist
    assert intent.asked_until is None


def test_the_row_says_who_asked_and_where_it_calls_back_without_a_password(begin: Start) -> None:
    begin(Script(create=[made()]), recording_status_callback="https://user:secret@example.com/x")

    (row,) = rows()
    assert (row["requested_by"], row["callback_url"], row["intent"]) == (
        BY_HTTP,
        "https://example.com/x",
        "http#key-1",
    )


def test_the_row_says_so_where_it_calls_back_to_us(begin: Start) -> None:
    begin(Script(create=[made()]))

    assert rows()[0]["callback_url"].startswith(f"{WEBHOOK_URL}#")


def test_every_request_has_the_deadline_of_the_delivery(begin: Start) -> None:
    twilio = Script(create=[UNAVAILABLE], listed=[[made()]])

    begin(twilio)

    assert [type(deadline) for deadline in twilio.deadlines] == [Deadline, Deadline]


def test_an_account_without_credentials_is_refused_and_not_noted(begin: Start) -> None:
    twilio = Script(create=[made()])

    with pytest.raises(UnknownAccountError):
        begin(twilio, account_sid=OTHER_ACCOUNT)

    assert twilio.asked == []


def test_an_account_that_is_not_the_stacks_own_is_noted_for_the_reconciler(begin: Start) -> None:
    another = "AC" + "7" * 32

    begin(Script(create=[made(account_sid=another)]), account_sid=another)

    items = boto3.client("dynamodb").scan(TableName=IDEMPOTENCY_TABLE)["Items"]
    assert another in str(items)


@pytest.mark.parametrize(
    ("error", "may_exist"),
    [(REFUSED, False), (TwilioUnreachableError("no connection"), False), (UNAVAILABLE, True)],
    ids=["refused", "unreachable", "unavailable"],
)
def test_only_what_may_have_acted_leaves_something_to_look_for(
    begin: Start, intent: Intent, error: CallRecordingError, *, may_exist: bool
) -> None:
    with pytest.raises(type(error)):
        begin(Script(create=[error], listed=[UNAVAILABLE]))

    assert (intent.may_exist, intent.asked_until) == (may_exist, None)


def test_too_old_a_request_is_refused_before_twilio_is_asked(begin: Start, time: Time) -> None:
    twilio = Script(create=[made()])

    with pytest.raises(RequestTooOldError):
        begin(twilio, sent_at=clock.now() - timedelta(minutes=5, seconds=1))

    assert twilio.asked == []
    assert begin(twilio, sent_at=clock.now() - timedelta(minutes=5)) == made()


def test_an_old_request_is_met_by_what_it_made_before(begin: Start, intent: Intent, time: Time) -> None:
    left_open(intent)
    time.turn(600)

    assert begin(Script(listed=[[made()]]), sent_at=intent.asked_at) == made()


def test_without_time_for_an_answer_nothing_is_asked_for(begin: Start, intent: Intent) -> None:
    twilio = Script(create=[made()])

    with pytest.raises(TwilioUnreachableError):
        begin(twilio, seconds=1.9)

    assert (twilio.asked, intent.may_exist) == ([], False)


@pytest.mark.parametrize("error", [UNAVAILABLE, LIMITED], ids=["unavailable", "rate limited"])
def test_a_look_that_fails_is_repeated(begin: Start, intent: Intent, error: CallRecordingError) -> None:
    left_open(intent)
    twilio = Script(listed=[error, [made()]])

    assert begin(twilio) == made()
    assert twilio.asked == ["list", "list"]


def test_a_call_that_twilio_does_not_know_has_no_recordings_to_look_for(begin: Start, intent: Intent) -> None:
    left_open(intent)

    with pytest.raises(TwilioNotFoundError):
        begin(Script(listed=[TwilioNotFoundError(http_status=404, code=20404, message="no such call")]))


def test_a_refusal_to_show_leaves_the_outcome_unknown(begin: Start, intent: Intent) -> None:
    left_open(intent)
    twilio = Script(listed=[REFUSED])

    with pytest.raises(OutcomeUnknownError):
        begin(twilio)

    assert set(twilio.asked) == {"list"}
    assert intent.may_exist


def test_an_empty_list_counts_five_seconds_after_twilio_was_asked_and_not_before(
    begin: Start, intent: Intent, time: Time
) -> None:
    began = time.seconds
    asked: list[float] = []

    def empty() -> list[RecordingResource]:
        asked.append(time.seconds - began)
        return []

    twilio = Script(create=[UNAVAILABLE, made()], listed=[empty])

    assert begin(twilio) == made()
    assert twilio.asked == ["create", "list", "list", "create"]
    assert asked[0] < 1
    assert asked[1] == 5


def test_what_appears_while_we_wait_is_taken(begin: Start, intent: Intent) -> None:
    twilio = Script(create=[UNAVAILABLE], listed=[[], [made()]])

    assert begin(twilio) == made()
    assert twilio.asked == ["create", "list", "list"]


def test_what_an_earlier_delivery_left_open_is_given_its_five_seconds_too(
    begin: Start, intent: Intent, time: Time
) -> None:
    began = time.seconds
    left_open(intent)
    twilio = Script(create=[lambda: made(2, at=clock.now())])

    assert begin(twilio) == made(2, at=ASKED_AT + timedelta(seconds=5))
    assert twilio.asked == ["list", "list", "create"]
    assert time.seconds - began == 5


def test_when_five_seconds_are_over_one_look_is_enough(begin: Start, intent: Intent, time: Time) -> None:
    def slow() -> list[RecordingResource]:
        time.turn(5)
        return []

    left_open(intent)
    twilio = Script(create=[made()], listed=[slow])

    assert begin(twilio) == made()
    assert twilio.asked == ["list", "create"]


def test_once_it_is_settled_the_next_delivery_need_not_look(begin: Start, intent: Intent, time: Time) -> None:
    left_open(intent)
    time.turn(600)

    with pytest.raises(RequestTooOldError):
        begin(Script(), sent_at=intent.asked_at)

    assert intent.may_exist is False


@pytest.mark.parametrize(("seconds", "is_settled"), [(7, True), (6.9, False)])
def test_without_time_to_wait_and_ask_the_outcome_stays_unknown(
    begin: Start, intent: Intent, time: Time, seconds: float, *, is_settled: bool
) -> None:
    began = time.seconds
    left_open(intent)
    twilio = Script(create=[made()])

    if is_settled:
        assert begin(twilio, seconds=seconds) == made()
    else:
        with pytest.raises(OutcomeUnknownError):
            begin(twilio, seconds=seconds)
        assert intent.may_exist
        assert twilio.asked.count("create") == 0
        assert time.seconds - began < 5


# --- what can be ours ---------------------------------------------------------------------------------

SKEW = clock.SKEW
AFTER = timedelta(seconds=5)
"""How long after it was asked Twilio may begin."""


def taken(begin: Start, intent: Intent, recording: RecordingResource, **said: Any) -> bool:
    """Tell whether a recording that runs is taken for what this intent made; else another is asked for."""
    twilio = Script(create=[made(9, at=clock.now())], listed=[[recording]])
    return bool(begin(twilio, key=intent, **said)["sid"] == recording["sid"])


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (ASKED_AT - SKEW, True),
        (ASKED_AT - SKEW - timedelta(seconds=1), False),
        (ASKED_AT + timedelta(seconds=60) + SKEW + AFTER, True),
        (ASKED_AT + timedelta(seconds=61) + SKEW + AFTER, False),
    ],
)
def test_only_what_began_while_somebody_asked_can_be_ours(
    begin: Start, intent: Intent, time: Time, at: datetime, *, expected: bool
) -> None:
    left_open(intent, until=ASKED_AT + timedelta(seconds=60))
    time.turn(3600)

    assert taken(begin, intent, made(at=at)) is expected


@pytest.mark.parametrize(("later", "expected"), [(timedelta(), True), (timedelta(seconds=1), False)])
def test_what_this_delivery_asked_for_can_begin_until_now(
    begin: Start, intent: Intent, later: timedelta, *, expected: bool
) -> None:
    twilio = Script(create=[UNAVAILABLE, made(9)], listed=[lambda: [made(at=clock.now() + SKEW + AFTER + later)]])

    assert (begin(twilio)["sid"] == made()["sid"]) is expected


@pytest.mark.parametrize(
    ("changes", "said", "expected"),
    [
        ({"source": "RecordVerb"}, {}, False),
        ({"source": None}, {}, False),
        ({"channels": 2}, {}, False),
        ({"channels": 2}, {"recording_channels": "mono"}, False),
        ({"channels": 2}, {"recording_channels": "dual"}, True),
        ({"channels": 1}, {"recording_channels": "dual"}, False),
        ({"channels": 0}, {"recording_channels": "dual"}, True),
        ({"channels": 0}, {}, True),
        ({"channels": None}, {}, False),
        ({"channels": None}, {"recording_channels": "dual"}, False),
        ({"channels": 1, "track": "inbound"}, {"recording_channels": "dual", "recording_track": "inbound"}, True),
        ({"channels": 2, "track": "inbound"}, {"recording_channels": "dual", "recording_track": "inbound"}, False),
        ({"channels": 1, "track": "outbound"}, {"recording_channels": "dual", "recording_track": "outbound"}, True),
        ({"channels": 2}, {"recording_channels": "dual", "recording_track": "both"}, True),
        ({"track": "inbound"}, {}, False),
        ({"track": "inbound"}, {"recording_track": "inbound"}, True),
        ({"track": "both"}, {"recording_track": "inbound"}, False),
        ({"track": None}, {}, False),
        ({"track": None}, {"recording_track": "inbound"}, False),
        ({"track": None}, {"recording_track": "both"}, False),
        ({"start_time": None, "date_created": format_datetime(ASKED_AT)}, {}, True),
        ({"start_time": None, "date_created": format_datetime(ASKED_AT - timedelta(hours=1))}, {}, False),
        ({"start_time": None}, {}, False),
        ({"start_time": "soon", "date_created": format_datetime(ASKED_AT)}, {}, True),
        ({"start_time": "soon", "date_created": "lately"}, {}, False),
        ({"date_created": format_datetime(ASKED_AT - timedelta(hours=1))}, {}, True),
    ],
    ids=str,
)
def test_what_can_be_ours_looks_as_we_asked_for_it(
    begin: Start, intent: Intent, changes: dict[str, Any], said: dict[str, Any], *, expected: bool
) -> None:
    assert taken(begin, left_open(intent), made(**changes), **said) is expected


def test_what_serves_another_intent_is_passed_over_for_the_next(begin: Start, intent: Intent) -> None:
    begin(Script(create=[made(1)]), key=Intent("http#another", ASKED_AT))

    assert begin(Script(listed=[[made(1), made(2)]]), key=left_open(intent)) == made(2)
    assert sorted((row["recording_sid"], row["intent"]) for row in rows()) == [
        (made(1)["sid"], "http#another"),
        (made(2)["sid"], "http#key-1"),
    ]


def test_what_the_table_names_is_ours_whatever_it_looks_like_and_whatever_is_older(
    begin: Start, intent: Intent, time: Time
) -> None:
    begin(Script(create=[made(2)]))
    left_open(intent)
    listed = [made(1), made(2, source="RecordVerb")]

    assert begin(Script(listed=[listed])) == listed[1]
    assert len(rows()) == 1


def test_the_index_that_lags_behind_is_not_the_last_word(
    begin: Start, intent: Intent, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(Script(create=[made(2)]))
    monkeypatch.setattr("call_recording.recordings.reader.RecordingsReader.all_of_call", lambda *_, **__: [])

    assert begin(Script(listed=[[made(1), made(2)]]), key=left_open(intent)) == made(2)


def test_what_the_table_names_and_twilio_lists_no_more_is_fetched(begin: Start, intent: Intent) -> None:
    begin(Script(create=[made(2)]))
    twilio = Script(listed=[[made(1)]])
    twilio.fetched[made(2)["sid"]] = made(2, status="deleted")

    assert begin(twilio, key=left_open(intent)) == made(2, status="deleted")
    assert twilio.asked == ["list", f"fetch {made(2)['sid']}"]
    assert {type(deadline) for deadline in twilio.deadlines} == {Deadline}


def told(**changes: Any) -> Facts:
    """Return what callbacks told of a recording that can be this request's, with changes."""
    resource = made(2, status="completed", duration="5")
    facts = Facts.from_recording(resource)
    return facts._replace(told={**facts.told, **changes})


def test_what_ended_and_was_deleted_at_twilio_since_is_ours_still(
    begin: Start, intent: Intent, table: RecordingsTable
) -> None:
    table.record(told())
    twilio = Script(listed=[[]])
    twilio.fetched[made(2)["sid"]] = made(2, status="deleted")

    assert begin(twilio, key=left_open(intent)) == made(2, status="deleted")

    assert twilio.asked == ["list", f"fetch {made(2)['sid']}"]
    assert {type(deadline) for deadline in twilio.deadlines} == {Deadline}
    (row,) = rows()
    assert (row["intent"], row["status"]) == ("http#key-1", "completed"), "its audio may be in the archive"


@pytest.mark.parametrize(
    "facts",
    [
        told(source="RecordVerb"),
        told(channels=2),
        told(track="inbound"),
        told(start_time="2026-11-22T07:30:00Z"),
        told()._replace(account_sid=OTHER_ACCOUNT),
        told().asked_for(by=BY_HTTP, callback_url="", intent="http#another"),
    ],
    ids=["source", "channels", "track", "older", "account", "another's"],
)
def test_what_ended_and_cannot_be_ours_is_left_alone(
    begin: Start, intent: Intent, table: RecordingsTable, facts: Facts
) -> None:
    table.record(facts)
    twilio = Script(create=[made(3)], listed=[[]])

    assert begin(twilio, key=left_open(intent), recording_channels="mono") == made(3)


def test_a_start_that_was_told_with_a_status_that_nobody_knows_was_told(
    begin: Start, intent: Intent, table: RecordingsTable
) -> None:
    table.record(told()._replace(status="new"))
    twilio = Script(listed=[[]])
    twilio.fetched[made(2)["sid"]] = made(2, status="new")

    assert begin(twilio, key=left_open(intent)) == made(2, status="new")
    assert twilio.asked == ["list", f"fetch {made(2)['sid']}"]


GUESSED = {name: value for name, value in told().told.items() if name != "start_time"}


@pytest.mark.parametrize(
    ("shown", "is_ours"),
    [
        ({"start_time": format_datetime(ASKED_AT)}, True),
        ({"start_time": None, "date_created": format_datetime(ASKED_AT)}, True),
        ({"start_time": None, "date_created": format_datetime(ASKED_AT - timedelta(hours=2))}, False),
        ({"start_time": None}, False),
    ],
    ids=str,
)
def test_when_a_row_can_only_guess_its_start_twilio_says_whether_what_is_gone_can_be_ours(
    begin: Start, intent: Intent, table: RecordingsTable, shown: dict[str, Any], *, is_ours: bool
) -> None:
    table.record(told()._replace(told=GUESSED))  # heard of just now, which says nothing of when it began
    twilio = Script(create=[made(3)], listed=[[]])
    twilio.fetched[made(2)["sid"]] = made(2, status="deleted", **shown)

    assert begin(twilio, key=left_open(intent))["sid"] == made(2 if is_ours else 3)["sid"]
    assert {type(deadline) for deadline in twilio.deadlines} == {Deadline}


@pytest.mark.parametrize("missing", ["source", "channels", "track"])
def test_what_a_row_does_not_say_speaks_against_its_recording(
    begin: Start, intent: Intent, table: RecordingsTable, missing: str
) -> None:
    facts = told()
    table.record(facts._replace(told={name: value for name, value in facts.told.items() if name != missing}))

    assert begin(Script(create=[made(3)]), key=left_open(intent)) == made(3)


def test_a_recording_that_was_given_away_is_asked_for_once_more(begin: Start, intent: Intent) -> None:
    begin(Script(create=[made(1)]), key=Intent("http#another", ASKED_AT))
    twilio = Script(create=[made(1), made(2)])

    assert begin(twilio) == made(2)
    assert twilio.asked == ["create", "list", "list", "create"]


def test_a_recording_that_twilio_gives_to_everybody_serves_them_all(begin: Start, intent: Intent) -> None:
    begin(Script(create=[made(1)]), key=Intent("http#another", ASKED_AT))

    assert begin(Script(create=[made(1)])) == made(1)
    assert [row["intent"] for row in rows()] == ["http#another"]


# --- waiting for the call -----------------------------------------------------------------------------

NOT_YET = CallNotInProgressError(http_status=400, code=21220, message="not in progress")


class Call:
    """A call that is answered so many seconds after the test began; until then Twilio refuses to record it."""

    def __init__(self, time: Time, answered_after: float) -> None:
        self.time = time
        self.began = time.seconds
        self.answered_after = answered_after
        self.asked: list[float] = []

    def __call__(self) -> Any:
        self.asked.append(round(self.time.seconds - self.began, 3))
        return made(at=clock.now()) if self.asked[-1] >= self.answered_after else NOT_YET


@pytest.mark.parametrize(
    ("wait_seconds", "asked"),
    [
        (0, [0]),
        (1, [0, 0.25, 0.75, 1]),
        (2, [0, 0.25, 0.75, 1.75, 2]),
        (5, [0, 0.25, 0.75, 1.75, 2.75, 3.75, 4.75, 5]),
    ],
)
def test_whoever_wants_to_wait_asks_again_soon_at_first_and_once_more_at_the_end(
    begin: Start, intent: Intent, time: Time, wait_seconds: int, asked: list[float]
) -> None:
    call = Call(time, answered_after=60)
    twilio = Script(create=[call])

    with pytest.raises(CallNotInProgressError):
        begin(twilio, wait_seconds=wait_seconds)

    assert (call.asked, set(twilio.asked)) == (asked, {"create"})
    assert (intent.may_exist, rows()) == (False, [])


def test_a_call_that_is_answered_while_somebody_waits_is_recorded_from_then_on(
    begin: Start, intent: Intent, time: Time
) -> None:
    call = Call(time, answered_after=3)

    begin(Script(create=[call]), wait_seconds=20, seconds=10)

    assert call.asked == [0, 0.25, 0.75, 1.75, 2.75, 3.75]
    assert [row["intent"] for row in rows()] == ["http#key-1"]


@pytest.mark.parametrize(
    ("seconds", "asked"), [(2.2, [0]), (2.25, [0, 0.25]), (2.74, [0, 0.25]), (5, [0, 0.25, 0.75, 1.75, 2.75])]
)
def test_nobody_waits_so_long_that_no_answer_could_be_heard(
    begin: Start, time: Time, seconds: float, asked: list[float]
) -> None:
    call = Call(time, answered_after=60)

    with pytest.raises(CallNotInProgressError):
        begin(Script(create=[call]), wait_seconds=20, seconds=seconds)

    assert call.asked == asked


def test_waiting_counts_from_the_first_attempt_on_whatever_is_looked_for_meanwhile(
    begin: Start, intent: Intent, time: Time
) -> None:
    call = Call(time, answered_after=60)
    left_open(intent)

    with pytest.raises(CallNotInProgressError):
        begin(Script(create=[call]), wait_seconds=6)

    assert call.asked == [5, 5.25, 5.75, 6], "five seconds went by until it was settled that there is none"


# --- a recording that ran before ----------------------------------------------------------------------


def running(number: int = 1, **changes: Any) -> RecordingResource:
    """Return a recording that Twilio gives to whoever asks for one, because it runs already."""
    recording = made(number, **changes)
    recording.ran_before = True
    return recording


def test_a_recording_that_ran_before_serves_whoever_asks_and_is_not_called_theirs(begin: Start) -> None:
    assert begin(Script(create=[running()]), reference="order 1") == running()

    (row,) = rows()
    assert (row["recording_sid"], row["status"], row["requested_by"]) == (made()["sid"], "in-progress", BY_TWILIO)
    assert (row["requested_call_sid"], row["reference"]) == (CALL_SID, "order 1")
    assert "intent" not in row


def test_what_the_first_request_said_of_a_recording_stays(begin: Start, table: RecordingsTable) -> None:
    others = {"by": BY_HTTP, "callback_url": "https://example.com", "intent": "http#another"}
    leg = "CA" + "0" * 32
    table.record(Facts.from_recording(made(1)).asked_for(**others, call_sid=leg, reference="order 0"))
    table.record(Facts.from_recording(made(2)).asked_for(**others))

    for number in (1, 2):
        begin(Script(create=[running(number)]), key=Intent(f"http#{number}", ASKED_AT), reference="order 9")

    held = {row["recording_sid"]: (row["requested_call_sid"], row["reference"], row["intent"]) for row in rows()}
    assert held == {
        made(1)["sid"]: (leg, "order 0", "http#another"),
        made(2)["sid"]: (CALL_SID, "order 9", "http#another"),
    }


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(("changes", "can_be"), [({}, True), ({"source": "RecordVerb"}, False)])
def test_a_recording_that_ran_before_is_ours_where_an_earlier_attempt_can_have_made_it(
    begin: Start, intent: Intent, changes: dict[str, Any], *, is_open: bool, can_be: bool
) -> None:
    if is_open:
        left_open(intent)

    begin(Script(create=[running(**changes)]))

    assert rows()[0].get("intent") == ("http#key-1" if is_open and can_be else None)


def test_a_recording_that_ran_before_and_serves_another_request_serves_us_too(begin: Start, intent: Intent) -> None:
    begin(Script(create=[made()]), key=Intent("http#another", ASKED_AT))

    assert begin(Script(create=[running()]), key=left_open(intent)) == running()
    assert [row["intent"] for row in rows()] == ["http#another"]


# --- what a configuration at Twilio decides ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said", "expected"),
    [
        ({"channels": 2}, {}, True),
        ({"channels": 2}, {"recording_channels": "mono"}, False),
        ({"track": "inbound"}, {}, True),
        ({"track": "inbound"}, {"recording_track": "both"}, False),
        ({"channels": 2, "track": "inbound"}, {}, True),
        ({"channels": 2, "track": "inbound"}, {"recording_track": "inbound"}, True),
        ({"channels": 2, "track": "inbound"}, {"recording_channels": "dual", "recording_track": "both"}, False),
        ({"channels": 2, "track": "outbound"}, {"recording_channels": "dual"}, True),
        ({"source": "RecordVerb"}, {}, False),
    ],
    ids=str,
)
def test_what_the_request_leaves_to_a_configuration_does_not_speak_against_a_recording(
    begin: Start, intent: Intent, changes: dict[str, Any], said: dict[str, Any], *, expected: bool
) -> None:
    assert taken(begin, left_open(intent), made(**changes), recording_configuration_id="c", **said) is expected


def test_the_row_names_the_call_and_the_reference_of_the_request(begin: Start) -> None:
    begin(Script(create=[made(call_sid="CA" + "1" * 32)]), reference="order 1")

    (row,) = rows()
    assert (row["requested_call_sid"], row["call_sid"], row["reference"]) == (CALL_SID, "CA" + "1" * 32, "order 1")
