"""launch.sh, run by the system's sh, with a worker.pyz that only says how it was started."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "worker_image" / "launch.sh"
INVITE = "ws://127.0.0.1:8786/#key=secret"
WORKER = """
import importlib.util, json, os, sys
told = {"argv": sys.argv[1:], "invite": os.environ["NBDIST_INVITE"], "pid": os.getpid()}
told["has_package"] = importlib.util.find_spec("launch_sample") is not None
print(json.dumps(told), flush=True)
if "wait" in sys.argv:
    sys.stdin.read()
"""
Launch: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.name != "posix", reason="launch.sh is for POSIX systems, launch.ps1 is its sibling"),
]


def write_worker(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", WORKER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the script lies, with a worker.pyz."""
    found = tmp_path / "a folder"
    found.mkdir()
    shutil.copy(SCRIPT, found)
    write_worker(found / "worker.pyz")
    return found


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NBDIST_INV", "PYTHON"))}
    return {**kept, "XDG_CACHE_HOME": str(tmp_path / "cache"), "NBDIST_PYTHON": sys.executable}


@pytest.fixture
def launch(folder: Path, environment: dict[str, str]) -> Launch:
    return functools.partial(_launch, folder, environment)


def _launch(
    folder: Path, environment: dict[str, str], *words: str, invite: str | None = INVITE
) -> subprocess.CompletedProcess[str]:
    env = {**environment, **({"NBDIST_INVITE": invite} if invite is not None else {})}
    return subprocess.run(
        ["sh", folder / "launch.sh", *words],
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )


def test_the_invite_travels_by_the_environment_and_the_rest_as_it_is(launch: Launch) -> None:
    told = json.loads(launch("--slots", "2", "--name", "a b").stdout)
    assert told["argv"] == ["--slots", "2", "--name", "a b"]
    assert told["invite"] == INVITE
    other = "wss://10.0.0.1:1/#key=x&cert=" + "0" * 64
    told = json.loads(launch(other, "--slots", "1", invite=None).stdout)
    assert (told["argv"], told["invite"]) == (["--slots", "1"], other)


def test_a_python_is_found_without_being_named(launch: Launch, environment: dict[str, str]) -> None:
    del environment["NBDIST_PYTHON"]
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    assert json.loads(launch().stdout)["invite"] == INVITE


@pytest.mark.parametrize(
    ("words", "invite", "text"),
    [
        ((), None, "no invite"),
        ((), "http://x", "begins with ws://"),
        (("--python", "/bin/false"), INVITE, "no Python 3.11"),
        (("--with",), INVITE, "needs a value"),
    ],
)
def test_what_is_missing_is_said(launch: Launch, words: tuple[str, ...], invite: str | None, text: str) -> None:
    ended = launch(*words, invite=invite)
    assert ended.returncode == 1
    assert text in ended.stderr


def test_a_second_start_leaves_the_first_alone(folder: Path, launch: Launch, environment: dict[str, str]) -> None:
    first = subprocess.Popen(
        ["sh", folder / "launch.sh", "wait"],
        env={**environment, "NBDIST_INVITE": INVITE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    told = json.loads(first.stdout.readline())
    second = launch()
    assert second.returncode == 0
    assert f"runs already (process {told['pid']})" in second.stderr
    assert second.stdout == ""
    elsewhere = launch(invite=INVITE.replace("8786", "8787"))
    assert json.loads(elsewhere.stdout)["invite"].startswith("ws://127.0.0.1:8787")
    first.communicate()
    assert json.loads(launch().stdout)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[http.server.HTTPServer]:
    """A web server that offers worker.pyz."""
    (tmp_path / "web").mkdir()
    write_worker(tmp_path / "web" / "worker.pyz")
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_worker_is_fetched_and_kept(folder: Path, launch: Launch, served: http.server.HTTPServer) -> None:
    (folder / "worker.pyz").unlink()
    invite = f"ws://127.0.0.1:{served.server_port}/#key=secret"
    assert json.loads(launch(invite=invite).stdout)["invite"] == invite
    served.RequestHandlerClass = functools.partial(Quiet, directory="/nowhere")  # type: ignore[assignment]
    again = launch(invite=invite)
    assert "could not be fetched" in again.stderr
    assert json.loads(again.stdout)["invite"] == invite


def test_an_impostor_is_asked_for_nothing(
    folder: Path, launch: Launch, served: http.server.HTTPServer, tmp_path: Path
) -> None:
    (folder / "worker.pyz").unlink()
    fingerprint = _wrap(served, tmp_path)
    url = f"wss://127.0.0.1:{served.server_port}/#key=secret&cert="
    assert json.loads(launch(invite=url + fingerprint).stdout)["invite"] == url + fingerprint
    refused = launch(invite=url + "0" * 64)
    assert "another computer answers" in refused.stderr


def _wrap(server: http.server.HTTPServer, folder: Path) -> str:
    """Gives a server a certificate; returns its fingerprint."""
    made = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    der = ssl.PEM_cert_to_DER_cert(made.read_text().partition("-----END PRIVATE KEY-----")[2].strip())
    return hashlib.sha256(der).hexdigest()


def _certificate(folder: Path) -> Path:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(private + certificate.public_bytes(encoding))
    return path


def test_packages_are_put_into_an_environment_once(launch: Launch, tmp_path: Path) -> None:
    wheel = tmp_path / "launch_sample-1.0-py3-none-any.whl"
    about = "launch_sample-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("launch_sample.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: launch-sample\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    first = launch("--with", str(wheel))
    assert "making an environment" in first.stderr
    assert json.loads(first.stdout)["has_package"]
    second = launch(f"--with={wheel}")
    assert second.stderr == ""
    assert json.loads(second.stdout)["has_package"]
    assert not json.loads(launch().stdout)["has_package"]
