"""Only a signature of the account's own token over exactly these parameters proves a callback; all else is refused."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator, get_signature_algorithm

from call_recording.callbacks.proof import Fields, Proof
from call_recording.callbacks.spellings import MOST_SPELLINGS, spellings
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


def test_a_query_of_the_webhooks_own_address_is_signed_and_its_parameters_count() -> None:
    assert proven(posted(url=f"{TOLD}?x=1", query="x=1")) == [*FIELDS, ("x", "1")]
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
    assert proven(got()._replace(method="POST")) == [("Blank", "")], "the form is empty: nothing is reported"


def test_what_a_form_reports_is_in_the_form_alone() -> None:
    query = f"RecordingSid=RE1&RecordingStatus=absent&AccountSid={SUBACCOUNT}&Blank=no&mine=yes&mine=too"

    fields = proven(posted(url=f"{TOLD}?{query}", query=query))

    assert fields == [*FIELDS, ("mine", "yes"), ("mine", "too")]


@pytest.mark.parametrize(
    ("query", "said"),
    [("x=%ff&y=1", [("x", "\ufffd"), ("y", "1")]), ("&".join(["x=1"] * 300), [("x", "1")] * 300)],
    ids=["not UTF-8", "more than anybody sends"],
)
def test_an_odd_query_is_proven_and_read_as_far_as_it_can_be(query: str, said: list[tuple[str, str]]) -> None:
    assert proven(posted(url=f"{TOLD}?{query}", query=query)) == [*FIELDS, *said]


@pytest.mark.parametrize("query", ["Recording%0AStatus=x\n", "a=1#", "a=\t1", "a= 1"])
def test_what_no_address_has_is_not_taken_out_to_prove_the_rest(query: str) -> None:
    with pytest.raises(UnprovenCallbackError):
        proven(posted(url=f"{TOLD}?{query}", query=query))


class Counting(RequestValidator):  # type: ignore[misc]
    """Twilio's validator, which counts the HMACs that it makes."""

    made = 0

    def compute_signature(self, uri: str, params: Any, algorithm: str | None = None) -> str:
        Counting.made += 1
        return str(super().compute_signature(uri, params, algorithm))


# Two addresses, each with a port and without, two tokens, and both once more after the secret was read anew.
MOST_HMACS = MOST_SPELLINGS * 2 * 2 * 2 * 2


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "query", ["", "a=b", "a=%20:@,/;?!$'()*~[]=+%3a" * 2, "%3a:" * 2_000, "&".join(["a@b=:"] * 199)]
)
def test_a_forgery_costs_no_more_than_so_many_hmacs(method: str, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "made", 0)
    rotating = Credentials(ACCOUNT, "one", "two")
    store: Any = Store(rotating, fresh=rotating)

    with pytest.raises(UnprovenCallbackError):
        Proof(store, Counting, TOLD, ACCOUNT).proven_fields(request(method, signature="forged", query=query))

    assert 0 < Counting.made <= MOST_HMACS
    assert query or Counting.made == 16, "without a query there is nothing to spell"


@given(st.text(st.sampled_from("aé&=%20:@,/;?!$'()*~[]+3ADd#")))
@example("a%3D=b%3D=&%3d&=%3D&&")
@example("%3A%3a%2B+%20%26%25%23%zz%")
def test_every_spelling_of_a_query_says_the_very_same(query: str) -> None:
    spelt = spellings(query)

    assert spelt[0] == query
    assert len(set(spelt)) == len(spelt) <= MOST_SPELLINGS
    for other in spelt:
        assert parse_qsl(other, keep_blank_values=True) == parse_qsl(query, keep_blank_values=True)


@pytest.mark.parametrize("safe", ["".join(chars) for size in range(5) for chars in combinations(":@,/", size)])
@pytest.mark.parametrize("quote_via", [quote, quote_plus])
@pytest.mark.parametrize("arrived_safe", ["", ":@,/"])
def test_whatever_an_encoder_leaves_as_it_is_is_among_the_spellings(
    safe: str, quote_via: Callable[..., str], arrived_safe: str
) -> None:
    said = [("RecordingStartTime", "Sun, 22 Nov 2026 07:33:00 +0000"), ("who", "a@b"), ("url", "https://x/y")]

    assert urlencode(said, quote_via=quote_via, safe=safe) in spellings(urlencode(said, safe=arrived_safe))


@pytest.mark.parametrize("settings", ["key=k,algorithm=HMAC_SHA256", " algorithm=HMAC_SHA256 ,key=k"])
def test_the_settings_of_a_signature_are_read_as_twilios_library_reads_them(settings: str) -> None:
    store = Store(Credentials(ACCOUNT, "token", webhook_shared_keys={"k": "shared"}))
    algorithm = get_signature_algorithm(settings)
    signature = RequestValidator("shared").compute_signature(TOLD, dict(FIELDS), algorithm)
    headers = {"x-twilio-signature": (signature,), "x-twilio-webhooks-signature-settings": (settings,)}

    assert proven(posted()._replace(headers=headers), store) == FIELDS


def test_settings_that_differ_are_refused_although_one_is_right() -> None:
    store = Store(Credentials(ACCOUNT, "token", webhook_shared_keys={"k": "shared"}))
    settings = ("key=k,algorithm=HMAC_SHA256", "key=l,algorithm=HMAC_SHA256")
    signature = RequestValidator("shared").compute_signature(TOLD, dict(FIELDS), "HMAC_SHA256")
    headers = {"x-twilio-signature": (signature,), "x-twilio-webhooks-signature-settings": settings}

    with pytest.raises(UnprovenCallbackError):
        proven(posted()._replace(headers=headers), store)


def test_an_unknown_key_is_looked_for_once_more() -> None:
    store = Store(
        Credentials(ACCOUNT, "token"), fresh=Credentials(ACCOUNT, "token", webhook_shared_keys={"k": "shared"})
    )
    settings = "key=k,algorithm=HMAC_SHA256"
    signature = RequestValidator("shared").compute_signature(TOLD, dict(FIELDS), "HMAC_SHA256")
    headers = {"x-twilio-signature": (signature,), "x-twilio-webhooks-signature-settings": (settings,)}

    assert proven(posted()._replace(headers=headers), store) == FIELDS
    assert store.refreshed == [ACCOUNT]


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


# --- shared keys -------------------------------------------------------------------------------------------

SHARED = Credentials(ACCOUNT, "token", webhook_shared_keys={"k": "shared", "l": "another", "a=b": "third"})
ALGORITHM = "HMAC_SHA256"


def sealed(settings: str | None, *, key: str = "shared", algorithm: str | None = ALGORITHM) -> HttpRequest:
    """Return a form that a key has signed by that algorithm, with what says so."""
    signature = RequestValidator(key).compute_signature(TOLD, dict(FIELDS), algorithm)
    headers = {"x-twilio-signature": (signature,)}
    return posted()._replace(
        headers=headers | ({"x-twilio-webhooks-signature-settings": (settings,)} if settings is not None else {})
    )


@pytest.mark.parametrize(("key_id", "key"), [("k", "shared"), ("l", "another"), ("a=b", "third")])
def test_the_key_that_it_names_proves_it(key_id: str, key: str) -> None:
    assert proven(sealed(f"key={key_id},algorithm={ALGORITHM}", key=key), Store(SHARED)) == FIELDS
    assert proven(sealed(f"key={key_id},algorithm={ALGORITHM.lower()}", key=key), Store(SHARED)) == FIELDS


@pytest.mark.parametrize(
    "settings",
    [
        "k",
        "key=k",
        f"algorithm={ALGORITHM}",
        f"key=,algorithm={ALGORITHM}",
        f"key=k,key=k,algorithm={ALGORITHM}",
        f"key=k,key=l,algorithm={ALGORITHM}",
        f"Key=k,algorithm={ALGORITHM}",
        "key=k,algorithm=",
        "key=k,algorithm=HMAC_SHA1",
        f"key=k,algorithm={ALGORITHM},algorithm={ALGORITHM}",
        f"key=k;algorithm={ALGORITHM}",
        ",",
    ],
)
def test_settings_that_name_not_one_key_and_one_algorithm_are_refused_although_a_key_signed(settings: str) -> None:
    with pytest.raises(UnprovenCallbackError):
        proven(sealed(settings), Store(SHARED))


SETTINGS = f"key=k,algorithm={ALGORITHM}"
FORGED: dict[str, HttpRequest] = {
    "another key": sealed(SETTINGS, key="another"),
    "the auth token": sealed(SETTINGS, key="token"),
    "the auth token, as it signs": sealed(SETTINGS, key="token", algorithm=None),
    "the key, as auth tokens sign": sealed(SETTINGS, algorithm=None),
    "the key, without saying so": sealed(None),
    "the key, without saying so, as auth tokens sign": sealed(None, algorithm=None),
    "the key, with settings that are empty": sealed("", algorithm=None),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_key_proves_only_what_says_that_it_signed_and_a_token_only_what_does_not(forged: HttpRequest) -> None:
    with pytest.raises(UnprovenCallbackError):
        proven(forged, Store(SHARED, fresh=SHARED))


@pytest.mark.parametrize(
    ("held", "fresh", "why"),
    [
        (Credentials(ACCOUNT, "token"), None, "shared key"),
        (Credentials(ACCOUNT, "token"), Credentials(ACCOUNT, "token"), "shared key"),
        (SHARED, Credentials(ACCOUNT, "token"), "shared key"),
        (SHARED, None, "does not match"),
        (Credentials(ACCOUNT, "token"), SHARED, "does not match"),
    ],
)
def test_our_log_learns_whether_the_key_or_the_signature_is_wrong(
    held: Credentials, fresh: Credentials | None, why: str
) -> None:
    with pytest.raises(UnprovenCallbackError) as raised:
        proven(sealed(SETTINGS, key="wrong"), Store(held, fresh=fresh))
    assert why in raised.value.why

    with pytest.raises(UnprovenCallbackError) as raised:
        proven(posted(token="wrong"), Store(held, fresh=fresh))
    assert "does not match" in raised.value.why


@pytest.mark.parametrize(("count", "is_proven"), [(60, True), (61, False)])
def test_other_spellings_are_tried_of_forms_as_twilio_sends_them_and_not_of_larger_ones(
    count: int, *, is_proven: bool
) -> None:
    fields = [*FIELDS, *((f"P{number}", "x") for number in range(count - len(FIELDS)))]
    made = posted(fields, url=f"{TOLD}?who=a@b", query="who=a%40b")

    if is_proven:
        assert proven(made) == [*fields, ("who", "a@b")]
    else:
        with pytest.raises(UnprovenCallbackError):
            proven(made)
    assert proven(posted(fields, url=f"{TOLD}?who=a%40b", query="who=a%40b")) == [*fields, ("who", "a@b")]


def test_a_secret_that_is_broken_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Credentials(ACCOUNT, "old"))

    def broken(account_sid: str) -> Credentials:
        raise MalformedSecretError(account_sid, why="not JSON")

    monkeypatch.setattr(store, "get", broken)

    with pytest.raises(CredentialsUnavailableError) as raised:
        proven(posted(), store)
    assert (raised.value.account_sid, raised.value.why) == (ACCOUNT, "not JSON")


def test_what_a_first_callback_would_wait_for_is_the_secret_of_the_stacks_own_account() -> None:
    store: Any = Store(own := Credentials(ACCOUNT, "token"), Credentials(SUBACCOUNT, "another"))

    assert [look() for look in Proof(store, RequestValidator, TOLD, ACCOUNT).ahead()] == [own]
