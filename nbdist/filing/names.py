"""Names of files, as one machine may give them and another must live with them. Pure."""

from __future__ import annotations

import re
import sys
import unicodedata

MAX_NAME_BYTES = 1_024
"""Of a name with its folders."""
MAX_PART_BYTES = 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_UNUSABLE = re.compile(r'[<>:"|?*\\\x00-\x1f]')


def why_not(name: str) -> str:
    """Why no file in a folder may have this name, with `/` between folders; empty if one may."""
    parts = name.split("/")
    if not name or name.startswith("/") or "" in parts or "." in parts or ".." in parts or "\0" in name:
        return "it is no name inside a folder"
    try:
        encoded = [part.encode() for part in parts]
    except UnicodeEncodeError:
        return "it is no text"
    if max(map(len, encoded)) > MAX_PART_BYTES or len(name.encode()) > MAX_NAME_BYTES:
        return "it is too long"
    return ""


def usable_here(name: str, platform: str = sys.platform) -> str:
    """The name, changed where this operating system could not have such a file."""
    if platform != "win32":
        return name
    return "/".join(_for_windows(part) for part in name.split("/"))


def _for_windows(part: str) -> str:
    part = _UNUSABLE.sub("_", part).rstrip(". ") or "_"
    return f"_{part}" if _RESERVED.fullmatch(part) else part


def key(name: str) -> str:
    """The same for two names that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def numbered(name: str, item: int) -> str:
    """`plots/a.png` of item 17: `plots/a-17.png`."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.rpartition(".")
    if not stem:  # `notes`, `.hidden`
        stem, dot, ending = base, "", ""
    return f"{folder}{slash}{stem}-{item}{dot}{ending}"
