"""The `nbdist` command. Each sub-command imports only what it needs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import nbdist

if TYPE_CHECKING:
    from nbdist.engines.base import Engine

DEMO_SAMPLES = 400_000_000
DEMO_SAMPLES_PURE_PYTHON = 20_000_000
DEMO_ITEMS = 2_000
DEMO_LINE_SECONDS = 0.1
BAR_WIDTH = 30
CANCEL_SECONDS = 3.0
"""After Ctrl-C the pool has so long to confirm that nothing of the demo runs any more."""
INTERRUPTED = 130
"""The exit code of a shell for Ctrl-C."""
DESCRIPTION = "Run a notebook cell on every computer in the room."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command; gives the exit code: 0, 1 for an error that was told, 2 for wrong usage, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # Windows' code pages lack the bar and letters of machines' names
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["hub"]:
        return _hub(words[1:])
    if words[:1] == ["worker"]:
        return _worker(words[1:])
    if words[:1] == ["doctor"]:
        return _doctor(words[1:])
    options = _parser().parse_args(words)
    run: Callable[[argparse.Namespace], int] = options.run
    from nbdist.errors import NbdistError

    try:
        return run(options)
    except NbdistError as error:
        print(f"nbdist: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("nbdist: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nbdist", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"nbdist {nbdist.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("hub", help="start a hub and print the addresses for notebooks and for workers")
    commands.add_parser("worker", help="let this machine work for a hub")
    commands.add_parser("doctor", help="say why this machine cannot join a hub, and what to do")
    status = _add_command(commands, "status", _status, "the pool's machines and jobs")
    status.add_argument("--web", action="store_true", help="open the pool's web page in a browser instead")
    _add_command(commands, "jobs", _jobs, "the pool's jobs")
    invite = _add_command(commands, "invite", _invite, "the lines that add a machine to the pool")
    invite.add_argument("--uses", type=int, default=0, metavar="N", help="good for so many machines; 0: any number")
    invite.add_argument("--for", dest="valid", type=_seconds, default="24h", metavar="TIME", help="30m, 24h, 7d")
    invite.add_argument("--notebook", action="store_true", help="for a notebook, which may run code on the pool")
    invite.add_argument("--close", action="store_true", help="revoke all invites and shut the port on the LAN")
    stop = _add_command(commands, "stop", _stop, "let machines finish what they run and leave")
    stop.add_argument("--worker", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    demo = commands.add_parser("demo", help="estimate pi on every core of this machine")
    demo.add_argument("--samples", type=int, default=0, metavar="N", help="more take longer")
    demo.set_defaults(run=_demo)
    return parser


def _add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help)
    parser.add_argument("address", nargs="?", help="ws://… or wss://… or a saved name; nothing: this user's own pool")
    parser.set_defaults(run=run)
    return parser


def _seconds(text: str) -> float:
    from nbdist.hub.limits import seconds

    return seconds(text)


# --- processes that stay ----------------------------------------------------------------------------------------------


def _hub(words: list[str]) -> int:
    from nbdist.hub.app import main as run

    return run(words)


def _worker(words: list[str]) -> int:
    from nbdist.worker.main import main as run

    return run(words)


def _doctor(words: list[str]) -> int:
    from nbdist.doctor.main import main as run

    return run(words)


# --- questions to a hub -----------------------------------------------------------------------------------------------


def _open(address: str | None) -> Engine | None:
    """The pool at an address; with none, this user's own if it runs: asking about it does not start it."""
    from nbdist import embedded
    from nbdist.engines.hub import open_engine

    if address is None and embedded.running() is None:
        print(
            "No pool of this user is running here. A notebook starts one; `nbdist hub` starts one for others.",
            file=sys.stderr,
        )
        return None
    return open_engine(address, None)


def _ask(options: argparse.Namespace, question: Callable[[Engine], None]) -> int:
    engine = _open(options.address)
    if engine is None:
        return 1
    try:
        question(engine)
    finally:
        engine.close()
    return 0


def _status(options: argparse.Namespace) -> int:
    def show(engine: Engine) -> None:
        if options.web:
            _show_page(engine.page_link())
            return
        pool = engine.describe()
        print(f"pool at {engine.address}")
        for line in _kept(pool.get("hub", {})):
            print(line)
        _table(pool.get("workers", []), "no machines: `nbdist invite` prints the lines that add one")
        print()
        _table(pool.get("jobs", []), "no jobs")

    return _ask(options, show)


def _show_page(link: str) -> None:
    import webbrowser

    print(f"The pool's page (the link logs a browser in, once, within ten minutes):\n    {link}")
    webbrowser.open(link)


def _kept(hub: dict[str, Any]) -> list[str]:
    """How long and how much the hub keeps; nothing if it does not say."""
    from nbdist.hub.limits import duration

    if "keep_seconds" not in hub:
        return []
    here, bound, waiting = (hub[f"{name}_bytes"] / 1e9 for name in ("results", "kept_results_limit", "results_limit"))
    return [
        f"jobs are kept for {duration(hub['keep_seconds'])} after their end; results: {here:.1f} GB of {bound:.1f} GB; "
        f"a job is paused when {waiting:.1f} GB of its own wait"
    ]


def _jobs(options: argparse.Namespace) -> int:
    return _ask(options, lambda engine: _table(engine.describe().get("jobs", []), "no jobs"))


def _invite(options: argparse.Namespace) -> int:
    def show(engine: Engine) -> None:
        if options.close:
            engine.close_invites()
            print("All invites are revoked, the port on the LAN is shut.")
            return
        role = "notebook" if options.notebook else "worker"
        made = engine.invite(role=role, uses=options.uses, valid_seconds=options.valid)
        for label, line in made.get("lines", []):
            print(f"{label}\n    {line}\n")

    return _ask(options, show)


def _stop(options: argparse.Namespace) -> int:
    def stop(engine: Engine) -> None:
        names = engine.stop_workers(options.worker)
        print(f"leaving once their running items are done: {', '.join(names) or 'none'}")

    return _ask(options, stop)


def _table(rows: list[dict[str, Any]], empty: str) -> None:
    """Prints records as a table: a column for each field that holds a plain value in any of them."""
    if not rows:
        print(empty)
        return
    names = list(dict.fromkeys(n for row in rows for n, value in row.items() if not isinstance(value, (list, dict))))
    cells = [[name.replace("_", " ") for name in names]] + [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isprintable() else " " for character in text)[:60]


# --- the demonstration ------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> int:
    import math
    import time
    from importlib.util import find_spec

    has_numpy = find_spec("numpy") is not None
    samples = options.samples or (DEMO_SAMPLES if has_numpy else DEMO_SAMPLES_PURE_PYTHON)
    piece = max(1, samples // DEMO_ITEMS)
    count = _sampler(piece, has_numpy)
    with nbdist.connect() as pool:
        pool.map(count, range(8), reduce=sum).result()  # the slots have imported what they need
        alone_seconds = _time_alone(count, DEMO_ITEMS // 20) * 20
        start = time.perf_counter()
        job = pool.map(count, range(DEMO_ITEMS), reduce=sum, seed=1)
        try:
            while not job.wait(DEMO_LINE_SECONDS):
                _show_progress(job.progress)
        except KeyboardInterrupt:
            job.cancel("interrupted")
            job.wait(CANCEL_SECONDS)
            print(end="\n" if sys.stdout.isatty() else "", flush=True)
            raise
        inside = job.result()
        seconds = time.perf_counter() - start
        _show_progress(job.progress)
    done = piece * DEMO_ITEMS
    estimate, error = 4 * inside / done, 4 * math.sqrt(math.pi / 4 * (1 - math.pi / 4) / done)
    print(f"\npi is about {estimate:.6f} ± {error:.6f}, from {done:,} samples ({estimate - math.pi:+.6f} off)")
    print(f"{seconds:.2f} s here, about {alone_seconds:.2f} s on one core: {alone_seconds / seconds:.2f} times as fast")
    return 0


def _sampler(piece: int, has_numpy: bool) -> Callable[[int], int]:
    """A function that counts the samples in the quarter circle; it is nested, so that it travels by value."""

    def count_with_numpy(item: int) -> int:
        import numpy

        generator = numpy.random.Generator(numpy.random.PCG64(numpy.random.SeedSequence(1, spawn_key=(item,))))
        inside, left = 0, piece
        while left:
            some = min(left, 16_384)  # two such arrays fit into a core's own cache
            x, y = generator.random(some), generator.random(some)
            inside += int(numpy.count_nonzero(x * x + y * y <= 1.0))
            left -= some
        return inside

    def count(item: int) -> int:
        from random import Random

        draw = Random(item).random
        return sum(draw() ** 2 + draw() ** 2 <= 1.0 for _ in range(piece))

    return count_with_numpy if has_numpy else count


def _time_alone(count: Callable[[int], int], items: int) -> float:
    import time

    count(0)
    start = time.perf_counter()
    for item in range(items):
        count(item)
    return time.perf_counter() - start


def _show_progress(progress: Any) -> None:
    total = progress.total or 1
    filled = BAR_WIDTH * progress.done // total
    bar = "█" * filled + "·" * (BAR_WIDTH - filled)
    rate = f"{progress.items_per_second:,.0f} items/s" if progress.items_per_second else ""
    end = "" if sys.stdout.isatty() else "\n"
    print(f"\r{bar} {progress.done:,}/{total:,}  {rate}   ", end=end, flush=True)
