"""What is installed for jobs, by whom, and what became of it. Pure.

Each set of requirements has an environment of its own, whose name depends on the set, the Python and the installer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from nbdist.wire.messages import Package

MAX_ENVIRONMENTS = 10
MAX_ENVIRONMENT_BYTES = 10_000_000_000
"""So many are kept on a machine for each user, and so much of them, but for those that are in use."""
INSTALL_SECONDS = 1800.0
"""An installer that takes longer is stopped: packages that must be compiled first take their time."""
PIP_SERVES_OTHERS = (22, 3)
RETRY_SECONDS = 300.0
"""A job whose packages could not be installed asks again after so long; another job asks at once."""
TAIL_LINES = 20
TAIL_CHARACTERS = 1_500
"""Of what the installer wrote: a refusal has to fit in a header."""
SHOWN_PACKAGES = 3
BROUGHT = frozenset({"nbdist", "cloudpickle"})
"""Slots have these from their worker, whatever is installed beside them."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", re.ASCII)
_PROGRESS = re.compile(r"\s*(Collecting|Processing|Downloading|Using|Requirement|Obtaining)\b")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Installer:
    """What makes environments on this machine."""

    python: str
    """The interpreter that they are made from: not one of another environment."""
    version: str
    """`cpython 3.11.7`."""
    uv: str = ""
    """The program; empty: venv and pip."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An environment on the disk."""

    name: str
    last_used: float
    bytes: int


def environment_name(packages: Iterable[Package], installer: Installer) -> str:
    """The environment for these packages, in whatever order and spelling they come."""
    wanted = sorted({_canonical(package.name) + requirement(package)[len(package.name) :] for package in packages})
    described = json.dumps([wanted, installer.python, installer.version, "uv" if installer.uv else "pip"])
    return hashlib.sha256(described.encode()).hexdigest()[:24]


def requirement(package: Package) -> str:
    """As installers read it: `pandas==2.3.3`. Without a build's own mark, `+cpu`: few indexes have the same builds."""
    version = package.version.partition("+")[0]
    return f"{package.name}=={version}" if version else package.name


def described(packages: Sequence[Package]) -> str:
    """For people: `pandas 2.3.3, numpy 2.3.1 and 4 more`."""
    shown = ", ".join(f"{package.name} {package.version}".strip() for package in packages[:SHOWN_PACKAGES])
    return shown + _and_more(packages)


def no_package(packages: Iterable[Package]) -> str:
    """The first of these that an installer could take for something else than a package; empty: there is none."""
    for package in packages:
        if not _NAME.fullmatch(package.name) or (package.version and not _VERSION.fullmatch(package.version)):
            return requirement(package)
    return ""


def serves_others(said: str) -> bool:
    """Whether `pip --version` says that this pip can install for another interpreter: that saves the seconds and the
    megabytes of a pip in each environment."""
    found = re.match(r"pip (\d{1,4})\.(\d{1,4})", said)
    return found is not None and (int(found[1]), int(found[2])) >= PIP_SERVES_OTHERS


def commands(
    packages: Iterable[Package], installer: Installer, folder: str, python: str, *, pip: str = ""
) -> list[list[str]]:
    """What makes an environment in `folder`, whose interpreter will be `python`, one after another.

    `pip`: an interpreter with a pip that serves others.
    """
    wanted = [requirement(package) for package in packages if _canonical(package.name) not in BROUGHT]
    if installer.uv:
        make = [installer.uv, "venv", "--no-project", "--python", installer.python, folder]
        install = [installer.uv, "pip", "install", "--no-progress", "--python", python]
    else:
        make = [installer.python, "-I", "-m", "venv", *(["--without-pip"] if pip else []), folder]
        install = [pip, "-I", "-m", "pip", "--python", python] if pip else [python, "-I", "-m", "pip"]
        install += ["install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        install.append("--no-warn-script-location")
    return [make, [*install, "--", *wanted]] if wanted else [make]


def tail(output: str) -> str:
    """The end of what an installer wrote, without what only terminals want."""
    lines = [line.rstrip() for line in _ESCAPES.sub("", output.replace("\r\n", "\n").replace("\r", "\n")).splitlines()]
    text = "\n".join([line for line in lines if line][-TAIL_LINES:])
    return text if len(text) <= TAIL_CHARACTERS else f"… {text[-TAIL_CHARACTERS:]}"


def blamed(packages: Sequence[Package], output: str) -> str:
    """For people: which of the packages could not be installed, as far as the installer's output tells."""
    written = _canonical("\n".join(line for line in output.splitlines() if not _PROGRESS.match(line)))
    named = [package for package in packages if package.version and _canonical(requirement(package)) in written]
    shown = named or packages
    return ", ".join(map(requirement, shown[:SHOWN_PACKAGES])) + _and_more(shown)


def superfluous(kept: Iterable[Kept], in_use: Collection[str]) -> list[str]:
    """The environments that are to go: those not used for longest, until the others are within the bounds."""
    count, size = 0, 0
    gone = []
    for one in sorted(kept, key=lambda one: (one.name in in_use, one.last_used), reverse=True):
        count, size = count + 1, size + one.bytes
        if one.name not in in_use and (count > MAX_ENVIRONMENTS or size > MAX_ENVIRONMENT_BYTES):
            gone.append(one.name)
            count, size = count - 1, size - one.bytes
    return gone


def _and_more(packages: Sequence[Package]) -> str:
    more = len(packages) - SHOWN_PACKAGES
    return f" and {more} more" if more > 0 else ""


def _canonical(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()
