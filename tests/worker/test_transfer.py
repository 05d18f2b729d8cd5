"""Blobs: from a hub's folder, over HTTP, and how long they are kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import AccessError, BlobError
from nbdist.wire.address import Address
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import BlobRef
from nbdist.worker.transfer import BlobCache, Hub, fetch, put

DATA = bytes(range(256)) * 4000
REF = BlobRef(blob_name([DATA]), len(DATA))


class Store(BaseHTTPRequestHandler):
    """The blobs of a hub by hand: name -> bytes."""

    blobs: dict[str, bytes]

    def do_GET(self) -> None:
        found = self.blobs.get(self.path.removeprefix("/blobs/"))
        self._answer(404 if found is None else 200, found or b"it was forgotten")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != "Bearer key":
            self._answer(401, b"who are you?")
            return
        self.blobs[self.path.removeprefix("/blobs/")] = data
        self._answer(201, b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def blobs() -> dict[str, bytes]:
    return {}


@pytest.fixture
def hub(blobs: dict[str, bytes]) -> Iterator[Hub]:
    handler = type("Handler", (Store,), {"blobs": blobs})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Hub(Address("127.0.0.1", server.server_port, False, "key"))
        server.shutdown()
        thread.join()


def local(folder: Path) -> Hub:
    for part in ("blobs", "incoming"):
        (folder / part).mkdir()
    return Hub(Address("127.0.0.1", 1, False, "key"), folder)


def test_a_blob_comes_over_http_and_is_kept(hub: Hub, blobs: dict[str, bytes], tmp_path: Path) -> None:
    blobs[REF.name] = DATA
    cache = BlobCache(tmp_path)
    path, is_own = cache.get(hub, REF)
    assert (path.read_bytes(), is_own) == (DATA, True)
    blobs.clear()
    assert cache.get(hub, REF) == (path, True)


@pytest.mark.parametrize(("served", "message"), [(DATA + b"x", "damaged"), (None, "it was forgotten")])
def test_a_blob_that_is_not_what_its_name_says_is_thrown_away(
    hub: Hub, blobs: dict[str, bytes], tmp_path: Path, served: bytes | None, message: str
) -> None:
    if served is not None:
        blobs[REF.name] = served
    with pytest.raises(BlobError, match=message):
        fetch(hub, REF, tmp_path / REF.name)
    assert list(tmp_path.iterdir()) == []


def test_a_result_goes_over_http(hub: Hub, blobs: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA)
    assert not put(hub, REF, tmp_path / "part")
    assert blobs == {REF.name: DATA}


def test_a_hub_that_does_not_want_a_result_says_why(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA)
    stranger = Hub(Address("127.0.0.1", hub.address.port, False, "other"))
    with pytest.raises(BlobError, match="who are you"):
        put(stranger, REF, tmp_path / "part")


def test_on_the_same_machine_nothing_goes_over_a_socket(tmp_path: Path) -> None:
    hub = local(tmp_path)
    (tmp_path / "part").write_bytes(DATA)
    assert put(hub, REF, tmp_path / "part")
    assert (tmp_path / "part").exists()
    assert list((tmp_path / "incoming").iterdir()) == []
    (tmp_path / "cache").mkdir()
    assert BlobCache(tmp_path / "cache").get(hub, REF) == (tmp_path / "blobs" / REF.name, False)


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BlobError, match="no name of a blob"):
        BlobCache(tmp_path).get(local(tmp_path), BlobRef("../../etc/passwd", 1))


def test_the_cache_keeps_what_jobs_need_and_drops_the_oldest_of_the_rest(tmp_path: Path) -> None:
    refs = [BlobRef(f"{number:064x}", 100) for number in range(4)]
    cache = BlobCache(tmp_path, limit_bytes=150)
    cache.use("j", refs[:1])
    for ref in refs:
        (tmp_path / ref.name).write_bytes(bytes(100))
        cache.came(ref)
    assert {path.name for path in tmp_path.iterdir()} == {refs[0].name, refs[3].name}
    cache.release("j")
    assert [path.name for path in tmp_path.iterdir()] == [refs[3].name]


def test_no_credential_no_blob(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "do_GET", lambda self: self._answer(403, b"not a job of yours"))
    with pytest.raises(AccessError, match="not a job of yours"):
        fetch(hub, REF, tmp_path / REF.name)
