"""Files come home under names that do not depend on which came first."""

from __future__ import annotations

import itertools
import os
import random
import time
from pathlib import Path

import pytest

from nbdist.client.homecoming import DRAFT_PREFIX, Homecoming, checked
from nbdist.errors import FilesError, PackingError
from nbdist.filing import archive
from nbdist.filing.written import Written


def come(home: Homecoming, folder: Path, files: list[tuple[int, str]]) -> None:
    """One result with these files, each with its item and name in it."""
    folder.mkdir(exist_ok=True)
    found = []
    for item, name in files:
        path = folder / f"{item}-{abs(hash(name))}"
        path.write_text(f"{item} {name}")
        found.append(Written(item, name, str(path), path.stat().st_size))
    coming = home.begin()
    for piece in archive.pieces(found):
        coming.feed(piece)
    coming.commit()
    coming.abandon()


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


FILES = [(0, "a.txt"), (3, "a.txt"), (5, "a-3.txt"), (5, "b"), (6, "b/c"), (7, "B"), (8, "d/e.txt"), (9, "d/E.TXT")]
EXPECTED = {
    "a-0.txt": "0 a.txt",
    "a-3-3.txt": "3 a.txt",
    "a-3-5.txt": "5 a-3.txt",
    "b-5": "5 b",
    "b/c": "6 b/c",
    "B-7": "7 B",
    "d/e-8.txt": "8 d/e.txt",
    "d/E-9.TXT": "9 d/E.TXT",
}


@pytest.mark.parametrize("seed", range(60))
def test_names_do_not_depend_on_the_order(tmp_path: Path, seed: int) -> None:
    files = list(FILES)
    random.Random(seed).shuffle(files)
    home = Homecoming(tmp_path / "out")
    for number, file in enumerate(files):
        come(home, tmp_path / str(number), [file])
    assert tree(tmp_path / "out") == EXPECTED
    assert {item: [path.name for path in paths] for item, paths in home.paths.items()}[5] == ["a-3-5.txt", "b-5"]
    assert "got the items' numbers" in home.stories()[0]


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])))
def test_a_result_that_comes_twice_changes_nothing(tmp_path: Path, order: tuple[int, ...]) -> None:
    home = Homecoming(tmp_path / "out")
    for number, item in enumerate([*order, *order]):
        come(home, tmp_path / str(number), [(item, "x"), (item, f"own{item}")])
    assert tree(tmp_path / "out") == {f"x-{i}": f"{i} x" for i in range(3)} | {
        f"own{i}": f"{i} own{i}" for i in range(3)
    }


def test_a_result_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    home = Homecoming(tmp_path / "out")
    (tmp_path / "a").write_text("some")
    stream = b"".join(archive.pieces([Written(0, "a", str(tmp_path / "a"), 4)]))
    for count in range(len(stream)):
        coming = home.begin()
        coming.feed(stream[:count])
        with pytest.raises(PackingError):
            coming.commit()
        coming.abandon()
        assert list((tmp_path / "out").iterdir()) == []
    assert home.paths == {}


def test_a_link_in_the_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "precious")
    come(Homecoming(tmp_path / "out"), tmp_path / "0", [(0, "a")])
    assert (tmp_path / "precious").read_text() == "precious"
    assert tree(tmp_path / "out") == {"a": "0 a"}


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    home = Homecoming(tmp_path / "out")
    monkeypatch.setattr(archive.SparseWriter, "write", full)
    with pytest.raises(FilesError, match=r"cannot be written to .*out: No space left on device. Make room"):
        come(home, tmp_path / "0", [(0, "a")])


def test_drafts_that_a_killed_kernel_has_left_go(tmp_path: Path) -> None:
    old, young = tmp_path / f"{DRAFT_PREFIX}old", tmp_path / f"{DRAFT_PREFIX}young"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 100_000,) * 2)
    Homecoming(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_folder_in_the_persons_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    home = checked("~/out")
    assert home is not None
    assert home.folder == tmp_path / "out"
    assert checked(None) is None
