"""Operations to rehearse on the local stack before they are needed in AWS: commands to paste, in order."""

import os
import sys
from pathlib import Path
from typing import Final

from local.stack import ACCESS_KEY, SECRET_KEY, STACK_NAME, Stack

AWS: Final = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
"""For the shell: version 1 of the CLI asks the real SQS, whatever AWS_ENDPOINT_URL says."""


def environment(stack: Stack) -> dict[str, str]:
    """Return the variables with which `aws` reaches the local AWS, and nothing of the person at the keyboard."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_REGION": stack.region,
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_PAGER": "",
    }


def rehearsals(stack: Stack) -> str:
    """Return the commands, for bash or zsh; each part goes on where the one before it stopped."""
    exports = " ".join(f"{name}={value}" for name, value in environment(stack).items())
    tools = Path(sys.executable).parent
    signed = f"curl -sS --user {ACCESS_KEY}:{SECRET_KEY} --aws-sigv4 aws:amz:{stack.region}:execute-api"
    return rf"""
Rehearse docs/how-to/operate, and a pause of everything. Open another terminal, and let its commands reach this stack:

  unset AWS_PROFILE AWS_SESSION_TOKEN
  export {exports}
  export PATH="{tools}:$PATH" STACK={STACK_NAME} TWILIO={stack.twilio_url}/_simulator API={stack.control_api_url}
  {AWS}
  output() {{ aws cloudformation describe-stacks --stack-name "$STACK" --output text \
    --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"; }}
  resource() {{ aws cloudformation describe-stack-resource --stack-name "$STACK" --output text \
    --logical-resource-id "$1" --query StackResourceDetail.PhysicalResourceId; }}
  api() {{ {signed} -H "Content-Type: application/json" "$@"; }}
  field() {{ python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }}
  call() {{ curl -sS -d "{{\"account_sid\": \"$ACCOUNT_SID\"}}" "$TWILIO/calls" | field call_sid; }}
  put() {{ aws secretsmanager put-secret-value --secret-id "twilio/$ACCOUNT_SID" --secret-string "$1"; }}

Rotate an auth token. A subaccount first, with a secret of its own; a call of it is recorded:

  ACCOUNT=$(curl -sS -X POST "$TWILIO/accounts")
  ACCOUNT_SID=$(echo "$ACCOUNT" | field account_sid)
  TOKEN=$(echo "$ACCOUNT" | field auth_token)
  aws secretsmanager create-secret --name "twilio/$ACCOUNT_SID" --secret-string "{{\"auth_token\": \"$TOKEN\"}}"
  CALL_SID=$(call)
  api -d "{{\"AccountSid\": \"$ACCOUNT_SID\"}}" "$API/calls/$CALL_SID/recordings"

Twilio makes a second token. Both are stored; ten seconds later the second is promoted, and then stored alone:

  NEW=$(curl -sS -X POST "$TWILIO/accounts/$ACCOUNT_SID/auth-tokens/secondary" | field secondary_auth_token)
  put "{{\"auth_token\": \"$TOKEN\", \"auth_token_secondary\": \"$NEW\"}}"
  sleep 10
  curl -sS -X POST "$TWILIO/accounts/$ACCOUNT_SID/auth-tokens/promote"
  curl -sS -X POST "$TWILIO/calls/$CALL_SID/hang-up"
  put "{{\"auth_token\": \"$NEW\"}}"

One callback was signed with the old token and one with the new. Neither was refused; their answers are 204:

  until curl -sS "$TWILIO/callbacks" | grep -B 2 -A 1 '"completed"'; do sleep 1; done
  curl -sS "$TWILIO/callbacks"

Redrive. Twilio gets another token, and nobody tells the secret. So an event fails three times, and is kept:

  curl -sS -X POST "$TWILIO/accounts/$ACCOUNT_SID/auth-tokens/secondary"
  TOKEN=$(curl -sS -X POST "$TWILIO/accounts/$ACCOUNT_SID/auth-tokens/promote" | field auth_token)
  CALL_SID=$(call)
  EVENT=$(mktemp)
  printf '{{"id": "%s", "time": "%s", "detail-type": "Call Recording Requested", "source": "me", "detail": %s}}' \
    "rehearsal-$CALL_SID" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    "{{\"CallSid\": \"$CALL_SID\", \"AccountSid\": \"$ACCOUNT_SID\"}}" > "$EVENT"
  hand_over() {{ aws lambda invoke --function-name "$(resource StartRecordingFunction)" \
    --invocation-type Event --payload "fileb://$EVENT" /dev/null; }}
  hand_over
  QUEUE=$(output StartDeadLetterQueueUrl)
  until aws sqs receive-message --queue-url "$QUEUE" --visibility-timeout 0 | grep "$CALL_SID"; do sleep 1; done

Mend the cause. Ten seconds later let the queue empty itself, then close the way again. The recording is there:

  put "{{\"auth_token\": \"$TOKEN\"}}"
  sleep 10
  aws lambda update-event-source-mapping --uuid "$(output StartRedriveMapping)" --enabled --query State
  until api "$API/calls/$CALL_SID/recordings" | grep RE; do sleep 1; done
  aws sqs get-queue-attributes --queue-url "$QUEUE" \
    --attribute-names ApproximateNumberOfMessages ApproximateNumberOfMessagesNotVisible
  aws lambda update-event-source-mapping --uuid "$(output StartRedriveMapping)" --no-enabled --query State

Replay the event twice. It has its recording, and gets no other:

  hand_over
  hand_over
  sleep 3
  api "$API/calls/$CALL_SID/recordings"
  rm "$EVENT"

Pause everything. A call is recorded twice, by this stack and by TwiML, and the second one is paused by itself. The call
meets another one in a conference that is recorded, too:

  CALL_SID=$(curl -sS -X POST "$TWILIO/calls" | field call_sid)
  OTHER_SID=$(curl -sS -X POST "$TWILIO/calls" | field call_sid)
  api -d '{{}}' "$API/calls/$CALL_SID/recordings"
  WEBHOOK=$(output WebhookUrl)
  twiml() {{ curl -sS -d "{{\"callback_url\": \"$WEBHOOK\"}}" "$TWILIO/calls/$CALL_SID/record" | field recording_sid; }}
  TWIML=$(twiml)
  api -d '{{"Status": "paused"}}' "$API/calls/$CALL_SID/recordings/$TWIML"
  curl -sS -d "{{\"call_sids\": [\"$CALL_SID\", \"$OTHER_SID\"]}}" "$TWILIO/conferences"

Two of the three can be heard. Once everything is paused, none can:

  RUNS='r["call_sid"] == sys.argv[1] and r["audible"][-1:] and r["audible"][-1][1] is None'
  heard() {{ curl -sS "$TWILIO/recordings" |
    python3 -c "import json, sys; print(*[r['sid'] for r in json.load(sys.stdin) if $RUNS])" "$CALL_SID"; }}
  all() {{ api -d "$1" "$API/calls/$CALL_SID/recordings/ALL"; }}
  heard
  all '{{"Status": "paused", "ResumeWithinSeconds": 600}}'
  heard

No other recording starts here, and what TwiML starts is soon paused, and told:

  api -d '{{}}' "$API/calls/$CALL_SID/recordings"
  LATE=$(twiml)
  until test -z "$(heard)"; do sleep 1; done
  told() {{ aws logs filter-log-events --log-group-name "$(resource RecordingsApiLogGroup)" --output text \
    --filter-pattern '"recording started while paused"' --query 'events[].[message]'; }}
  until told | grep "$LATE"; do sleep 1; done

Resume. What was paused by itself stays so:

  all '{{"Status": "in-progress"}}'
  heard
"""
