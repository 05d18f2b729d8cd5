"""A second machine joins: over TLS, by each of the lines that a person can type, and nobody else does."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdist
from nbdist.errors import AccessError, ConnectionFailedError, NbdistError
from nbdist.wire.address import Address
from nbdist.wire.tls import FingerprintError, pinned_context

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
IMAGE = Path(__file__).resolve().parents[2] / "worker_image"


@pytest.fixture(scope="module")
def hub(start_once: Any, lan: Any) -> Any:
    """A hub on its own machine, on the LAN."""
    return start_once.hub("--lan", "--port", "0", host=lan.host("hubmachine"))


@pytest.fixture(scope="module")
def second(lan: Any) -> Any:
    """The machine that joins."""
    return lan.host("second")


@pytest.fixture(scope="module")
def third(lan: Any) -> Any:
    return lan.host("third")


def bare(home: Path) -> dict[str, str]:
    """The environment of a machine on which nothing of nbdist is installed."""
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "PYTHONPATH": "", "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(home / "cache")}


def names(pool: nbdist.Pool) -> set[str]:
    return {worker.name for worker in pool.workers}


def line_for(pool: nbdist.Pool, label: str, **options: Any) -> str:
    return next(line for known, line in pool.invite(**options)["lines"] if label in known)


# --- joining ----------------------------------------------------------------------------------------------------------


def test_the_printed_line_joins_a_machine_without_nbdist(
    start: Any, hub: Any, second: Any, connect: Any, tmp_path: Path
) -> None:
    pool = connect(hub.connect)
    line = line_for(pool, "Linux")
    start.run("sh", "-c", line, host=second, env=bare(tmp_path / "home"), cwd=tmp_path)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    assert {worker.name.split("-")[0] for worker in pool.workers} == {"second"}

    def where(x: int) -> tuple[int, str]:
        return x * x, socket.gethostname()

    assert pool.map(where, range(200)).result(LIMIT_SECONDS) == [(x * x, "second") for x in range(200)]


def test_the_worker_says_what_joining_means(start: Any, hub: Any, second: Any, connect: Any) -> None:
    worker = start.worker(hub.invite, "--slots", "1", host=second)
    worker.line("can run any code on this machine")
    connect(hub.connect).wait(workers=1, timeout=LIMIT_SECONDS)
    assert hub.address.key not in worker.text
    assert Address.parse(hub.invite).key not in worker.text


def test_the_launch_script_joins_once(start: Any, hub: Any, second: Any, connect: Any, tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    shutil.copy(IMAGE / "launch.sh", folder)
    environment = bare(tmp_path / "home") | {"NBDIST_INVITE": hub.invite}
    pool = connect(hub.connect)
    first = start.run("sh", folder / "launch.sh", "--slots", "2", host=second, env=environment)
    pool.wait(slots=2, timeout=LIMIT_SECONDS)
    again = start.run("sh", folder / "launch.sh", "--slots", "2", host=second, env=environment)
    assert again.wait() == 0
    again.line("runs already")
    assert len(pool.workers) == 1
    assert pool.map(abs, range(100)).result(LIMIT_SECONDS) == list(range(100))
    first.end()
    third_time = start.run("sh", folder / "launch.sh", "--slots", "1", host=second, env=environment)
    third_time.line("joining")


def test_a_silent_first_address_is_passed_over(
    start: Any, hub: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdist.engines.hub.greeting.OPEN_LIMIT_SECONDS", 1e9)

    def behind_silence(url: str) -> str:
        address = Address.parse(url)
        return replace(address, host="127.0.0.9", also=(address.host,)).url

    with socket.create_server(("127.0.0.9", hub.address.port)):  # it accepts, and says nothing
        pool = connect(behind_silence(hub.connect))
        worker = start.worker(behind_silence(hub.invite), "--slots", "1", "--name", "patient")
        worker.line("joined as patient")
        assert "patient" in names(pool)
        worker.end()


def test_two_machines_share_a_job(start: Any, hub: Any, second: Any, third: Any, connect: Any, tmp_path: Path) -> None:
    for host in (second, third):
        start.worker(hub.invite, "--slots", "2", "--name", f"shared {host.name}", host=host)
    pool = connect(hub.connect)
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    array = np.arange(2_500_000, dtype=np.float64)  # 20 MB, and no shared memory between these machines

    here = str(tmp_path)

    def work(x: int) -> tuple[int, float, str]:
        import time

        (Path(here) / f"began-{socket.gethostname()}").touch()
        while len(list(Path(here).glob("began-*"))) < 2:  # one machine has the array before the other
            time.sleep(0.01)
        print(f"item {x}")
        return x, float(array[x * 1000 : (x + 1) * 1000].sum()), socket.gethostname()

    job = pool.map(work, range(400), task_size=5)
    values = job.result(LIMIT_SECONDS)
    assert [value[:2] for value in values] == [(x, array[x * 1000 : (x + 1) * 1000].sum()) for x in range(400)]
    assert {value[2] for value in values} == {"second", "third"}
    assert set(job.stats["machines"]) == {"shared second", "shared third"}
    printed: dict[int, str] = {}
    for text in job.output:  # of one item it may come in pieces
        printed[text.item] = printed.get(text.item, "") + text.text
    assert printed == {x: f"item {x}\n" for x in range(400)}
    assert {text.machine for text in job.output} == {"shared second", "shared third"}


def test_large_results_cross_the_cable(start: Any, hub: Any, second: Any, connect: Any) -> None:
    start.worker(hub.invite, "--slots", "2", host=second)
    pool = connect(hub.connect)

    def make(x: int) -> np.ndarray[Any, Any]:
        return np.full(500_000, x, dtype=np.float64)  # 4 MB

    total = 0
    for index, value in enumerate(pool.map(make, range(12))):
        assert value.shape == (500_000,)
        assert (value == index).all()
        total += value.nbytes
    assert total == 12 * 4_000_000


def test_large_items_cross_the_cable(start: Any, hub: Any, second: Any, connect: Any) -> None:
    start.worker(hub.invite, "--slots", "2", host=second)
    arrays = [np.full(200_000, x, dtype=np.float64) for x in range(8)]  # 1.6 MB each
    assert connect(hub.connect).map(lambda a: float(a.sum()), arrays).result(LIMIT_SECONDS) == [
        200_000.0 * x for x in range(8)
    ]


def test_an_embedded_pool_opens_its_door_and_shuts_it(start: Any, lan: Any, second: Any, own_pool: None) -> None:
    with nbdist.connect() as pool:
        pool.wait(workers=1, timeout=LIMIT_SECONDS)
        invite = pool.invite()
        assert invite["url"].startswith("wss://")
        address = replace(Address.parse(invite["url"]), host=f"{lan.net}.1", also=())
        worker = start.worker(address.url, "--slots", "1", host=second)
        pool.wait(workers=2, timeout=LIMIT_SECONDS)
        assert "second" in names(pool)
        found = pool.run(lambda: socket.gethostname(), each="machine")
        assert found["second"] == "second"
        pool.close_invites()
        with pytest.raises(OSError, match=r"refused"):
            socket.create_connection((address.host, address.port), 2).close()
        assert pool.run(lambda: socket.gethostname(), each="machine")["second"] == "second"  # who is in stays in
        worker.end()


def test_a_notebook_closes_the_door(start: Any, lan: Any, second: Any, own_pool: None, notebook: Any) -> None:
    with nbdist.connect() as pool:
        shown = notebook.run("%distribute invite")
        assert "wss://" in repr(shown)
        assert "python3 nbdist-worker.pyz" in repr(shown)
        invite = pool.invite()["url"]
        address = replace(Address.parse(invite), host=f"{lan.net}.1", also=())
        socket.create_connection((address.host, address.port), 2).close()
        notebook.run("%distribute invite --close")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address.host, address.port), 2).close()
        notebook.run("%distribute invite")
        late = start.worker(address.url, "--slots", "1", host=second)
        assert late.wait() == 3
        late.line("revoked")


# --- who does not get in ----------------------------------------------------------------------------------------------


def test_a_revoked_invite(start: Any, hub: Any, second: Any, connect: Any) -> None:
    pool = connect(hub.connect)
    invite = pool.invite()["url"]
    pool.close_invites()
    worker = start.worker(invite, host=second)
    assert worker.wait() == 3
    assert_one_line(worker, "wrong or was revoked; ask for a new invite")


def test_an_expired_invite(start: Any, hub: Any, second: Any, connect: Any) -> None:
    worker = start.worker(connect(hub.connect).invite(valid_seconds=0.001)["url"], host=second)
    assert worker.wait() == 3
    assert_one_line(worker, "the invite has expired; ask for a new invite")


def test_an_invite_for_one_machine(start: Any, hub: Any, second: Any, third: Any, connect: Any) -> None:
    pool = connect(hub.connect)
    invite = pool.invite(uses=1)["url"]
    start.worker(invite, "--slots", "1", host=second).line("joined")
    worker = start.worker(invite, "--slots", "1", host=third)
    assert worker.wait() == 3
    assert_one_line(worker, "used 1 times")


def assert_one_line(worker: Any, text: str) -> None:
    """The worker has said this, in one line behind its greeting, and no traceback."""
    worker.line(text)
    assert "Traceback" not in worker.text
    assert len(worker.lines) <= 3, worker.text


def test_nothing_but_tls_on_the_lan(hub: Any) -> None:
    address = hub.address
    plain = http.client.HTTPConnection(address.host, address.port, timeout=60)
    with contextlib.closing(plain):
        plain.request("GET", "/worker.pyz")
        with pytest.raises((OSError, http.client.HTTPException)):
            plain.getresponse()
    plain_url = f"ws://{address.netloc}/#key={address.key}"
    with pytest.raises(NbdistError, match="wss:// only"):
        nbdist.connect(plain_url)


def talk(hub: Any, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    address = hub.address
    connection = http.client.HTTPSConnection(
        address.host, address.port, timeout=60, context=pinned_context(address.fingerprint)
    )
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/worker.pyz", "/socket", "/api/pool", "/join", "/nothing"])
def test_a_foreign_host_name_is_turned_away(hub: Any, path: str) -> None:
    status, body = talk(hub, path, Host="evil.example", Authorization=f"Bearer {hub.address.key}")
    assert status == 403
    assert b"evil.example" in body


def test_a_foreign_web_page_is_turned_away(hub: Any) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
        "Authorization": f"Bearer {hub.address.key}",
    }
    status, body = talk(hub, "/socket", Origin="https://evil.example", **upgrade)
    assert (status, b"evil.example" in body) == (403, True)
    status, body = talk(hub, "/join", "POST", Origin="https://evil.example")
    assert (status, b"evil.example" in body) == (403, True)
    status, _ = talk(hub, "/socket", **upgrade)
    assert status == 101


def test_without_a_credential_nothing_is_told(hub: Any) -> None:
    for path in ("/api/pool", "/api/explain?job=x&item=0", f"/blobs/{'0' * 64}"):
        status, body = talk(hub, path)
        assert status == 401, path
        assert b"credential" in body


# --- an impostor ------------------------------------------------------------------------------------------------------


class Impostor:
    """A TLS server with a certificate of its own at the hub's address; it keeps all that it is told."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=impostor"),
            ],
            check=True,
            capture_output=True,
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.heard = b""
        self.calls = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection:
                    connection.settimeout(60)
                    with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as inner:
                        self.heard += inner.recv(65536)
                self.calls.release()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(LIMIT_SECONDS)


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the impostor's certificate, is not installed")
    server = Impostor(tmp_path)
    yield server
    server.close()


def test_an_impostor_learns_nothing_from_a_notebook(impostor: Impostor) -> None:
    url = f"wss://127.0.0.1:{impostor.port}/#key=topsecret&cert={'ab' * 32}"
    with pytest.raises((AccessError, ConnectionFailedError, FingerprintError), match="another"):
        nbdist.connect(url)
    assert impostor.calls.acquire(timeout=LIMIT_SECONDS)
    assert impostor.heard == b""


def test_an_impostor_learns_nothing_from_a_worker(impostor: Impostor, start: Any) -> None:
    worker = start.worker(f"wss://127.0.0.1:{impostor.port}/#key=topsecret&cert={'ab' * 32}")
    for _ in range(3):  # it dials again, and tells nothing again
        assert impostor.calls.acquire(timeout=LIMIT_SECONDS)
    assert impostor.heard == b""
    worker.line("another")
    worker.end()


def test_an_impostor_gives_no_program(impostor: Impostor, hub: Any, connect: Any, tmp_path: Path) -> None:
    line = line_for(connect(hub.connect), "Linux").replace(hub.netloc, f"127.0.0.1:{impostor.port}")
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=os.environ | bare(tmp_path / "home"), capture_output=True, timeout=60
    )
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.pyz"))
    assert impostor.heard == b""
