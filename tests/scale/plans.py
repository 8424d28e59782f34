"""What docs/explanation/scale.md says to set, and to ask AWS and Twilio for, at so many recordings a second."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Plan:
    """What is set, by the names of Settings, and which quotas are raised, by the names of LIMITS."""

    settings: Mapping[str, float] = field(default_factory=dict)
    quotas: Mapping[str, float] = field(default_factory=dict)


PLANS: Final[Mapping[int, Plan]] = {
    1: Plan({"archive_concurrency": 5}),
    10: Plan({"archive_concurrency": 50}),
    100: Plan(
        {"control_rate": 1_000, "webhook_rate": 2_000, "archive_concurrency": 400, "parallelization": 2},
        {"executions": 1_500, "twilio-requests": 500},
    ),
    300: Plan(
        {
            "control_rate": 1_000,
            "webhook_rate": 2_000,
            "archive_concurrency": 1_000,
            "parallelization": 4,
            "reconcile_at_once": 2,
        },
        {"executions": 3_000, "twilio-requests": 1_500},
    ),
    1_000: Plan(
        {
            "control_rate": 3_000,
            "webhook_rate": 5_000,
            "archive_concurrency": 3_500,
            "parallelization": 4,
            "reconcile_at_once": 6,
            "table_writes": 12_000,
        },
        {"executions": 8_000, "twilio-requests": 5_000},
    ),
}
"""By recordings a second."""

NEW_ACCOUNT: Final = Plan({"archive_concurrency": 2}, {"executions": 10})
"""Ten recordings a second in an account that has the quotas it was opened with, and waits for more."""
