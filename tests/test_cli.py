"""The command: usage, exit codes, and its answers about a real pool."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbdist
from nbdist import cli, embedded


@pytest.fixture
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def hub_url() -> Iterator[str]:
    pool = embedded.start_private(1)
    url = pool.wait().url
    with nbdist.connect(url) as connected:
        connected.wait(workers=1, timeout=60)
    yield url
    pool.close()


def test_the_version_as_a_module_too() -> None:
    told = subprocess.run([sys.executable, "-m", "nbdist", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"nbdist {nbdist.__version__}"


def test_usage_imports_no_room() -> None:
    code = (
        "import sys; from nbdist.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in sys.modules if m.startswith('nbdist.')], file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr.strip() == "['nbdist.cli']"
    for command in ("hub", "worker", "doctor", "status", "jobs", "invite", "stop", "demo"):
        assert command in told.stdout


@pytest.mark.parametrize("words", [[], ["nonsense"], ["invite", "--for", "soon"], ["status", "--nonsense"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800)])
def test_times(text: str, seconds: float) -> None:
    assert cli._seconds(text) == seconds


@pytest.mark.usefixtures("own_runtime_folder")
@pytest.mark.parametrize("command", ["status", "jobs", "stop", "invite"])
def test_asking_about_a_pool_that_does_not_run_starts_none(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command]) == 1
    assert "No pool of this user is running" in capsys.readouterr().err
    assert embedded.running() is None


def test_a_wrong_address_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "http://nowhere"]) == 1
    assert "is no address of a hub" in capsys.readouterr().err
    assert cli.main(["status", "nowhere"]) == 1
    assert "no hub is saved as 'nowhere'" in capsys.readouterr().err


@pytest.mark.real
def test_a_wrong_credential_is_told(hub_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = hub_url.split("key=")[0] + "key=wrong"
    assert cli.main(["status", url]) == 1
    told = capsys.readouterr().err
    assert "credential" in told
    assert "Traceback" not in told


@pytest.mark.real
def test_status_jobs_and_stop(hub_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", hub_url]) == 0
    told = capsys.readouterr().out
    assert hub_url.split("#")[0] in told
    assert "no jobs" in told
    assert "jobs are kept for 24h after their end; results: 0.0 GB of 10.0 GB" in told
    assert cli.main(["jobs", hub_url]) == 0
    assert capsys.readouterr().out == "no jobs\n"
    assert cli.main(["stop", hub_url]) == 0
    assert "leaving once" in capsys.readouterr().out
    assert cli.main(["stop", hub_url, "--worker", "nobody"]) == 1
    assert "no worker is called nobody" in capsys.readouterr().err


def test_a_table_shows_plain_fields_and_nothing_that_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    cli._table([{"name": "a\x1b[2Jb", "items_done": 3, "rows": [1]}, {"name": "c", "speed": 0.123456}], "none")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["name", "items", "done", "speed"], ["a", "[2Jb", "3"], ["c", "0.1235"]]


def test_the_second_worker_of_one_pool_leaves(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with embedded.only_one(lock):
        assert cli.main(["worker", "--only-one", str(lock), "--quiet", "--ready-file", str(tmp_path / "never")]) == 0


def test_an_output_that_lacks_letters_gets_others_in_their_place() -> None:
    code = "from nbdist import cli; cli._status = lambda _: print('█ done'); cli.main(['status'])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=True
    )
    assert told.stdout.split() == [b"?", b"done"]
