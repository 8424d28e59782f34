"""examples/twilio-function/ signs as botocore does, asks once more where that may help, and lets the call go on."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import time_machine
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from generators.sample_events import CALL_SID
from local.twilio_simulator.model import new_sid
from tests.cloudformation import EXAMPLES

FOLDER: Final = EXAMPLES / "twilio-function"
FUNCTIONS: Final = FOLDER / "functions"
NODE: Final = shutil.which("node") or ""
NOW: Final = datetime(2026, 11, 22, 7, 33, 0, 412_000, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not NODE, reason="there is no Node.js here; Twilio runs this example with it")


def run_node(script: str, given: object) -> Any:
    """Run a script, which has what it is `given` and the example's module `signer`; return what it gives to `tell`."""
    frame = f"""
      const given = JSON.parse(process.argv[1]);
      const signer = require({json.dumps(str(FUNCTIONS / "call-recording.private.js"))});
      const tell = (told) => process.stdout.write(JSON.stringify(told));
      {script}
    """
    done = subprocess.run(  # noqa: S603 (Node.js, with a script of ours)
        [NODE, "-e", frame, json.dumps(given)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


URL: Final = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1"
REQUESTS: Final = [
    (
        "POST",
        f"{URL}/calls/{CALL_SID}/recordings",
        {"Idempotency-Key": f"{CALL_SID}-1"},
        '{"RecordingChannels":"dual"}',
    ),
    ("POST", f"{URL}/calls/{CALL_SID}/recordings/Twilio.CURRENT", {}, '{"Status": "paused", "Reference": "räum 17"}'),
    ("POST", f"{URL}/calls/{CALL_SID}/recordings", {"Content-Type": "application/json"}, ""),
    ("GET", f"{URL}/recordings?Date=2026-11-22&AccountSid=AC1&PageToken=a.b-c_d~e%2Bf%3D%3D&Empty=", {}, ""),
    ("GET", f"{URL}/recordings?b=2&a=2&a=1&a-b=1", {}, ""),
    ("GET", f"{URL}/recordings/RE%20x%2Fy/media?Reason=a%20%28b%29%20%2A%27%21", {"X-Thing": "  two   words "}, ""),
    ("DELETE", "http://127.0.0.1:4566/v1/recordings/RE1", {}, ""),
    ("GET", "https://recordings.example.com:443/", {}, ""),
]


def botocore_s(method: str, url: str, headers: dict[str, str], body: str) -> dict[str, str]:
    signed = AWSRequest(method, url, data=body.encode(), headers=dict(headers))
    with time_machine.travel(NOW, tick=False):
        SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "execute-api", "eu-west-1").add_auth(signed)
    return dict(signed.headers.items())


def test_requests_are_signed_as_botocore_signs_them() -> None:
    ours = run_node(
        """tell(given.map(([method, url, headers, body]) => signer.sign({method, url, headers, body,
             accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret', region: 'eu-west-1',
             now: new Date('2026-11-22T07:33:00.412Z')})))""",
        REQUESTS,
    )

    for request, signed in zip(REQUESTS, ours, strict=True):
        expected = botocore_s(*request)
        assert signed["Authorization"] == expected["Authorization"], request
        assert signed == expected | request[2]


# What Twilio's runtime gives a Function, as far as these use it, with answers and a clock that the test decides.
RUNTIME: Final = """
  const asked = [], logged = [];
  class VoiceResponse {
    constructor() { this.verbs = []; }
    say(text) { this.verbs.push(['say', text]); }
    redirect(options, url) { this.verbs.push(['redirect', options, url]); }
    dial(options, number) { this.verbs.push(['dial', number]); }
  }
  globalThis.Twilio = {twiml: {VoiceResponse}};
  globalThis.Runtime = {getFunctions: () => ({'call-recording': {path: given.folder + '/call-recording.private.js'}})};
  for (const level of ['log', 'error']) console[level] = (line) => logged.push([level, line]);
  let now = 0;
  Date.now = () => now;
  globalThis.setTimeout = (go, pause) => { now += pause; setImmediate(go); };
  AbortSignal.timeout = () => undefined;
  globalThis.fetch = async (url, {headers}) => {
    asked.push({url, key: headers['Idempotency-Key']});
    const [status, body, headers_] = given.answers.length > 1 ? given.answers.shift() : given.answers[0];
    if (status === 0) throw new TypeError('fetch failed');
    return new Response(body, {status, headers: headers_});
  };
  require(given.folder + '/' + given.name + '.protected.js').handler(given.context, {CallSid: given.call_sid},
    (error, twiml) => tell({error, verbs: twiml.verbs, asked, logged}));
"""


type Answer = tuple[int, str] | tuple[int, str, dict[str, str]]


def run(name: str, *answers: Answer) -> dict[str, Any]:
    context = {
        "CONTROL_API_URL": URL,
        "CONTROL_API_REGION": "eu-west-1",
        "CALLER_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "CALLER_SECRET_ACCESS_KEY": "the-secret-of-the-caller",
        "AGENT_NUMBER": "+14155550142",
    }
    given = {"folder": str(FUNCTIONS), "name": name, "context": context, "call_sid": CALL_SID, "answers": answers}
    told: dict[str, Any] = run_node(RUNTIME, given)
    assert told["error"] is None
    assert context["CALLER_SECRET_ACCESS_KEY"] not in json.dumps(told)
    assert context["AGENT_NUMBER"] not in json.dumps(told["logged"])
    return told


STARTED: Final = (201, json.dumps({"sid": new_sid("RE")}))
CONNECTED: Final = [["dial", "+14155550142"]]


def test_the_call_is_answered_before_the_recording_is_asked_for() -> None:
    told = run("incoming", STARTED)

    assert told["verbs"][1:] == [["redirect", {"method": "POST"}, "/record"]]
    assert told["asked"] == []
    assert (FUNCTIONS / "record.protected.js").exists()


LATER: Final = {"Retry-After": "1"}


@pytest.mark.parametrize(
    "before",
    [
        [],
        [(503, "{}", LATER)],
        [(0, "")],
        [(409, '{"type": "urn:problem:call-recording:request-in-progress"}', LATER)],
        [(429, "{}", LATER), (0, ""), (502, "no JSON"), (504, "{}")],
    ],
)
def test_a_start_that_may_still_come_about_is_asked_for_again_with_the_same_key(before: list[Answer]) -> None:
    told = run("record", *before, STARTED)

    assert len(told["asked"]) == len(before) + 1
    assert {(one["url"], one["key"]) for one in told["asked"]} == {
        (f"{URL}/calls/{CALL_SID}/recordings", f"{CALL_SID}-function")
    }
    assert [level for level, _ in told["logged"]] == ["log"]
    assert told["verbs"] == CONNECTED


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_refusal_is_final_and_the_caller_is_connected_all_the_same(status: int) -> None:
    told = run("record", (status, '{"type": "urn:problem:refused", "detail": "why"}'), STARTED)

    assert len(told["asked"]) == 1
    assert [level for level, _ in told["logged"]] == ["error"]
    assert f"{status} urn:problem:refused: why" in told["logged"][0][1]
    assert told["verbs"] == CONNECTED


@pytest.mark.parametrize("answer", [(0, ""), (503, "{}")])
def test_the_caller_does_not_wait_for_ever(answer: tuple[int, str]) -> None:
    told = run("record", answer)

    assert 3 <= len(told["asked"]) <= 6
    assert [level for level, _ in told["logged"]] == ["error"]
    assert told["verbs"] == CONNECTED


def test_every_variable_that_the_functions_read_is_in_the_example_of_an_environment() -> None:
    offered = {line.partition("=")[0] for line in (FOLDER / ".env.example").read_text().splitlines() if "=" in line}
    read = {word for path in FUNCTIONS.glob("*.js") for word in re.findall(r"context\.([A-Z_]+)", path.read_text())}

    assert read == offered
