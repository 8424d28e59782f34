"""Runs the stack for a person: a page with buttons, and commands to paste."""

import shlex
import threading
from json import dumps
from pathlib import Path

from local.listening import listening
from local.page import serving
from local.runs import AlreadyRunningError, only_one, stop
from local.shell import env_sh
from local.stack import STATE, Stack, running_stack


def main() -> int:
    """Run the stack until Ctrl-C (or SIGTERM); there is at most one in a checkout."""
    try:
        with (
            only_one(),
            running_stack(print) as stack,
            listening(stack, "page") as published,
            serving(stack, published) as page_url,
        ):
            env = STATE / "env.sh"
            publish(stack, page_url=page_url, env=env)
            try:
                print(guide(page_url=page_url, env=env), flush=True)  # noqa: T201
                threading.Event().wait()
            finally:
                env.unlink(missing_ok=True)
                env.with_name("stack.json").unlink(missing_ok=True)
    except AlreadyRunningError as error:
        print(error)  # noqa: T201
        return 1
    return 0


def stop_main() -> int:
    """Stop the stack that `make local` started here, if there is one."""
    try:
        pid = stop()
    except TimeoutError as error:
        print(error)  # noqa: T201
        return 1
    print("No stack is running here." if pid is None else f"Stopped pid {pid}; nothing is left running.")  # noqa: T201
    return 0


def publish(stack: Stack, *, page_url: str, env: Path) -> None:
    """Write the files that other programs and shells need, and start the call for the commands."""
    with stack.simulator.locked() as twilio:
        call = twilio.begin_call(stack.account_sid)
    env.with_name("stack.json").write_text(dumps(stack.describe(), indent=2) + "\n")
    env.write_text(env_sh(stack, call_sid=call.sid, page_url=page_url))


def guide(*, page_url: str, env: Path) -> str:
    """Return the instructions; indented lines are for bash or zsh."""
    return f"""
The stack is running. To watch it and try everything with buttons, open this page in a browser:

  {page_url}/

Or paste these commands into another terminal, in this order. CALL_SID is a call in progress.

  . {shlex.quote(str(env))}

1. Start a recording. If you repeat the request with the same key, it starts no second one:

  api -H "Idempotency-Key: $CALL_SID-1" -d '{{"RecordingChannels": "dual"}}' \\
    "$CONTROL_API_URL/calls/$CALL_SID/recordings"

2. List the recordings of the call:

  api "$CONTROL_API_URL/calls/$CALL_SID/recordings"

3. Pause everything that records the call:

  api -d '{{"Status": "paused", "ResumeWithinSeconds": 120}}' \\
    "$CONTROL_API_URL/calls/$CALL_SID/recordings/ALL"

4. Resume it:

  api -d '{{"Status": "in-progress"}}' "$CONTROL_API_URL/calls/$CALL_SID/recordings/ALL"

5. Hang up after two seconds, and download the audio when it is in the archive:

  sleep 2; curl -sS -X POST "$TWILIO/calls/$CALL_SID/hang-up"
  RECORDING_SID=$(api "$CONTROL_API_URL/calls/$CALL_SID/recordings" |
    field recordings 0 recording_sid)
  until api "$CONTROL_API_URL/recordings/$RECORDING_SID" | grep '"archive"'; do sleep 1; done
  LINK=$(api -o /dev/null -w '%{{redirect_url}}' \\
    "$CONTROL_API_URL/recordings/$RECORDING_SID/media")
  curl -sS --fail -o audio.wav "$LINK"

Watch the published events (stop with Ctrl-C):

  curl -sSN "$PAGE/events"

For more, see docs/tutorial/on-your-machine.md.
To stop everything, press Ctrl-C here or run `make local-stop`.
"""
