"""What MkDocs needs to know of this repository to make docs/ a site: the navigation, and the files that pages link to.

MkDocs loads it by `hooks` in mkdocs.yml. Links that leave docs/ lead to copies in the site: a Markdown file becomes a
page, any other file one that shows it, a folder a list.
"""

import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

PROJECT: Final = Path(__file__).parent.parent
ASSETS: Final = PROJECT / "generators/assets"
INDEX: Final = "docs/README.md"
DECISIONS: Final = "docs/explanation/adr"
_INDEX_OF_DECISIONS: Final = "explanation/decisions.md"
BESIDE: Final = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages of the repository that stand in the navigation."""
BROWSABLE: Final = "docs/reference/openapi.html"
"""What `make reference` makes of the API's description."""

_PICTURES: Final = (".png", ".svg")
_LINK: Final = re.compile(r"(\]\(|^\[[^\]]+\]: )([^)\s]+)", re.MULTILINE)
# A picture as large as its text needs, to be scrolled, and not as small as the page is narrow.
_LEGIBLE: Final = '%%{init: {"flowchart": {"useMaxWidth": false}, "sequence": {"useMaxWidth": false}}}%%'
_COMMENT: Final = re.compile(r"^ *<!--.*?-->\n", re.DOTALL | re.MULTILINE)
_WITH_CODE: Final = re.compile(r"(^```.*?^```$|^ +```.*?^ +```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
# Above the repository GitHub has pages of its own, which a site knows nothing of: a badge, or a link.
_OF_GITHUB: Final = re.compile(
    r"^\[!\[[^\]]*\]\(\.\./\.\./actions/.*\n|\[([^\]]+)\]\(\.\./\.\./(?:actions|security)/[^)]*\)", re.MULTILINE
)
_ITEM: Final = re.compile(r"( *)([-*]|\d+\.)( +)")


# --- where a file of the repository is in the site ----------------------------------------------------


def place(path: str) -> str:
    """Return the site's source of a file or folder of the repository: `docs/a.md` is `a.md`."""
    inside = path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"
    if (PROJECT / path).is_dir():
        return f"{inside}/index.md"
    return inside if path.endswith((".md", *_PICTURES)) else f"{inside}.md"


def targets(path: str, text: str) -> Iterator[str]:
    """Give the files and folders of the repository that a page links to."""
    for piece in _WITH_CODE.split(text)[::2]:
        yield from (_target(path, link) for _, link in _LINK.findall(piece) if not _leaves(link))


def _target(path: str, link: str) -> str:
    target = normpath(PurePosixPath(path).parent / link.partition("#")[0])
    # Whoever links to a folder means what GitHub shows of it.
    return f"{target}/README.md" if (PROJECT / target / "README.md").exists() else target


def _leaves(link: str) -> bool:
    return re.match(r"#|[a-z]+:", link) is not None


# --- the text as Python-Markdown wants it ---------------------------------------------------------------


def outside_code(change: Callable[[str], str], text: str) -> str:
    """Return the text with everything but code changed."""
    pieces = _WITH_CODE.split(text)
    pieces[::2] = map(change, pieces[::2])
    return "".join(pieces)


def relinked(path: str, text: str) -> str:
    """Return the page with its links as the site has them."""
    source = place(path)

    def moved(found: re.Match[str]) -> str:
        before, link = found.groups()
        if _leaves(link):
            return found[0]
        anchor = link.partition("#")[1:]
        return before + relpath(place(_target(path, link)), PurePosixPath(source).parent) + "".join(anchor)

    return outside_code(lambda piece: _LINK.sub(moved, piece), text)


def indented(text: str) -> str:
    """Return the text with what belongs to an item of a list indented by four, where GitHub takes two or three."""
    lines: list[str] = []
    depths, is_code, was_parted = [0], False, False
    for line in text.splitlines():
        if not line.strip():
            lines.append("")
            was_parted = True
            continue
        here = len(line) - len(line.lstrip())
        while not is_code and here < depths[-1]:
            depths.pop()
        item = None if is_code else _ITEM.match(line)
        if item and was_parted:
            # An item after one with several paragraphs would be more of the last of them.
            lines.append("")
        lines.append(" " * 4 * (len(depths) - 1) + line[depths[-1] :])
        if item:
            depths.append(len(item[0]))
            was_parted = False
        if line.lstrip().startswith("```"):
            is_code = not is_code
    return "\n".join(lines) + "\n"


# --- what MkDocs calls --------------------------------------------------------------------------------


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """Give the site the sections and lists of docs/README.md."""
    config.nav = navigation((PROJECT / INDEX).read_text())
    return config


def navigation(index: str) -> list[Any]:
    """Return the navigation that the index's headings and lists make."""
    nav: list[Any] = [{"Overview": "README.md"}]
    section: list[Any] = []
    group = section
    for line in index.splitlines():
        if line.startswith("## "):
            group = section = []
            nav.append({line.removeprefix("## "): section})
        elif found := re.match(r"\[([^\]]+)\]\(([\w/.-]+\.md)\)", line):
            # A list of its own, below a page of its own.
            group = [found[2]]
            section.append({found[1]: group})
        elif found := re.match(r"- \[[^\]]+\]\(([\w/.-]+\.md)\)", line):
            group.append(found[1])
            if found[1] == "reference/api.md" and (PROJECT / BROWSABLE).exists():
                group.append({"The API, field by field": BROWSABLE.removeprefix("docs/")})
    decisions = sorted(place(f"{DECISIONS}/{path.name}") for path in (PROJECT / DECISIONS).glob("*.md"))
    section.remove(_INDEX_OF_DECISIONS)
    section.append({"Decisions": [_INDEX_OF_DECISIONS, *decisions]})
    return [*nav, {"Repository": [place(path) for path in BESIDE if (PROJECT / path).exists()]}]


def on_files(files: Files, config: "MkDocsConfig") -> Files:
    """Add what pages link to, and what that links to; and the scripts, so that none comes from a network."""
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    wanted = [*texts, *BESIDE, DECISIONS]
    while wanted:
        path = wanted.pop()
        if path not in texts:
            if path.startswith("../") or not (PROJECT / path).exists():
                continue  # MkDocs says so, of the link
            if path.endswith(_PICTURES):
                if files.get_file_from_path(place(path)) is None:
                    files.append(File.generated(config, place(path), abs_src_path=str(PROJECT / path)))
                continue
            texts[path] = shown(path)
            seen = InclusionLevel.INCLUDED if path in BESIDE else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, place(path), content=texts[path], inclusion=seen))
        wanted += [target for target in targets(path, texts[path]) if target not in texts]
    for script in ("assets/iframe-worker.js", "assets/site.css"):
        files.append(File.generated(config, script, abs_src_path=str(ASSETS / PurePosixPath(script).name)))
    mermaid = metadata.distribution("artoo-mermaid").locate_file("artoo_mermaid/assets/mermaid.min.js")
    files.append(File.generated(config, "assets/mermaid.min.js", abs_src_path=str(mermaid)))
    return files


def shown(path: str) -> str:
    """Return the page that shows a file or a folder."""
    file = PROJECT / path
    if path.endswith(".md"):
        return file.read_text()
    aside = f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n"
    if file.is_dir():
        inside = sorted(inner for inner in file.iterdir() if inner.is_file() and not inner.name.startswith("."))
        return aside + "".join(f"- [{_title(inner)}]({file.name}/{inner.name})\n" for inner in inside)
    return f"{aside}````{file.suffix.removeprefix('.') or 'text'}\n{file.read_text()}````\n"


def _title(file: Path) -> str:
    return file.read_text().splitlines()[0].removeprefix("# ") if file.suffix == ".md" else file.name


def on_page_markdown(markdown: str, *, page: "Page", **_: Any) -> str:
    """Return the page as the site wants it."""
    path = _path(page.file.src_uri)
    if not path.endswith(".md") and (PROJECT / path).is_file():
        return markdown
    legible = markdown.replace("```mermaid\n", f"```mermaid\n{_LEGIBLE}\n")
    return indented(relinked(path, outside_code(_without_what_is_of_github, legible)))


def _without_what_is_of_github(text: str) -> str:
    # A comment inside a list would end it.
    return _COMMENT.sub("", _OF_GITHUB.sub(lambda link: link[1] or "", text))


def _path(source: str) -> str:
    """Return the file or folder of the repository that the site has there: the opposite of `place`."""
    inside = source.removeprefix("repository/") if source.startswith("repository/") else f"docs/{source}"
    for path in (inside, inside.removesuffix(".md"), inside.removesuffix("/index.md")):
        if (PROJECT / path).exists():
            return path
    raise FileNotFoundError(source)
