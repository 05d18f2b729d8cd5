"""A browser for all tests of this folder, and the place for what they have seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import open_browser
from machines import connect, start

__all__ = ["connect", "start"]

ARTEFACTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for a file: its event loop runs in this thread while it is open, and others could not."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def shot() -> Callable[[Any, str], None]:
    """Keeps a picture of a page."""

    def keep(page: Any, name: str) -> None:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    return keep
