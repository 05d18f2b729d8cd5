"""The metadata of local packages: many ask at their import which version of themselves is installed."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable

_ASKED = re.compile(rb"\b(?:version|metadata|distribution)\(\s*(?:['\"]([\w.-]+)['\"]|__name__|__package__)\s*\)")
_SEPARATORS = re.compile(r"[-_.]+")


def metadata_of(top: str, sources: Iterable[bytes]) -> dict[str, bytes]:
    """The files with which `importlib.metadata` finds a local package's distribution, if its code asks for that."""
    names: set[str] = set()
    for text in sources:
        if b"importlib" in text:
            names |= {(match[1] or top.encode()).decode() for match in _ASKED.finditer(text)}
    found: dict[str, bytes] = {}
    for name in sorted(names):
        try:
            distribution = importlib.metadata.distribution(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        description = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        if description and (_normal(name) == _normal(top) or _is_editable(distribution)):
            folder = f"{_normal(name)}-{distribution.version}.dist-info"
            found[f"{folder}/METADATA"] = description.encode()
    return found


def _normal(name: str) -> str:
    return _SEPARATORS.sub("_", name).lower()


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    try:
        return bool(json.loads(distribution.read_text("direct_url.json") or "{}")["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return False
