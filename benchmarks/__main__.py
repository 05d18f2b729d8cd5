"""`python -m benchmarks [FIGURE...] [--peers NAME,NAME] [--scale X] [--save]`."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from benchmarks import figures, peers


def main() -> int:
    """Measures and prints; with --save also writes benchmarks/results-DATE.json."""
    options = _parse()
    installed = {peer: peers.is_installed(peer) for peer in peers.ALL if peer.name.lower() in options.peers}
    chosen = [figure for figure in figures.ALL if not options.figures or figure.name in options.figures]
    if options.alone:
        return _measure_alone(chosen[0], next(peer for peer in installed), options.scale)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, scale {options.scale}")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for figure in chosen:
        print(f"\n{figure.name}: {figure.about}", flush=True)
        found = results[figure.name] = {}
        for peer, is_there in installed.items():
            if peer.name in figure.leaves_out:
                continue
            if not is_there:
                print(f"  {peer.name:12} missing (python -m pip install 'nbdist[bench]')")
                continue
            measured = _measure(figure, peer, options.scale)
            if measured is not None:
                found[peer.name] = measured
                print(f"  {peer.name:12} {_row(figure, found, peer.name)}", flush=True)
    if options.save:
        path = Path(__file__).parent / f"results-{datetime.date.today()}.json"
        path.write_text(json.dumps(results, indent=1))
        print(f"\nwritten to {path}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="nbdist and its peers, side by side")
    names = [figure.name for figure in figures.ALL]
    every = ",".join(peer.name.lower() for peer in peers.ALL)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(names)}; nothing: all")
    parser.add_argument("--peers", default=every, help=every)
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: smaller, to see that it works")
    parser.add_argument("--save", action="store_true", help="write a results file too")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.peers = set(options.peers.lower().split(","))
    unknown = set(options.figures) - set(names) | options.peers - set(every.split(","))
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return options


def _measure(figure: figures.Figure, peer: Any, scale: float) -> dict[str, float] | None:
    """The numbers; None, after saying why, if the peer cannot do it.

    In a process of its own: some peers leave variables in the environment (how memory is freed, how many threads NumPy
    has) that would slow down those that are measured after them.
    """
    command = [sys.executable, "-m", "benchmarks", figure.name, "--peers", peer.name, "--scale", str(scale), "--alone"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    if ended.returncode == 0 and lines:
        found: dict[str, float] = json.loads(lines[-1])
        return found
    reason = (ended.stderr.strip().splitlines() or ["no answer"])[-1]
    print(f"  {peer.name:12} failed: {reason}", file=sys.stderr)
    return None


def _measure_alone(figure: figures.Figure, peer: Any, scale: float) -> int:
    """Measures here, and prints the numbers as JSON."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        found = figure.measure(peer, scale)
    print(json.dumps(found), flush=True)
    return 0


def _row(figure: figures.Figure, found: dict[str, dict[str, float]], name: str) -> str:
    """One peer's numbers, with how many times better nbdist is by the first of them."""
    cells = [f"{_number(value):>10} {column}" for column, value in found[name].items()]
    ours = found.get(peers.Nbdist.name)
    if ours and name != peers.Nbdist.name:
        column = next(iter(ours)) if figure.name != "idle" else "PSS MB"
        mine, other = ours[column], found[name][column]
        ratio = mine / other if figure.higher_is_better else other / mine
        cells.append(f"nbdist is {ratio:.2f} times as good")
    return "  ".join(cells)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
