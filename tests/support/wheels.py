"""Packages of the tests' own, as wheels in a folder: what a worker's installer finds instead of an index."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

META = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path, name: str, version: str, text: str = "", needs: str = "") -> Path:
    """A package with one module of the same name, which has this text and a `VERSION`."""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n{text}",
        f"{name}-{version}.dist-info/METADATA": META.format(name=name, version=version)
        + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{name}-{version}.dist-info/WHEEL": WHEEL,
    }
    record = f"{name}-{version}.dist-info/RECORD"
    rows = "".join(f"{path},,\n" for path in [*files, record])
    folder.mkdir(exist_ok=True, parents=True)
    path = wheel_path(folder, name, version)
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in {**files, record: rows}.items():
            archive.writestr(inside, data)
    return path


def remove_wheel(folder: Path, name: str, version: str) -> None:
    """It cannot be installed any more."""
    wheel_path(folder, name, version).unlink()


def wheel_path(folder: Path, name: str, version: str) -> Path:
    return folder / f"{name}-{version}-py3-none-any.whl"


def variables(folder: Path, installer: str = "pip") -> dict[str, str]:
    """For a worker: installers find these wheels and nothing else, and environments are the test's own."""
    found = {"XDG_CACHE_HOME": str(folder.parent / "cache"), "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1"}
    for prefix in ("PIP", "UV"):
        found |= {f"{prefix}_NO_INDEX": "1", f"{prefix}_FIND_LINKS": str(folder)}
    found |= {"PIP_EXTRA_INDEX_URL": "", "UV_OFFLINE": "1", "UV_LINK_MODE": "copy"}
    return found | {"PATH": path_with(installer)}


def path_with(installer: str) -> str:
    """A PATH on which uv is, or is not, as the installer's name says."""
    here = Path(sys.executable).parent
    uv = shutil.which("uv") or shutil.which("uv", path=str(here))
    if installer == "uv":
        if uv is None:
            pytest.skip("uv is not installed: pip install nbdist[test]")
        return os.pathsep.join([str(Path(uv).parent), os.environ["PATH"]])
    return os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if not shutil.which("uv", path=part))


@pytest.fixture(params=["pip", "uv"])
def wheels(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Path:
    """A folder for wheels, from which workers of this process and of its children install; once with each installer."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in variables(folder, request.param).items():
        monkeypatch.setenv(name, value)
    return folder


OWN_UV = '''#!{python} -I
"""Installs empty modules, and writes down that it did; waits first, if there is a file that says so."""
import pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
if sys.argv[1] == "venv":
    subprocess.run([sys.argv[-2], "-m", "venv", "--without-pip", sys.argv[-1]], check=True)
else:
    with (here / "log").open("a") as log:
        print(sys.argv[-1], file=log)
    while (here / "wait").exists():
        time.sleep(0.02)
    name, _, version = sys.argv[-1].partition("==")
    [packages] = pathlib.Path(sys.argv[sys.argv.index("--python") + 1]).parent.parent.glob("lib/*/site-packages")
    (packages / (name + ".py")).write_text("VERSION = %r" % version)
'''


@pytest.fixture
def own_uv(tmp_path: Path, monkeypatch: Any) -> Path:
    """The folder of an installer that takes no time and can be told to wait; its `log` has what it has installed."""
    folder = tmp_path / "own-uv"
    folder.mkdir()
    (folder / "log").touch()
    (folder / "uv").write_text(OWN_UV.format(python=sys.executable))
    (folder / "uv").chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder
