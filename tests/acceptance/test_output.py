"""What items write, in a real kernel: under the cell that began them, in order, bounded, a few updates a second."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
SLICE_BYTES = 64 * 1024
MOST_UPDATES_A_SECOND = 20
"""Of the view and of both streams together."""
SEVERAL = 5
"""Messages that a cell has in any case: its beginning, its view, its end."""
MOST_MORE_MIB = 100


@pytest.fixture
def kernel(start: Any, connect: Any, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel whose pool has two machines with two slots each."""
    hub = start.hub()
    for name in ("left", "right"):
        start.worker(hub.invite, "--slots", "2", "--name", name)
    connect(hub.connect).wait(workers=2, timeout=LIMIT_SECONDS)
    found = Kernel(tmp_path)
    try:
        status, text = found.run(
            f"%load_ext nbdist\nimport nbdist, os, sys, time\npool = nbdist.connect({hub.connect!r})\n"
            "from nbdist.client.options import make_options\n"
            "make_options.__kwdefaults__['speculate'] = False"  # an item that has a copy prints twice
        )
        assert status == "ok", text
        yield found
    finally:
        found.close()


class Page:
    """What a cell has sent to the page."""

    def __init__(self, kernel: Kernel, code: str, interrupt_at: str = "") -> None:
        self.messages = 0
        self.streams = {"stdout": "", "stderr": ""}
        request = kernel.start(code)
        for message in kernel.messages(request):
            self.messages += 1
            content = message["content"]
            if message["msg_type"] == "stream":
                self.streams[content["name"]] += content["text"]
                if interrupt_at and interrupt_at in content["text"]:
                    kernel.interrupt()
                    interrupt_at = ""

    @property
    def lines(self) -> list[str]:
        return self.streams["stdout"].splitlines()


def updates_bound(kernel: Kernel) -> float:
    """So many messages may the last job's cell have sent."""
    return SEVERAL + MOST_UPDATES_A_SECOND * (1 + float(kernel.value("nbdist.last_job.stats['elapsed_seconds']")))


def test_a_hundred_thousand_lines(kernel: Kernel) -> None:
    before = int(kernel.value("__import__('psutil').Process().memory_info().rss // 2**20"))
    page = Page(kernel, "%%distribute n in range(100_000) --task-size 1000\nprint('line', n)")
    assert page.messages < updates_bound(kernel)
    assert Counter(page.lines) == Counter(f"line {n}" for n in range(100_000))
    after = int(kernel.value("__import__('psutil').Process().memory_info().rss // 2**20"))
    assert after - before < MOST_MORE_MIB
    # in order within what one slot ran at once
    for start in range(0, 100_000, 1000):
        mine = [n for line in page.lines if start <= (n := int(line.split()[1])) < start + 1000]
        assert mine == sorted(mine)


def test_an_item_that_prints_a_hundred_thousand_lines(kernel: Kernel) -> None:
    cell = "%%distribute n in range(8) --task-size 1\nfor k in range(100_000):\n    print(n, k)"
    page = Page(kernel, cell)
    assert page.messages < updates_bound(kernel)
    told = Counter[int]()
    for line in page.lines:
        if re.fullmatch(r"\d \d+", line):
            item, number = map(int, line.split())
            assert number == told[item]  # the first ones, in order
            told[item] += 1
    assert set(told) == set(range(8))
    written = sum(len(f"0 {k}\n") for k in range(100_000)) * 8
    left_out = sum(int(each.replace(",", "")) for each in re.findall(r"\[([\d,]+) bytes more", "\n".join(page.lines)))
    assert left_out == written - 8 * SLICE_BYTES


def test_the_streams_and_all_that_writes(kernel: Kernel) -> None:
    body = r"""
import subprocess, threading
thread = threading.Thread(target=print, args=("thread", n))
thread.start()
thread.join()
subprocess.run(["sh", "-c", f"echo process {n}; echo wrong {n} >&2"])
os.write(1, b"raw %d \xff\x00\n" % n)
os.write(2, b"raw wrong %d\n" % n)
print("lone", n, "\udc80")
sys.stdout.write(f"\r10 %\r100 % {n}\n")
print("error", n, file=sys.stderr)"""
    page = Page(kernel, f"%%distribute n in range(40)\n{body}")
    for n in range(40):
        text = f"thread {n}\nprocess {n}\nraw {n} \ufffd\0\nlone {n} ?\n\r10 %\r100 % {n}\n"
        assert [line for line in page.streams["stdout"].split("\n") if line.rstrip(" ?\ufffd\0").endswith(f" {n}")] == (
            text.split("\n")[:-1]
        )
        errors = [line for line in page.streams["stderr"].split("\n") if line.endswith(f" {n}")]
        assert errors == [f"wrong {n}", f"raw wrong {n}", f"error {n}"]
    assert "wrong" not in page.streams["stdout"]


def test_no_cell_shows_what_another_wrote(kernel: Kernel) -> None:
    endless = "%%distribute n in range(10**9)\nprint('first', n)\ntime.sleep(0.001)"
    assert "first" in Page(kernel, endless, interrupt_at="first").streams["stdout"]
    second = Page(kernel, "%%distribute n in range(40)\nprint('second', n)\ntime.sleep(0.02)")
    assert sorted(second.lines) == sorted(f"second {n}" for n in range(40))
    background = "%%distribute n in range(400) -> job --background\nprint('third', n)\ntime.sleep(0.01)"
    assert Page(kernel, background).streams == {"stdout": "", "stderr": ""}
    fourth = Page(kernel, "%%distribute n in range(40)\nprint('fourth', n)\ntime.sleep(0.02)")
    assert sorted(fourth.lines) == sorted(f"fourth {n}" for n in range(40))
    assert Page(kernel, "_ = job.result()").streams == {"stdout": "", "stderr": ""}
    wanted = "sorted(text.text for text in job.output) == sorted(f'third {n}\\n' for n in range(400))"
    assert kernel.value(wanted) == "True"
