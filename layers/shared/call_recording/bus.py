"""The events that this stack publishes, and their detail types."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from call_recording.errors import EventNotPublishedError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE: Final = "call-recording"
REQUEST_FAILED: Final = "Call Recording Request Failed"
STATUS_CHANGE: Final = "Call Recording Status Change"
ARCHIVED: Final = "Call Recording Archived"
ARCHIVE_FAILED: Final = "Call Recording Archive Failed"
STILL_PAUSED: Final = "Call Recording Still Paused"
STARTED_WHILE_PAUSED: Final = "Call Recording Started While Paused"


class Bus(NamedTuple):
    """The event bus for requests and published changes."""

    client: "EventBridgeClient"
    name: str

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Publish one event.

        Raises EventNotPublishedError if EventBridge does not accept it.
        """
        refused = self.publish_all([(detail_type, json.dumps(detail))])
        if refused:
            raise EventNotPublishedError(refused[0])

    def publish_all(self, events: Sequence[tuple[str, str]]) -> dict[int, str]:
        """Publish up to ten events, each a type and its detail as JSON; return the code of each that was refused."""
        entries: list[PutEventsRequestEntryTypeDef] = [
            {"EventBusName": self.name, "Source": SOURCE, "DetailType": detail_type, "Detail": detail}
            for detail_type, detail in events
        ]
        answer = self.client.put_events(Entries=entries)
        if not answer["FailedEntryCount"]:
            return {}
        return {number: entry["ErrorCode"] for number, entry in enumerate(answer["Entries"]) if "ErrorCode" in entry}
