"""Saved names of hubs."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from nbdist.engines.hub import names
from nbdist.errors import AddressError

URL = "ws://127.0.0.1:8786/#key=secret"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "APPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def test_a_saved_address_comes_back_with_its_secret() -> None:
    names.save("lab", URL)
    names.save("lab-2", URL.replace("8786", "9000"))
    assert names.load("lab").url == URL
    assert names.saved() == ["lab", "lab-2"]
    names.save("lab", URL.replace("8786", "1234"))
    assert names.load("lab").port == 1234


@pytest.mark.skipif(sys.platform == "win32", reason="a user's own folders are private there")
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    names.save("lab", URL)
    (path,) = tmp_path.rglob("*.hub")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_unknown_name_lists_the_known_ones() -> None:
    names.save("lab", URL)
    with pytest.raises(AddressError, match="saved: lab"):
        names.load("home")


@pytest.mark.parametrize("name", ["", "../lab", "a/b", "a b", ".hidden", "x" * 65])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(AddressError):
        names.save(name, URL)
    with pytest.raises(AddressError):
        names.load(name)


def test_an_address_that_is_none_is_not_saved() -> None:
    with pytest.raises(AddressError):
        names.save("lab", "http://example.com")
    assert names.saved() == []
