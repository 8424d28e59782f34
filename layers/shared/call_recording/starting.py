"""Starting one recording: ask Twilio, and have the row in the table before anybody hears of it."""

from dataclasses import dataclass
from typing import Any

import requests

from call_recording.credentials import CredentialStore
from call_recording.deadline import Deadline
from call_recording.errors import CredentialsRefusedError
from call_recording.facts import Facts
from call_recording.recordings import RecordingsTable
from call_recording.start_request import StartRequest, without_userinfo
from call_recording.twilio_api import TwilioApi


@dataclass(frozen=True)
class Starter:
    """Everything that starting a recording needs."""

    credentials: CredentialStore
    recordings: RecordingsTable
    session: requests.Session
    twilio_api_url: str
    webhook_url: str

    def start(self, request: StartRequest, *, requested_by: str, deadline: Deadline) -> dict[str, Any]:
        """Start the recording and return Twilio's recording resource.

        Raises UnknownAccountError and the other credential errors, TwilioRefusedError or
        TwilioUnavailableError and their kinds, or what RecordingsTable.record raises.
        """
        recording = self._create(request, deadline=deadline)
        facts = Facts.from_recording(recording, api_url=self.twilio_api_url)
        callback_url = without_userinfo(request.callback_url(self.webhook_url))
        self.recordings.record(facts.asked_for(by=requested_by, callback_url=callback_url))
        return recording

    def _create(self, request: StartRequest, *, deadline: Deadline) -> dict[str, Any]:
        form = request.to_form(self.webhook_url)
        try:
            return self._twilio(request.account_sid).create_call_recording(request.call_sid, form, deadline=deadline)
        except CredentialsRefusedError:
            # The secret may have been rotated since we cached it.
            twilio = self._twilio(request.account_sid, refresh=True)
            return twilio.create_call_recording(request.call_sid, form, deadline=deadline)

    def _twilio(self, account_sid: str, *, refresh: bool = False) -> TwilioApi:
        credentials = self.credentials.get(account_sid, refresh=refresh)
        return TwilioApi(self.session, self.twilio_api_url, credentials)
