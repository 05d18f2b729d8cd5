"""A real IPython shell whose notebook is connected to the inline pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import nbdist


class Notebook:
    """Runs cells as a person would, and keeps what they left."""

    def __init__(self, shell: Any, capture: Any) -> None:
        self.shell = shell
        self._capture = capture
        self.printed = ""

    def run(self, *cells: str) -> Any:
        """Runs cells one after another; gives the result of the last. Raises what it raised."""
        for cell in cells:
            outcome = self.shell.run_cell(cell, store_history=True)
            captured = self._capture.readouterr()
            self.printed = captured.out + captured.err
            outcome.raise_error()
        return outcome.result

    def fail(self, cell: str) -> BaseException:
        """Runs a cell that fails; gives the exception."""
        outcome = self.shell.run_cell(cell, store_history=True)
        captured = self._capture.readouterr()
        self.printed = captured.out + captured.err
        error = outcome.error_before_exec or outcome.error_in_exec
        assert isinstance(error, BaseException)
        return error

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.shell.user_ns


@pytest.fixture
def notebook(capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "nbdist")
    pool = nbdist.connect("inline")
    yield Notebook(shell, capsys)
    pool.close()
    InteractiveShell.clear_instance()
