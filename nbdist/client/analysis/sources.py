"""The text of the code that travels, so that tracebacks on other machines show its lines."""

from __future__ import annotations

import linecache
from typing import Any

from nbdist.client.analysis import names

MAX_SOURCE_CHARS = 256 * 1024
"""Longer files are left out; tracebacks then show line numbers only."""


def sources_of(*roots: Any) -> dict[str, str]:
    """File name -> text, for the files (cells of a notebook, scripts) that these functions come from."""
    found: dict[str, str] = {}
    for function in names.functions_in(*roots):
        filename = function.__code__.co_filename
        module = function.__module__ or ""
        if filename in found or (module != "__main__" and not filename.startswith("<")):
            continue
        text = "".join(linecache.getlines(filename, function.__globals__))
        if text and len(text) <= MAX_SOURCE_CHARS:
            found[filename] = text
    return found
