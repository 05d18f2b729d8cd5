"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([kmgt]i?b)", re.IGNORECASE | re.ASCII)


def size_bytes(text: str) -> int | None:
    """What `500MB`, `1.5 GiB` or `10gb` come to; None: the text is no size."""
    found = _SIZE.fullmatch(text.strip())
    return None if found is None else int(float(found[1]) * UNITS[found[2].upper()])


def size_text(size_bytes: float) -> str:
    """`7.9 GB`: three digits at most, in thousands."""
    size, unit = float(size_bytes), "bytes"
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.5 else f"{size:.1f} {unit}"
