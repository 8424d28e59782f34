"""What the project depends on is one version of each, and is installed only if its hash is right."""

import re

import pytest

from local.stack import PROJECT


def requirements(name: str) -> list[str]:
    """Return each requirement with its hashes on one line."""
    text = (PROJECT / name).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    "name",
    [
        "requirements/dev.txt",
        "requirements/audit.txt",
        "requirements/docs.txt",
        "requirements/mutation.txt",
        "layers/shared/requirements.txt",
        "functions/recording_status/requirements.txt",
    ],
)
def test_every_dependency_is_one_version_with_its_hashes(name: str) -> None:
    found = requirements(name)

    assert found
    for requirement in found:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+ ", requirement), requirement
        assert re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", requirement), requirement


def test_nothing_is_installed_without_looking_at_hashes() -> None:
    text = "".join(
        (PROJECT / name).read_text().replace("\\\n", " ")
        for name in ("Makefile", "layers/shared/Makefile", "functions/recording_status/Makefile")
    )
    unhashed = [
        line for line in text.splitlines() if re.search(r"\bpip install\b", line) and "--require-hashes" not in line
    ]

    # The installer itself, by its version, and this project.
    assert len(unhashed) == 2
    assert re.search(r" uv==[\d.]+$", unhashed[0])
    assert unhashed[1].endswith(" --no-deps --no-build-isolation --editable .")
