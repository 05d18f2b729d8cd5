"""An IPython shell in this process, driven as a person would drive a notebook."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class Notebook:
    """Runs cells one after another, and keeps what they left."""

    def __init__(self, shell: Any, capture: pytest.CaptureFixture[str]) -> None:
        self.shell = shell
        self._capture = capture
        self.printed = ""
        """What the last cell has printed."""

    def run(self, *cells: str) -> Any:
        """Runs cells; gives the result of the last. Raises what one of them raised."""
        outcome = None
        for cell in cells:
            outcome = self._run(cell)
            outcome.raise_error()
        return None if outcome is None else outcome.result

    def fail(self, cell: str) -> BaseException:
        """Runs a cell that fails; gives the exception."""
        outcome = self._run(cell)
        error = outcome.error_before_exec or outcome.error_in_exec
        assert isinstance(error, BaseException), self.printed
        return error

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.shell.user_ns

    def _run(self, cell: str) -> Any:
        outcome = self.shell.run_cell(cell, store_history=True)
        captured = self._capture.readouterr()
        self.printed = captured.out + captured.err
        return outcome


@contextlib.contextmanager
def open_notebook(capture: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    """A notebook that has loaded the extension; its pool is the one that was connected last."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "nbdist")
    yield Notebook(shell, capture)
    assert not [*shell.tempfiles, *shell.tempdirs], "what a shell would remove at the end of the run"
    atexit.unregister(shell.atexit_operations)  # it keeps the shell, and collects garbage once for each at the end
    InteractiveShell.clear_instance()
