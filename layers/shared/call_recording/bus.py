"""What we say on the event bus, and under which names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from call_recording.errors import EventNotPublishedError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "call-recording"
REQUEST_FAILED: Final = "Call Recording Request Failed"
STILL_PAUSED: Final = "Call Recording Still Paused"


@dataclass(frozen=True)
class Bus:
    """The bus that requests arrive on and changes are published to."""

    client: "EventBridgeClient"
    name: str

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Publish one event.

        Raises EventNotPublishedError when EventBridge does not take it.
        """
        entry = {
            "EventBusName": self.name,
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
        }
        answer = self.client.put_events(Entries=[entry])  # type: ignore[list-item]
        if answer["FailedEntryCount"]:
            raise EventNotPublishedError(answer["Entries"][0].get("ErrorCode", "unknown"))
