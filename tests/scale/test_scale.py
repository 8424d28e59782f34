"""The model names the limit that is met first, whatever it is, and none where as much is set as the page says."""

from dataclasses import replace
from typing import Any

import pytest

from tests.scale import plans
from tests.scale.costs import Use, dollars, in_two_parts
from tests.scale.durations import Durations
from tests.scale.limits import LIMITS
from tests.scale.meters import Bucket, Meter, Partition, Places
from tests.scale.model import Course, Model
from tests.scale.recording import Made, dearest, made
from tests.scale.settings import concurrency, parameter_for, planned, read

RECONCILER = "the reconciler's list of Twilio's recordings"


@pytest.fixture(scope="module")
def one() -> Made:
    return made()


@pytest.fixture(scope="module")
def worst() -> Made:
    return dearest()


def run(worst: Made, rate: int, *, seconds: float = 2, plan: int = 1_000, **taken_back: float) -> Course:
    """Run for a few seconds with what is planned for a rate, but for some of it."""
    settings, _ = planned(**plans.PLANS[plan].settings)
    quotas = {name: taken_back.pop(name, value) for name, value in plans.PLANS[plan].quotas.items()}
    settings = replace(settings, **taken_back)  # type: ignore[arg-type]
    return Model(settings, worst, rate=rate, seconds=seconds, quotas=quotas, around=(6, 0)).run()


# --- what is met first ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [10, 100, 1_000])
def test_with_what_is_planned_nothing_is_asked_for_nearly_as_much_as_it_gives(worst: Made, rate: int) -> None:
    course = run(worst, rate, plan=rate, seconds=2_000 / rate)

    assert {name: use for name, use in course.use.items() if use > 0.9} == {}
    assert (course.refused, course.not_started, course.lost_callbacks) == ({}, 0, 0)


@pytest.mark.parametrize(
    ("rate", "plan", "taken_back", "named"),
    [
        (500, 1_000, {"account_shards": 1}, "index by-account-day, its busiest shard"),
        (500, 1_000, {"open_shards": 1}, "index open, its busiest shard"),
        (1_000, 1_000, {"table_writes": 4_000.0}, "RecordingsTable's write units"),
        (300, 300, {"parallelization": 1}, "PublishChangesFunction, batches of the stream"),
        (300, 300, {"webhook_rate": 500.0}, "WebhookApi's throttle"),
        (300, 300, {"control_rate": 100.0, "control_burst": 200.0}, "ControlApi's throttle"),
        (300, 300, {"executions": 500}, "Lambda's executions of the account"),
        (300, 300, {"twilio-requests": 100}, "Twilio's requests at once"),
        (100, 100, {"archive_concurrency": 10}, "ArchiveRecordingFunction, executions for ArchiveQueue"),
        (300, 300, {"reconcile_at_once": 1, "reconcile_seconds": 180.0}, RECONCILER),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_setting_taken_back_is_what_is_met_first(
    worst: Made, rate: int, plan: int, taken_back: dict[str, float], named: str
) -> None:
    course = run(worst, rate, plan=plan, **taken_back)

    name, use = course.first()
    assert (name, use > 1) == (named, True)


def test_what_a_throttle_refuses_is_lost_to_the_callbacks_and_tried_again_by_the_callers(worst: Made) -> None:
    narrow = run(worst, 100, plan=100, seconds=5, webhook_rate=100.0, webhook_burst=1.0)
    later = run(worst, 100, plan=100, seconds=10, control_rate=120.0, control_burst=2.0)

    assert 0.2 < narrow.lost_callbacks / narrow.calls_ended < 0.6
    assert later.refused["ControlApi's throttle"] > 0
    assert later.not_started < later.starts / 20


def test_what_the_archive_cannot_do_waits_in_its_queue(worst: Made) -> None:
    depth = run(worst, 100, plan=100, seconds=10, archive_concurrency=10).depth["ArchiveQueue"]

    assert depth == sorted(depth)
    assert depth[-1] > 500


# --- a new account ----------------------------------------------------------------------------------


def test_ten_a_second_in_a_new_account_starve_nobody_if_the_archive_has_two_executions(worst: Made) -> None:
    settings, _ = planned(**plans.NEW_ACCOUNT.settings)

    def of(concurrency: int) -> Course:
        given = replace(settings, archive_concurrency=concurrency)
        return Model(given, worst, rate=10, seconds=120, quotas=plans.NEW_ACCOUNT.quotas).run()

    starving, well = of(10), of(2)

    assert starving.lost_callbacks > starving.calls_ended / 10
    assert (well.lost_callbacks, well.not_started) == (0, 0)
    assert well.saturated() == ["ArchiveRecordingFunction, executions for ArchiveQueue"]
    assert well.quantile(well.to_row, 0.99) < 15


# --- what it costs ----------------------------------------------------------------------------------


def test_a_recording_costs_no_more_under_a_load(one: Made, worst: Made) -> None:
    def each(rate: int) -> float:
        settings, _ = planned(**plans.PLANS[rate].settings)
        quotas = plans.PLANS[rate].quotas
        course = Model(settings, worst, rate=rate, seconds=600 / rate, quotas=quotas, around=(12, 0)).run()
        return dollars(Use.usual(one, settings).under(course, settings))

    usual = dollars(Use.usual(one, read()))
    assert each(300) < each(10) < usual


def test_a_million_recordings_cost_at_most_43_dollars_without_traces(one: Made) -> None:
    """Five minutes on two channels, with a key. It was 95.6 with traces, more indexes and audio in parts."""
    use = Use.usual(one, replace(read(), is_traced=False))

    assert dollars(use) <= 43
    assert dollars(in_two_parts(use)) == pytest.approx(dollars(use) + 15)


def test_what_is_counted_is_what_the_tests_of_write_units_and_of_calls_count(one: Made) -> None:
    assert one.units() == {"recordings": 5, "idempotency": 2, "by-call": 1, "by-account-day": 1, "open": 2}
    assert one.start.calls == {"UpdateItem": 2, "PutItem": 1}
    assert [sorted(step.calls) for step in one.changes] == [
        ["BatchGetItem", "PutEvents"],
        ["PutEvents"],
        [],
        ["PutEvents"],
    ]
    assert one.audio_bytes > 9_600_000
    assert one.start.log_bytes > 500


def test_a_start_that_is_put_right_is_written_under_another_key_of_each_index(one: Made, worst: Made) -> None:
    more = worst.units() - one.units()

    assert more == {"recordings": 1, "by-call": 2, "by-account-day": 2, "open": 2}


# --- what the model is made of -----------------------------------------------------------------------


def test_the_same_seed_is_the_same_course_of_events(worst: Made) -> None:
    assert run(worst, 20, plan=100) == run(worst, 20, plan=100)
    assert run(worst, 20, plan=100) != run(worst, 20, plan=100, seconds=3)


def test_settings_are_read_from_what_sam_makes_of_the_template() -> None:
    settings = read()

    assert (settings.stream_batch, settings.archive_batch) == (100, 1)
    assert (settings.account_shards, settings.open_shards) == (4, 8)
    assert settings.memory_mb == {"start": 512, "callbacks": 512, "changes": 512, "archive": 256}
    assert (settings.reconcile_every_seconds, settings.reconcile_overlap_seconds) == (300, 900)
    assert 120 < settings.reconcile_seconds < 300
    assert settings.archives
    assert not read(ArchiveRecordings="false").archives
    assert read(StartRecordingConcurrency="30").reserved == {"start": 30}


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, 1_250),
        ({"ScalingConfig": {"MaximumConcurrency": "20"}}, 20),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 300}}, 3_000),
    ],
    ids=["nothing is said", "MaximumConcurrency", "pollers of its own"],
)
def test_how_many_executions_a_queue_gets_is_what_its_mapping_says(mapping: dict[str, Any], expected: int) -> None:
    assert concurrency(mapping) == expected


@pytest.mark.parametrize(
    "setting", ["control_rate", "webhook_rate", "parallelization", "archive_concurrency", "reconcile_at_once"]
)
def test_a_parameter_sets_what_it_is_for_and_what_has_none_is_told(setting: str) -> None:
    settings, unset = planned(**{setting: 7})

    assert getattr(settings, setting) == 7
    assert unset == ([] if parameter_for(setting) else [setting])


def test_a_setting_that_nobody_knows_is_refused() -> None:
    with pytest.raises(AttributeError):
        planned(archive_concurency=7)


def test_every_plan_keeps_within_what_aws_takes() -> None:
    for rate, plan in plans.PLANS.items():
        assert plan.settings.get("parallelization", 1) <= LIMITS["parallelization"].value
        assert plan.settings.get("table_writes", 0) <= LIMITS["table-writes"].value
        assert plan.quotas.keys() <= {name for name, limit in LIMITS.items() if limit.is_quota}
        if rate < 1_000:  # there it takes pollers of its own
            assert plan.settings["archive_concurrency"] <= LIMITS["queue-concurrency"].value


def test_every_limit_has_a_source() -> None:
    assert {limit.source.split("/")[2] for limit in LIMITS.values()} == {
        "aws.amazon.com",
        "docs.aws.amazon.com",
        "www.twilio.com",
    }


def test_more_memory_makes_functions_faster_up_to_a_whole_processor(one: Made) -> None:
    def start(megabytes: int) -> float:
        return Durations.of(one, dict.fromkeys(("start", "callbacks", "changes", "archive"), megabytes)).start

    assert start(256) > start(512) > start(1_769) == start(3_008)


def test_a_throttle_takes_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(rate=10, burst=3)

    assert [bucket.takes(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.takes(0.1), bucket.takes(0.1)] == [True, False]
    assert [bucket.takes(60.0) for _ in range(5)] == [True, True, True, False, False]


def test_a_partition_has_writes_wait_and_in_the_end_fail() -> None:
    partition = Partition(rate=10)
    waits = [partition.wait(0.0, 10) for _ in range(5)]

    assert waits == [0, 1, 2, 3, None]
    assert partition.wait(3.5, 5) == 0


def test_a_meter_counts_what_is_asked_for_in_its_time() -> None:
    meter = Meter(capacity=2, since=10, until=20)
    for now in (9.9, 10, 19.9, 20):
        meter.ask(now, 5)
        meter.refuse(now)

    assert (meter.use, meter.refused) == (0.5, 2)


def test_places_are_as_many_as_there_are() -> None:
    places = Places(1)

    assert [places.enter(), places.enter()] == [True, False]
    places.leave()
    assert places.enter()


def test_what_has_not_come_in_time_counts_as_never() -> None:
    course = Course(rate=1, seconds=1, calls_ended=4)

    assert [course.quantile([3.0, 1.0, 2.0], part) for part in (0.0, 0.5, 0.75)] == [1, 3, float("inf")]
