"""The stack kept running for a person: every URL, each with a `curl` that is ready to paste."""

import json
import threading

from local.rehearsals import rehearsals
from local.stack import ACCESS_KEY, EVENTS, SECRET_KEY, STATE, Stack, running_stack


def main() -> int:
    """Keep the stack running until Ctrl-C (or SIGTERM)."""
    with running_stack(print) as stack:
        print(guide(stack), flush=True)  # noqa: T201
        threading.Event().wait()
    return 0


def guide(stack: Stack) -> str:
    """Return the URLs and the commands that try them, for `sh`."""
    with stack.simulator.locked() as twilio:
        call = twilio.begin_call(stack.account_sid)
    body = json.loads((EVENTS / "start-rest-api.json").read_text())["body"]
    event = json.loads((EVENTS / "start-eventbridge.json").read_text())
    entry = {
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps({"CallSid": call.sid}),
        "EventBusName": stack.event_bus,
    }
    signed = f"curl -sS --user {ACCESS_KEY}:{SECRET_KEY} --aws-sigv4 aws:amz:{stack.region}"
    aws_json = "-H 'Content-Type: application/x-amz-json-1.1' -H 'X-Amz-Target:"
    return f"""
ControlApi   {stack.control_api_url}
WebhookApi   {stack.webhook_local_url}
             (for Twilio: {stack.webhook_url})
Twilio       {stack.twilio_url}
AWS          {stack.endpoint_url}   region {stack.region}, credentials {ACCESS_KEY}/{SECRET_KEY}
Everything   {STATE / "stack.json"}

Call {call.sid} is in progress. Record it, by HTTP:

  {signed}:execute-api -H 'Content-Type: application/json' \\
    -d '{body}' {stack.control_api_url}/calls/{call.sid}/recordings

or by EventBridge:

  {signed}:events {aws_json} AWSEvents.PutEvents' \\
    -d '{json.dumps({"Entries": [entry]})}' {stack.endpoint_url}

Pause everything that records it, and have the bus told if nobody resumes within a minute:

  {signed}:execute-api -H 'Content-Type: application/json' \\
    -d '{{"Status": "paused", "ResumeWithinSeconds": 60}}' \\
    {stack.control_api_url}/calls/{call.sid}/recordings/ALL

Resume what that has paused:

  {signed}:execute-api -H 'Content-Type: application/json' \\
    -d '{{"Status": "in-progress"}}' {stack.control_api_url}/calls/{call.sid}/recordings/ALL

List the recordings of the call, or of today:

  {signed}:execute-api {stack.control_api_url}/calls/{call.sid}/recordings
  {signed}:execute-api {stack.control_api_url}/recordings

Hang up; Twilio then calls back:

  curl -sS -X POST {stack.twilio_url}/_simulator/calls/{call.sid}/hang-up

See the rows:

  {signed}:dynamodb {aws_json} DynamoDB_20120810.Scan' \\
    -d '{json.dumps({"TableName": stack.recordings_table})}' {stack.endpoint_url}

Begin another call (in progress until it is hung up, or for some seconds):

  curl -sS -d '{{"lasts_seconds": 30}}' {stack.twilio_url}/_simulator/calls

Forge a callback, and be refused:

  curl -sS -d 'AccountSid={stack.account_sid}' -H 'X-Twilio-Signature: forged' {stack.webhook_local_url}
{rehearsals(stack)}
Ctrl-C stops everything and leaves nothing behind.
"""
