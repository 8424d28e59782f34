"""Starts a transcription of each archived recording: one job for each, however often its event comes."""

import json
import logging
import os
from functools import cache
from typing import Any

import boto3

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> None:
    """Start a job for the one message that there is; what it raises has SQS deliver the message again."""
    (message,) = event["Records"]
    start(json.loads(message["body"])["detail"])


def start(detail: dict[str, Any]) -> None:
    """Start the job of a recording, which has the recording's SID for a name: a second one is refused."""
    sid, archive = detail["recording_sid"], detail["archive"]
    language = os.environ["LANGUAGE_CODE"]
    try:
        transcribe().start_transcription_job(
            TranscriptionJobName=sid,
            Media={"MediaFileUri": f"s3://{archive['bucket']}/{archive['key']}"},
            OutputBucketName=os.environ["TRANSCRIPTS_BUCKET"],
            OutputKey=f"{archive['key']}.json",
            # Each side of the call is on a channel of its own, if the audio that is kept has two.
            Settings={"ChannelIdentification": archive["channels"] == 2},
            **({"LanguageCode": language} if language else {"IdentifyLanguage": True}),
        )
    except transcribe().exceptions.ConflictException:
        logger.info("has a job already: %s", sid)
    else:
        logger.info("job started: %s", sid)


@cache
def transcribe() -> Any:
    """Return the client, made once."""
    return boto3.client("transcribe")
