"""The files in `events/` are what the simulator and API Gateway make; none is left behind."""

import json

from generators.sample_events import sample_events
from local.stack import EVENTS


def test_every_file_is_what_its_generator_makes_and_none_is_orphaned() -> None:
    files = {path.name: json.loads(path.read_text()) for path in EVENTS.glob("*.json")}

    assert files == sample_events(), "run `make events`"
