"""What a peer says of its computer, and the proof of being on the hub's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import nbdist
from nbdist.wire import frames, local
from nbdist.wire.local import MAX_NONCE_BYTES, NONCE_FILE, memory_bytes, read_nonce, this_machine
from nbdist.wire.messages import Hello


def test_a_machine_travels() -> None:
    machine = this_machine(8, ("Fast Card",))
    assert (machine.cores, machine.gpus, machine.pid) == (8, ("Fast Card",), os.getpid())
    assert machine.memory_bytes == memory_bytes() > 10**8
    assert machine.nbdist == nbdist.__version__
    hello, _ = frames.decode(frames.encode(Hello("worker", 1, 1, machine, "p")))
    assert isinstance(hello, Hello)
    assert hello.machine == machine


@pytest.mark.parametrize(
    ("written", "read"),
    [(b"abc", "abc"), (b" abc\n", "abc"), (b"x" * 10**6, "x" * MAX_NONCE_BYTES), (b"\xff\xfe", ""), (b"", "")],
)
def test_what_lies_there_is_read_within_a_bound(tmp_path: Path, written: bytes, read: str) -> None:
    (tmp_path / NONCE_FILE).write_bytes(written)
    assert read_nonce(tmp_path) == read


def test_a_folder_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    assert read_nonce(tmp_path / "elsewhere") == ""


def test_a_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    paths = [os.path.join(tmp_path, name) for name in ("none", "max", "limit")]
    for path, text in zip(paths[1:], ("max\n", "123456789\n"), strict=True):
        with open(path, "w") as file:
            file.write(text)
    monkeypatch.setattr(local, "_CONTAINER_LIMITS", ())
    whole = memory_bytes()
    monkeypatch.setattr(local, "_CONTAINER_LIMITS", paths[:2])
    assert memory_bytes() == whole
    monkeypatch.setattr(local, "_CONTAINER_LIMITS", paths)
    assert memory_bytes() == 123456789
