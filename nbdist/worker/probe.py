"""Looks which modules an interpreter can import: `probe.py FOLDER MODULE…`, run by that interpreter.

Also shows that a slot could start with it. The last line is the first module that is missing, as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence


def can_import(name: str) -> bool:
    """Whether there is such a top-level module; it is not imported."""
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return True  # it is there in some odd way: let the slot find out


def main(words: Sequence[str]) -> None:
    """Prints the answer."""
    importlib.import_module("nbdist.worker.child")
    folder, *names = words
    sys.path.insert(0, folder)  # as in slots
    print(json.dumps(next((name for name in names if not can_import(name)), "")))


if __name__ == "__main__":
    main(sys.argv[1:])
