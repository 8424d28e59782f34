"""What `make local` writes, prints and serves: pasted into real shells, and looked at in a real browser."""

import json
import os
import re
import shutil
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Error, Locator, Page, sync_playwright

from call_recording.bus import ARCHIVED
from local import page as local_page
from local.listening import listening
from local.serve import guide, publish
from local.shell import API
from local.stack import PROJECT, Stack
from tests.local_stack.conftest import eventually, rows
from tests.project.test_operations import blocks_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAUSES, READS, AUDIO = (
    PROJECT / "docs/how-to" / name for name in ("pause-for-card-numbers.md", "read-recordings.md", "get-the-audio.md")
)


@dataclass(frozen=True)
class Local:
    """What `make local` gives a person."""

    page_url: str
    env: Path

    def printed(self) -> str:
        return guide(page_url=self.page_url, env=self.env)


@pytest.fixture
def local(stack: Stack, page_url: str, tmp_path: Path) -> Iterator[Local]:
    env = tmp_path / "checkout with a space" / "env.sh"
    env.parent.mkdir()
    publish(stack, page_url=page_url, env=env)
    yield Local(page_url, env)
    for call in stack.simulator.twilio.calls.values():
        with stack.simulator.locked() as twilio:
            twilio.hang_up(call.sid)


@pytest.fixture(scope="module")
def page_url(stack: Stack) -> Iterator[str]:
    with listening(stack, "page") as published, local_page.serving(stack, published) as url:
        yield url


def pasted(text: str, folder: Path, shell: str = "bash") -> "subprocess.CompletedProcess[str]":
    """Paste the text into the shell of another terminal, which is somewhere else and knows nothing of the stack."""
    elsewhere = folder / f"elsewhere-{shell}"
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(  # noqa: S603 (the project's own commands)
        [shell],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=elsewhere,
        # A session of the person's own must not get in.
        env={"HOME": str(folder), "PATH": os.environ["PATH"], "AWS_PROFILE": "own", "AWS_SESSION_TOKEN": "own"},
    )


def commands(text: str) -> list[str]:
    """Return what is to be pasted, block by block: lines that are indented."""
    return [re.sub(r"(?m)^  ", "", block) for block in re.findall(r"(?m)(?:^  .*\n)+", text)]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_what_make_local_prints_works_pasted_in_its_order(
    stack: Stack, local: Local, tmp_path: Path, shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    url, env, begin, listed, pause, resume, audio, events = commands(local.printed())
    assert url.strip() == f"{local.page_url}/"

    done = pasted(env + begin + listed + pause + resume + audio, tmp_path, shell)

    assert (done.returncode, [line for line in done.stderr.splitlines() if "curl:" in line]) == (0, [])
    (call_sid,) = re.findall(r"export CALL_SID=(CA\w+)", local.env.read_text())
    (row,) = rows(stack, stack.simulator.twilio.calls[call_sid])
    assert (row["status"], row["channels"]) == ("completed", 2)
    compact = done.stdout.replace(" ", "")
    for part in ('"status":"in-progress"', '"next_page_token":null', '"was":"in-progress"', '"resumed":', '"archive":'):
        assert part in compact, part
    with wave.open(str(tmp_path / f"elsewhere-{shell}" / "audio.wav")) as told:
        assert told.getnframes() // told.getframerate() == row["duration_seconds"] >= 2
    assert 'curl -sSN "$PAGE/events"' in events
    with requests.get(f"{local.page_url}/events", stream=True, timeout=30) as stream:
        lines = (json.loads(line) for line in stream.iter_lines())
        assert any(one["detail-type"] == ARCHIVED and one["detail"]["call_sid"] == call_sid for one in lines)


def test_the_tutorial_has_the_commands_that_make_local_prints() -> None:
    _, _, *printed = commands(guide(page_url="http://127.0.0.1:1", env=PROJECT / ".local/env.sh"))
    tutorial = [block.text for block in blocks_of(PROJECT / "docs/tutorial/on-your-machine.md")]

    assert [block for block in printed if block not in tutorial] == []


def test_nothing_that_make_local_prints_is_wide() -> None:
    printed = guide(page_url="http://127.0.0.1:65535", env=PROJECT / ".local/env.sh")

    assert [line for line in printed.splitlines() if len(line) > 100] == []


def test_stack_json_tells_other_programs_where_everything_is(stack: Stack, local: Local) -> None:
    told = json.loads(local.env.with_name("stack.json").read_text())

    assert told.keys() == {
        "endpoint_url",
        "region",
        "control_api_url",
        "webhook_url",
        "webhook_local_url",
        "recordings_table",
        "event_bus",
        "archive_bucket",
        "twilio_url",
        "account_sid",
        "auth_token",
    }
    assert told["webhook_url"].startswith("https://")
    assert told["control_api_url"] == stack.control_api_url


def test_no_url_that_make_local_writes_has_a_name_to_look_up(local: Local) -> None:
    written = local.env.read_text() + local.env.with_name("stack.json").read_text()

    hosts = set(re.findall(r"https?://([^/\s\"':]+)", written))
    assert hosts - {"127.0.0.1"} == {url for url in hosts if url.endswith(".amazonaws.com")}, "the webhook's public one"
    assert written.count("amazonaws.com") == 2


def test_the_function_of_the_shell_is_the_one_of_the_readme() -> None:
    assert API in (PROJECT / "README.md").read_text()


def test_the_blocks_of_the_readme_and_of_the_how_to_pages_work_as_pasted(
    stack: Stack, local: Local, tmp_path: Path
) -> None:
    """What is the reader's own to choose, the example SIDs, is what env.sh has."""
    first = [block.text for block in blocks_of(PROJECT / "README.md") if block.heading == "Your first call"]
    pause = [block.text for block in blocks_of(PROJECT / "README.md") if block.heading == "Pause safely"]
    resume = blocks_of(PAUSES)[1].text
    one, lists = (block.text for block in blocks_of(READS)[:2])
    get, check = (block.text for block in blocks_of(AUDIO)[:2])
    own = {
        r"export CALL_SID=CAx+\n": "",
        r"export RECORDING_SID=REx+\n": 'RECORDING_SID=$(api "$CONTROL_API_URL/calls/$CALL_SID/recordings" |\n'
        "  field recordings 0 recording_sid)\n",
        r"CFx+": f"CF{'0' * 32}",
    }
    waits = """sleep 2; curl -sS -X POST "$TWILIO/calls/$CALL_SID/hang-up"
until api "$CONTROL_API_URL/recordings/$RECORDING_SID" | grep '"archive"'; do sleep 1; done
"""
    python = (PROJECT / "docs/how-to/start-recordings.md").read_text().split("```python\n")[1].split("```")[0]
    parts = [*first, f"python3 - <<'END'\n{python}END\n", *pause, resume, one, lists, waits, get, check]
    text = f". '{local.env}'\nset -e\n" + "".join(parts)
    for example, value in own.items():
        text, times = re.subn(example, value, text)
        assert times == 1, example

    done = pasted(text, tmp_path)

    assert done.returncode == 0, done.stderr
    (call_sid,) = re.findall(r"export CALL_SID=(CA\w+)", local.env.read_text())
    found = [r.sid for r in stack.simulator.twilio.recordings.values() if r.call.sid == call_sid]
    assert len(found) == 1, "Python's request has the key of curl's"
    assert f"201 {{'account_sid': '{stack.account_sid}'" in done.stdout
    assert f"{found[0]}.wav: OK" in done.stdout
    assert not re.search(r'"status": ?[45]\d\d', done.stdout)


def test_the_readme_s_function_signs_with_and_without_a_session_token(tmp_path: Path) -> None:
    heard = pasted(
        f"""{API}
curl() {{ printf '<%s>' "$@"; }}
AWS_SESSION_TOKEN='a token'
api /
unset AWS_SESSION_TOKEN
api /
""",
        tmp_path,
    )

    with_token, without = heard.stdout.split("<-sS>")[1:]
    assert "<-Hx-amz-security-token: a token>" in with_token
    assert "security-token" not in without


# --- the page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        {"Host": "rebound.example.com"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
    ],
    ids=str,
)
def test_the_page_does_nothing_for_strangers(stack: Stack, page_url: str, foreign: dict[str, str]) -> None:
    before = len(stack.simulator.twilio.calls)
    headers = {"Content-Type": "application/json"} | foreign

    answer = requests.post(f"{page_url}/calls", data="{}", headers=headers, timeout=30)

    assert answer.status_code in {403, 415}
    assert len(stack.simulator.twilio.calls) == before
    if "Content-Type" not in foreign:
        for path in ("/state", "/events", f"/recordings/RE{'0' * 32}/audio"):
            assert requests.get(page_url + path, headers=foreign, timeout=30).status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_page_listens_on_loopback_only_and_lets_nothing_else_in(page_url: str) -> None:
    answer = requests.get(page_url, timeout=30)

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", page_url)
    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text), "it works without the Internet"


def test_a_link_from_elsewhere_may_lead_to_the_page(page_url: str) -> None:
    assert requests.get(f"{page_url}/", headers={"Sec-Fetch-Site": "cross-site"}, timeout=30).ok


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium or Chrome here: 'apt-get install chromium' brings one")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=found, args=options)
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def test_every_button_of_the_page_does_what_it_says(stack: Stack, page_url: str, browser_page: Page) -> None:
    page, said = browser_page, []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    before = set(stack.simulator.twilio.calls)
    page.goto(page_url)

    page.get_by_role("button", name="Place a call").click()
    (call_sid,) = eventually(lambda: set(stack.simulator.twilio.calls) - before)
    line = page.locator(f'#calls tr[data-key="{call_sid}"]')

    press(page, line, "Start", "201")
    line.get_by_text("in 1 of 1 recordings").wait_for()
    (recording,) = [one for one in stack.simulator.twilio.recordings.values() if one.call.sid == call_sid]
    row = page.locator(f'#rows tr[data-key="{recording.sid}"]')
    row.get_by_text("in-progress").wait_for()

    press(page, line, "Pause ALL", "200")
    line.get_by_text("in 0 of 1 recordings").wait_for()
    row.get_by_text("paused").wait_for()

    press(page, line, "Resume", "200")
    line.get_by_text("in 1 of 1 recordings").wait_for()

    press(page, line, "Forge a callback", "403")
    row.get_by_text("in-progress").wait_for()

    press(page, line, "Hang up", "200")
    row.get_by_text("completed").wait_for()
    assert line.get_by_role("button", disabled=True).count() == 4, "a call that is over can only be lied about"

    audio = row.locator("audio")
    audio.wait_for()
    assert audio.evaluate(LISTENS) == pytest.approx(recording.duration, abs=0.1)
    page.locator("#events summary").first.get_by_text(ARCHIVED).wait_for()
    told = page.locator("#events summary").filter(has_text=recording.sid[-4:]).all_inner_texts()
    assert len(told) == 5, "started, paused, resumed, completed, archived"
    assert said == []


LISTENS = """audio => new Promise((tell, fail) => {
  audio.muted = true;
  audio.ontimeupdate = () => audio.currentTime > 0 && tell(audio.duration);
  audio.onerror = () => fail(audio.error.message);
  audio.play().catch(fail);
})"""


def press(page: Page, line: Locator, name: str, status: str) -> None:
    """Press a button, by the keyboard, and wait for the answer."""
    button = line.get_by_role("button", name=name)
    button.focus()
    page.keyboard.press("Enter")
    page.locator("#answer .state").get_by_text(status, exact=True).wait_for()


def test_the_page_says_that_the_stack_has_ended(stack: Stack, browser_page: Page) -> None:
    with listening(stack, "ending") as published, local_page.serving(stack, published) as url:
        browser_page.goto(url)
        assert not browser_page.get_by_role("alert").is_visible()

    browser_page.get_by_role("alert").wait_for()


def test_the_page_of_a_stranger_cannot_reach_the_page(page_url: str, browser_page: Page, tmp_path: Path) -> None:
    (tmp_path / "evil.html").write_text("<h1>evil</h1>")
    browser_page.goto((tmp_path / "evil.html").as_uri())

    for kind in ("application/json", "text/plain"):
        with pytest.raises(Error, match="Failed to fetch"):
            browser_page.evaluate(
                "([url, type]) => fetch(url + '/calls', {method: 'POST', headers: {'Content-Type': type}, body: '{}'})",
                [page_url, kind],
            )


def test_the_page_is_in_nothing_that_is_deployed(stack: Stack) -> None:
    ours = {path.read_bytes() for path in (PROJECT / "local").glob("*.*")}
    shipped = {path.read_bytes() for path in (stack.folder / "build").rglob("*") if path.is_file()}

    assert ours, "otherwise nothing was looked for"
    assert not ours & shipped - {b""}
