"""Where items start, on the notebook's own machine and on another one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nbdist.filing import here
from nbdist.worker.workplace import Workplace


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this process one on the machine of that name."""
    return lambda name: monkeypatch.setattr(here, "folder", lambda: tmp_path / name)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    folder = tmp_path / "notebook"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Workplace(tmp_path / "slot" / "work")


def test_items_start_in_the_notebooks_folder_on_its_own_machine(place: Workplace, machine: Any, tmp_path: Path) -> None:
    machine("desk")
    home = here.home()
    os.chdir(tmp_path)
    place.enter("j", home)
    assert Path.cwd() == tmp_path / "notebook"
    assert place.own_folder("j") is None
    place.leave("j")
    assert (tmp_path / "notebook").is_dir()


def test_elsewhere_they_start_in_an_empty_folder_of_their_job(place: Workplace, machine: Any, tmp_path: Path) -> None:
    machine("desk")
    home = here.home()
    machine("laptop")
    place.enter("j", home)
    first = Path.cwd()
    assert first == place.own_folder("j") != tmp_path / "notebook"
    Path("left.txt").write_text("x")
    place.enter("k", home)
    assert not any(Path.cwd().iterdir())
    place.enter("j", home)
    assert Path.cwd() == first
    assert Path("left.txt").exists()
    place.leave("j")
    assert not first.exists()


def test_a_folder_that_an_item_has_removed_is_made_again(place: Workplace, machine: Any) -> None:
    machine("laptop")
    place.enter("j", here.NOWHERE)
    os.rmdir(place.own_folder("j") or "")
    place.enter("j", here.NOWHERE)
    assert not any(Path.cwd().iterdir())


def test_a_notebooks_folder_that_went_is_as_one_of_another_machine(
    place: Workplace, machine: Any, tmp_path: Path
) -> None:
    machine("desk")
    home = here.home()
    os.chdir(tmp_path)
    (tmp_path / "notebook").rmdir()
    place.enter("j", home)
    assert Path.cwd() == place.own_folder("j")


def test_the_secret_is_the_same_for_all_processes_and_for_this_user_alone(machine: Any, tmp_path: Path) -> None:
    machine("desk")
    folder, secret = here.home()
    assert (folder, secret) == here.home()
    assert len(secret) == 64
    assert (tmp_path / "desk").stat().st_mode & 0o777 == 0o700
    assert not here.is_here((folder, "0" * 64))
    assert not here.is_here((folder, ""))
    machine("elsewhere")
    assert not here.is_here((folder, secret))


def test_a_place_for_the_secret_that_is_a_link_is_not_trusted(machine: Any, tmp_path: Path) -> None:
    machine("desk")
    _, secret = here.home()
    (tmp_path / "linked").symlink_to(tmp_path / "desk")
    machine("linked")
    assert not here.is_here((str(tmp_path), secret))
