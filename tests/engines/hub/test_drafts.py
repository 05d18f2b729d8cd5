"""Values are copied while they are named, and what is copied is what was named."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbdist.engines.base import PackedBlob
from nbdist.engines.hub import transfers
from nbdist.engines.hub.drafts import Draft, Drafts
from nbdist.errors import BlobError
from nbdist.wire.blobs import blob_name

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("incoming", "blobs"):
        (tmp_path / name).mkdir()
    return tmp_path


def incoming(folder: Path) -> list[Path]:
    return list((folder / "incoming").iterdir())


def test_a_draft_becomes_the_blob(folder: Path) -> None:
    draft = Draft(memoryview(DATA), folder)
    draft.place(folder / "blobs" / "name")
    assert (folder / "blobs" / "name").read_bytes() == DATA
    assert not incoming(folder)


def test_a_draft_that_nobody_needs_leaves_nothing(folder: Path) -> None:
    drafts = Drafts()
    for _ in range(2):
        draft = Draft(memoryview(DATA), folder)
        draft.wait()
        drafts.add("same", draft)
    assert len(incoming(folder)) == 1
    drafts.discard_all()
    assert not incoming(folder)
    assert drafts.take("same") is None


def test_a_folder_that_is_gone_is_told_when_the_blob_is_placed(folder: Path) -> None:
    draft = Draft(memoryview(DATA), folder / "elsewhere")
    with pytest.raises(FileNotFoundError):
        draft.place(folder / "blobs" / "name")


def test_a_value_that_was_changed_meanwhile_does_not_become_a_blob_of_its_old_name(folder: Path) -> None:
    value = bytearray(DATA)
    blob = PackedBlob(blob_name([value]), len(value), [value])
    value[5] ^= 1
    with pytest.raises(BlobError, match="was changed while"):
        transfers.place(blob, folder)
    assert not incoming(folder)
    assert not list((folder / "blobs").iterdir())
