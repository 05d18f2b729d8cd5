"""The files of items as one stream: whole in any cut, and nothing else."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import PackingError
from nbdist.filing import archive
from nbdist.filing.archive import Entry, Unpacker
from nbdist.filing.written import Written
from nbdist.wire.blobs import blob_name


def files_of(folder: Path, contents: list[tuple[int, str, bytes]]) -> list[Written]:
    found = []
    for number, (item, name, data) in enumerate(contents):
        path = folder / str(number)
        path.write_bytes(data)
        found.append(Written(item, name, str(path), len(data)))
    return found


CONTENTS = [
    (0, "a", b""),
    (0, "sub/ä.txt", b"some text"),
    (3, "zeros", bytes(8_000_000)),
    (3, "mixed", bytes(200_000) + b"x" * 100_000 + bytes(200_000)),
    (17, "last", b""),
]


@pytest.mark.parametrize("seed", range(5))
def test_files_come_out_as_they_went_in_however_they_were_cut(tmp_path: Path, seed: int) -> None:
    cuts = random.Random(seed)
    stream = b"".join(archive.pieces(files_of(tmp_path, CONTENTS)))
    came: list[Entry] = []

    def open_(entry: Entry) -> Any:
        came.append(entry)
        return open(tmp_path / f"came-{len(came)}", "xb", buffering=0)

    unpacker = Unpacker(open_)
    while stream:
        count = cuts.choice([1, 3, 100, 65_536, 1_000_000])
        unpacker.feed(stream[:count])
        stream = stream[count:]
    assert unpacker.finish() == came
    data = [(tmp_path / f"came-{number}").read_bytes() for number in range(1, len(came) + 1)]
    assert [(entry.item, entry.name, some) for entry, some in zip(came, data, strict=True)] == CONTENTS


def test_what_is_cut_short_or_goes_on_is_no_archive(tmp_path: Path) -> None:
    stream = b"".join(archive.pieces(files_of(tmp_path, CONTENTS[:2])))
    for count in range(len(stream)):
        unpacker = Unpacker(lambda entry: io.BytesIO())
        unpacker.feed(stream[:count])
        with pytest.raises(PackingError, match="cut short"):
            unpacker.finish()
    with pytest.raises(PackingError, match="goes on behind"):
        Unpacker(lambda entry: io.BytesIO()).feed(stream + b"x")
    with pytest.raises(PackingError, match="no archive"):
        Unpacker(lambda entry: io.BytesIO()).feed(b"\0" * 20)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "", "a//b", ".", "a\0b", "x" * 300])
def test_a_name_that_leads_out_of_the_folder_is_never_opened(tmp_path: Path, name: str) -> None:
    (file,) = files_of(tmp_path, [(0, "good", b"x")])
    stream = b"".join(archive.pieces([Written(0, name, file.path, 1)]))
    opened: list[Entry] = []
    with pytest.raises(PackingError, match="has one that is called"):
        Unpacker(opened.append).feed(stream)
    assert not opened


@pytest.mark.parametrize(
    "index", [b"{}x", b"7", b"[[1,2]]", b'[["a","b",1]]', b'[[1,"b",-1]]', b'[[1,"b",true]]', b"\xff"]
)
def test_an_index_that_makes_no_sense(index: bytes) -> None:
    with pytest.raises(PackingError):
        Unpacker(lambda entry: io.BytesIO()).feed(b"nbf\x01" + len(index).to_bytes(4, "big") + index)


def test_what_is_written_is_the_blob_that_it_is_said_to_be_and_keeps_holes(tmp_path: Path) -> None:
    found = files_of(tmp_path, CONTENTS)
    name, size, at = archive.write(tmp_path / "part", [b"payload", memoryview(b"more")], found)
    data = (tmp_path / "part").read_bytes()
    assert (size, at) == (len(data), 11)
    assert data[:11] == b"payloadmore"
    assert data[11:] == b"".join(archive.pieces(found))
    assert blob_name([data]) == name
    assert (tmp_path / "part").stat().st_blocks * 512 < 4_000_000
    archive.copy(tmp_path / "part", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert (tmp_path / "copy").stat().st_blocks * 512 < 4_000_000


def test_a_file_that_changed_after_its_item_is_named(tmp_path: Path) -> None:
    (file,) = files_of(tmp_path, [(4, "data", b"long enough")])
    Path(file.path).write_bytes(b"short")
    with pytest.raises(OSError, match="the file data of item 4 was changed after the item had ended"):
        list(archive.pieces([file]))
    os.unlink(file.path)
    with pytest.raises(OSError, match="was changed after the item had ended"):
        list(archive.pieces([file]))
    (tmp_path / "secret").write_bytes(b"long enough")
    os.symlink(tmp_path / "secret", file.path)
    with pytest.raises(OSError, match="symbolic link"):
        list(archive.pieces([file]))
