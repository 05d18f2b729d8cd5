"""`nbdist.file`: packed as a name, sent from its disk, and a path where it is unpacked."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import BlobError, NbdistError, PackingError
from nbdist.filing import inputs, written
from nbdist.filing.inputs import SMALL_BYTES, InputFile, check_number, collecting, file, placed
from nbdist.wire.blobs import blob_name

Travel = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notebook"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def travel(tmp_path: Path) -> Travel:
    """Packs a value, sends its files, and unpacks it on a machine that has nothing else."""

    def go(value: Any) -> Any:
        with collecting() as files:
            data = pickle.dumps(value)
        blobs = tmp_path / "blobs"
        blobs.mkdir(exist_ok=True)
        for name, pieces in files.by_name.items():
            (blobs / name).write_bytes(b"".join(pieces))
            assert blob_name(list(pieces)) == name
        with placed({name: str(blobs / name) for name in files.by_name}, tmp_path / "there"):
            return pickle.loads(data)

    return go


@pytest.mark.parametrize("size", [0, 5, SMALL_BYTES - 1, SMALL_BYTES, 3 * 1024 * 1024 + 1])
def test_a_file_is_a_path_to_its_content_and_name_elsewhere(travel: Travel, notebook: Path, size: int) -> None:
    data = os.urandom(size)
    Path("data.csv").write_bytes(data)
    there = travel(file("data.csv"))
    assert Path(there).read_bytes() == data
    assert Path(there).name == "data.csv"
    assert notebook not in Path(there).parents
    assert isinstance(there, InputFile)
    assert there == file("data.csv")
    assert stat.S_IMODE(Path(there).stat().st_mode) == 0o400


def test_it_is_used_as_a_path_here_too() -> None:
    Path("data.csv").write_text("a\n1\n")
    data = file("data.csv")
    with open(data) as opened:
        assert opened.read() == data.read_text() == "a\n1\n"
    assert (data.stem, data.suffix, str(data)) == ("data", ".csv", os.path.abspath("data.csv"))
    assert pickle.loads(pickle.dumps(data)) == data
    with pytest.raises(AttributeError):
        _ = data.__array__


def test_files_of_one_name_or_one_content_do_not_meet(travel: Travel) -> None:
    for folder, text in (("a", "1"), ("b", "2"), ("c", "1")):
        Path(folder).mkdir()
        Path(folder, "x.txt").write_text(text)
    Path("c", "y.txt").write_text("1")
    paths = travel([file("a/x.txt"), file("b/x.txt"), file("c/x.txt"), file("c/y.txt")])
    assert [path.read_text() for path in paths] == ["1", "2", "1", "1"]
    assert [path.name for path in paths] == ["x.txt", "x.txt", "x.txt", "y.txt"]


def test_what_cannot_be_sent_is_said_at_once(notebook: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file on the notebook's machine.*missing\.csv"):
        file("missing.csv")
    with pytest.raises(IsADirectoryError, match=r"takes one file, and this is a folder: \[nbdist\.file\(p\)"):
        file(notebook)
    with pytest.raises(OSError, match="this is none"):
        file("/dev/null")
    with pytest.raises(TypeError, match="path of one file"):
        file(b"data.csv")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        file(7)  # type: ignore[arg-type]


def test_an_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:  # root may read everything
        raise PermissionError(13, "Permission denied")

    Path("secret").write_text("x")
    monkeypatch.setattr(inputs, "open", refuse, raising=False)
    with pytest.raises(PermissionError, match="may not read"):
        file("secret")


def test_a_file_that_went_is_named_when_it_is_packed() -> None:
    Path("data.csv").write_text("x")
    data = file("data.csv")
    Path("data.csv").unlink()
    with collecting(), pytest.raises(PackingError, match=r"no such file on the notebook's machine: .*data\.csv"):
        pickle.dumps(data)


@pytest.mark.parametrize("change", [b"y" * SMALL_BYTES, b"y" * (SMALL_BYTES - 10), b""])
def test_a_file_that_changes_while_it_is_sent_is_not_sent(change: bytes) -> None:
    path = Path("data.csv")
    path.write_bytes(b"x" * SMALL_BYTES)
    with collecting() as files:
        pickle.dumps(file(path))
    (pieces,) = files.by_name.values()
    path.write_bytes(change)
    with pytest.raises(BlobError, match=r"data\.csv was changed while it was being sent: run the job again"):
        list(pieces)
    path.unlink()
    with pytest.raises(BlobError, match=r"data\.csv can no longer be read"):
        list(pieces)


def test_an_unchanged_file_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("data.csv")
    path.write_bytes(b"x" * SMALL_BYTES)
    os.utime(path, (1, 1))  # long ago
    with collecting() as first:
        pickle.dumps(file(path))
    monkeypatch.setattr(inputs, "BlobHasher", None)
    with collecting() as second:
        pickle.dumps([file(path), file(path)])
    assert list(first.by_name) == list(second.by_name)
    path.write_bytes(b"y" * SMALL_BYTES)
    with collecting(), pytest.raises(TypeError):  # it would be hashed
        pickle.dumps(file(path))


def test_too_many_large_files_for_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_CAPTURED", 2)
    for number in range(3):
        Path(f"{number}").write_bytes(bytes([number]) * SMALL_BYTES)
    with collecting() as files:
        pickle.dumps([file(f"{number}") for number in range(3)])
    with pytest.raises(PackingError, match=r"takes along 3 files.*pool\.map\(f, \[nbdist\.file"):
        check_number(files)


def test_distributed_code_is_told_to_call_it_outside(tmp_path: Path) -> None:
    before = written.enter(written.ItemFolders(tmp_path, [0], are_wanted=True))
    try:
        with pytest.raises(NbdistError, match=r"call it in the notebook.*data = nbdist\.file\('data\.csv'\)"):
            file("data.csv")
    finally:
        written.enter(before)
