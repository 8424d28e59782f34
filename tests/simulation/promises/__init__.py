"""What must hold when the faults have stopped and everything was tried again, whatever the seed."""

from tests.simulation.promises import audio, controls, events, pauses, rows
from tests.simulation.promises.outcome import Outcome


def broken_promises(outcome: Outcome) -> list[str]:
    """Return a sentence for everything that does not hold; nothing, if all is well."""
    return [sentence for part in (rows, events, controls, pauses, audio) for sentence in part.broken(outcome)]
