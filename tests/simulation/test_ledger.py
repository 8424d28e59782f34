"""The ledger notices at once when audio is not where it should be: the whole of it, and somewhere."""

import random
from typing import Final

import pytest

from local.twilio_simulator.audio import wav
from local.twilio_simulator.model import Account
from tests.simulation.ledger import WAV_RATE_HZ, Ledger
from tests.simulation.witness import Delivery, Witness


class Place:
    """A Twilio with a completed recording of ten seconds, and the ledger of its audio."""

    def __init__(self, *, is_locked: bool = False) -> None:
        self.now = 0.0
        self.twilio = Witness(
            now=lambda: self.now,
            clock=lambda: self.now,
            base_url="https://api.twilio.com",
            source=random.Random(0),  # noqa: S311 (to be repeatable is the point)
            wav_rate_hz=WAV_RATE_HZ,
        )
        account = self.twilio.add_account(Account("AC" + "0" * 32, "token"))
        call = self.twilio.begin_call(account.sid)
        self.recording = self.twilio.record(call)
        self.now = 10.0
        self.twilio.hang_up(call.sid)
        self.now = 60.0
        self.twilio.due_callbacks()
        assert (self.recording.status, self.recording.duration) == ("completed", 10)
        self.ledger = Ledger(self.twilio, is_locked=is_locked)
        self.key = f"AC/{self.recording.sid}.wav"

    def store(self, *, seconds: int = 10, channels: int = 1) -> None:
        body = b"".join(wav(seconds=seconds, channels=channels, rate_hz=WAV_RATE_HZ).pieces)
        arguments = {"Key": self.key, "Body": body, "Metadata": {"channels": str(channels)}}
        self.ledger.note("PutObject", arguments, {"VersionId": "1"})
        self.now += 1

    def store_a_part(self) -> None:
        self.store(seconds=7)

    def store_a_mix(self) -> None:
        self.recording.channels = 2
        self.store()

    def delete(self) -> None:
        self.ledger.note("DeleteObject", {"Key": self.key, "VersionId": "1"}, {})

    def hide(self) -> None:
        self.ledger.note("DeleteObject", {"Key": self.key}, {"VersionId": "marker"})

    def delete_at_twilio(self, function: str = "archive_recording") -> None:
        self.recording.is_deleted = True
        self.twilio._deleted(self.recording.sid, Delivery(function, "", self.now))  # noqa: SLF001 (as it does itself)

    def delete_at_twilio_by_request(self) -> None:
        self.delete_at_twilio("recordings_api")

    def want_it_gone(self) -> None:
        self.ledger.wants_deleted(self.recording.sid)

    def give_a_receipt(self) -> None:
        self.ledger.receipt(self.recording.sid, asked_at=self.now)


HAPPENS: Final[dict[tuple[bool, str], str | None]] = {
    (False, "store"): None,
    (False, "store, delete_at_twilio"): None,
    (False, "store, want_it_gone, delete_at_twilio_by_request, delete, give_a_receipt"): None,
    (False, "store_a_part"): "is in the archive and is not what Twilio has",
    (False, "store_a_mix"): "has not the channels that were recorded",
    (False, "delete_at_twilio"): "is neither at Twilio nor in the archive",
    (False, "store, delete_at_twilio, delete"): "is neither at Twilio nor in the archive",
    (False, "store, delete_at_twilio, hide"): "is neither at Twilio nor in the archive",
    (False, "store, want_it_gone, delete_at_twilio_by_request, give_a_receipt"): "there is a receipt of its deletion",
    (False, "want_it_gone, give_a_receipt"): "of which there is a receipt",
    (True, "store, delete_at_twilio"): None,
    (True, "store, want_it_gone, delete_at_twilio_by_request"): "was deleted at Twilio while its object was locked",
    (True, "store, want_it_gone, delete"): "was deleted while it was locked",
}
"""Whether Object Lock is on, what happens to a recording, and the sentence that says what is wrong with that."""


def broken_after(happens: str, *, is_locked: bool) -> list[str]:
    """Return what the ledger says is broken."""
    place = Place(is_locked=is_locked)
    for step in happens.split(", "):
        getattr(place, step)()
    return place.ledger.broken


@pytest.mark.parametrize(("is_locked", "happens"), HAPPENS)
def test_audio_that_is_not_where_it_should_be_is_noticed_at_once(*, is_locked: bool, happens: str) -> None:
    said, sentence = broken_after(happens, is_locked=is_locked), HAPPENS[is_locked, happens]

    assert [sentence in one for one in said] == [True] if sentence else said == []
