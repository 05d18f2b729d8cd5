"""A slot as a process of its own: loads what it needs, then waits on its standard input to be told what it is."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields

from nbdist.worker import child, system
from nbdist.worker.setup import SlotSetup


def main() -> None:
    """Runs a slot; ends when nobody wants one."""
    parent = os.getppid()
    system.settle_in(parent, 0)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    given = json.loads(line)
    setup = SlotSetup(**{field.name: given[field.name] for field in fields(SlotSetup)})
    system.settle_in(parent, setup.niceness)
    child.run_slot(system.take_over(given), setup)


if __name__ == "__main__":
    main()
