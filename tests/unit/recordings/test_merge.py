"""Whatever the order and number of reports, the row ends the same."""

from collections import Counter
from copy import deepcopy, replace
from itertools import permutations, product
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_recording.errors import ForeignAccountError, RecordingClaimedError
from call_recording.recordings import merge as merge_module
from call_recording.recordings import watches
from call_recording.recordings.facts import BY_HTTP, BY_TWILIO, SHARDS, Control, Facts, sharded, shards_of
from call_recording.recordings.merge import MOST_METADATA, MOST_UNKNOWN_STATUSES, merge, told_at
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import rank
from call_recording.recordings.table import RecordingsTable

SID, ACCOUNT, CALL = "RE" + "1" * 32, "AC" + "1" * 32, "CA" + "1" * 32
PARENT = "CA" + "2" * 32
SEEN = "2026-11-22T07:33:01.000Z"
STARTED = "2026-11-22T07:33:00Z"

ANSWER = Facts(
    SID,
    ACCOUNT,
    "in-progress",
    SEEN,
    {"call_sid": CALL, "channels": 1, "source": "StartCallRecordingAPI", "start_time": STARTED, "price_unit": "USD"},
    requested_by=BY_HTTP,
    callback_url="https://example.com/",
)
IN_PROGRESS = Facts(SID, ACCOUNT, "in-progress", SEEN, {"call_sid": CALL, "track": "both", "start_time": STARTED})
COMPLETED = Facts(SID, ACCOUNT, "completed", SEEN, {"call_sid": CALL, "duration_seconds": 42, "channels": 2})
ABSENT = Facts(SID, ACCOUNT, "absent", SEEN, {"call_sid": CALL, "error_code": "16102"}, {"NewParameter": "x"})


def merged(reports: list[Facts] | tuple[Facts, ...]) -> Row:
    row: Row | None = None
    for report in reports:
        row = merge(row, report, retention_days=400)
    assert row is not None
    return row


def orders_and_repetitions(*reports: Facts) -> list[tuple[Facts, ...]]:
    """Every order of the reports, and every sequence up to two longer in which each occurs."""
    longer = [s for n in (1, 2) for s in product(reports, repeat=len(reports) + n) if all(r in s for r in reports)]
    return [*permutations(reports), *longer]


@pytest.mark.parametrize("outcome", [COMPLETED, ABSENT], ids=["completed", "absent"])
def test_every_order_and_repetition_of_a_recordings_reports_gives_one_row(outcome: Facts) -> None:
    expected = merged([ANSWER, IN_PROGRESS, outcome])

    for sequence in orders_and_repetitions(ANSWER, IN_PROGRESS, outcome):
        assert merged(sequence) == expected


@pytest.mark.parametrize("outcome", [COMPLETED, ABSENT], ids=["completed", "absent"])
def test_every_order_and_repetition_gives_one_row_in_dynamodb_too(outcome: Facts, table: RecordingsTable) -> None:
    expected = merged([ANSWER, IN_PROGRESS, outcome])

    for sequence in orders_and_repetitions(ANSWER, IN_PROGRESS, outcome):
        for report in sequence:
            table.record(report)
        assert table.reader.get(SID) == expected
        table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})


_values: dict[str, st.SearchStrategy[Any]] = {
    "channels": st.integers(1, 2),
    "duration_seconds": st.integers(0, 3),
    "track": st.sampled_from(["both", "inbound"]),
    "start_time": st.sampled_from([STARTED, "2026-11-21T23:59:59Z"]),
    "encryption_details": st.fixed_dictionaries({"iv": st.sampled_from(["a", "b"])}),
}
_reports = st.builds(
    Facts,
    st.just(SID),
    st.just(ACCOUNT),
    st.sampled_from(
        ["in-progress", "paused", "stopped", "processing", "absent", "failed", "completed", "deleted", "transcoding"]
    ),
    st.sampled_from([SEEN, "2026-11-22T07:33:02.500Z", "2026-11-22T07:32:00.000Z"]),
    st.fixed_dictionaries({}, optional=_values | {"call_sid": st.sampled_from([CALL, PARENT])}),
    st.dictionaries(st.sampled_from(["New", "Newer"]), st.sampled_from(["x", "y"])),
    st.sampled_from([BY_TWILIO, BY_HTTP]),
    st.sampled_from([None, "https://example.com/a", "https://example.com/b"]),
    st.none(),
    st.none()
    | st.builds(
        Control,
        st.sampled_from([STARTED, SEEN]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["", "t"]),
        st.sampled_from(["", "k"]),
        st.sampled_from(["", "a"]),
    ),
    st.just({}),
    # More timers than a row keeps of them.
    st.dictionaries(
        st.integers(1, watches.MOST_TIMERS + 3).map("t{:02d}".format),
        st.sampled_from([STARTED, f"{watches.ENDED} {STARTED}", f"{watches.ENDED} {SEEN}", watches.RESUMED]),
        max_size=watches.MOST_TIMERS,
    ),
    st.sampled_from(["", STARTED, SEEN]),
    st.sampled_from([None, CALL, PARENT]),
    st.sampled_from([None, "room-17", "room-18"]),
    st.sampled_from(["", "2026-11-22T07:32:59Z", "2026-11-21T23:59:58Z"]),
)
_deletions = st.builds(
    lambda at, by: Facts.gone(SID, ACCOUNT, deletion={"deleted_at": at, "requested_by": by}),
    st.sampled_from([STARTED, SEEN]),
    st.sampled_from(["a", "b"]),
)


def repeatable(facts: Facts) -> Facts:
    return replace(facts, seen_at=SEEN)


_archived = st.builds(
    lambda at, key: replace(COMPLETED, noted={"archive": {"archived_at": at, "key": key}, "deleted_at_twilio": at}),
    st.sampled_from([STARTED, SEEN]),
    st.sampled_from(["a", "b"]),
)
_stored = st.builds(
    lambda places, until: replace(COMPLETED, noted={"uploads": dict.fromkeys(places, until), "deleting_until": until}),
    st.sets(st.sampled_from(["bucket/a", "bucket/b", "other/a"]), min_size=1),
    st.sampled_from([STARTED, SEEN]),
)
_gone = st.just(repeatable(Facts.gone(SID, ACCOUNT)))
_any = _reports | _deletions.map(repeatable) | _archived | _stored | _gone


@given(st.lists(_any, min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_contradicting_reports_in_any_order_give_one_row(reports: list[Facts], random: Any) -> None:
    shuffled = reports + random.sample(reports, random.randint(0, len(reports)))
    random.shuffle(shuffled)

    assert merged(shuffled) == merged(reports)


_made_up = st.builds(
    lambda status, seen_at: replace(IN_PROGRESS, status=status, seen_at=seen_at, told={}),
    st.sampled_from(["a", "b", "c", "d", "e", "f", "in-progress", "completed"]),
    st.sampled_from([f"2026-11-22T07:33:0{n}.000Z" for n in range(6)]),
)


@given(st.lists(_made_up, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_which_unknown_statuses_a_row_forgets_does_not_depend_on_order(reports: list[Facts], random: Any) -> None:
    shuffled = reports + random.sample(reports, random.randint(0, len(reports)))
    random.shuffle(shuffled)

    with patch.object(merge_module, "MOST_UNKNOWN_STATUSES", 2):
        row = merged(reports)
        assert merged(shuffled) == row
    told = {report.status: min(r.seen_at for r in reports if r.status == report.status) for report in reports}
    unknown = sorted((at, status) for status, at in told.items() if len(status) == 1)
    kept = {status for _, status in unknown[:2]} | {row["status"]} | {s for s in told if len(s) > 1}
    assert row["status_at"] == {status: at for status, at in told.items() if status in kept}


def test_a_row_stays_small_whatever_statuses_are_made_up() -> None:
    reports = [replace(IN_PROGRESS, status=f"made-up-{chr(97 + n % 26)}{chr(97 + n // 26)}") for n in range(500)]

    row = merged([*reports, COMPLETED])

    assert len(row["status_at"]) == MOST_UNKNOWN_STATUSES + 1
    assert "completed" in row["status_at"]
    assert merged(reports)["status"] in merged(reports)["status_at"]


@given(st.lists(_any, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_table_says_what_the_rule_says(table: RecordingsTable, reports: list[Facts]) -> None:
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})

    for report in reports:
        table.record(report)

    # But for one thing: a receipt that is in the row stays there, because somebody may have been given it.
    receipts = [number for number, report in enumerate(reports) if "deletion" in report.noted]
    assert table.reader.get(SID) == merged([r for number, r in enumerate(reports) if number not in receipts[1:]])


def test_a_late_in_progress_does_not_undo_completed() -> None:
    row = merged([ANSWER, COMPLETED, IN_PROGRESS])

    assert row["status"] == "completed"
    assert row["track"] == "both", "its facts still fill what is missing"
    assert row["channels"] == 2, "but do not replace what a final status said"


def test_a_late_in_progress_does_not_undo_paused() -> None:
    assert merged([replace(ANSWER, status="paused"), IN_PROGRESS])["status"] == "paused"


def test_only_rows_that_may_still_change_are_in_the_open_index() -> None:
    assert "open_shard" in merged([ANSWER])
    assert "open_shard" in merged([replace(ANSWER, status="transcoding")]), "a status that Twilio adds one day"
    assert "open_shard" not in merged([ANSWER, COMPLETED])


def unsharded(row: Row) -> str:
    shard, _, day = row["account_day"].partition("#")
    assert f"{shard}#{day}" == sharded(day, row["recording_sid"])
    return str(day)


def test_a_row_always_has_a_start_and_twilios_word_replaces_our_guess() -> None:
    guessed = merged([ABSENT])
    told = merged([ABSENT, IN_PROGRESS])

    assert (guessed["start_time"], unsharded(guessed)) == ("2026-11-22T07:33:01Z", f"{ACCOUNT}#2026-11-22")
    assert told["start_time"] == STARTED
    assert told["expires_at"] == 1795332780 + 400 * 86_400


def test_until_twilio_says_when_it_started_a_row_takes_when_its_recording_was_created() -> None:
    listed = replace(ABSENT, created_at="2026-11-21T23:59:58Z")

    for row in map(merged, orders_and_repetitions(ABSENT, listed)):
        assert (row["start_time"], unsharded(row)) == ("2026-11-21T23:59:58Z", f"{ACCOUNT}#2026-11-21")
        assert told_at(row, "start_time") < rank("transcoding"), "it is no more than a guess"
    for row in map(merged, orders_and_repetitions(ABSENT, listed, replace(IN_PROGRESS, created_at=""))):
        assert row["start_time"] == STARTED


def test_a_row_knows_with_which_status_each_attribute_was_told() -> None:
    row = merged([ANSWER, COMPLETED])

    assert told_at(row, "source") == rank("in-progress")
    assert told_at(row, "duration_seconds") == rank("completed")
    assert told_at(row, "track") < rank("transcoding"), "it was not told"
    assert told_at(merged([ABSENT]), "start_time") < rank("transcoding"), "it is guessed"
    assert told_at({"source": "written by something else"}, "source") == rank("in-progress")


def test_the_first_time_a_status_was_seen_is_kept() -> None:
    later = replace(IN_PROGRESS, seen_at="2026-11-22T07:33:09.000Z")

    assert merged([later, IN_PROGRESS, later])["status_at"] == {"in-progress": SEEN}


def test_another_accounts_report_changes_nothing() -> None:
    with pytest.raises(ForeignAccountError, match=SID):
        merge(merged([ANSWER]), replace(COMPLETED, account_sid="AC" + "2" * 32), retention_days=400)


def controlled(status: str, second: int, *, timer: str = "") -> Facts:
    at = f"2026-11-22T07:33:{second:02d}"
    return replace(IN_PROGRESS, status=status, control=Control(f"{at}Z", f"{at}.500Z", timer))


def test_of_pauses_and_resumes_the_latest_counts_in_whatever_order_they_are_heard_of() -> None:
    reports = [IN_PROGRESS, controlled("paused", 5), controlled("in-progress", 9), controlled("paused", 12, timer="t")]

    for order in permutations(reports):
        row = merged(order)
        assert row["status"] == "paused"
        assert row["control"]["timer"] == "t"
    for order in permutations(reports[:3]):
        assert merged(order)["status"] == "in-progress"


def test_attempts_of_one_request_in_the_same_second_are_no_rivals_and_those_of_others_are() -> None:
    ours = [replace(IN_PROGRESS, status="paused", control=Control(STARTED, seen, by="ours")) for seen in ("1", "3")]
    theirs = replace(IN_PROGRESS, status="paused", control=Control(STARTED, "2", by="theirs"))
    without_key = [replace(IN_PROGRESS, status="paused", control=Control(STARTED, seen)) for seen in ("1", "3")]

    for order in permutations(ours):
        assert Control(**merged(order)["control"]).is_surely_last
    for order in permutations([*ours, theirs]):
        assert (merged(order)["control"]["seen_at"], merged(order)["control"]["rival"]) == ("3", "2")
    for order in permutations(without_key):
        assert merged(order)["control"]["rival"] == "1"


def test_pauses_of_everything_in_the_same_second_are_no_rivals_and_a_resume_of_one_is() -> None:
    names = ("953-9e94721df361", "dc9-86669f9f80d0")
    first, second = (
        replace(IN_PROGRESS, status="paused", control=Control(STARTED, seen, by=name))
        for seen, name in zip("13", names, strict=True)
    )
    resumed = replace(first, status="in-progress")
    theirs = replace(first, control=Control(STARTED, "2", by="theirs"))

    for order in permutations([first, second]):
        assert Control(**merged(order)["control"]).is_surely_last
    for order in permutations([resumed, second]):
        assert merged(order)["control"]["rival"] == "1"
    for order in permutations([first, theirs, second]):
        assert (merged(order)["control"]["by"], merged(order)["control"]["rival"]) == (names[1], "2")


def test_what_is_known_of_each_timer_is_kept() -> None:
    for order in permutations([replace(IN_PROGRESS, timers={name: SEEN}) for name in ("t1", "t2")]):
        assert merged(order)["timers"] == {"t1": SEEN, "t2": SEEN}


def test_a_resume_does_not_undo_a_stop_or_an_end() -> None:
    for end in (controlled("stopped", 1), COMPLETED):
        assert merged([end, controlled("in-progress", 30)])["status"] == end.status


RECEIPT = {"deleted_at": "2026-11-22T07:34:00.000Z", "requested_by": "x"}
ARCHIVED = replace(COMPLETED, noted={"archive": {"key": "k", "archived_at": "2026-11-22T07:33:30.000Z"}})
LINKED = replace(
    COMPLETED,
    told={**COMPLETED.told, "recording_url": "https://x/", "encryption_details": {"iv": "i"}},
    metadata={"Link": "https://x/"},
)


def test_a_tombstone_keeps_nothing_that_leads_to_audio() -> None:
    for order in permutations([ANSWER, LINKED, ARCHIVED, Facts.gone(SID, ACCOUNT, deletion=RECEIPT)]):
        row = merged(order)
        assert (row["status"], row["duration_seconds"]) == ("deleted", 42)
        assert not {"recording_url", "metadata", "encryption_details", "archive"} & row.keys()
        assert not {"recording_url", "metadata.Link", "encryption_details"} & row["fact_ranks"].keys()
        assert row["fact_ranks"]["duration_seconds"] == rank("completed")


def test_a_tombstone_knows_everywhere_that_audio_can_still_turn_up() -> None:
    notes = [replace(COMPLETED, noted={"uploads": uploads}) for uploads in ({"b/x": "1", "b/y": "2"}, {"b/x": "3"})]

    for order in permutations([*notes, Facts.gone(SID, ACCOUNT, deletion=RECEIPT)]):
        assert merged(order)["uploads"] == {"b/x": "3", "b/y": "2"}


def test_what_is_gone_at_twilio_alone_is_still_in_the_archive() -> None:
    for order in permutations([ANSWER, LINKED, ARCHIVED, Facts.gone(SID, ACCOUNT)]):
        row = merged(order)
        assert row["archive"]["key"] == "k", "it may be the only copy"
        assert row["encryption_details"] == {"iv": "i"}, "without which nobody can read it"
        assert "recording_url" not in row


def test_of_two_receipts_the_first_counts() -> None:
    first, second = ({"deleted_at": f"2026-11-22T07:3{n}:00.000Z", "requested_by": "x"} for n in (4, 5))

    for order in permutations([COMPLETED, *(Facts.gone(SID, ACCOUNT, deletion=d) for d in (second, first))]):
        assert merged(order)["deletion"] == first


def test_the_first_receipt_counts_whatever_else_the_receipts_say() -> None:
    first = {"account_sid": ACCOUNT, "deleted_at": "2026-11-22T07:34:00.000Z"}
    second = {"account_sid": ACCOUNT, "call_sid": CALL, "deleted_at": "2026-11-22T07:35:00.000Z"}

    for order in permutations([COMPLETED, *(Facts.gone(SID, ACCOUNT, deletion=d) for d in (second, first))]):
        assert merged(order)["deletion"] == first


@pytest.mark.parametrize(
    ("name", "values", "winner"),
    [
        ("track", ["inbound", "both"], "inbound"),
        ("channels", [1, 2], 2),
        # DynamoDB gives a map back in whatever order it likes.
        ("encryption_details", [{"b": "1", "a": "2"}, {"a": "3", "b": "1"}], {"a": "3", "b": "1"}),
    ],
)
def test_of_two_words_of_one_rank_the_same_one_wins_in_every_order(name: str, values: list[Any], winner: Any) -> None:
    for order in permutations([replace(IN_PROGRESS, told={name: value}) for value in values]):
        assert merged(order)[name] == winner
    for order in permutations([replace(IN_PROGRESS, metadata={"New": str(value)}) for value in values[:2]]):
        assert merged(order)["metadata"]["New"] == max(map(str, values))


def test_of_two_notes_of_one_time_the_same_one_stays_in_every_order() -> None:
    at = "2026-11-22T07:40:00.000Z"
    proofs = [{"archived_at": at, "key": key} for key in ("b", "a")]
    receipts = [{"deleted_at": at, "requested_by": by} for by in ("b", "a")]

    for order in permutations([replace(COMPLETED, noted={"archive": proof}) for proof in proofs]):
        assert merged(order)["archive"]["key"] == "a"
    for order in permutations([Facts.gone(SID, ACCOUNT, deletion=receipt) for receipt in receipts]):
        assert merged(order)["deletion"]["requested_by"] == "a"
    for order in permutations([replace(COMPLETED, noted={"deleted_at_twilio": each}) for each in (at, SEEN)]):
        assert merged(order)["deleted_at_twilio"] == SEEN


def test_of_the_notes_about_archiving_and_deleting_the_later_times_count() -> None:
    notes: list[dict[str, Any]] = [
        {"uploads": {"bucket/a": "2026-11-22T07:40:00.000Z", "bucket/b": "2026-11-22T07:41:00.000Z"}},
        {"uploads": {"bucket/a": "2026-11-22T07:42:00.000Z"}, "deleting_until": "2026-11-22T07:43:00.000Z"},
        {"uploads": {"bucket/c": "2026-11-22T07:40:00.000Z"}, "deleting_until": "2026-11-22T07:42:00.000Z"},
    ]

    for order in permutations([replace(COMPLETED, noted=noted) for noted in notes]):
        row = merged([ANSWER, *order])
        assert row["uploads"] == {
            "bucket/a": "2026-11-22T07:42:00.000Z",
            "bucket/b": "2026-11-22T07:41:00.000Z",
            "bucket/c": "2026-11-22T07:40:00.000Z",
        }
        assert row["deleting_until"] == "2026-11-22T07:43:00.000Z"


def test_of_two_proofs_the_first_counts() -> None:
    proofs = [{"archived_at": f"2026-11-22T07:4{n}:00.000Z", "key": key} for n, key in ((0, "z"), (1, "a"))]

    for order in permutations([replace(COMPLETED, noted={"archive": proof}) for proof in proofs]):
        assert merged(order)["archive"]["key"] == "z"


def test_a_recording_serves_one_request() -> None:
    claimed = merge(merged([IN_PROGRESS]), replace(ANSWER, intent="http#1"), retention_days=400)
    assert claimed["intent"] == "http#1"

    assert merge(claimed, replace(ANSWER, intent="http#1"), retention_days=400) == claimed
    assert merge(claimed, COMPLETED, retention_days=400)["intent"] == "http#1"
    with pytest.raises(RecordingClaimedError, match=SID):
        merge(claimed, replace(ANSWER, intent="http#2"), retention_days=400)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [([BY_TWILIO], BY_TWILIO), ([BY_TWILIO, BY_HTTP], BY_HTTP), ([BY_HTTP, "z"], "z"), ([BY_TWILIO, "a"], "a")],
)
def test_who_asked_is_never_forgotten_for_a_callback(asked: list[str], expected: str) -> None:
    for order in permutations([replace(ANSWER, requested_by=by) for by in [*asked, BY_TWILIO]]):
        assert merged(order)["requested_by"] == expected


def test_of_two_addresses_for_callbacks_one_stays_whatever_their_order() -> None:
    reports = [replace(ANSWER, callback_url=url) for url in ("https://example.com/a", "https://example.com/b", None)]

    for order in permutations(reports):
        assert merged(order)["callback_url"] == "https://example.com/b"
    assert "callback_url" not in merged([IN_PROGRESS])


def test_the_call_that_was_asked_for_is_kept_where_twilio_names_another_in_every_order() -> None:
    asked = replace(ANSWER, requested_call_sid=CALL, reference="room-17")
    moved = replace(COMPLETED, told={**COMPLETED.told, "call_sid": PARENT})

    for order in permutations([asked, IN_PROGRESS, moved]):
        row = merged(order)
        assert (row["call_sid"], row["requested_call_sid"], row["requested_other_call_sid"]) == (PARENT, CALL, CALL)
        named = sharded(f"{ACCOUNT}#room-17", SID)
        assert (row["reference"], row["account_reference"]) == ("room-17", named)
    for order in permutations([asked, IN_PROGRESS, COMPLETED]):
        assert "requested_other_call_sid" not in merged(order), "it is the call that Twilio names"
    assert merged([asked._replace(told={})])["requested_other_call_sid"] == CALL, "Twilio has named none"
    for order in permutations([asked._replace(told={}), IN_PROGRESS]):
        assert "requested_other_call_sid" not in merged(order), "by now it has"


def test_a_tombstone_keeps_the_name_that_its_caller_gave_it() -> None:
    for order in permutations([replace(ANSWER, reference="room-17"), Facts.gone(SID, ACCOUNT, deletion=RECEIPT)]):
        assert merged(order)["reference"] == "room-17"


def test_an_accounts_rows_of_a_day_and_of_a_reference_are_spread_evenly_and_each_stays_in_its_shard() -> None:
    """A partition of DynamoDB takes 1,000 write units a second."""
    many = [replace(ANSWER, recording_sid=f"RE{number:032x}", reference="room-17") for number in range(1000)]

    for name in ("account_day", "account_reference"):
        found = Counter(merged([one])[name] for one in many)

        key = {shard.partition("#")[2] for shard in found}
        assert found.keys() == set(shards_of(*key))
        assert max(found.values()) < 1.25 * len(many) / SHARDS
    assert (
        merged([many[7], replace(COMPLETED, recording_sid=many[7].recording_sid)])["account_day"]
        == (merged([many[7]])["account_day"])
    )


def test_open_rows_are_spread_over_every_shard_and_stay_in_theirs() -> None:
    shards = [merged([replace(ANSWER, recording_sid=f"RE{n:032x}")])["open_shard"] for n in range(200)]

    assert set(shards) == set(merge_module.OPEN_SHARDS)
    assert shards[1] == merge_module.open_shard(f"RE{1:032x}")


def test_what_twilio_adds_is_kept_and_a_final_status_has_the_last_word_on_it() -> None:
    early, late = (replace(report, metadata={"New": at}) for report, at in ((IN_PROGRESS, "early"), (COMPLETED, "a")))

    for order in permutations([early, late]):
        row = merged(order)
        assert row["metadata"] == {"New": "a"}
        assert row["fact_ranks"]["metadata.New"] == rank("completed")
    assert "metadata" not in merged([ANSWER])


@given(
    st.lists(
        st.builds(
            lambda report, names, value: replace(report, metadata=dict.fromkeys(names, value)),
            st.sampled_from([IN_PROGRESS, COMPLETED, ANSWER]),
            st.sets(st.sampled_from([f"New{number}" for number in range(2 * MOST_METADATA)]), min_size=20, max_size=50),
            st.sampled_from(["x", "y"]),
        ),
        min_size=2,
        max_size=3,
    )
)
def test_which_parameters_a_row_leaves_out_does_not_depend_on_order(reports: list[Facts]) -> None:
    row = merged(reports)
    named = {name for report in reports for name in report.metadata}

    assert sorted(row["metadata"]) == sorted(named)[:MOST_METADATA]
    assert {name.removeprefix("metadata.") for name in row["fact_ranks"] if "." in name} <= row["metadata"].keys()
    for order in permutations(reports):
        assert merged([*order, reports[0]]) == row


def test_the_row_that_is_merged_into_is_not_changed() -> None:
    row = merged([replace(ANSWER, metadata={"New": "x"}), controlled("paused", 5)])
    before = deepcopy(row)

    merge(row, replace(COMPLETED, metadata={"Newer": "x"}, timers={"t": SEEN}), retention_days=400)

    assert row == before


def test_which_status_told_what_is_noted_but_not_of_running_recordings() -> None:
    assert merged([ANSWER])["fact_ranks"] == {}
    ranks = merged([ANSWER, COMPLETED])["fact_ranks"]
    assert ranks == dict.fromkeys(COMPLETED.told, rank("completed"))


def test_the_last_end_of_a_pause_stays_in_every_order() -> None:
    ends = [replace(IN_PROGRESS, pauses_ended_at=at) for at in ("2026-11-22T07:33:05Z", "2026-11-22T07:33:09Z", "")]

    for order in permutations(ends):
        assert merged(order)["pauses_ended_at"] == "2026-11-22T07:33:09Z"
    assert "pauses_ended_at" not in merged([IN_PROGRESS])
