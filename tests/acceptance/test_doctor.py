"""`nbdist doctor` against real hubs, closed doors and pulled cables: it says what is wrong, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import nbdist
from nbdist.hub.pyz import build_pyz
from nbdist.wire.address import Address

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0


class Told:
    """What a doctor has said."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        found = json.loads(text[text.index("{") :])
        self.ok = found["ok"]
        self.checks = found["checks"]

    def failed(self) -> list[str]:
        return [check["name"] for check in self.checks if check["state"] == "FAIL"]

    def line(self, name: str) -> dict[str, str]:
        """The last line of this name, with text and todo in one."""
        found = [check for check in self.checks if check["name"] == name]
        assert found, self.text
        return {**found[-1], "all": f"{found[-1]['text']} -> {found[-1]['todo']}"}


@pytest.fixture
def doctor(start: Any, tmp_path: Path) -> Any:
    """Runs the command for an invite, on a machine."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def run(invite: str = "", host: Any = None, command: tuple[str | Path, ...] = ()) -> Told:
        environment = {"NBDIST_INVITE": invite, "TMPDIR": str(temporary)}
        if command:
            process = start.run(*command, "doctor", "--json", host=host, env=environment | {"PYTHONPATH": ""})
        else:
            process = start.nbdist("doctor", "--json", host=host, env=environment)
        code = process.wait(LIMIT_SECONDS)
        told = Told(code, process.text)
        assert code == (0 if told.ok else 1)
        assert told.ok == (not told.failed())
        assert not list(temporary.iterdir()), "it has left something behind"
        if invite and (key := Address.parse(invite).key):
            assert key not in told.text
        return told

    return run


def test_all_is_well_and_nothing_is_used_up(start: Any, doctor: Any, connect: Any) -> None:
    hub = start.hub("--lan")
    pool = connect(hub.connect)
    invite = pool.invite(uses=1)["url"]
    for _ in range(2):
        told = doctor(invite)
        assert told.ok, told.text
        assert told.line("credential")["text"] == "the invite is good for 24 h more"
        assert "it is that hub" in told.line("certificate")["text"]
        assert told.line("clock")["state"] == "ok"
        assert "as in the notebooks" in told.line("python")["text"]
        assert told.line("slot")["state"] == "ok"
    assert not pool.workers
    start.worker(invite, "--slots", "1").line("joined")
    assert "used 1 times" in doctor(invite).line("credential")["text"]


def test_what_a_person_reads(start: Any) -> None:
    hub = start.hub()
    process = start.nbdist("doctor", hub.invite)
    assert process.wait() == 0
    process.line(r"^ok +port +127\.0\.0\.1:\d+ answers after")
    process.line("^all is well$")
    hub.process.end()
    process = start.nbdist("doctor", hub.invite)
    assert process.wait() == 1
    process.line(r"^FAIL +port +this machine answers, and nothing listens")
    process.line("^ +-> start the hub again")
    process.line("^1 of ")


def test_a_closed_door(start: Any, doctor: Any) -> None:
    hub = start.hub()
    hub.process.end()
    told = doctor(hub.invite)
    assert told.failed() == ["port"]
    assert "the hub has ended" in told.line("port")["text"]


def test_dropped_packets(doctor: Any) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]  # with its queue full, the system drops what comes
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        told = doctor(f"ws://127.0.0.1:{port}/#key=topsecret")
        for filler in fillers:
            filler.close()
    assert told.failed() == ["port"]
    assert "nothing comes back" in told.line("port")["text"]
    assert "firewall" in told.line("port")["todo"]


def test_another_certificate(start: Any, doctor: Any) -> None:
    hub = start.hub("--lan")
    address = Address.parse(hub.invite)
    told = doctor(replace(address, fingerprint="ab" * 32).url)
    assert set(told.failed()) == {"certificate"}
    assert "another computer answers there, or the hub was set up anew" in told.line("certificate")["text"]
    assert "new invite" in told.line("certificate")["todo"]


def test_credentials_that_are_not_taken(start: Any, doctor: Any, connect: Any) -> None:
    hub = start.hub("--lan")
    pool = connect(hub.connect)
    expired = pool.invite(valid_seconds=0.001)["url"]
    closed = pool.invite()["url"]
    told = doctor(hub.connect)
    assert told.failed() == ["credential"]
    assert "a notebook's, and a worker needs a worker's invite" in told.line("credential")["text"]
    told = doctor(expired)
    assert told.failed() == ["credential"]
    assert "the invite has expired" in told.line("credential")["text"]
    pool.close_invites()
    told = doctor(closed)
    assert told.failed() == ["credential"]
    assert "wrong or was revoked" in told.line("credential")["text"]
    assert "new invite" in told.line("credential")["todo"]
    told = doctor(replace(Address.parse(closed), key="").url)
    assert "no credential was shown" in told.line("credential")["text"]
    assert "copy the whole line" in told.line("credential")["todo"]


def test_an_invite_that_is_none(doctor: Any, start: Any) -> None:
    process = start.nbdist("doctor", "--json", "https://somewhere/#key=topsecret")
    assert process.wait() == 1
    told = Told(1, process.text)
    assert told.failed() == ["invite"]
    assert "topsecret" not in told.text


def test_another_version(start: Any, doctor: Any, tmp_path: Path) -> None:
    code = "import nbdist, sys; nbdist.__version__ = '9.9.9'; from nbdist import cli; sys.exit(cli.main(sys.argv[1:]))"
    root = {"PYTHONPATH": str(Path(nbdist.__file__).parent.parent)}
    process = start.run(sys.executable, "-c", code, "hub", "--state", tmp_path / "newer", env=root)
    told = doctor(process.line(r"^invite (\S+)")[1])
    assert told.failed() == ["version"]
    assert f"the hub runs nbdist 9.9.9, this machine runs {nbdist.__version__}" in told.line("version")["text"]
    assert told.line("version")["todo"] == f"{sys.executable} -m pip install nbdist==9.9.9"


class Portal(BaseHTTPRequestHandler):
    """Answers 200 to everything, as the login page of a hotel does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def portal() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Portal)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_something_else_than_a_hub(portal: int, doctor: Any) -> None:
    told = doctor(f"ws://127.0.0.1:{portal}/#key=topsecret")
    assert told.failed() == ["hub"]
    assert "something else than a hub" in told.line("hub")["text"]
    told = doctor(f"wss://127.0.0.1:{portal}/#key=topsecret&cert={'ab' * 32}")
    assert told.failed() == ["certificate"]
    assert "does not speak TLS" in told.line("certificate")["text"]


def test_a_name_that_nobody_has(doctor: Any) -> None:
    told = doctor(f"wss://nowhere.invalid:8786/#key=topsecret&cert={'ab' * 32}")
    assert told.failed() == ["name"]


def test_from_one_file(start: Any, doctor: Any, tmp_path: Path) -> None:
    path = tmp_path / "worker.pyz"
    path.write_bytes(build_pyz())
    hub = start.hub()
    told = doctor(hub.invite, command=(sys.executable, "-I", "-S", path))
    assert told.ok, told.text
    assert told.line("slot")["state"] == "ok"


# --- this user's own pool ---------------------------------------------------------------------------------------------


def test_the_own_pool(doctor: Any, own_pool: None, tmp_path: Path) -> None:
    told = doctor()
    assert "no pool here yet" in told.line("pool")["text"]
    with nbdist.connect() as pool:
        pool.wait(workers=1, timeout=LIMIT_SECONDS)
        folder = next((tmp_path / "runtime").glob("nbdist-*"))
        before = sorted(os.listdir(folder))
        told = doctor()
        assert told.ok, told.text
        assert told.line("pool")["text"] == "hub and worker run"
        assert told.line("credential")["text"] == "the invite is good, without an end"
        assert told.line("journal")["state"] == "ok"
        assert sorted(os.listdir(folder)) == before
        assert len(pool.workers) == 1
        (folder / "ready.json").rename(folder / "ready.away")
        told = doctor()
        assert told.failed() == ["pool"]
        assert "nobody can find it" in told.line("pool")["text"]
        (folder / "ready.away").rename(folder / "ready.json")


def test_a_pool_whose_journal_is_damaged(doctor: Any, own_pool: None, tmp_path: Path) -> None:
    with nbdist.connect() as pool:
        pool.wait(workers=1, timeout=LIMIT_SECONDS)
        nbdist.embedded.end()
    folder = next((tmp_path / "runtime").glob("nbdist-*"))
    told = doctor()
    assert told.line("journal")["state"] == "ok"
    assert not list(folder.glob("journal.sqlite3-*"))
    (folder / "journal.sqlite3").write_bytes(b"no database at all" * 1000)
    told = doctor()
    assert told.failed() == ["journal"]


# --- several machines -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machines(lan: Any) -> tuple[Any, Any, Any]:
    return lan.host("hub"), lan.host("laptop"), lan.host("third")


@pytest.mark.slow
def test_across_the_cable(start: Any, lan: Any, machines: Any, doctor: Any) -> None:
    home, laptop, _ = machines
    hub = start.hub("--lan", "--port", "0", host=home)
    told = doctor(hub.invite, host=laptop)
    assert told.ok, told.text
    assert told.line("credential")["text"] == "the invite is good for 24 h more"
    address = Address.parse(hub.invite)

    hub.process.end()
    told = doctor(hub.invite, host=laptop)
    assert told.failed() == ["port"]
    port = next(check for check in told.checks if check["state"] == "FAIL")
    assert f"the computer at {home.address} answers, and nothing listens" in port["text"]

    home.pull_cable()
    try:
        just_left = doctor(hub.invite, host=laptop)
        lan.forget(laptop)
        told = doctor(hub.invite, host=laptop)
    finally:
        home.plug_cable()
    port = next(check for check in just_left.checks if check["state"] == "FAIL")
    assert "was on this network a short while ago" in port["text"]
    port = next(check for check in told.checks if check["state"] == "FAIL")
    assert f"nobody answers at {home.address}" in port["text"]
    assert "this machine's own connection is down" in port["text"]

    far = replace(address, host="198.51.100.7", also=())
    told = doctor(far.url, host=laptop)
    assert told.failed() == ["port"]
    assert f"none of this machine's networks ({laptop.address}/24)" in told.line("port")["text"]
    assert "join the same Wi-Fi" in told.line("port")["todo"]


def test_clients_that_are_kept_apart(start: Any, lan: Any, machines: Any, doctor: Any) -> None:
    """The router answers, the hub's machine does not: a guest network."""
    home, laptop, _ = machines
    hub = start.hub("--lan", "--port", "0", host=home)
    lan.route(laptop)
    home.pull_cable()
    lan.forget(laptop)
    try:
        told = doctor(hub.invite, host=laptop)
    finally:
        home.plug_cable()
    port = next(check for check in told.checks if check["state"] == "FAIL")
    assert f"though the router {lan.net}.1 of the same network can be heard" in port["text"]
    assert "another Wi-Fi" in port["todo"]


def test_a_firewall_on_the_hubs_machine(start: Any, lan: Any, machines: Any, doctor: Any) -> None:
    """The machine is there, the port is silent."""
    home, laptop, _ = machines
    code = (
        "import socket, sys, time\nserver = socket.socket(); server.bind((sys.argv[1], 0)); server.listen(0)\n"
        "fillers = [socket.socket() for _ in range(4)]\n"
        "for filler in fillers: filler.setblocking(False); filler.connect_ex(server.getsockname())\n"
        "print('port', server.getsockname()[1], flush=True); time.sleep(60)"
    )
    deaf = start.run(sys.executable, "-c", code, home.address, host=home)
    port = int(deaf.line(r"^port (\d+)")[1])
    told = doctor(f"wss://{home.address}:{port}/#key=topsecret&cert={'ab' * 32}", host=laptop)
    assert told.failed() == ["port"]
    assert "is there (it answers on this network), but what is sent" in told.line("port")["text"]
    assert f"ufw allow {port}/tcp" in told.line("port")["todo"]


def test_an_address_that_leads_nowhere_beside_one_that_works(start: Any, lan: Any, machines: Any, doctor: Any) -> None:
    home, laptop, third = machines
    hub = start.hub("--lan", "--port", "0", host=home)
    address = Address.parse(hub.invite)
    told = doctor(replace(address, host=third.address, also=(home.address,)).url, host=laptop)
    assert told.ok, told.text
    warned = [check["text"] for check in told.checks if check["state"] == "warn" and check["name"] == "port"]
    assert len(warned) == 1
    assert "another address of the hub works" in warned[0]
