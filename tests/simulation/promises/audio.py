"""A completed recording that nobody deleted is always at Twilio or in the archive; a deleted one is nowhere.

Watched at every moment: see `ledger`. Not promised:

- that the archive's retention does not end within the second in which it was seen that the audio is there, and Twilio
  was asked to delete it;
- that audio is proven where Twilio first gave some that was up to two seconds short, nobody could note that it was
  stored, and then gave the whole: nothing is overwritten, and the archive failure event says `archive-conflict`.
"""

from collections.abc import Iterator

from call_recording.bus import ARCHIVE_FAILED
from tests.simulation.promises.outcome import Outcome


def broken(outcome: Outcome) -> list[str]:
    """Return what does not hold."""
    return [*outcome.world.ledger.broken, *_something_is_left(outcome), *_not_archived(outcome)]


def _something_is_left(outcome: Outcome) -> Iterator[str]:
    ledger, twilio = outcome.world.ledger, outcome.world.twilio
    for sid, receipts in outcome.scenario.deleters.receipts.items():
        if (at_twilio := twilio.recordings[sid]).status == "completed" and not at_twilio.is_deleted:
            yield f"{sid} has a receipt of its deletion, and Twilio has it"
        if held := ledger.held(sid):
            yield f"{sid} has a receipt of its deletion, and the archive has {', '.join(v.key for v in held)}"
        for key, _, _ in ledger.uploads.values():
            if sid in key:
                yield f"{sid} has a receipt of its deletion, and there is an unfinished upload of it"
        for receipt in receipts:
            earlier = [other.body for other in receipts if other.given_at < receipt.asked_at]
            if earlier and receipt.body not in earlier:
                yield f"{sid} was deleted before, and then got another receipt"
        lines = [line for line in outcome.world.aws.audited if line.get("recording_sid") == sid]
        if not {"deletion-asked-for", "deletion"} <= {line["what"] for line in lines}:
            yield f"{sid} was deleted, and the audit trail does not say so"


def _not_archived(outcome: Outcome) -> Iterator[str]:
    ledger, expired = outcome.world.ledger, outcome.scenario.deleters.expired
    conflicts = _failed(outcome, "archive-conflict")
    for sid, row in outcome.rows.items():
        recording = outcome.world.twilio.recordings.get(sid)
        if recording is None or recording.status != "completed" or sid in ledger.to_be_deleted or sid in expired:
            continue
        if not ledger.is_archived(sid):
            yield f"{sid} is completed, and is not in the archive"
        elif "archive" not in row and sid in conflicts and any(version.is_short for version in ledger.held(sid)):
            continue
        elif "archive" not in row:
            yield f"{sid} is in the archive, and its row does not say so"
        elif (row["archive"]["key"], row["archive"]["version_id"]) not in ledger.versions:
            yield f"{sid} is in the archive, and not where its row says"


def _failed(outcome: Outcome, reason: str) -> set[str]:
    """Return the recordings of which an archive failure event says that."""
    events = [event.detail for event in outcome.world.aws.published if event.kind == ARCHIVE_FAILED]
    return {detail["recording_sid"] for detail in events if detail["reason"] == reason}
