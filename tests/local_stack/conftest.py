"""One local stack for all tests here: the real template, built and deployed by SAM."""

from collections.abc import Iterator

import pytest

from local.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running_stack(lambda _: None) as running:
        yield running
