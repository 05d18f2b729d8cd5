"""`nbdist doctor`: the command."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from nbdist.doctor import machine, pool, reaching
from nbdist.doctor.findings import Line
from nbdist.doctor.judging import judge_hub
from nbdist.doctor.judging_here import judge_computer, judge_pool
from nbdist.errors import AddressError
from nbdist.wire.address import Address
from nbdist.worker.config import INVITE_VARIABLE

NAME_WIDTH = 16


def main(argv: Sequence[str]) -> int:
    """Looks and tells. 0: all is well; 1: something is not."""
    options = _parser().parse_args(argv)
    told: list[Line] = []

    def tell(lines: Sequence[Line]) -> None:
        told.extend(lines)
        if not options.json:
            for line in lines:
                print(shown(line), flush=True)

    try:
        asyncio.run(_examine(_invite(options.invite), tell))
    except KeyboardInterrupt:
        return 130
    failed = sum(line.state == "FAIL" for line in told)
    if options.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(line) for line in told]}, indent=1))
    else:
        print(f"\n{f'{failed} of {len(told)} checks failed' if failed else 'all is well'}")
    return 1 if failed else 0


async def _examine(invite: str, tell: Callable[[Sequence[Line]], None]) -> None:
    """The hub of the invite, or else this user's own pool; then this machine."""
    address = None
    if invite:
        try:
            address = Address.parse(invite)
        except AddressError as error:
            tell([Line("FAIL", "invite", str(error), "copy the whole line that the hub printed, in quotes")])
    else:
        found, address = pool.look()
        tell(judge_pool(found))
    if address is not None:
        tell(judge_hub(await reaching.reach(address), machine.software()))
    tell(judge_computer(await machine.look()))


def shown(line: Line) -> str:
    """A line as people read it; what to do stands below."""
    text = f"{line.state:<4}  {line.name:<{NAME_WIDTH}}  {line.text}"
    return f"{text}\n{'':<6}{'':<{NAME_WIDTH}}  -> {line.todo}" if line.todo else text


def _invite(given: str) -> str:
    if given == "-":
        return sys.stdin.readline().strip()
    return given or os.environ.get(INVITE_VARIABLE, "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nbdist doctor",
        description="Say step by step why this machine cannot join a hub, and what to do. Changes nothing.",
        epilog="Exit code: 0 if all is well, 1 if something is not.",
    )
    parser.add_argument(
        "invite",
        nargs="?",
        default="",
        help=f"the invite that the hub printed; without it, the one in {INVITE_VARIABLE}; '-': read a line; "
        "with none: this machine and this user's own pool",
    )
    parser.add_argument("--json", action="store_true", help="for programs: an object with `ok` and `checks`")
    return parser
