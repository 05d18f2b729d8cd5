"""A real IPython shell whose notebook is connected to the inline pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nbdist
from notebooks import Notebook, open_notebook


@pytest.fixture
def notebook(capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    with open_notebook(capsys) as opened, nbdist.connect("inline"):
        yield opened
