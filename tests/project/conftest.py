"""A time that the tests of the simulated Twilio turn, and how they sign their requests."""

from base64 import b64encode

import pytest

BEGAN = 1795332780.0


class Now:
    """A clock that the test turns."""

    seconds = BEGAN


@pytest.fixture
def now() -> Now:
    return Now()


def basic(account_sid: str) -> dict[str, str]:
    """Return the headers of whoever signs in as the account."""
    return {"authorization": "Basic " + b64encode(f"{account_sid}:token".encode()).decode()}
