"""The blob store: pins, the cache of what nobody pins, files of local peers."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdist.errors import BlobError
from nbdist.hub.blobs import RESERVE_BYTES, BlobStore
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import BlobRef


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store", cache_bytes=250)


def put(store: BlobStore, data: bytes) -> str:
    name = blob_name([data])
    incoming = store.incoming(name, len(data))
    for at in range(0, len(data), 7):
        incoming.write(data[at : at + 7])
    assert incoming.finish() == len(data)
    return name


def test_what_comes_in_is_a_private_file_under_its_name(store: BlobStore) -> None:
    name = put(store, b"some bytes")
    assert store.path(name).read_bytes() == b"some bytes"
    assert store.size(name) == 10
    assert [part.stat().st_mode & 0o777 for part in (store.folder, store.path(name).parent)] == [0o700, 0o700]
    assert store.missing([BlobRef(name, 10), BlobRef("0" * 64, 1), BlobRef("0" * 64, 1)]) == ["0" * 64]


def test_an_abandoned_blob_leaves_nothing(store: BlobStore) -> None:
    incoming = store.incoming("0" * 64, 100)
    incoming.write(b"half")
    incoming.abandon()
    assert not store.has("0" * 64)
    assert list((store.folder / "incoming").iterdir()) == []


def test_what_no_job_needs_is_kept_while_there_is_room_the_oldest_goes_first(store: BlobStore) -> None:
    names = [put(store, bytes([number]) * 100) for number in range(3)]
    for name in names:
        store.pin(name, "job", keep=True)
    for name in (names[1], names[0], names[2]):
        store.unpin(name, "job")
    assert [store.has(name) for name in names] == [True, False, True]
    assert not (store.folder / "blobs" / names[1]).exists()


@pytest.mark.parametrize(("in_memory", "kept"), [(False, 2), (True, 1)])
def test_what_no_job_needs_takes_a_part_of_what_is_free_and_less_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool, kept: int
) -> None:
    store = BlobStore(tmp_path / "store", cache_bytes=10**9, in_memory=in_memory)
    names = [put(store, bytes([number]) * 100) for number in range(3)]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000))
    for name in names:
        store.pin(name, "job", keep=True)
    for name in names:
        store.unpin(name, "job")
    assert sum(store.has(name) for name in names) == kept


def test_what_is_pinned_stays_whatever_its_size(store: BlobStore) -> None:
    name = put(store, b"x" * 1000)
    store.pin(name, "a", keep=True)
    store.pin(name, "b", keep=True)
    store.unpin(name, "a")
    assert list(store.holders(name)) == ["b"]
    assert store.has(name)
    store.unpin(name, "b")
    assert not store.has(name)
    store.unpin(name, "b")
    assert list(store.holders(name)) == []


def test_a_result_goes_as_soon_as_nobody_needs_it(store: BlobStore) -> None:
    name = put(store, b"x")
    store.pin(name, "job#1", keep=False)
    store.unpin(name, "job#1")
    assert not store.has(name)
    with pytest.raises(BlobError, match="forgotten"):
        store.path(name)


def test_a_placed_blob_must_be_there_with_its_size(store: BlobStore) -> None:
    name = blob_name([b"abc"])
    with pytest.raises(BlobError, match="not there"):
        store.placed(BlobRef(name, 3))
    (store.folder / "blobs" / name).write_bytes(b"abc")
    with pytest.raises(BlobError, match="3 bytes, 4 were"):
        store.placed(BlobRef(name, 4))
    with pytest.raises(BlobError, match="no name"):
        store.placed(BlobRef("../../etc/passwd", 3))
    store.placed(BlobRef(name, 3))
    assert store.has(name)


def test_the_nonce_is_the_only_proof(store: BlobStore) -> None:
    assert store.proves_local((store.folder / "nonce").read_text())
    assert not store.proves_local("")
    assert not store.proves_local("\udcff")


def test_blobs_of_an_earlier_hub_are_found_and_those_that_nobody_needs_go(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    put(store, b"old")
    put(store, b"needed")
    for name, age_seconds in (("young", 10.0), ("old", 7200.0)):
        (tmp_path / "incoming" / name).write_bytes(b"ne")
        os.utime(tmp_path / "incoming" / name, (time.time() - age_seconds,) * 2)
    again = BlobStore(tmp_path)
    assert [file.name for file in (tmp_path / "incoming").iterdir()] == ["young"]
    again.pin(blob_name([b"needed"]), "job", keep=True)
    assert again.is_pinned
    again.close()
    assert [file.name for file in (tmp_path / "blobs").iterdir()] == [blob_name([b"needed"])]


def test_a_blob_for_which_there_is_no_room_is_refused(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    free = RESERVE_BYTES + 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    store.incoming("0" * 64, 1000).abandon()
    with pytest.raises(BlobError, match="room for"):
        store.incoming("0" * 64, 1001)


def test_what_was_being_put_when_the_hub_was_killed_goes_and_files_of_local_peers_stay(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    name = blob_name([b"abc"])
    store.incoming(name, 3).write(b"ab")
    placed = tmp_path / "incoming" / ("0" * 32)
    placed.write_bytes(b"abc")
    assert len(list((tmp_path / "incoming").iterdir())) == 2
    again = BlobStore(tmp_path)  # the one before was killed
    assert list((tmp_path / "incoming").iterdir()) == [placed]
    again.adopt(BlobRef(name, 3), placed.name)
    assert again.has(name)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "pin", "keep", "unpin", "again"]), st.integers(0, 4)), max_size=40))
def test_what_nobody_needs_is_known_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    store = BlobStore(folder, cache_bytes=250)
    for step, number in steps:
        name = blob_name([bytes([number]) * 100])
        if step == "put":
            put(store, bytes([number]) * 100)
        elif step == "again":
            store = BlobStore(folder, cache_bytes=250)
        elif step == "unpin":
            store.unpin(name, "job")
        elif store.has(name):
            store.pin(name, "job", keep=step == "keep")
        idle = {name: blob.size for name, blob in store._blobs.items() if not blob.pins}
        assert (store._idle, store._idle_bytes) == (idle, sum(idle.values()))
        assert store.is_pinned is any(blob.pins for blob in store._blobs.values())
        assert {path.name for path in (folder / "blobs").iterdir()} == set(store._blobs)


@pytest.mark.parametrize("in_memory", [False, True])
def test_what_an_earlier_hub_has_left_is_checked_on_a_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_memory: bool
) -> None:
    store = BlobStore(tmp_path)
    large = os.urandom(2_500_000)
    good, bad, empty = put(store, large), put(store, b"x" * 100), put(store, b"")
    store.path(bad).write_bytes(b"y" * 100)
    again = BlobStore(tmp_path, in_memory=in_memory)
    assert again.has(good)
    assert again.has(empty)
    assert again.has(bad) is in_memory
    aside = list(tmp_path.glob(f"damaged-*-{bad}"))
    assert [path.read_bytes() for path in aside] == ([] if in_memory else [b"y" * 100])
    assert all(str(path) in caplog.text for path in aside)
    assert put(again, b"x" * 100) == bad
    assert again.path(bad).read_bytes() == (b"y" if in_memory else b"x") * 100


def test_only_so_much_is_checked_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(tmp_path)
    names = [put(store, bytes([number]) * 100) for number in range(3)]
    for age, name in enumerate(names):
        store.path(name).write_bytes(b"y" * 100)
        os.utime(store.path(name), (1_000_000 + age, 1_000_000 + age))
    monkeypatch.setattr("nbdist.hub.blobs.CHECK_BYTES", 250)
    again = BlobStore(tmp_path)
    assert [again.has(name) for name in names] == [True, False, False]
