"""Large items on their way to a hub: files beside it, HTTP otherwise; what happens when it is away or full."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nbdist.engines.base import Block
from nbdist.engines.hub import itemblobs
from nbdist.engines.hub.itemblobs import ItemBlobs
from nbdist.engines.hub.items import ItemFeed, Parcel
from nbdist.errors import ConnectionFailedError
from nbdist.wire import frames
from nbdist.wire.address import Address
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import AddItems

LIMIT_SECONDS = 60.0
DATA = [os.urandom(300_000), os.urandom(2_500_000)]


class Store(BaseHTTPRequestHandler):
    """A hub by hand. `full`: so often it has no room."""

    blobs: dict[str, bytes]
    log: list[tuple[str, str | None]]
    full: list[int]

    def do_HEAD(self) -> None:
        self._answer("HEAD", 200 if self.path.removeprefix("/blobs/") in self.blobs else 404)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.full[0]:
            self.full[0] -= 1
            self._answer("full", 507, b"make room")
            return
        self.blobs[self.path.removeprefix("/blobs/")] = data
        self._answer("PUT", 201)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _answer(self, what: str, status: int, body: bytes = b"") -> None:
        self.log.append((what, self.headers["Nbdist-Holder"]))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class World:
    """A feed, its uploads, and what came of them."""

    def __init__(self, place: Callable[[], tuple[Path | None, Address]]) -> None:
        self.sent: list[tuple[AddItems, bytes]] = []
        self.reasons: list[str] = []
        self.happened = threading.Semaphore(0)
        self.uploads = ItemBlobs(place)
        self.feed = ItemFeed("j", self._send, 10**9, self._upload)

    def add(self, *data: bytes) -> None:
        self.feed.add(Block(1, large=list(data), finish=lambda names: " ".join(names).encode()))
        assert self.happened.acquire(timeout=LIMIT_SECONDS)

    def _send(self, frame: bytes) -> None:
        message, payload = frames.decode(frame)
        assert isinstance(message, AddItems)
        self.sent.append((message, bytes(payload)))
        self.happened.release()

    def _upload(self, parcel: Parcel) -> None:
        self.uploads.upload(self.feed, parcel, self._failed)

    def _failed(self, reason: str) -> None:
        self.reasons.append(reason)
        self.happened.release()


@pytest.fixture
def store() -> Iterator[Any]:
    handler = type("Handler", (Store,), {"blobs": {}, "log": [], "full": [0]})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        handler.address = Address("127.0.0.1", server.server_port, False, "key")  # type: ignore[attr-defined]
        yield handler
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itemblobs, "PAUSE_SECONDS", 0.01)


def test_blobs_go_before_their_block_and_say_for_which_it_is(store: Any) -> None:
    world = World(lambda: (None, store.address))
    world.add(*DATA)
    names = [blob_name([data]) for data in DATA]
    assert store.blobs == dict(zip(names, DATA, strict=True))
    assert store.log == [("PUT", "j@0"), ("PUT", "j@0")]
    ((message, payload),) = world.sent
    assert ([ref.name for ref in message.blobs], message.files) == (names, ())
    assert payload.decode().split() == names
    world.uploads.close()


def test_what_the_hub_has_is_not_sent_again(store: Any) -> None:
    world = World(lambda: (None, store.address))
    world.add(DATA[0])
    world.add(DATA[0])
    store.blobs.clear()
    world.add(DATA[0])
    assert store.log == [("PUT", "j@0"), ("HEAD", "j@1"), ("HEAD", "j@2"), ("PUT", "j@2")]
    world.uploads.close()


def test_a_hub_that_is_away_is_waited_for(store: Any) -> None:
    away = [True] * 8

    def place() -> tuple[None, Address]:
        if away:
            away.pop()
            raise ConnectionFailedError("away")
        return None, store.address

    world = World(place)
    world.add(DATA[0])
    assert [message.start for message, _ in world.sent] == [0]
    world.uploads.close()


def test_room_is_waited_for_as_long_as_others_are_there(store: Any) -> None:
    world = World(lambda: (None, store.address))
    world.add(DATA[0])
    store.full[0] = 2 * itemblobs.ROOM_TRIES
    world.add(DATA[1])
    assert [message.start for message, _ in world.sent] == [0, 1]
    world.uploads.close()


def test_an_item_that_finds_no_room_alone_is_named(store: Any) -> None:
    store.full[0] = 10**6
    world = World(lambda: (None, store.address))
    world.add(DATA[1])
    (reason,) = world.reasons
    assert "item 0 (2.5 MB) cannot be sent" in reason
    assert "make room" in reason
    assert store.log.count(("full", "j@0")) == itemblobs.ROOM_TRIES
    world.uploads.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path


def test_on_the_hubs_machine_blobs_are_files(folder: Path) -> None:
    world = World(lambda: (folder, Address("127.0.0.1", 1, False, "key")))
    world.add(*DATA)
    ((message, _),) = world.sent
    assert [(folder / "incoming" / file).read_bytes() for file in message.files] == DATA
    assert [ref.name for ref in message.blobs] == [blob_name([data]) for data in DATA]
    world.uploads.close()


def test_a_full_disk_leaves_no_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = itemblobs._copy

    def full(buffer: Any, path: Path) -> Any:
        if len(buffer) > 1_000_000:
            path.write_bytes(b"some of it")
            raise OSError(28, "No space left on device")
        return real(buffer, path)

    monkeypatch.setattr(itemblobs, "_copy", full)
    world = World(lambda: (folder, Address("127.0.0.1", 1, False, "key")))
    world.add(*DATA)
    assert "there is no room in" in world.reasons[0]
    assert list((folder / "incoming").iterdir()) == []
    world.uploads.close()


def test_an_item_that_changes_while_it_is_written_has_the_name_of_what_was_written(tmp_path: Path) -> None:
    data = bytearray(DATA[1])
    ref = itemblobs._copy(memoryview(data), tmp_path / "file")
    data[:] = bytes(len(data))
    assert ref.name == blob_name([(tmp_path / "file").read_bytes()])
