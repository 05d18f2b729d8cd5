"""What `nbdist worker` is told."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbdist.errors import AddressError
from nbdist.wire.address import Address
from nbdist.wire.local import memory_bytes
from nbdist.wire.units import size_bytes
from nbdist.worker import system

INVITE_VARIABLE = "NBDIST_INVITE"
LOW_PRIORITY = 10
"""The niceness of slots: whoever works at the machine goes first."""
MAX_SLOTS = 4096
LEAST_MEMORY_BYTES = 512_000_000
"""What a slot may use if nobody says otherwise, however many there are on this machine: libraries alone need that."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker runs."""

    slots: int
    invite: str = ""
    ready_file: Path | None = None
    """Where the address stands, once the hub has written it: JSON with `invite`. Read again before each dial."""
    name: str = ""
    threads: int = 1
    """Of numeric libraries, in each slot."""
    memory_bytes: int = 0
    """What each slot may use, with all that it starts; 0: no limit."""
    niceness: int = LOW_PRIORITY
    is_quiet: bool = False
    dies_with_parent: bool = False
    lock: Path | None = None
    """Held while the worker lives; if another holds it, there is nothing to do."""
    start_hub: Callable[[], object] | None = None
    """Starts the machine's own hub again, if it does not run."""
    may_sleep: bool = False
    """The machine is not kept awake while slots are busy."""
    installs: bool = False
    """What jobs need and is not here is installed for them, apart from all else."""
    fork: bool | None = None
    """How slots start (`processes.launcher`); None: as is best here."""

    def address(self) -> Address | None:
        """The hub's address; None: it is not written yet. Raises AddressError."""
        if self.ready_file is None:
            return Address.parse(self.invite)
        try:
            ready = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Address.parse(str(ready.get("invite", "")) if isinstance(ready, dict) else "")


def parse(argv: Sequence[str]) -> WorkerConfig:
    """Reads the command line, the environment and, for the invite `-`, standard input. Raises AddressError."""
    options = _parser().parse_args(argv)
    threads = options.threads_per_slot or max(1, system.cores() // options.slots)
    config = WorkerConfig(
        slots=options.slots,
        invite="" if options.ready_file is not None else _invite(options.invite),
        ready_file=options.ready_file,
        name=options.name,
        threads=threads,
        memory_bytes=options.memory_limit or _default_memory(options.slots),
        niceness=0 if options.no_nice else LOW_PRIORITY,
        is_quiet=options.quiet,
        dies_with_parent=options.die_with_parent,
        lock=options.only_one,
        may_sleep=options.allow_sleep,
        installs=options.install,
        fork=False if options.no_fork else None,
    )
    config.address()
    return config


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nbdist worker",
        description="Let this machine work for a hub. Notebooks of that hub can then run any code here, as you.",
        epilog="Ctrl-C once: finish running items and leave. Twice: leave at once.",
    )
    parser.add_argument(
        "invite",
        nargs="?",
        default="",
        help=f"the invite that the hub printed; without it, the one in {INVITE_VARIABLE}; '-': read a line",
    )
    parser.add_argument("--slots", type=_count, default=system.cores(), help="items at once (default: all cores)")
    parser.add_argument("--name", default="", help="what to call this machine (default: its host name)")
    parser.add_argument(
        "--threads-per-slot", type=_count, default=0, metavar="N", help="threads of numeric libraries in each slot"
    )
    parser.add_argument(
        "--memory-limit",
        type=_memory,
        default=0,
        metavar="2GB|50%",
        help="what each slot may use, %% of this machine's memory (default: that over the number of slots)",
    )
    parser.add_argument("--no-nice", action="store_true", help="run items at normal priority")
    parser.add_argument("--allow-sleep", action="store_true", help="let this machine go to sleep while it works")
    parser.add_argument(
        "--install",
        action="store_true",
        help="install packages that jobs need and this Python does not have, apart from all else (by uv or pip)",
    )
    for flag in ("--quiet", "--die-with-parent", "--no-fork"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    for flag in ("--ready-file", "--only-one"):
        parser.add_argument(flag, type=Path, default=None, help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SLOTS:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_SLOTS} is needed, not {text!r}")
    return int(text)


def _memory(text: str) -> int:
    share = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*%", text.strip(), re.ASCII)
    if share is not None and 0 < float(share[1]) <= 100:
        return int(memory_bytes() * float(share[1]) / 100)
    found = size_bytes(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory: write 500MB, 2GB or 50%")
    return found


def _default_memory(slots: int) -> int:
    """What a slot may use: its share of the machine's memory; 0 where nobody could watch it."""
    if not system.WATCHES_MEMORY or not memory_bytes():
        return 0
    return max(LEAST_MEMORY_BYTES, memory_bytes() // slots)


def _invite(given: str) -> str:
    if given == "-":
        return sys.stdin.readline().strip()
    invite = given or os.environ.get(INVITE_VARIABLE, "")
    if not invite:
        raise AddressError(
            "which hub? Give the invite that `nbdist hub --lan` or `%distribute invite` printed: nbdist worker wss://…"
        )
    return invite
