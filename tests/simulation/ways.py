"""Which of Twilio's ways a run meets, beyond what happens in every run: a seed has some of them, or none."""

import random
from typing import Final

ANSWERS_RUNNING: Final = "a second start is answered 200 with the recording that runs"
PARENTS: Final = "some calls are child legs, and Twilio names their parents"
CONFERENCES: Final = "some calls are in a conference that is recorded past this stack"
SOURCES: Final = "TwiML, trunks and the call itself record, too"
CONFERENCES_CALL_BACK: Final = "what is recorded of a conference calls this stack back, with no CallSid"
BY_DAY: Final = "lists take the times in DateCreated< and > for their day"
NAMES_CURRENT: Final = "an update of Twilio.CURRENT is answered with that for a sid"
NO_START_TIME: Final = "what others record shows no start_time"
NO_DATE: Final = "answers do not say what time it is at Twilio"
SHARED_KEYS: Final = "an account's callbacks are signed with a shared key"
OTHER_REQUESTS: Final = "this stack's URL is also told as a Record action and a call's StatusCallback"
LATE_CALLS: Final = "calls are in progress a moment after they were answered"

WAYS: Final = (
    *(ANSWERS_RUNNING, PARENTS, CONFERENCES, SOURCES, LATE_CALLS),
    *(CONFERENCES_CALL_BACK, BY_DAY, NAMES_CURRENT, NO_START_TIME, SHARED_KEYS, OTHER_REQUESTS, NO_DATE),
)


def ways(seed: int) -> frozenset[str]:
    """Return the ways of a seed: none of every second pair of seeds, so that each kind of faults has both."""
    draw = random.Random(f"ways {seed}")  # noqa: S311 (to be repeatable is the point)
    return frozenset(way for way in WAYS if seed % 4 >= 2 and draw.random() < 0.5)
