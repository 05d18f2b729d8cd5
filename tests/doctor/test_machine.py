"""A real slot is tried, and nothing of it is left."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

from nbdist.doctor import machine
from nbdist.worker import system

pytestmark = pytest.mark.real


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Shared memory and temporary folder of this test alone."""
    shared, temporary = tmp_path / "shm", tmp_path / "tmp"
    for folder in (shared, temporary):
        folder.mkdir()
    monkeypatch.setattr(system, "SHARED_MEMORY", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return shared, temporary


def test_a_slot_runs_a_line_and_leaves_nothing(folders: tuple[Path, Path]) -> None:
    found = asyncio.run(machine.look())
    assert (found.slot_error, found.cores) == ("", system.cores())
    assert found.slot_seconds > 0
    assert found.shared is not None
    assert (found.shared.error, found.temporary.error) == ("", "")
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


@pytest.mark.skipif(sys.platform == "win32", reason="a script that stands for Python")
def test_the_last_words_of_a_slot_that_does_not_start(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'no room for processes' >&2\nexit 7\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    found = asyncio.run(machine.look())
    assert "no room for processes" in found.slot_error
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


def test_a_folder_that_cannot_be_used(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        folder.rmdir()
        folder.write_text("a file")
    found = asyncio.run(machine.look())
    assert found.temporary.error
    assert found.shared is None
    assert "it has no folder" in found.slot_error
