"""Makes environments with NumPy and pandas for the other versions of Python of this machine: `.venv-3.12` and so on.

Run by `make test` with the environment's own Python. What is there already is left alone; where there is no network it
says so, and the tests that need them are skipped.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pythons import REPOSITORY, find, others

PACKAGES = ("numpy", "pandas", "pyarrow")
"""Where pyarrow is, the texts of pandas 3 are its arrays: the other side needs it too."""
LIMIT_SECONDS = 300.0


def wanted() -> list[str]:
    """The packages in the versions that this environment has: so that their values mean the same there."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]


def furnish(version: str) -> str:
    """Makes the environment of a version, unless it is there. Gives what went wrong."""
    interpreter, folder = find(version), REPOSITORY / f".venv-{version}"
    mark = folder / ".ready"
    if interpreter is None or (mark.exists() and mark.read_text().split() == wanted()):
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    options = ("--quiet", "--no-compile", "--only-binary=:all:", "--disable-pip-version-check")
    python = str(folder / "bin" / "python")
    try:
        _run(interpreter, "-m", "venv", "--without-pip", str(folder))
        _run(sys.executable, "-m", "pip", "--python", python, "install", *options, *wanted())
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        output = getattr(error, "stderr", None) or str(error)
        return f"no NumPy and pandas for Python {version}: {output.strip().splitlines()[-1]}"
    mark.write_text("\n".join(wanted()))
    return ""


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS, cwd=Path("/"))


if __name__ == "__main__":
    with ThreadPoolExecutor() as threads:
        for problem in filter(None, threads.map(furnish, others())):
            print(problem, file=sys.stderr)
