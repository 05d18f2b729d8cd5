"""Saved names of hubs: `connect URL --as lab`, later `connect lab`.

One file for each name, mode 0600, in the user's configuration directory; it holds the address with its secret.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from nbdist.errors import AddressError
from nbdist.wire.address import Address

MAX_NAME_CHARACTERS = 64
_NAME = re.compile(r"[\w][\w.-]*")
_SUFFIX = ".hub"


def save(name: str, url: str) -> None:
    """Keeps an address under a name, in place of an older one. Raises AddressError if either is not well formed."""
    _check(name)
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f"{name}.{os.getpid()}.new"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(Address.parse(url).url)
    fresh.replace(folder / (name + _SUFFIX))


def load(name: str) -> Address:
    """The address that was saved under a name. Raises AddressError, which lists the names that there are."""
    _check(name)
    try:
        text = (_folder() / (name + _SUFFIX)).read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(saved()) or "none yet"
        raise AddressError(
            f"no hub is saved as {name!r} (saved: {known}). Give the address that the hub printed, or save it with "
            f"%distribute connect URL --as {name}"
        ) from None
    return Address.parse(text)


def saved() -> list[str]:
    """All saved names, sorted."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in _folder().glob("*" + _SUFFIX))


def _check(name: str) -> None:
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise AddressError(
            f"{name[:MAX_NAME_CHARACTERS]!r} is neither an address (ws://… or wss://…) nor a name that a hub can be "
            "saved under: letters, digits, '_', '-' and '.'"
        )


def _folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "nbdist" / "hubs"
