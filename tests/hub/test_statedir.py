"""The state directory: private, locked, counted; shared memory that a killed hub left goes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbdist.hub import statedir
from nbdist.hub.statedir import StateBusyError, StateDir, shared_folder, write_private


def test_one_hub_at_a_time(tmp_path: Path) -> None:
    first = StateDir(tmp_path / "state")
    with pytest.raises(StateBusyError, match="already runs"):
        StateDir(tmp_path / "state")
    first.close()
    first.close()
    StateDir(tmp_path / "state").close()


def test_the_epoch_grows_with_every_start(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        state = StateDir(tmp_path)
        epochs.append(state.next_epoch())
        state.close()
    assert epochs == [1, 2, 3]


def test_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.read("x.json") == {}
    state.write("x.json", {"a": 1})
    state.write("x.json", {"b": 2})
    assert state.read("x.json") == {"b": 2}
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lock", "x.json"]
    state.close()


@pytest.mark.parametrize("data", [b"", b"[1, 2", b"[1, 2]", b"\xff\xfe", None], ids=repr)
def test_a_damaged_file_is_set_aside_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes | None
) -> None:
    state = StateDir(tmp_path)
    path = tmp_path / "x.json"
    for _ in range(2):  # in the same second, too
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)
        assert state.read("x.json") == {}
        state.write("x.json", {"b": 2})
        assert state.read("x.json") == {"b": 2}
        path.unlink()
    found = list(tmp_path.glob("damaged-*-x.json*"))
    assert len(found) == 2
    assert all(aside.is_dir() if data is None else aside.read_bytes() == data for aside in found)
    assert all(f"{path} is damaged" in caplog.text and str(aside) in caplog.text for aside in found)
    state.close()


@pytest.mark.parametrize("text", ["", "{", '{"epoch": "x"}', "[3]"])
def test_when_nobody_knows_the_last_epoch_the_next_one_was_never_there(tmp_path: Path, text: str) -> None:
    state = StateDir(tmp_path)
    before = [state.next_epoch() for _ in range(3)]
    (tmp_path / statedir.EPOCH_FILE).write_text(text)
    after = [state.next_epoch(), state.next_epoch()]
    assert after[0] > max(before) + 1_000_000
    assert after[1] == after[0] + 1
    state.close()


def test_a_file_that_cannot_be_replaced_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_private(tmp_path / "taken", b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(statedir, "SHARED_MEMORY", tmp_path)
    return tmp_path


def test_a_shared_folder_is_private_and_goes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = shared_folder(StateDir(tmp_path_factory.mktemp("state")))
    assert folder.path.parent == shared
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert list(shared.iterdir()) == []


def test_the_next_hub_on_a_state_directory_finds_its_shared_folder(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = StateDir(tmp_path_factory.mktemp("state"))
    folder = shared_folder(state)
    (folder.path / "blob").write_bytes(b"x")
    assert folder._lock is not None
    os.close(folder._lock)
    again = shared_folder(state)
    assert again.path == folder.path
    assert (again.path / "blob").read_bytes() == b"x"
    again.close(keep=True)
    other = shared_folder(StateDir(tmp_path_factory.mktemp("other")))
    assert other.path != folder.path
    other.close()


def test_a_folder_that_somebody_else_names_is_not_taken(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    state = StateDir(tmp_path_factory.mktemp("state"))
    strange = shared / "strange"
    strange.mkdir()
    state.write(statedir.SHARED_FILE, {"folder": str(strange)})
    folder = shared_folder(state)
    assert folder.path != strange
    folder.close()


def test_without_enough_shared_memory_there_is_no_folder(
    shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(statedir.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(OSError):
        shared_folder(StateDir(tmp_path_factory.mktemp("state")))
    assert list(shared.iterdir()) == []


def test_only_folders_of_hubs_that_are_gone_for_good_are_swept(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gone = tmp_path_factory.mktemp("gone")
    dead = shared_folder(StateDir(gone))
    assert dead._lock is not None
    os.close(dead._lock)  # as the end of its process does
    shutil.rmtree(gone)
    living = shared_folder(StateDir(tmp_path_factory.mktemp("state")))
    assert list(shared.iterdir()) == [living.path]
    living.close()


def test_what_was_being_written_when_a_hub_was_killed_goes_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StateDir(tmp_path)
    first.write("keys.json", {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _killed)
        patch.setattr("os.unlink", lambda path: None)
        with pytest.raises(KeyboardInterrupt):
            first.write("keys.json", {"a": 2})
    assert len(list(tmp_path.iterdir())) == 3
    first.close()
    second = StateDir(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"keys.json", "lock"}
    assert second.read("keys.json") == {"a": 1}
    second.close()


def _killed(*paths: object) -> None:
    raise KeyboardInterrupt
