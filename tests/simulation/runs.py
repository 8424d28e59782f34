"""One run for one seed, with a part of the application taken out if asked for."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.simulation.promises import broken_promises
from tests.simulation.promises.outcome import Outcome
from tests.simulation.removals import REMOVALS
from tests.simulation.scenario import FAULTS_LAST, LASTS, Scenario
from tests.simulation.world import World

SERVICES: Final = (
    *("start-recording", "recording-status", "reconcile-recordings", "recordings-api", "publish-changes"),
    "archive-recording",
)
LAYER: Final = os.environ["POWERTOOLS_SERVICE_NAME"]
"""What the layer's own loggers belong to, outside of a function."""


def run(template: dict[str, Any], *, seed: int, recordings: int, without: str | None = None) -> list[str]:
    """Return the promises that were broken."""
    return broken_promises(finished(template, seed=seed, recordings=recordings, without=without))


def finished(template: dict[str, Any], *, seed: int, recordings: int, without: str | None = None) -> Outcome:
    """Return what a run left behind."""
    world = World(seed, FAULTS_LAST, template)
    logging.getLogger(LAYER).setLevel("CRITICAL")
    with REMOVALS[without](), world.running():
        scenario = Scenario(world, recordings=recordings, has_reconciler=without != "the reconciler")
        world.scheduler.run(until=world.begins + LASTS)
        return Outcome.of(scenario)


def logged(template: dict[str, Any], *, seed: int, recordings: int) -> tuple[str, set[str]]:
    """Return all that a run logged, and the tokens that it used."""
    world = World(seed, FAULTS_LAST, template, log_level="INFO")
    with _loggers_to(world.written), world.running():
        scenario = Scenario(world, recordings=recordings)
        world.scheduler.run(until=world.begins + LASTS)
    return world.written.getvalue(), scenario.tokens


@contextmanager
def _loggers_to(stream: io.StringIO) -> Iterator[None]:
    """Have the functions' loggers write there: one that was made before keeps its stream and its level."""
    loggers = [logging.getLogger(name) for name in SERVICES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel("INFO")
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)
    layers = logging.getLogger(LAYER)
    to_stream = logging.StreamHandler(stream)
    layers.addHandler(to_stream)
    layers.setLevel("INFO")
    yield
    layers.removeHandler(to_stream)
    layers.setLevel("CRITICAL")
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stdout)
