"""The site that `make docs` builds: whole, as GitHub shows the pages, and without a network."""

import hashlib
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from local.stack import PROJECT

DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
MERMAID = "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b"
"""SHA-256 of `dist/mermaid.min.js` of mermaid 11.16.0 on npm."""


def build(site: Path, config: Path = PROJECT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    return subprocess.run(  # noqa: S603 (the project's own tool)
        [PROJECT / ".venv/docs/bin/mkdocs", "build", "--strict", "--config-file", config, "--site-dir", site],
        cwd=PROJECT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    made: Path = tmp_path_factory.mktemp("site")
    done = build(made)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    lost = ["nowhere.md", "../../nowhere.py", "deploy.md#nowhere", "../../README.md#nowhere", "/etc/nowhere.md"]
    shutil.copytree(DOCS, tmp_path / "docs")
    with (tmp_path / "docs/how-to/harden.md").open("a") as page:
        page.writelines(f"\n\n[lost]({link})\n" for link in lost)
    config = (PROJECT / "mkdocs.yml").read_text().replace("docs_dir: docs", f"docs_dir: {tmp_path / 'docs'}")
    (tmp_path / "mkdocs.yml").write_text(config.replace("generators/site.py", f"{PROJECT / 'generators/site.py'}"))

    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")

    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("WARNING") and "harden.md" in line]
    assert len(told) == len(lost)


def built(site: Path, page: Path) -> str:
    name = page.relative_to(DOCS).with_suffix(".html")
    return (site / (name.with_name("index.html") if page.name == "README.md" else name)).read_text()


def article(html: str) -> str:
    found = re.search(r"<article.*?</article>", html, re.DOTALL)
    assert found is not None
    return found[0]


def test_every_page_shows_its_code_and_tables_as_such(site: Path) -> None:
    """Python-Markdown takes much of what GitHub shows as code, a list or a table for text."""
    wrong = {}
    for page in PAGES:
        text, html = page.read_text(), article(built(site, page))
        outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
        expected = (
            len(re.findall(r"^ *```\w*$", text, re.MULTILINE)) // 2,
            len(re.findall(r"^ *\|[-:| ]+\|$", outside, re.MULTILINE)),
            len(re.findall(r"^ *(?:- |\d+\. )", outside, re.MULTILINE)),
        )
        shown = tuple(len(re.findall(tag, html)) for tag in (r"<pre[ >]", "<table>", r"<li[ >]"))
        if shown != expected or "```" in html:
            wrong[str(page.relative_to(PROJECT))] = (shown, expected)

    assert wrong == {}


def test_a_link_out_of_the_documents_leads_to_a_copy_in_the_site(site: Path) -> None:
    page = DOCS / "how-to/operate/move-the-webhook.md"

    (link,) = re.findall(r'href="([^"]*app\.py\.html)"', article(built(site, page)))

    shown = article((site / "how-to/operate" / link).resolve().read_text())
    source = (PROJECT / "functions/recording_status/app.py").read_text()
    assert unescape(re.sub(r"<[^>]+>", "", shown.partition("<pre")[2].partition(">")[2])).strip() == source.strip()


def test_a_page_of_the_repository_is_a_page_of_the_site(site: Path) -> None:
    readme = article((site / "repository/index.html").read_text())

    assert 'href="../reference/api.html"' in readme
    assert 'href="CHANGELOG.html"' in readme


def test_nothing_comes_from_a_network(site: Path) -> None:
    loading = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]+(?:src|href)=\"?(?:https?:)?//[^\">]+")
    pages = sorted(site.glob("**/*.html"))

    found = {str(page.relative_to(site)): loading.findall(page.read_text()) for page in pages}

    assert len(pages) > len(PAGES)
    assert {name: loads for name, loads in found.items() if loads} == {}
    for style in site.glob("**/*.css"):
        assert not re.search(r"@import|url\(\"?(?:https?:)?//", style.read_text())


def test_pictures_are_drawn_by_mermaid_as_npm_has_it(site: Path) -> None:
    assert hashlib.sha256((site / "assets/mermaid.min.js").read_bytes()).hexdigest() == MERMAID
    assert 'src="../assets/mermaid.min.js"' in (site / "explanation/architecture.html").read_text()


def test_the_search_works_in_a_page_that_is_a_file(site: Path) -> None:
    page = (site / "explanation/architecture.html").read_text()
    index = (site / "search/search_index.js").read_text()

    assert 'src="../assets/iframe-worker.js"' in page
    assert index.startswith("var __index =")
    assert "bookmark" in index
    assert "repository/functions" not in index, "sources are shown, not searched"
