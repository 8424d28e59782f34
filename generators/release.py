"""`make package`: the built application in one file to deploy from, with its checksum and its release notes.

`sam build` has built it before. With a tag, as in `make package TAG=v0.1.0`, the tag must be the version of
pyproject.toml, and CHANGELOG.md must have a section of that version.
"""

import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from local.stack import PROJECT, STATE

FOLDER: Final = STATE / "release"
BUILD: Final = FOLDER / "build"
UNRELEASED: Final = "Unreleased"
WITH_IT: Final = ("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "samconfig.toml", "docs", "events", "examples")
"""Files of the repository that go with the build, for those who deploy it."""

# Whenever it is packed: the same files are the same archive.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


def version() -> str:
    """Return the version of pyproject.toml."""
    found: str = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    return found


def notes(changelog: str, of: str) -> str:
    """Return the changelog's section of a version, or of Unreleased. Raises ValueError if there is none."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if re.fullmatch(rf"\[?{re.escape(of)}\]?( - \d{{4}}-\d\d-\d\d)?", heading.strip()) and text.strip():
            return text.strip() + "\n"
    raise ValueError(f"CHANGELOG.md says nothing of {of}")


def checked(tag: str) -> str:
    """Return the version that a tag names. Raises ValueError where that is not the version here."""
    if tag != f"v{version()}":
        raise ValueError(f"the tag is {tag}, and the version in pyproject.toml is {version()}")
    return version()


def pack(name: str, build: Path, project: Path, to: Path) -> Path:
    """Write an archive of the build, and of what goes with it, in a folder of that name; return its path."""
    archive = to / f"{name}.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as packed:
        for inside, file in sorted(
            [*_files(build, build), *(one for of in WITH_IT for one in _files(project / of, project))]
        ):
            entry = ZipInfo(f"{name}/{inside}", _TIME)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, _of_an_archive(file) if inside == "template.yaml" else file.read_bytes())
    return archive


def _files(of: Path, root: Path) -> Iterator[tuple[str, Path]]:
    found = [of] if of.is_file() else sorted(of.rglob("*"))
    return ((file.relative_to(root).as_posix(), file) for file in found if file.is_file())


def _of_an_archive(template: Path) -> bytes:
    # SAM names the files of `sam publish` by how to get there from the build; in the archive they are beside it.
    text = re.sub(r"^( +(?:LicenseUrl|ReadmeUrl): )(?:\.\./)+", r"\1", template.read_text(), flags=re.MULTILINE)
    return text.encode()


def main(tag: str | None, *, is_check: bool) -> None:
    """Write the archive, SHA256SUMS and notes.md, and say where they are; or only see whether the tag is right."""
    told = notes((PROJECT / "CHANGELOG.md").read_text(), checked(tag) if tag else UNRELEASED)
    if is_check:
        return
    archive = pack(f"call-recording-{version()}", BUILD, PROJECT, FOLDER)
    (FOLDER / "SHA256SUMS").write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n")
    (FOLDER / "notes.md").write_text(told)
    print(f"{archive.relative_to(PROJECT)}: {archive.stat().st_size / 1_000_000:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    try:
        arguments = sys.argv[1:]
        main(next((word for word in arguments if word != "--check"), None), is_check="--check" in arguments)
    except ValueError as error:
        sys.exit(str(error))
