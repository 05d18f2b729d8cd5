"""Blobs by HTTP, against a small server; placing and mapping are tested with the engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nbdist.engines.base import PackedBlob
from nbdist.engines.hub import transfers
from nbdist.errors import AccessError, BlobError, ConnectionFailedError
from nbdist.wire.address import Address
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import BlobRef


class Handler(BaseHTTPRequestHandler):
    """Keeps what is put; `server.status` makes it refuse, `server.cut` makes it send too little."""

    server: Store

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self._admit():
            self.server.blobs[self.path] = data
            self.send_response(201)
            self.end_headers()

    def do_GET(self) -> None:
        if self._admit():
            data = self.server.blobs[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) - self.server.cut])

    def _admit(self) -> bool:
        status = self.server.status if self.headers["Authorization"] == "Bearer the-key" else 401
        if status != 200:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"because")
        return status == 200

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Store(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, bytes] = {}
        self.status = 200
        self.cut = 0

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server_port, False, "the-key")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def blob(data: bytes) -> PackedBlob:
    return PackedBlob(blob_name([data]), len(data), [data[:3], memoryview(data)[3:]])


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_there_and_back(store: Store, size: int) -> None:
    data = os.urandom(size)
    sent = blob(data)
    transfers.put(sent, store.address)
    assert store.blobs == {f"/blobs/{sent.name}": data}
    assert bytes(transfers.get(BlobRef(sent.name, size), store.address)) == data


def test_who_sends_hears_how_much_has_gone(store: Store) -> None:
    data, heard = os.urandom(1_000_000), []
    transfers.put(PackedBlob(blob_name([data]), len(data), [data[:7], data[7:]]), store.address, sent=heard.append)
    assert heard == sorted(set(heard))
    assert heard[-1] == len(data)
    assert len(heard) > 10


def test_other_bytes_are_refused(store: Store) -> None:
    name = blob(b"right").name
    store.blobs[f"/blobs/{name}"] = b"wrong"
    with pytest.raises(BlobError, match="do not match"):
        transfers.get(BlobRef(name, 5), store.address)


def test_cut_bytes_are_fetched_again(store: Store) -> None:
    sent = blob(b"abcdefgh")
    transfers.put(sent, store.address)
    store.cut = 3
    with pytest.raises(ConnectionFailedError):
        transfers.get(BlobRef(sent.name, 8), store.address)


@pytest.mark.parametrize(
    ("status", "error"), [(401, AccessError), (403, AccessError), (422, BlobError), (503, ConnectionFailedError)]
)
def test_a_refusal_is_told(store: Store, status: int, error: type[Exception]) -> None:
    store.status = status
    sent = blob(b"data")
    with pytest.raises(error, match="because"):
        transfers.put(sent, store.address)
    with pytest.raises(error, match="because"):
        transfers.get(BlobRef(sent.name, 4), store.address)


def test_no_server_is_worth_another_try(store: Store) -> None:
    address = Address("127.0.0.1", 1, False, "the-key")
    with pytest.raises(ConnectionFailedError, match=r"ws://127\.0\.0\.1:1/"):
        transfers.put(blob(b"data"), address)


def test_a_mapped_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / ("0" * 64)).write_bytes(b"abc")
    with pytest.raises(BlobError, match="size"):
        transfers.map_file(BlobRef("0" * 64, 4), tmp_path)
