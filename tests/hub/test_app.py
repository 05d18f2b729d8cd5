"""The hub as a process: what it prints, what it keeps, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdist.hub.config import parse
from nbdist.hub.limits import Limits
from nbdist.wire.address import Address

pytestmark = pytest.mark.real
START = "import sys; from nbdist.hub.app import main; sys.exit(main(sys.argv[1:]))"
LIMIT_SECONDS = 60


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts hubs, and ends those that a test leaves."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, code: str = START, **options: Any) -> subprocess.Popen[str]:
        own = ["--state", str(tmp_path / "state"), "--blobs", str(tmp_path / f"blobs{len(started)}")]
        command = [sys.executable, "-c", code, *own, *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(command, text=True, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait(LIMIT_SECONDS)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def lines(process: subprocess.Popen[str]) -> tuple[Address, Address]:
    """The two lines that a hub prints once it is ready."""
    assert process.stdout is not None
    connect, invite = process.stdout.readline().split(), process.stdout.readline().split()
    assert (connect[0], invite[0]) == ("connect", "invite")
    return Address.parse(connect[1]), Address.parse(invite[1])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_two_lines_and_ends_cleanly(start: Any, tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready.json"
    process = start("--ready-file", str(ready), "--port", "0")
    connect, invite = lines(process)
    written = json.loads(ready.read_text())
    assert ready.stat().st_mode & 0o777 == 0o600
    assert (written["connect"], written["invite"], written["pid"]) == (connect.url, invite.url, process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, out, err) == (0, "", "")
    assert not ready.exists()


def test_a_second_hub_on_the_same_state_leaves_with_3(start: Any) -> None:
    lines(start())
    second = start()
    out, err = second.communicate(timeout=LIMIT_SECONDS)
    assert (second.returncode, out) == (3, "")
    assert "another hub already runs" in err
    assert "--state DIR" in err


def test_a_killed_hub_comes_back_with_port_keys_and_certificate(start: Any, tmp_path: Path) -> None:
    first = start("--lan")
    before = lines(first)
    first.kill()
    first.wait(LIMIT_SECONDS)
    again = start("--lan")
    assert lines(again) == before
    assert json.loads((tmp_path / "state" / "epoch.json").read_text()) == {"epoch": 2}


def test_it_ends_with_its_parent(start: Any) -> None:
    process = start("--die-with-parent")
    lines(process)
    process.stdin.close()
    assert process.wait(LIMIT_SECONDS) == 0


def test_a_port_that_is_taken_is_named(start: Any, tmp_path: Path) -> None:
    port = lines(start())[0].port
    other = start("--state", str(tmp_path / "other"), "--port", str(port))
    _, err = other.communicate(timeout=LIMIT_SECONDS)
    assert other.returncode == 2
    assert f"port {port} is not free" in err
    assert "--port 0" in err


def test_an_embedded_hub_that_nobody_uses_ends(start: Any) -> None:
    code = "import nbdist.hub.lifetime as l; l.IDLE_SECONDS = 0.05\n" + START
    process = start("--embedded", code=code)
    lines(process)
    assert process.wait(LIMIT_SECONDS) == 0


def test_secrets_are_not_in_the_files_of_credentials(start: Any, tmp_path: Path) -> None:
    connect, invite = lines(start())
    table = (tmp_path / "state" / "access.json").read_text()
    assert connect.key not in table
    assert invite.key not in table
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "state").iterdir() if file.is_file()}
    assert set(modes.values()) == {0o600}, modes


def test_wrong_arguments_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--port", "70000"])
    assert "0 to 65535" in capsys.readouterr().err


def test_the_state_directory_has_a_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert parse([]).state == tmp_path / "nbdist"
    assert os.fspath(parse(["--state", "x"]).state) == os.path.abspath("x")


def test_jobs_that_are_kept_for_a_short_time_are_looked_for_often(with_hub: Any) -> None:
    async def scenario(hub: Any) -> None:
        due = hub.hub._expiry.when() - asyncio.get_running_loop().time()
        assert 5.0 < due <= 9.0

    with_hub(scenario, limits=Limits(keep_seconds=90.0))
