"""What hostile, broken or outdated peers send: each is told what is wrong, and everybody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import struct
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed

import nbdist
from nbdist.errors import AccessError, ConnectionFailedError, NbdistError
from nbdist.wire import frames
from nbdist.wire.address import Address
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import CancelJob, Hello, Machine, Refused, SubmitJob, Welcome

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
PYTHON_FOLDERS = [Path.home() / ".pyenv" / "versions", Path("/opt/hostedtoolcache/Python")]


@pytest.fixture(scope="module")
def hub(start_once: Any) -> Any:
    return start_once.hub()


@pytest.fixture(scope="module")
def worker(start_once: Any, hub: Any) -> Any:
    worker = start_once.worker(hub.invite, "--slots", "1", "--name", "good")
    worker.line("joined")
    return worker


@pytest.fixture
def pool(hub: Any, worker: Any) -> Iterator[nbdist.Pool]:
    """A notebook that works before and after."""
    with nbdist.connect(hub.connect) as pool:
        yield pool
        assert pool.map(abs, range(-3, 3)).result(LIMIT_SECONDS) == [3, 2, 1, 0, 1, 2]
    assert hub.process.popen.poll() is None
    assert worker.popen.poll() is None
    assert "Traceback" not in hub.process.text + worker.text


def machine(**changes: str) -> Machine:
    fields = {"python": sys.version.split()[0], "nbdist": nbdist.__version__} | changes
    return Machine("here", sys.platform, "x86_64", implementation="cpython", **fields)


def talk(hub: Any, method: str, path: str, body: bytes = b"", key: str = "") -> tuple[int, bytes]:
    address = hub.address
    connection = http.client.HTTPConnection(address.host, address.port, timeout=LIMIT_SECONDS)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {key or address.key}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def worker_key(hub: Any, peer: str) -> str:
    body = json.dumps({"name": peer, "peer": peer}).encode()
    status, answer = talk(hub, "POST", "/join", body, Address.parse(hub.invite).key)
    assert status == 200
    return str(json.loads(answer)["key"])


async def last_word(hub: Any, role: Any, data: list[bytes | str], *, greet: bool = True) -> Refused | None:
    """Sends frames; gives what the hub says before it closes the connection, None if it does not say anything."""
    peer = f"{role}-under-test"
    key = worker_key(hub, peer) if role == "worker" else hub.address.key
    refused = None
    async with asyncio.timeout(LIMIT_SECONDS):
        socket_ = await dial(
            hub.address.socket_url,
            additional_headers={"Authorization": f"Bearer {key}"},
            compression=None,
            proxy=None,
            max_size=None,
        )
        with contextlib.suppress(ConnectionClosed):
            if greet:
                hello = Hello(role, 1, 1, machine(), peer, name=peer, slots=int(role == "worker"))
                await socket_.send(frames.encode(hello))
                assert isinstance(frames.decode(await socket_.recv(decode=False))[0], Welcome)
            for frame in data:
                await socket_.send(frame)
            while True:
                message, _ = frames.decode(await socket_.recv(decode=False))
                if isinstance(message, Refused):
                    refused = message
        await socket_.close()
    return refused


# --- frames to the hub ------------------------------------------------------------------------------------------------

HEADER = struct.Struct(">I")


def framed(header: bytes) -> bytes:
    return HEADER.pack(len(header)) + header


WHOLE = frames.encode(CancelJob("some job", "x" * 100))
BAD_FRAMES: dict[str, bytes | str] = {
    "empty": b"",
    "text": "hello",
    "length only": b"\0\0\0\5",
    "longer than it is": HEADER.pack(1 << 31) + b"{}",
    "no JSON": framed(b"\xff\xfe"),
    "no object": framed(b"[1]"),
    "deep": framed(b"[" * 30_000),
    "unknown": framed(b'{"type": "MakeCoffee"}'),
    "truncated": WHOLE[:-20],
    "too large": frames.encode(CancelJob("j")) + bytes(2 * frames.MAX_FRAME_BYTES),
}


@pytest.mark.parametrize("role", ["notebook", "worker"])
@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
@pytest.mark.parametrize("greet", [True, False], ids=["welcomed", "at the door"])
def test_a_bad_frame_ends_one_connection(pool: nbdist.Pool, hub: Any, role: str, frame: bytes, greet: bool) -> None:
    refused = asyncio.run(last_word(hub, role, [frame], greet=greet))
    if len(frame) <= frames.MAX_FRAME_BYTES:
        assert refused is not None
        assert refused.code == "protocol"
        assert len(refused.reason) < 500


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(role=st.sampled_from(["notebook", "worker"]), cut=st.integers(0, len(WHOLE)), noise=st.binary(max_size=50))
def test_noise_ends_one_connection(pool: nbdist.Pool, hub: Any, role: str, cut: int, noise: bytes) -> None:
    frame = WHOLE[:cut] + noise
    try:
        frames.decode(frame)
    except NbdistError:
        refused = asyncio.run(last_word(hub, role, [frame]))
        assert refused is not None
        assert refused.code == "protocol"


def test_bytes_that_are_no_websocket(pool: nbdist.Pool, hub: Any) -> None:
    for data in (b"\0" * 1000, b"GET /socket HTTP/1.1\r\n", b"\x16\x03\x01" + bytes(200), b"A" * 100_000):
        with contextlib.suppress(OSError), socket.create_connection((hub.address.host, hub.address.port), 5) as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass


def test_a_workers_credential_does_not_submit(pool: nbdist.Pool, hub: Any) -> None:
    job = SubmitJob("j", "j", machine(), nbdist.wire.messages.JobOptions(), ranges=((0, 3, 1),), total=3)
    refused = asyncio.run(last_word(hub, "worker", [frames.encode(job)]))
    assert refused is not None
    assert refused.code == "access"
    assert "worker's credential does not allow SubmitJob" in refused.reason
    assert "connect URL" in refused.todo


def test_a_workers_invite_is_no_notebooks(pool: nbdist.Pool, hub: Any) -> None:
    with pytest.raises(AccessError, match=r"worker's invite.*notebook needs the hub's connect URL"):
        nbdist.connect(hub.invite)
    traded = hub.connect.replace(hub.address.key, worker_key(hub, "w2"))
    with pytest.raises(AccessError, match="worker"):
        nbdist.connect(traded)


def test_wrong_credentials_are_told_once_and_plainly(pool: nbdist.Pool, hub: Any, start: Any) -> None:
    with pytest.raises(AccessError) as caught:
        nbdist.connect(hub.connect.replace(hub.address.key, "wrong"))
    assert str(caught.value).count("ask for a new invite") == 1
    worker = start.worker(f"ws://{hub.netloc}/#key=wrong")
    assert worker.wait() == 3
    assert re.search(r"wrong or was revoked; ask for a new invite", worker.lines[-1])
    assert "Traceback" not in worker.text


@pytest.mark.parametrize(
    "text", ["", "hello", "http://127.0.0.1:1/", "wss://127.0.0.1:1/#key=x", "ws://h:99999/#key=x"]
)
def test_what_is_no_invite(start: Any, text: str) -> None:
    worker = start.worker(text)
    assert worker.wait() == 2
    assert "Traceback" not in worker.text
    assert len(worker.lines) <= 2, worker.text


def test_a_blob_whose_bytes_do_not_match_its_name(pool: nbdist.Pool, hub: Any) -> None:
    name = blob_name([b"what was promised"])
    job = SubmitJob(
        "blobjob",
        "j",
        machine(),
        nbdist.wire.messages.JobOptions(),
        task=nbdist.wire.messages.BlobRef(name, 17),
        ranges=((0, 3, 1),),
        total=3,
    )

    async def scenario() -> tuple[int, bytes]:
        async with dial(
            hub.address.socket_url,
            additional_headers={"Authorization": f"Bearer {hub.address.key}"},
            compression=None,
            proxy=None,
        ) as socket_:
            await socket_.send(frames.encode(Hello("notebook", 1, 1, machine(), "blob-notebook")))
            await socket_.recv()
            await socket_.send(frames.encode(job))
            await socket_.recv()
            return await asyncio.to_thread(talk, hub, "PUT", f"/blobs/{name}", b"what has come !!!")

    status, answer = asyncio.run(scenario())
    assert 400 <= status < 500
    assert b"are blob" in answer
    assert b"send it again" in answer
    assert talk(hub, "GET", f"/blobs/{name}")[0] in (403, 404)


# --- outdated workers -------------------------------------------------------------------------------------------------


def worker_file(hub: Any, folder: Path, change: Callable[[str, bytes], bytes] = lambda name, data: data) -> Path:
    """The hub's worker.pyz, changed."""
    status, data = talk(hub, "GET", "/worker.pyz")
    assert status == 200
    path = folder / "worker.pyz"
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))
    return path


def test_a_worker_of_another_nbdist_is_told_the_line(pool: nbdist.Pool, hub: Any, start: Any, tmp_path: Path) -> None:
    def age(name: str, data: bytes) -> bytes:
        return data.replace(nbdist.__version__.encode(), b"0.0.1") if name == "nbdist/__init__.py" else data

    path = worker_file(hub, tmp_path, age)
    worker = start.run(sys.executable, "-I", path, env={"NBDIST_INVITE": hub.invite})
    assert worker.wait() == 4
    assert f"python -m pip install nbdist=={nbdist.__version__}" in worker.lines[-1]
    assert "Traceback" not in worker.text


def other_python() -> str:
    for minor in ("3.12", "3.13", "3.14", "3.11"):
        if minor == f"{sys.version_info[0]}.{sys.version_info[1]}":
            continue
        for folder in PYTHON_FOLDERS:
            for found in sorted(folder.glob(f"{minor}*/bin/python{minor}")):
                return str(found)
        named = shutil.which(f"python{minor}", path="/usr/bin:/usr/local/bin")
        if named:
            return named
    return ""


@pytest.mark.skipif(not other_python(), reason="no second Python (3.11 or later) is installed here")
def test_a_worker_of_another_python_is_left_out_of_what_is_no_source(
    pool: nbdist.Pool, hub: Any, start: Any, tmp_path: Path
) -> None:
    path = worker_file(hub, tmp_path)
    start.run(other_python(), "-I", path, "--name", "other", env={"NBDIST_INVITE": hub.invite}).line("joined")
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    job = pool.map(eval("lambda x: [x, __import__('time').sleep(0.01)][0]"), range(100))
    with pytest.warns(RuntimeWarning, match="other: another version of Python, left out of job"):
        assert job.result(LIMIT_SECONDS) == list(range(100))
    assert set(job.stats["machines"]) == {"good"}
    row = next(row for row in job.progress.machines if row.name == "other")
    assert row.state == "refused"
    assert re.search(r"Python 3\.\d+ here, 3\.\d+ in the notebook", row.reason)
    assert "start the worker with Python" in row.reason


@pytest.mark.slow
def test_a_hub_without_machines_says_what_to_type(start: Any, connect: Any) -> None:
    hub = start.hub()
    pool = connect(hub.connect)
    job = pool.map(abs, range(-3, 0))
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(RuntimeWarning, match=r"no machine has joined this pool yet.*nbdist invite"),
    ):
        job.result(LIMIT_SECONDS)
    assert "no machine has joined" in pool.explain(job, 0)
    start.worker(hub.invite, "--slots", "1")
    assert job.result(LIMIT_SECONDS) == [3, 2, 1]


# --- hubs that are none -----------------------------------------------------------------------------------------------


class FakeHub:
    """A server on a thread that takes every credential, and answers a hello with bytes of the test's choice."""

    def __init__(self, data: bytes | str) -> None:
        class Socket(WebSocketHandler):
            def on_message(self, message: str | bytes) -> None:
                self.write_message(data, binary=isinstance(data, bytes))

        class Join(RequestHandler):
            def post(self) -> None:
                self.set_status(409)

        self._application = Application([("/socket", Socket), ("/join", Join)], log_function=lambda handler: None)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(LIMIT_SECONDS)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/#key=k"

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        server = HTTPServer(self._application)
        server.add_sockets(sockets)
        self._ready.set()
        await self._over.wait()
        server.stop()
        await server.close_all_connections()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(LIMIT_SECONDS)
        self._loop.close()


GARBAGE: dict[str, bytes | str] = {
    "text": "welcome",
    "noise": os.urandom(200),
    "unknown": framed(b'{"type": "MakeCoffee"}'),
    "too large": bytes(3 * frames.MAX_FRAME_BYTES),
    "refusal": frames.encode(Refused("version", "too old", "python -m pip install nbdist==9")),
}


@pytest.fixture
def fake_hub() -> Iterator[Callable[[bytes | str], FakeHub]]:
    with contextlib.ExitStack() as hubs:

        def make(data: bytes | str) -> FakeHub:
            hub = FakeHub(data)
            hubs.callback(hub.close)
            return hub

        yield make


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_notebook_at_a_hub_that_talks_nonsense(
    fake_hub: Callable[[bytes | str], FakeHub], data: bytes | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdist.engines.hub.connection.FIRST_LIMIT_SECONDS", 0.5)
    with pytest.raises(NbdistError) as caught:
        nbdist.connect(fake_hub(data).url)
    assert isinstance(caught.value, ConnectionFailedError) or "nbdist==9" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_worker_at_a_hub_that_talks_nonsense(
    fake_hub: Callable[[bytes | str], FakeHub], start: Any, data: bytes | str
) -> None:
    worker = start.worker(fake_hub(data).url, "--slots", "1")
    if len(data) > frames.MAX_FRAME_BYTES:  # it is cut off before it is a message: that may have been an accident
        worker.line("dialling until it answers")
    else:
        assert worker.wait() == 4
        worker.line("upgrade nbdist|pip install nbdist==9")
    assert "Traceback" not in worker.text
    assert len(worker.lines) <= 3, worker.text
