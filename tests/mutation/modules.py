"""The modules that decide, and the tests that decide about each."""

from typing import Final

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "recordings/merge": ("unit/recordings/test_merge.py",),
    "recordings/updates": ("unit/recordings/test_updates.py",),
    "recordings/watches": ("unit/recordings/test_watches.py",),
    "callbacks/proof": ("unit/callbacks/test_proof.py",),
    "commands/intents": ("unit/commands/test_intents.py",),
    "start/starter": ("unit/start/test_starter.py",),
    "twilio/patience": ("unit/twilio/test_patience.py",),
    "control/controller": ("unit/control", "functions/test_control_recordings.py", "functions/test_watched_pauses.py"),
    "control/asking": ("unit/control/test_asking.py",),
    "control/resume_timers": ("unit/control/test_resume_timers.py",),
    "control/overdue": ("unit/control", "functions/test_watched_pauses.py"),
    "delete/deleter": ("unit/delete",),
    "archive/custody": ("unit/archive/test_custody.py",),
    "archive/bucket": ("unit/archive/test_bucket.py",),
    "archive/archiver": ("unit/archive/test_archiver.py", "functions/test_archive_recording.py"),
    "reconcile/reconciler": ("unit/reconcile/test_reconciler.py", "functions/test_reconcile_recordings.py"),
}
"""Each module of the layer, and the tests under `tests/` that it is held against."""

TOO_SLOW: Final = (
    "unit/recordings/test_merge.py::test_every_order_and_repetition_gives_one_row_in_dynamodb_too",
    "functions/test_archive_recording.py::test_whatever_goes_wrong_there_is_one_right_object_or_a_failure_that_is_seen",
    "functions/test_reconcile_recordings.py::test_a_run_ends_at_its_bounds_and_the_next_goes_on_there",
    "functions/test_reconcile_recordings.py::test_rows_of_running_recordings_do_not_keep_unknown_ones_waiting",
    "functions/test_threats.py::test_a_callback_that_is_cut_differently_says_nothing_that_twilio_did_not_say",
)
"""Tests that take seconds: they find what others find, a thousand times over."""
