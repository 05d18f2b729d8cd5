"""Bundles of modules: archives, and what is no archive."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from nbdist.errors import BlobError
from nbdist.wire import bundles


def test_files_come_back_with_where_they_came_from() -> None:
    files = {"p/__init__.py": b"import x", "p/data/a.csv": b"1,2\n" * 1000}
    data = bundles.pack(files, {name: f"/home/me/{name}" for name in files})
    found = {"/".join(parts): content for parts, content in bundles.read(data)}
    assert json.loads(found.pop(bundles.ORIGINS)) == {name: f"/home/me/{name}" for name in files}
    assert found == files
    assert len(data) < 1000


def test_the_same_files_give_the_same_bytes() -> None:
    files = {"b.py": b"1", "a.py": b"2"}
    assert bundles.pack(files, {}) == bundles.pack(dict(reversed(files.items())), {})


@pytest.mark.parametrize("name", ["../a.py", "/etc/passwd", "a/../../b.py", "a//b.py", "C:/x.py", "a\\..\\b.py", "./a"])
def test_a_file_that_would_lie_elsewhere_is_refused(name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(BlobError, match="outside its folder"):
        list(bundles.read(buffer.getvalue()))


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bundles.pack({"a.py": b"0" * 1_000_000, "b.py": b"0" * 1_000_000}, {})
    monkeypatch.setattr(bundles, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(bundles, "MAX_FILES", 2)
    with pytest.raises(BlobError, match="more than 1000000 bytes"):
        list(bundles.read(data))
    monkeypatch.setattr(bundles, "MAX_FILES", 1)
    with pytest.raises(BlobError, match="3 files"):
        list(bundles.read(data))


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + bytes(10)])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(BlobError):
        list(bundles.read(data))


def test_damaged_files_are_refused() -> None:
    data = bytearray(bundles.pack({"a.py": bytes(range(256))}, {}))
    at = data.index(b"a.py") + 10
    data[at] ^= 0xFF
    with pytest.raises(BlobError):
        list(bundles.read(bytes(data)))
