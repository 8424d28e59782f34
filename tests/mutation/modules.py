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
    "control/controller": ("unit/control",),
    "control/asking": ("unit/control/test_asking.py",),
    "control/resume_timers": ("unit/control/test_resume_timers.py",),
    "control/overdue": ("unit/control", "functions/test_watched_pauses.py"),
    "delete/deleter": ("unit/delete", "functions/test_delete_and_media.py"),
    "archive/custody": ("unit/archive/test_custody.py",),
    "archive/bucket": ("unit/archive/test_bucket.py",),
    "archive/archiver": ("unit/archive/test_archiver.py", "unit/archive/test_archive_archiver.py"),
    "reconcile/reconciler": ("unit/reconcile/test_reconciler.py",),
    "reconcile/windows": ("unit/reconcile/test_windows.py",),
}
"""Each module of the layer, and the tests under `tests/` that it is held against."""

TOO_SLOW: Final = ("unit/recordings/test_merge.py::test_every_order_and_repetition_gives_one_row_in_dynamodb_too",)
"""Tests that take seconds: they find what others find, a thousand times over."""
