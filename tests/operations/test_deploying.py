"""`make deploy` and `make secret`: what is wrong is said before anything is built, saved or stored."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import responses
from moto import mock_aws

from local.stack import PROJECT
from operations import deploying, storing

ACCOUNT_SID, TOKEN = "AC" + "1" * 32, "0123456789abcdef0123456789abcdef"
API_URL = "https://api.twilio.com"
LISTED = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings.json"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What SAM was told, which then is not run."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(deploying, "_is_deployed", lambda _: False)
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("operations.deploying.subprocess.run", run)
    return commands


def test_two_values_deploy_and_what_samconfig_sets_stays(ran: list[list[str]]) -> None:
    assert deploying.main(["--account", ACCOUNT_SID]) == 0

    build, deploy = ran
    assert build == ["sam", "build"]
    assert deploy[:4] == ["sam", "deploy", "--config-env", "dev"]
    assert set(deploy[5:]) == {"LogRetentionDays=7", f"TwilioAccountSid={ACCOUNT_SID}"}


def test_what_is_given_takes_the_place_of_what_samconfig_sets(ran: list[list[str]]) -> None:
    assert deploying.main(["--account", ACCOUNT_SID, "--env", "prod", "LogRetentionDays=365"]) == 0

    assert "LogRetentionDays=365" in ran[1]
    assert "LogRetentionDays=90" not in ran[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--account", "ACnotasid"], "must be a Twilio Account SID, AC and 32 hexadecimal digits"),
        (
            ["--account", ACCOUNT_SID, "LogRetentionDay=30"],
            "no parameter LogRetentionDay; did you mean LogRetentionDays?",
        ),
        (["--account", ACCOUNT_SID, "LogRetentionDays=31"], "must be one of 1, 3, 5"),
        (["--account", ACCOUNT_SID, "ArchiveFormat=MP3"], "must be one of wav, mp3; did you mean mp3?"),
        (["--account", ACCOUNT_SID, "RowRetentionDays=1"], "must be a whole number from 2 to 36500"),
        (["--account", ACCOUNT_SID, "RowRetentionDays=x"], "must be a whole number from 2 to 36500"),
        (["--account", ACCOUNT_SID, "StartRecordingConcurrency=-1"], "must be a whole number from 0"),
        (["--account", ACCOUNT_SID, "ArchiveCorsOrigins=https://a.b,desk"], "must be empty, or origins"),
        (["--account", ACCOUNT_SID, "TwilioApiUrl=https://api.twilio.com/"], "without a trailing slash"),
        (["--account", ACCOUNT_SID, "--env", "develop"], "no environment develop"),
        (["--account", ACCOUNT_SID, "--env", "version"], "no environment version"),
        (["--account", ACCOUNT_SID, "--env", "production"], "no environment production"),
        ([], "TwilioAccountSid is needed for the first deployment"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_built_or_saved(
    ran: list[list[str]], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    before = (PROJECT / "samconfig.toml").read_bytes()

    assert deploying.main(arguments) == 2

    assert said in capsys.readouterr().err
    assert (ran, (PROJECT / "samconfig.toml").read_bytes()) == ([], before)


def test_a_deployed_stack_needs_no_account_again(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "_is_deployed", lambda name: name == "call-recording-dev")

    assert deploying.main(["LogRetentionDays=30"]) == 0


def test_a_region_must_be_set_before_anything_is_built(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")

    assert deploying.main(["--account", ACCOUNT_SID]) == 2

    assert "export AWS_REGION=" in capsys.readouterr().err
    assert ran == []


def test_a_build_that_fails_is_not_deployed(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "operations.deploying.subprocess.run",
        lambda command, **_: ran.append(command) or subprocess.CompletedProcess(command, 3),  # type: ignore[func-returns-value]
    )

    assert deploying.main(["--account", ACCOUNT_SID]) == 3
    assert ran == [["sam", "build"]]


def test_every_default_of_the_template_is_a_value_that_it_takes(template: dict[str, Any]) -> None:
    defaults = {name: str(each["Default"]) for name, each in template["Parameters"].items() if "Default" in each}

    assert deploying.wrong_values(template["Parameters"], defaults) == []


# --- the secret -------------------------------------------------------------------------------------


@pytest.fixture
def aws_and_twilio(monkeypatch: pytest.MonkeyPatch) -> Iterator[responses.RequestsMock]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("getpass.getpass", lambda _: TOKEN + "\n")
    with mock_aws(), responses.RequestsMock(assert_all_requests_are_fired=False) as twilio:
        yield twilio


def stored() -> dict[str, Any]:
    client = boto3.client("secretsmanager")
    return {
        each["Name"]: json.loads(client.get_secret_value(SecretId=each["Name"])["SecretString"])
        for each in client.list_secrets()["SecretList"]
    }


def test_a_token_that_twilio_accepts_is_stored_and_never_shown(
    aws_and_twilio: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_and_twilio.get(API_URL + LISTED, json={})

    assert storing.main([ACCOUNT_SID]) == 0

    assert stored() == {f"twilio/{ACCOUNT_SID}": {"auth_token": TOKEN}}
    assert TOKEN not in "".join(capsys.readouterr())


def test_a_secret_that_is_there_already_is_not_changed(
    aws_and_twilio: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_and_twilio.get(API_URL + LISTED, json={})
    boto3.client("secretsmanager").create_secret(Name=f"twilio/{ACCOUNT_SID}", SecretString='{"auth_token": "x"}')

    assert storing.main([ACCOUNT_SID]) == 1

    assert stored() == {f"twilio/{ACCOUNT_SID}": {"auth_token": "x"}}
    assert "rotate-credentials.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("account", "token", "status", "said"),
    [
        ("ACnotasid", TOKEN, 200, "must be a SID"),
        (ACCOUNT_SID, "", 200, "auth_token is missing"),
        (ACCOUNT_SID, "two words", 200, "has characters that Twilio never uses"),
        (ACCOUNT_SID, TOKEN, 401, "Twilio refuses that token at https://api.twilio.com (HTTP 401, code 20003)."),
    ],
)
def test_what_cannot_be_right_is_not_stored(
    aws_and_twilio: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    account: str,
    token: str,
    status: int,
    said: str,
) -> None:
    for region in ("api", "api.dublin.ie1", "api.sydney.au1"):
        aws_and_twilio.get(f"https://{region}.twilio.com{LISTED}", json={"code": 20003}, status=status)
    monkeypatch.setattr("getpass.getpass", lambda _: token)

    assert storing.main([account]) == 1

    assert stored() == {}
    assert said in capsys.readouterr().err


def test_a_token_of_another_region_is_told_where_it_belongs(
    aws_and_twilio: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
) -> None:
    aws_and_twilio.get(API_URL + LISTED, json={"code": 20003}, status=401)
    aws_and_twilio.get(f"https://api.dublin.ie1.twilio.com{LISTED}", json={})

    assert storing.main([ACCOUNT_SID]) == 1
    assert "TwilioApiUrl=https://api.dublin.ie1.twilio.com" in capsys.readouterr().err
