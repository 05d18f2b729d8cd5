"""Runs a program that must not outlive its agent: `guard.py PROGRAM WORD…`, as the first of its process group.

Once standard input ends, the agent is gone, and so are the program and all that it has started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from nbdist.worker import system

NOT_FOUND = 127


def main(words: Sequence[str]) -> int:
    """The program's exit code."""
    threading.Thread(target=_watch, name="agent", daemon=True).start()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # that is ours
    try:
        code = subprocess.run(words, stdin=subprocess.DEVNULL, env=environment, check=False).returncode
    except OSError as error:
        print(f"{words[0]} cannot be started: {error}", flush=True)
        return NOT_FOUND
    return code if code >= 0 else 128 - code


def _watch() -> None:
    while os.read(0, 1024):
        continue
    system.kill(os.getpid())


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # the watch holds standard input
