"""`make fuzz SECONDS=…`: every target for its share of the time, guided by coverage if atheris is installed.

`python tests/fuzz/run.py [--seconds N] [TARGET...]`; without atheris (`pip install 'nbdist[fuzz]'`) hypothesis makes
the bytes. Ends with 1 if a target has raised what it does not declare; the bytes that made it do so are shown.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 2_000
"""Of hypothesis, between two looks at the clock."""
MODULES = ["nbdist.wire", "nbdist.packing", "nbdist.notebook", "nbdist.errors"]


def main() -> int:
    """Runs each target in a process of its own: the first find ends it."""
    parser = argparse.ArgumentParser(prog="tests/fuzz/run.py", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
    if options.alone:
        return _fuzz(options.targets[0], options.seconds)
    import fuzzing

    chosen = options.targets or list(fuzzing.TARGETS)
    seconds = max(1, options.seconds // len(chosen))
    has_atheris = importlib.util.find_spec("atheris") is not None
    print(f"{seconds} s for each target, bytes by {'atheris' if has_atheris else 'hypothesis'}", flush=True)
    return max(_run(name, seconds) for name in chosen)


def _run(name: str, seconds: int) -> int:
    words = [sys.executable, str(Path(__file__)), "--alone", "--seconds", str(seconds), name]
    with tempfile.TemporaryDirectory(prefix="nbdist-fuzz-") as folder:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-40:]
    runs = next((line for line in reversed(last) if line.startswith(("Done", "stat::number_of"))), "")
    print(f"{name:12} {'ok' if not done.returncode else 'FOUND SOMETHING'}  {runs}", flush=True)
    if done.returncode:
        print("\n".join(f"    {line}" for line in last))
    return int(done.returncode != 0)


def _fuzz(name: str, seconds: int) -> int:
    if importlib.util.find_spec("atheris") is not None:
        return _by_atheris(name, seconds)
    import fuzzing
    from hypothesis import HealthCheck, Phase, given, settings

    target = fuzzing.TARGETS[name]
    rules = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        rules(given(fuzzing.mutations(target.seeds))(target.run))()
        count += EXAMPLES
    print(f"Done {count} runs")
    return 0


def _by_atheris(name: str, seconds: int) -> int:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=MODULES):
        import fuzzing
    target = fuzzing.TARGETS[name]
    folder = Path("corpus")
    folder.mkdir()
    for number, seed in enumerate(target.seeds):
        (folder / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", str(folder)], target.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
