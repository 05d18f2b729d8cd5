"""worker.pyz: one file, the same each time, that runs on every Python 3.11 or later without anything installed."""

from __future__ import annotations

import glob
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nbdist.hub.pyz import build_pyz

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / "worker.pyz"
    path.write_bytes(build_pyz())
    return path


def interpreters() -> list[str]:
    """One Python of each minor version from 3.11 that is on the PATH or kept by pyenv."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = [sys.executable, *glob.glob(f"{glob.escape(pyenv)}/versions/3.*/bin/python3")]
    candidates += [path for minor in range(11, 20) if (path := shutil.which(f"python3.{minor}"))]
    found: dict[str, str] = {}
    for candidate in candidates:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([candidate, "-ISc", code], capture_output=True, text=True, timeout=60, check=False)
        minor = re.fullmatch(r"3\.(\d+)\n", answer.stdout)
        if minor and int(minor[1]) >= 11:
            found.setdefault(answer.stdout.strip(), candidate)
    return [found[version] for version in sorted(found)]


@pytest.mark.parametrize("python", interpreters())
def test_it_runs_on_a_bare_python(pyz: Path, python: str) -> None:
    answer = subprocess.run(
        [python, "-I", "-S", str(pyz), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=pyz.parent,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "--slots" in answer.stdout


def test_the_doctor_is_in_it(pyz: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), "doctor", "ws://127.0.0.1:1/#key=topsecret"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=pyz.parent,
    )
    assert (answer.returncode, answer.stderr) == (1, "")
    assert "nothing listens at port 1" in answer.stdout
    assert "topsecret" not in answer.stdout


def test_it_is_the_same_each_time_and_holds_sources_only() -> None:
    data = build_pyz()
    assert data == build_pyz()
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert all(name.endswith(".py") for name in names)
    assert {"__main__.py", "nbdist/wire/frames.py", "cloudpickle/__init__.py", "websockets/asyncio/client.py"} <= set(
        names
    )
    assert not any(name.startswith(("nbdist/hub/", "nbdist/scheduler/", "nbdist/client/")) for name in names)


def test_an_old_python_is_told_so(pyz: Path) -> None:
    main = zipfile.ZipFile(pyz).read("__main__.py").decode()
    script = f"import sys\nsys.version_info = (3, 9, 1)\nexec({main!r})"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    assert "needs Python 3.11 or later, this is 3.9" in answer.stderr
