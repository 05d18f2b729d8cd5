"""The sub-commands of `%distribute`: each takes its words and the session, and gives what is displayed."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

from nbdist.errors import CellError
from nbdist.notebook.resumable import with_id
from nbdist.notebook.session import Session
from nbdist.notebook.tables import Table, jobs_table, pool_table, workers_table
from nbdist.wire.address import is_loopback

WAIT_SECONDS = 60.0
FIRST_WORKER_SECONDS = 2.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|)")


class _Parser(argparse.ArgumentParser):
    """A parser that raises CellError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise CellError(f"%distribute {self.prog}: {message}\n{self.format_usage().strip()}")


@dataclass(frozen=True)
class Command:
    """One sub-command."""

    name: str
    help: str
    run: Callable[[Session, argparse.Namespace], Any]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()

    def parser(self) -> argparse.ArgumentParser:
        parser = _Parser(prog=self.name, description=self.help, add_help=False, allow_abbrev=False)
        parser.add_argument("--help", action="store_true", help="show this")
        for names, options in self.arguments:
            parser.add_argument(*names, **options)
        return parser

    @property
    def options(self) -> list[str]:
        """The options that it takes, for completion."""
        return [name for names, _ in self.arguments for name in names if name.startswith("--")] + ["--help"]


def run_command(session: Session, line: str) -> Any:
    """Runs `NAME ARGUMENT…`; gives what is displayed. Raises CellError."""
    try:
        name, *words = shlex.split(line)
    except ValueError as error:
        raise CellError(f"%distribute {line}: {error}") from None
    command = COMMANDS[name]
    parser = command.parser()
    if "--help" in words:
        print(parser.format_help().rstrip().replace("usage: ", "usage: %distribute "))
        return None
    return command.run(session, parser.parse_args(words))


def seconds_of(text: str) -> float:
    """A duration such as `90`, `90s`, `15min`, `24h` or `7d`, in seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 15min, 24h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def show_pool(session: Session) -> Table:
    """The pool as a table. A pool of this machine that has just been started gets a moment for its first worker."""
    if not session.describe().get("workers") and is_loopback(urlsplit(session.pool.address).hostname or ""):
        with contextlib.suppress(TimeoutError):
            session.pool.wait(workers=1, timeout=FIRST_WORKER_SECONDS)
    return pool_table(session.pool.address, session.describe())


def _connect(session: Session, words: argparse.Namespace) -> Table:
    session.connect(words.address, words.save_as)
    return show_pool(session)


def _invite(session: Session, words: argparse.Namespace) -> str | Table:
    if words.close:
        session.pool.close_invites()
        return Table("Closed: no invite is valid any more, and the hub no longer listens on the LAN.", (), ())
    role = "notebook" if words.notebook else "worker"
    invite = session.pool.invite(role=role, uses=words.uses, valid_seconds=words.valid)
    rows = [(str(label), str(line)) for label, line in invite["lines"]]
    warning = "Who joins lets every notebook of this hub run code as that user; who holds an invite can run code here."
    return Table(f"Lines that add a {'notebook' if words.notebook else 'machine'}", ("where", "type"), rows, warning)


def _web(session: Session, words: argparse.Namespace) -> str:
    link = session.pool.page_link()
    return f"The pool's page; the link logs one browser in, within ten minutes: {link}"


def _wait(session: Session, words: argparse.Namespace) -> Table:
    session.pool.wait(workers=words.count, timeout=words.timeout)
    return show_pool(session)


def _workers(session: Session, words: argparse.Namespace) -> Table:
    workers = session.describe().get("workers", ())
    return workers_table(f"{len(workers)} machines", workers)


def _jobs(session: Session, words: argparse.Namespace) -> Table:
    return jobs_table(session.jobs())


def _cancel(session: Session, words: argparse.Namespace) -> None:
    job = with_id(session.jobs(), words.id)
    session.pool.cancel(job)
    print(f"Job {job} is told to stop.")


def _attach(session: Session, words: argparse.Namespace) -> Any:
    return session.attach(with_id(session.jobs(), words.id), words.to)


def _stop(session: Session, words: argparse.Namespace) -> None:
    if bool(words.workers) == words.all:
        raise CellError("%distribute stop takes names of machines, or --all; `%distribute workers` lists them")
    known = {worker["name"] for worker in session.describe().get("workers", ())}
    unknown = sorted(set(words.workers) - known)
    if unknown:
        raise CellError(f"no machine is called {', '.join(unknown)}; `%distribute workers` lists them")
    stopped = session.pool.stop_workers(words.workers)
    print(f"Told to finish and leave: {', '.join(stopped) or 'none'}.")


def _setup(session: Session, words: argparse.Namespace) -> Table | None:
    if words.clear is None:
        return session.setups.table()
    gone = session.setups.clear(words.clear or None)
    print(f"Forgotten: {', '.join(gone)}." if gone else "There were no setups.")
    return None


def _debug(session: Session, words: argparse.Namespace) -> Any:
    return session.debug(words.index)


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "connect",
            "connect to a pool: none = the one of this machine; ws://…, wss://…, a saved name, or inline",
            _connect,
            (
                (("address",), {"nargs": "?", "metavar": "ADDRESS"}),
                (("--as",), {"dest": "save_as", "metavar": "NAME", "help": "save the address under this name"}),
            ),
        ),
        Command(
            "invite",
            "show the lines that add a machine",
            _invite,
            (
                (("--uses",), {"type": int, "default": 0, "metavar": "N", "help": "it is good for N machines"}),
                (("--for",), {"type": seconds_of, "default": 86400.0, "dest": "valid", "metavar": "24h"}),
                (("--notebook",), {"action": "store_true", "help": "for a second notebook instead"}),
                (("--close",), {"action": "store_true", "help": "revoke all invites, shut the LAN port"}),
            ),
        ),
        Command(
            "wait",
            "wait until the pool has N machines",
            _wait,
            (
                (("count",), {"type": int, "metavar": "N"}),
                (("--timeout",), {"type": seconds_of, "default": WAIT_SECONDS, "metavar": "60s"}),
            ),
        ),
        Command("web", "a link to the pool's web page, good once", _web),
        Command("workers", "the machines of the pool", _workers),
        Command("jobs", "the jobs of the pool", _jobs),
        Command(
            "attach",
            "bring back the view and the result of a job; a file that its values go to is continued",
            _attach,
            (
                (("id",), {"metavar": "ID"}),
                (("--to",), {"metavar": "FILE", "help": "put the values into this file"}),
            ),
        ),
        Command("cancel", "stop a job", _cancel, ((("id",), {"metavar": "ID"}),)),
        Command(
            "stop",
            "let machines finish what they run and leave",
            _stop,
            (
                (("workers",), {"nargs": "*", "metavar": "MACHINE"}),
                (("--all",), {"action": "store_true", "help": "all of them"}),
            ),
        ),
        Command(
            "setup",
            "the setups: what each slot runs once before its next items (`%%distribute --setup` on a cell adds one)",
            _setup,
            ((("--clear",), {"nargs": "?", "const": "", "metavar": "NAME", "help": "forget this one, or all"}),),
        ),
        Command(
            "debug",
            "run one item of the last job again, here, under the debugger (without INDEX: the first that failed)",
            _debug,
            ((("index",), {"type": int, "nargs": "?", "metavar": "INDEX"}),),
        ),
    )
}


def command_help() -> str:
    """The table of sub-commands, for `--help`."""
    width = max(map(len, COMMANDS))
    return "\n".join(f"  %distribute {name:{width}}  {command.help}" for name, command in COMMANDS.items())
