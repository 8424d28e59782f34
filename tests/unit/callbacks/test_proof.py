"""Only a signature of the account's own token over exactly these parameters proves a callback; all else is refused."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from call_recording.callbacks.proof import Fields, Proof
from call_recording.errors import (
    CredentialsUnavailableError,
    MalformedSecretError,
    RequestTooLargeError,
    UnknownAccountError,
    UnprovenCallbackError,
)
from call_recording.http.request import MOST_BODY_BYTES, HttpRequest
from call_recording.twilio.credentials import Credentials

TOKEN = "token"
ACCOUNT, SUBACCOUNT = "AC" + "1" * 32, "AC" + "2" * 32
TOLD, CALLED = "https://told.example.com/hook", "https://called.example.com/hook"
FIELDS = [("AccountSid", ACCOUNT), ("RecordingStatus", "completed"), ("Blank", "")]


class Store:
    """Credentials as a CredentialStore gives them: those that were read, and those that a refresh finds."""

    def __init__(self, *held: Credentials, fresh: Credentials | None = None) -> None:
        self.held = {credentials.account_sid: credentials for credentials in held}
        self.fresh = fresh
        self.refreshed: list[str] = []

    def get(self, account_sid: str) -> Credentials:
        if account_sid not in self.held:
            raise UnknownAccountError(account_sid)
        return self.held[account_sid]

    def refresh(self, account_sid: str) -> Credentials | None:
        self.refreshed.append(account_sid)
        return self.fresh


def proven(http: HttpRequest, store: Any = None) -> Fields:
    """Return what is proven of a request, with a store of one account whose token is `token`."""
    store = store or Store(Credentials(ACCOUNT, "token"))
    return Proof(store, RequestValidator, TOLD, ACCOUNT).proven_fields(http)


def request(method: str, *, signature: str | None, query: str | dict[str, list[str]] = "", body: str = "") -> Any:
    headers: Mapping[str, tuple[str, ...]] = {} if signature is None else {"x-twilio-signature": (signature,)}
    return HttpRequest(method, CALLED, headers, {}, query, body, is_base64=False)


def posted(
    fields: Fields = FIELDS, *, token: str = TOKEN, url: str = TOLD, query: str = "", signed: Fields | None = None
) -> HttpRequest:
    """Return a form, signed with the token for the address and the fields `signed` (those that are sent)."""
    parameters: dict[str, list[str]] = {}
    for name, value in fields if signed is None else signed:
        parameters.setdefault(name, []).append(value)
    signature = RequestValidator(token).compute_signature(url, _Multi(parameters))
    return request("POST", signature=signature, query=query, body=urlencode(fields))  # type: ignore[no-any-return]


def got(fields: Fields = FIELDS, *, token: str = TOKEN, url: str = TOLD) -> HttpRequest:
    query = urlencode(fields)
    signature = RequestValidator(token).compute_signature(f"{url}?{query}", {})
    return request("GET", signature=signature, query=query)  # type: ignore[no-any-return]


class _Multi(dict[str, list[str]]):
    def getlist(self, name: str) -> list[str]:
        return self[name]


@pytest.mark.parametrize("make", [posted, got])
@pytest.mark.parametrize("url", [TOLD, CALLED])
def test_what_the_accounts_token_signed_is_proven(make: Callable[..., HttpRequest], url: str) -> None:
    assert proven(make(url=url)) == FIELDS


@pytest.mark.parametrize("make", [posted, got])
def test_either_token_proves_while_they_rotate_and_nothing_is_read_anew(make: Callable[..., HttpRequest]) -> None:
    for token in ("token", "second"):
        store = Store(Credentials(ACCOUNT, "token", "second"))

        assert proven(make(token=token), store) == FIELDS
        assert store.refreshed == []


def test_a_query_of_the_webhooks_own_address_is_signed_and_is_no_parameter() -> None:
    assert proven(posted(url=f"{TOLD}?x=1", query="x=1")) == FIELDS
    with pytest.raises(UnprovenCallbackError):
        proven(posted(query="x=1"))


def test_every_value_of_a_repeated_parameter_is_signed() -> None:
    fields = [*FIELDS, ("Twice", "b"), ("Twice", "a")]

    assert proven(posted(fields)) == fields
    with pytest.raises(UnprovenCallbackError):
        proven(posted(fields, signed=fields[:-1]))


def test_a_tokens_rotation_is_noticed_by_reading_it_anew() -> None:
    store = Store(Credentials(ACCOUNT, "old"), fresh=Credentials(ACCOUNT, "token"))

    assert proven(posted(), store) == FIELDS
    assert store.refreshed == [ACCOUNT]


@pytest.mark.parametrize("fresh", [None, Credentials(ACCOUNT, "another")])
def test_what_neither_the_held_nor_the_fresh_token_signed_is_refused(fresh: Credentials | None) -> None:
    store = Store(Credentials(ACCOUNT, "old"), fresh=fresh)

    with pytest.raises(UnprovenCallbackError):
        proven(posted(), store)


def test_an_account_is_proven_by_its_own_token_and_by_no_other() -> None:
    store = Store(Credentials(ACCOUNT, "token"), Credentials(SUBACCOUNT, "its own"))
    fields = [("AccountSid", SUBACCOUNT)]

    assert proven(posted(fields, token="its own"), store) == fields
    with pytest.raises(UnprovenCallbackError):
        proven(posted(fields, token="token"), store)
    assert store.refreshed == [SUBACCOUNT]


def test_a_callback_that_names_no_account_is_held_against_the_stacks_own() -> None:
    fields = [("RecordingStatus", "completed")]

    assert proven(posted(fields)) == fields
    with pytest.raises(UnprovenCallbackError):
        proven(posted(fields), Store(Credentials(SUBACCOUNT, "token")))


@pytest.mark.parametrize("signature", [None, "", "é"])
def test_without_a_signature_that_can_be_twilios_nothing_is_looked_up(signature: str | None) -> None:
    class Untouched:
        def get(self, account_sid: str) -> Credentials:
            raise AssertionError(account_sid)

    with pytest.raises(UnprovenCallbackError):
        proven(request("POST", signature=signature, body=urlencode(FIELDS)), Untouched())


def test_several_signatures_are_refused_although_one_is_right() -> None:
    valid = posted()
    both = {"x-twilio-signature": (*valid.headers["x-twilio-signature"], "wrong")}

    with pytest.raises(UnprovenCallbackError):
        proven(valid._replace(headers=both))


def test_the_parameters_of_another_method_are_not_those_that_were_signed() -> None:
    with pytest.raises(UnprovenCallbackError):
        proven(posted()._replace(method="GET"))
    with pytest.raises(UnprovenCallbackError):
        proven(posted()._replace(method="PUT"))
    assert proven(got()._replace(method="POST")) == [], "the address is right, and the form empty"


def test_payload_1_0_has_lost_what_was_signed_and_proves_nothing() -> None:
    with pytest.raises(UnprovenCallbackError):
        proven(got()._replace(query={name: [value] for name, value in FIELDS}))

    signature = RequestValidator("token").compute_signature(TOLD, {})
    assert proven(request("GET", signature=signature, query={"AccountSid": [ACCOUNT]})) == [], "nothing was said"


@pytest.mark.parametrize(
    "spoiled",
    [
        {"body": "%ff=1"},
        {"body": "not base64", "is_base64": True},
        {"url": "https://\ud800.example.com/"},
        {"query": "x=\ud800"},
    ],
)
def test_what_cannot_be_read_cannot_have_been_signed(spoiled: dict[str, Any]) -> None:
    with pytest.raises(UnprovenCallbackError):
        proven(posted()._replace(**spoiled))


def test_a_body_that_nobody_looks_at_is_too_large_and_not_unproven() -> None:
    with pytest.raises(RequestTooLargeError):
        proven(posted()._replace(body="x" * (MOST_BODY_BYTES + 1)))


@pytest.mark.parametrize("when", ["get", "refresh"])
def test_a_broken_secret_is_no_refusal_so_that_twilio_tries_again(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Credentials(ACCOUNT, "old"))

    def broken(account_sid: str) -> Credentials:
        raise MalformedSecretError(account_sid, why="not JSON")

    monkeypatch.setattr(store, when, broken)

    with pytest.raises(CredentialsUnavailableError) as raised:
        proven(posted(), store)
    assert raised.value.account_sid == ACCOUNT
