"""Tokens rotate without a refusal, and nobody can turn doubt into a flood of Secrets Manager calls."""

import gc
import traceback
import weakref
from typing import Any

import boto3
import pytest

from call_recording.deadline import Deadline
from call_recording.errors import CredentialsUnavailableError, MalformedSecretError, UnknownAccountError
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.credentials import CredentialStore
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN
from tests.conftest import IDEMPOTENCY_TABLE, SECRET_PREFIX, Time, put_secret, written_metrics


@pytest.fixture
def accounts(aws: None) -> Accounts:
    return Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID)


@pytest.fixture
def reads() -> list[str]:
    """The secrets that were read from Secrets Manager."""
    return []


@pytest.fixture
def store(aws: None, time: Time, reads: list[str], accounts: Accounts) -> CredentialStore:
    client = boto3.client("secretsmanager")
    client.meta.events.register(
        "provide-client-params.secretsmanager.GetSecretValue", lambda params, **_: reads.append(params["SecretId"])
    )
    return CredentialStore(client, SECRET_PREFIX, most_unknown=20, accounts=accounts)


def test_a_secret_is_read_once_in_five_minutes(store: CredentialStore, reads: list[str], time: Time) -> None:
    for _ in range(3):
        assert store.get(ACCOUNT_SID).auth_token == AUTH_TOKEN
    time.turn(299)
    store.get(ACCOUNT_SID)
    assert len(reads) == 1

    time.turn(2)
    store.get(ACCOUNT_SID)

    assert len(reads) == 2


def test_a_refresh_is_forced_at_most_every_ten_seconds(store: CredentialStore, reads: list[str], time: Time) -> None:
    store.get(ACCOUNT_SID)
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})

    fresh = [store.refresh(ACCOUNT_SID) for _ in range(1000)]

    assert [credentials.auth_token for credentials in fresh if credentials] == ["rotated"]
    assert len(reads) == 2
    time.turn(10)
    assert store.refresh(ACCOUNT_SID) is not None


def test_a_refresh_that_failed_is_not_taken_for_one_that_said_nothing_new(
    store: CredentialStore, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.get(ACCOUNT_SID)
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})
    with monkeypatch.context() as patch:
        patch.setattr(store.client, "get_secret_value", lambda **_: 1 / 0)
        with pytest.raises(CredentialsUnavailableError):
            store.refresh(ACCOUNT_SID)

    with pytest.raises(CredentialsUnavailableError):
        store.refresh(ACCOUNT_SID)
    time.turn(10)
    fresh = store.refresh(ACCOUNT_SID)

    assert fresh is not None
    assert fresh.auth_token == "rotated"
    assert store.refresh(ACCOUNT_SID) is None


def test_who_sends_is_given_what_was_read_however_long_ago_and_it_is_read_anew_afterwards(
    store: CredentialStore, reads: list[str], time: Time
) -> None:
    store.to_send(ACCOUNT_SID)
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})
    time.turn(3600)

    old = store.to_send(ACCOUNT_SID)

    assert (old.auth_token, len(reads)) == (AUTH_TOKEN, 1)
    store.renew(deadline=Deadline(20))
    assert (store.to_send(ACCOUNT_SID).auth_token, len(reads)) == ("rotated", 2)


def test_who_proves_is_never_given_what_is_old_though_it_was_given_to_send(
    store: CredentialStore, reads: list[str], time: Time
) -> None:
    store.to_send(ACCOUNT_SID)
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})
    time.turn(301)
    store.to_send(ACCOUNT_SID)

    assert store.get(ACCOUNT_SID).auth_token == "rotated"


def test_a_clock_that_was_set_back_makes_nothing_fresh(store: CredentialStore, reads: list[str], time: Time) -> None:
    store.get(ACCOUNT_SID)
    time.turn(-3600)

    store.get(ACCOUNT_SID)

    assert len(reads) == 2


def test_what_is_fresh_is_not_renewed(store: CredentialStore, reads: list[str], time: Time) -> None:
    store.to_send(ACCOUNT_SID)
    time.turn(299)
    store.to_send(ACCOUNT_SID)

    store.renew(deadline=Deadline(20))

    assert len(reads) == 1


def test_nothing_is_renewed_where_there_is_no_time_and_it_is_caught_up_on(
    store: CredentialStore, reads: list[str], time: Time
) -> None:
    store.to_send(ACCOUNT_SID)
    time.turn(301)
    store.to_send(ACCOUNT_SID)

    store.renew(deadline=Deadline(9))
    assert len(reads) == 1
    store.renew(deadline=Deadline(20))

    assert len(reads) == 2


def test_what_cannot_be_renewed_is_given_once_more(
    store: CredentialStore, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.to_send(ACCOUNT_SID)
    time.turn(301)
    store.to_send(ACCOUNT_SID)
    monkeypatch.setattr(store.client, "get_secret_value", lambda **_: 1 / 0)

    store.renew(deadline=Deadline(20))

    assert store.to_send(ACCOUNT_SID).auth_token == AUTH_TOKEN


@pytest.mark.parametrize(("secret", "error"), [(None, UnknownAccountError), ("[]", MalformedSecretError)])
def test_a_secret_that_is_gone_or_spoilt_is_sent_at_most_once_more(
    store: CredentialStore, time: Time, secret: str | None, error: type[Exception]
) -> None:
    store.to_send(ACCOUNT_SID)
    time.turn(301)
    if secret is None:
        boto3.client("secretsmanager").delete_secret(
            SecretId=f"{SECRET_PREFIX}{ACCOUNT_SID}", ForceDeleteWithoutRecovery=True
        )
    else:
        put_secret(ACCOUNT_SID, secret)
    store.to_send(ACCOUNT_SID)

    store.renew(deadline=Deadline(20))

    with pytest.raises(error):
        store.to_send(ACCOUNT_SID)


def test_an_account_that_does_not_exist_is_looked_up_once(store: CredentialStore, reads: list[str], time: Time) -> None:
    unknown = "AC" + "9" * 32
    for _ in range(100):
        with pytest.raises(UnknownAccountError):
            store.get(unknown)
    assert len(reads) == 1

    put_secret(unknown, {"auth_token": "new"})
    time.turn(31)

    assert store.get(unknown).auth_token == "new"


def test_a_flood_of_invented_accounts_is_cut_off_and_known_ones_still_work(
    store: CredentialStore, reads: list[str], time: Time
) -> None:
    refusals: list[type[Exception]] = []
    for number in range(1000):
        with pytest.raises((UnknownAccountError, CredentialsUnavailableError)) as raised:
            store.get(f"AC{number:032x}")
        refusals.append(raised.type)

    assert refusals.count(UnknownAccountError) == len(reads) == 20
    assert store.get(ACCOUNT_SID).auth_token == AUTH_TOKEN
    time.turn(301)
    with pytest.raises(UnknownAccountError):
        store.get("AC" + "9" * 32)


def flood(store: CredentialStore) -> None:
    for number in range(100):
        with pytest.raises((UnknownAccountError, CredentialsUnavailableError)):
            store.get(f"AC{number:032x}")


def test_a_flood_of_invented_accounts_keeps_no_account_waiting_that_the_stack_has_used(
    store: CredentialStore, accounts: Accounts, time: Time
) -> None:
    used, later = "AC" + "8" * 32, "AC" + "9" * 32
    for account_sid in (used, later):
        put_secret(account_sid, {"auth_token": account_sid})
    elsewhere = Accounts(accounts.client, accounts.table_name, ACCOUNT_SID)
    elsewhere.note(used)
    asked: list[str] = []
    accounts.client.meta.events.register("before-call.dynamodb.GetItem", lambda **_: asked.append(""))

    flood(store)

    assert store.get(used).auth_token == used
    elsewhere.note(later)
    with pytest.raises(CredentialsUnavailableError):
        store.get(later)
    assert len(asked) == 1, "a flood asks no more of DynamoDB than of Secrets Manager"
    time.turn(31)
    flood(store)
    assert store.get(later).auth_token == later


@pytest.mark.parametrize(
    "secret",
    [
        "not JSON",
        "[]",
        {},
        {"auth_token": ""},
        {"auth_token": 7},
        {"auth_token": "t", "auth_token_secondary": ["t"]},
        {"auth_token": "t", "api_key_sid": "SK1"},
        {"auth_token": "t\n"},
        {"auth_token": " t"},
        {"auth_token": "t t"},
        {"auth_token": '"t"'},
        {"auth_token": " "},
        {"auth_token": "t\u00a0"},
        {"auth_token": "\ufefft"},
        {"auth_token": "t\u200b"},
        {"auth_token": "t\x00"},
        {"auth_token": "t", "auth_token_secondary": "t "},
        {"auth_token": "t", "auth_token_secondary": False},
        {"auth_token": "t", "api_key_sid": "SK1\n", "api_key_secret": "s"},
        {"auth_token": "t", "api_key_sid": "SK1", "api_key_secret": "s\r\n"},
        {"auth_token": "t", "webhook_shared_keys": "k"},
        {"auth_token": "t", "webhook_shared_keys": ["k"]},
        {"auth_token": "t", "webhook_shared_keys": ""},
        {"auth_token": "t", "webhook_shared_keys": {"k": ""}},
        {"auth_token": "t", "webhook_shared_keys": {"k": None}},
        {"auth_token": "t", "webhook_shared_keys": {"k": {"secret": "s"}}},
        {"auth_token": "t", "webhook_shared_keys": {"k": "s\n"}},
        {"auth_token": "t", "webhook_shared_keys": {"": "s"}},
        {"auth_token": "t", "webhook_shared_keys": {" k": "s"}},
    ],
    ids=str,
)
def test_a_malformed_secret_is_named_without_showing_it(store: CredentialStore, reads: list[str], secret: Any) -> None:
    put_secret(ACCOUNT_SID, secret)

    for _ in range(3):
        with pytest.raises(MalformedSecretError, match=ACCOUNT_SID):
            store.get(ACCOUNT_SID)

    assert len(reads) == 1


def test_rest_requests_try_both_tokens_or_the_api_key_alone(store: CredentialStore) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": "one", "auth_token_secondary": "two"})
    assert store.get(ACCOUNT_SID).basic_auths == ((ACCOUNT_SID, "one"), (ACCOUNT_SID, "two"))

    put_secret(
        ACCOUNT_SID,
        {"auth_token": "one", "auth_token_secondary": "two", "api_key_sid": "SK1", "api_key_secret": "key"},
    )
    refreshed = store.refresh(ACCOUNT_SID)

    assert refreshed is not None
    assert refreshed.basic_auths == (("SK1", "key"),)
    assert refreshed.signing_tokens == ("one", "two")


def test_a_malformed_secret_that_was_put_right_is_noticed_within_half_a_minute(
    store: CredentialStore, reads: list[str], time: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": f"{AUTH_TOKEN}\n"})
    for _ in range(3):
        with pytest.raises(MalformedSecretError):
            store.get(ACCOUNT_SID)
    assert [metric["name"] for metric in written_metrics(capsys.readouterr().out)] == ["CredentialsRefused"]

    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN})
    time.turn(31)

    assert store.get(ACCOUNT_SID).auth_token == AUTH_TOKEN
    assert len(reads) == 2


@pytest.mark.parametrize("shared_keys", [None, {}, {"k": "shared", "another": "other"}])
def test_shared_keys_are_for_callbacks_and_are_never_a_password_or_a_signing_token(
    store: CredentialStore, shared_keys: dict[str, str] | None
) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": "one", "auth_token_secondary": "", "webhook_shared_keys": shared_keys})

    credentials = store.get(ACCOUNT_SID)

    assert credentials.webhook_shared_keys == (shared_keys or {})
    assert credentials.basic_auths == ((ACCOUNT_SID, "one"),)
    assert credentials.signing_tokens == ("one",)
    assert "shared" not in repr(credentials)


class Body:
    """What a caller of the store holds."""


@pytest.mark.parametrize("secret", [None, "not JSON", {"auth_token": ""}], ids=str)
def test_a_refusal_that_is_repeated_keeps_nothing_of_its_callers(store: CredentialStore, secret: Any) -> None:
    account_sid = "AC" + "9" * 32
    if secret is not None:
        put_secret(account_sid, secret)
    bodies: list[weakref.ref[Body]] = []
    depths: list[int] = []
    said: set[str] = set()

    def ask() -> None:
        body = Body()
        bodies.append(weakref.ref(body))
        try:
            store.get(account_sid)
        except (UnknownAccountError, MalformedSecretError) as error:
            depths.append(len(traceback.extract_tb(error.__traceback__)))
            said.add(str(error))

    for _ in range(20):
        ask()
    gc.collect()

    assert [body() for body in bodies] == [None] * 20
    assert len(set(depths[1:])) == 1
    assert len(said) == 1


def test_a_secret_that_was_mended_is_not_refused_because_of_what_it_was(store: CredentialStore, time: Time) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": "one"})
    store.get(ACCOUNT_SID)
    put_secret(ACCOUNT_SID, "not JSON")
    with pytest.raises(MalformedSecretError):
        store.refresh(ACCOUNT_SID)
    put_secret(ACCOUNT_SID, {"auth_token": "two"})
    time.turn(11)

    assert store.refresh(ACCOUNT_SID) == store.get(ACCOUNT_SID)
    assert store.get(ACCOUNT_SID).auth_token == "two"
