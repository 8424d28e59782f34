"""How a shell reaches the local stack: variables, and the functions that the documentation uses."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

from local.stack import ACCESS_KEY, SECRET_KEY, STACK_NAME, Stack

AWS: Final = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
"""For the shell: version 1 of the CLI calls the real SQS despite AWS_ENDPOINT_URL."""

API: Final = """\
api() {
  curl -sS --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
    ${AWS_SESSION_TOKEN:+-H"x-amz-security-token: $AWS_SESSION_TOKEN"} -H "Content-Type: application/json" "$@"
}
"""
"""For the shell: sends a signed request, as in the README."""

_FIELD: Final = """\
field() {   # of the JSON that comes in: field recordings 0 recording_sid
  python3 -c '
import functools, json, sys
def inner(value, name): return value[int(name) if isinstance(value, list) else name]
print(functools.reduce(inner, sys.argv[1:], json.load(sys.stdin)))
' "$@"
}
"""


def environment(stack: Stack) -> dict[str, str]:
    """Return the variables with which `aws` reaches the local AWS, without your own credentials."""
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


def env_sh(stack: Stack, *, call_sid: str, page_url: str) -> str:
    """Return the text of `.local/env.sh`, for bash or zsh: its URLs need no DNS lookup."""
    variables = environment(stack) | {
        "CONTROL_API_URL": stack.control_api_url,
        "WEBHOOK_URL": stack.webhook_url,
        "WEBHOOK_LOCAL_URL": stack.webhook_local_url,
        "RECORDINGS_TABLE": stack.recordings_table,
        "EVENT_BUS": stack.event_bus,
        "ARCHIVE_BUCKET": stack.archive_bucket or "",
        "STACK": STACK_NAME,
        "TWILIO_ACCOUNT_SID": stack.account_sid,
        "TWILIO": f"{stack.twilio_url}/_simulator",
        "PAGE": page_url,
        "CALL_SID": call_sid,
    }
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    tools = shlex.quote(str(Path(sys.executable).parent))
    return f"""\
# Connects your shell to the stack that `make local` runs. Each `make local` overwrites this file.
unset AWS_PROFILE AWS_SESSION_TOKEN
{exports}
export PATH={tools}:"$PATH"
{AWS}
{API}{_FIELD}"""
