"""Modules to the distributions that they belong to."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdist.client.analysis import origins
from nbdist.client.analysis.distributions import packages_of
from nbdist.wire.messages import Package

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: Any) -> Iterator[Install]:
    """Installs a distribution with these files into a folder on the path of this process."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def add(name: str, version: str, *files: str, is_old: bool = False) -> None:
        for old in folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if is_old:
            (info / "top_level.txt").write_text("".join(f"{file.partition('/')[0]}\n" for file in files))
        else:
            (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        importlib.invalidate_caches()

    yield add
    for name in [name for name in sys.modules if name.startswith("pk_")]:
        del sys.modules[name]


def test_what_is_installed_here() -> None:
    found = {package.name: package for package in packages_of({"numpy", "numpy.linalg", "yaml", "PIL.Image", "json"})}
    assert found["numpy"] == Package("numpy", importlib.metadata.version("numpy"), ("numpy",))
    assert found["PyYAML"].modules == ("yaml",)
    assert found["pillow"].modules == ("PIL",)
    assert set(found) == {"numpy", "PyYAML", "pillow"}


def test_what_a_worker_brings_along_and_what_nobody_has_installed() -> None:
    assert packages_of({"nbdist", "cloudpickle", "websockets.sync", "no_such_module", "__main__"}) == ()


def test_parts_of_a_namespace(install: Install) -> None:
    install("pk-one", "1.0", "pk_space/one/__init__.py")
    install("pk-two", "2.0", "pk_space/two/__init__.py", is_old=True)
    install("pk-three", "3.0", "pk_space/three.py")
    assert origins.owners("pk_space") == ["pk-one", "pk-three", "pk-two"]
    found = packages_of({"pk_space", "pk_space.one", "pk_space.one.function", "pk_space.three"})
    assert found == (Package("pk-one", "1.0", ("pk_space",)), Package("pk-three", "3.0", ("pk_space",)))


def test_two_modules_of_one_distribution(install: Install) -> None:
    install("pk-both", "1.0", "pk_a.py", "pk_b/__init__.py")
    assert packages_of({"pk_b", "pk_a"}) == (Package("pk-both", "1.0", ("pk_a", "pk_b")),)


def test_what_was_installed_meanwhile(install: Install) -> None:
    assert packages_of({"pk_late"}) == ()
    install("pk-late", "1.0", "pk_late.py")
    assert packages_of({"pk_late"}) == (Package("pk-late", "1.0", ("pk_late",)),)
    install("pk-late", "2.0", "pk_late.py")
    assert packages_of({"pk_late"}) == (Package("pk-late", "2.0", ("pk_late",)),)
    importlib.import_module("pk_late")
    assert packages_of({"pk_late"})[0].version == "2.0"
    install("pk-late", "3.0", "pk_late.py")
    assert packages_of({"pk_late"})[0].version == "2.0"  # which is what this process has
