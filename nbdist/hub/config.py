"""What a hub is told on its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbdist.hub import limits
from nbdist.hub.limits import Limits
from nbdist.hub.statedir import default_path


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How one hub runs."""

    state: Path
    port: int = 0
    """0: the one it had before, or any that is free."""
    lan: bool = False
    """Listens on the LAN, with TLS, instead of on this machine only."""
    embedded: bool = False
    """Ends by itself when nobody has used it for a while."""
    ready_file: Path | None = None
    """Written once the hub is ready: JSON with `connect`, `invite`, `pid` and `version`, for its owner only."""
    blobs: Path | None = None
    """Folder for blobs."""
    may_sleep: bool = False
    """The machine is not kept awake while there are unfinished jobs."""
    die_with_parent: bool = False
    """Ends when its standard input does."""
    limits: Limits = field(default_factory=Limits)
    """How long and how much is kept."""


def parse(argv: Sequence[str]) -> HubConfig:
    """Reads the arguments of `nbdist hub`; leaves the process with a usage message if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="nbdist hub",
        description="The meeting point of notebooks and workers. Prints two lines when it is ready: "
        "'connect URL' for notebooks and 'invite URL' for workers.",
    )
    parser.add_argument("--lan", action="store_true", help="listen on the LAN, with TLS (else on this machine only)")
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="0: the one of last time, or any free one")
    parser.add_argument("--state", type=Path, default=None, metavar="DIR", help="keys, certificate, spilled results")
    parser.add_argument("--blobs", type=Path, default=None, metavar="DIR", help="large values; default: in memory")
    limits.add_options(parser)
    parser.add_argument("--embedded", action="store_true", help="end after ten minutes without notebooks and jobs")
    parser.add_argument("--ready-file", type=Path, default=None, metavar="FILE", help="write both addresses there too")
    parser.add_argument("--allow-sleep", action="store_true", help="let this machine go to sleep while jobs run")
    parser.add_argument("--die-with-parent", action="store_true", help="end when standard input ends")
    found = parser.parse_args(argv)
    return HubConfig(
        state=(found.state or default_path()).absolute(),
        port=found.port,
        lan=found.lan,
        embedded=found.embedded,
        ready_file=found.ready_file,
        blobs=found.blobs,
        may_sleep=found.allow_sleep,
        die_with_parent=found.die_with_parent,
        limits=limits.from_options(parser, found),
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 65536:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)
