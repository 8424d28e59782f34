"""Twilio as the layer reaches it."""

import boto3
import pytest

from call_recording.twilio.api import Twilio, session
from call_recording.twilio.credentials import CredentialStore
from local.twilio_simulator.server import TwilioServer
from tests.conftest import SECRET_PREFIX


@pytest.fixture
def connection(aws: None, twilio: TwilioServer) -> Twilio:
    return Twilio(session(twilio.url), twilio.url, CredentialStore(boto3.client("secretsmanager"), SECRET_PREFIX))
