"""examples/transcription/ starts one job for each archived recording, and with no more permission than that takes."""

import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from call_recording.bus import ARCHIVED, STATUS_CHANGE
from generators.sample_events import RECORDING_SID
from tests.cloudformation import example, matches, resolved
from tests.conftest import load_app

ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "LANGUAGE_CODE": "",
    "TRANSCRIPTS_BUCKET": "transcripts",
}


@pytest.fixture(scope="module")
def transcription() -> dict[str, Any]:
    return example("transcription")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield load_app("transcribe", folder="examples/transcription")


@pytest.fixture
def archived(told: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return told(ARCHIVED)


def message(event: object) -> dict[str, Any]:
    return {"Records": [{"messageId": "1", "body": json.dumps(event)}]}


def with_archive(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the event with another proof; None takes an attribute away."""
    archive = event["detail"]["archive"] | changes
    left = {name: value for name, value in archive.items() if value is not None}
    return event | {"detail": event["detail"] | {"archive": left}}


def jobs() -> list[str]:
    found = boto3.client("transcribe").list_transcription_jobs()["TranscriptionJobSummaries"]
    return [job["TranscriptionJobName"] for job in found]


def asked(app: ModuleType, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what Amazon Transcribe is asked for."""
    requests: list[dict[str, Any]] = []
    app.transcribe().meta.events.register(
        "provide-client-params.transcribe.StartTranscriptionJob", lambda params, **_: requests.append(dict(params))
    )
    app.handler(message(event), None)
    (request,) = requests
    return request


def test_a_recording_has_one_job_though_its_event_is_delivered_again(app: ModuleType, archived: dict[str, Any]) -> None:
    app.handler(message(archived), None)
    app.handler(message(archived), None)

    assert jobs() == [RECORDING_SID]


def test_the_job_reads_the_archived_object_and_writes_beside_its_key(
    app: ModuleType, archived: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archived["detail"]["archive"]

    request = asked(app, archived, monkeypatch)

    assert request["Media"] == {"MediaFileUri": f"s3://{archive['bucket']}/{archive['key']}"}
    assert (request["OutputBucketName"], request["OutputKey"]) == ("transcripts", f"{archive['key']}.json")
    assert request["IdentifyLanguage"] is True
    assert "LanguageCode" not in request


@pytest.mark.parametrize("channels", [1, 2])
def test_two_channels_are_told_apart_if_the_audio_that_is_kept_has_two(
    app: ModuleType, archived: dict[str, Any], monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    """The recording of the event has two; kept in mono, they are one."""
    request = asked(app, with_archive(archived, channels=channels), monkeypatch)

    assert archived["detail"]["channels"] == 2
    assert request["Settings"] == {"ChannelIdentification": channels == 2}


def test_a_language_that_is_known_is_said(
    app: ModuleType, archived: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE_CODE", "en-GB")

    request = asked(app, archived, monkeypatch)

    assert request["LanguageCode"] == "en-GB"
    assert "IdentifyLanguage" not in request


def test_what_amazon_transcribe_refuses_is_delivered_again(
    app: ModuleType, archived: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = app.transcribe()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "LimitExceededException"}}, "StartTranscriptionJob")

    monkeypatch.setattr(client, "start_transcription_job", refuse)

    with pytest.raises(ClientError):
        app.handler(message(archived), None)


# --- the template ------------------------------------------------------------------------------------


KNOWN: Final = {
    "EventBusName": "default",
    "Queue.Arn": "queue",
    "DeadLetterQueue.Arn": "letters",
    "TranscriptsBucket": "transcripts",
    "TranscriptsBucket.Arn": "arn:aws:s3:::transcripts",
    "ArchiveBucketName": "archive",
    "ArchiveKmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1",
}


def test_the_rule_wants_archived_recordings_that_can_be_transcribed(
    transcription: dict[str, Any], archived: dict[str, Any], told: Callable[[str], dict[str, Any]]
) -> None:
    def wanted(event: dict[str, Any]) -> bool:
        return matches(transcription, "ArchivedRule", event, {"ArchiveBucketName": bucket})

    bucket = archived["detail"]["archive"]["bucket"]
    assert wanted(archived)
    assert wanted(with_archive(archived, duration_milliseconds=500))
    assert not wanted(with_archive(archived, duration_milliseconds=499)), "too short"
    assert not wanted(with_archive(archived, duration_milliseconds=None)), "encrypted"
    assert not wanted(with_archive(archived, bucket="somebody-elses"))
    assert not wanted(archived | {"source": "my-app"})
    assert not wanted(told(STATUS_CHANGE))


@pytest.mark.parametrize("conditions", [set(), {"HasArchiveKey"}], ids=str)
def test_the_function_may_read_the_archive_write_transcripts_and_start_jobs(
    transcription: dict[str, Any], archived: dict[str, Any], conditions: set[str]
) -> None:
    (policy,) = transcription["Resources"]["TranscribeFunction"]["Properties"]["Policies"]
    granted = {
        statement.pop("Action"): statement
        for statement in resolved(
            transcription, policy["Statement"], KNOWN | {"HasArchiveKey": "HasArchiveKey" in conditions}
        )
    }
    key = granted.pop("kms:Decrypt", None)

    assert granted.keys() == {"transcribe:StartTranscriptionJob", "s3:GetObject", "s3:PutObject"}
    assert granted["s3:GetObject"]["Resource"] == "arn:aws:s3:::archive/AC*"
    assert granted["s3:PutObject"]["Resource"] == "arn:aws:s3:::transcripts/AC*"
    assert granted["transcribe:StartTranscriptionJob"]["Condition"] == {
        "StringEquals": {"transcribe:OutputBucketName": "transcripts"}
    }
    assert archived["detail"]["archive"]["key"].startswith("AC")
    assert bool(key) is bool(conditions)
    assert not key or (key["Resource"], key["Condition"]) == (
        KNOWN["ArchiveKmsKeyArn"],
        {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}},
    )


def test_a_message_comes_alone_and_is_not_shown_again_while_the_function_runs(transcription: dict[str, Any]) -> None:
    function = transcription["Resources"]["TranscribeFunction"]["Properties"]

    assert function["Events"]["Archived"]["Properties"]["BatchSize"] == 1
    assert transcription["Resources"]["Queue"]["Properties"]["VisibilityTimeout"] >= 6 * function["Timeout"]
