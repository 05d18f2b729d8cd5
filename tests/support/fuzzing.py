"""What is fuzzed: everything that reads bytes or text others have made. Each target raises only what it declares."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import warnings
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

from hypothesis import strategies as st

from nbdist.errors import AddressError, BlobError, CellError, FrameError, PackingError
from nbdist.execution.run import Run
from nbdist.filing import archive
from nbdist.filing.left import Left
from nbdist.hub import journal
from nbdist.notebook import cell
from nbdist.packing import pack_part, pack_run, parts
from nbdist.scheduler import orders
from nbdist.wire import blocks, bundles, frames, resuming
from nbdist.wire import messages as m
from nbdist.wire.address import Address

KINDS = tuple(journal._KINDS.values())


class Target(NamedTuple):
    """A function that is given any bytes, and some bytes that make sense to it."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def frame(data: bytes) -> None:
    """Frames of peers. What is understood can be sent on."""
    with contextlib.suppress(FrameError):
        message, payload = frames.decode(data)
        frames.encode(message, payload)


def record(data: bytes) -> None:
    """Records of the journal: the first byte says of which kind."""
    kind = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    with contextlib.suppress(FrameError):
        frames.to_json(frames.from_json(kind, data[1:].decode("utf-8", "surrogateescape")))


def block(data: bytes) -> None:
    """Blocks of items, of notebooks."""
    with contextlib.suppress(FrameError):
        chunks = blocks.split(data, 7)
        assert all(chunk.count > 0 for chunk in chunks)


def bundle(data: bytes) -> None:
    """Archives of local modules, of notebooks."""
    with contextlib.suppress(BlobError):
        for parts, _ in bundles.read(data):
            assert not {"", ".", ".."} & set(parts)


def part(data: bytes) -> None:
    """Parts of results. They are pickles inside, and pickle is not what is tested here."""
    with (
        contextlib.suppress(PackingError),
        mock.patch.object(pickle, "loads", return_value=(None, [])),
    ):
        parts.unpack_part(data)
        parts.tail_of(data)


def archived(data: bytes) -> None:
    """The files of items, of workers. None has a name that leads out of its folder."""
    unpacker = archive.Unpacker(lambda entry: _Opened(entry.name))
    with contextlib.suppress(PackingError):
        unpacker.feed(data[:7])
        unpacker.feed(data[7:])
        unpacker.finish()


class _Opened(io.BytesIO):
    def __init__(self, name: str) -> None:
        super().__init__()
        assert not name.startswith("/")
        assert not {"", ".", ".."} & set(name.split("/"))


def tail(data: bytes) -> None:
    """What a worker says of files that are left."""
    found = Left.decode(data)
    assert found.count >= 0
    assert len(found.story("machine", are_wanted=False)) < 1000


def address(data: bytes) -> None:
    """Addresses that people type. What is understood means the same when it is written out."""
    with contextlib.suppress(AddressError):
        found = Address.parse(data.decode("utf-8", "surrogateescape"))
        assert Address.parse(found.url) == found


def cell_text(data: bytes) -> None:
    """Cells: head, options and body."""
    line, _, body = data.decode("utf-8", "surrogateescape").partition("\n")
    with contextlib.suppress(CellError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python about the code
        cell.parse(line, body, known_names={"x"})


def expression(data: bytes) -> None:
    """The expression form of the magic."""
    with contextlib.suppress(CellError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell.parse_expression(data.decode("utf-8", "surrogateescape"))


def results(data: bytes) -> None:
    """The answer of a hub whose results are read."""
    with contextlib.suppress(FrameError):
        for _ in resuming.split(data):
            pass


_MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
_SUBMIT = m.SubmitJob("j", "j", _MACHINE, m.JobOptions(), ranges=((0, 9, 1),), blobs=(m.BlobRef("0" * 64, 5),))
_RECORDS = (orders.JobTaken("n", _SUBMIT), orders.ItemsTaken("j", 0, 4, 9), orders.ItemTried("j", 3, 1, 0, 2))
_RUNS = (Run(0, 3, 0.1, [1, 2, 3]), Run(3, 5, 0.1, [b"x" * 100], [4], [(3, ValueError("no"))], 4))

TARGETS: dict[str, Target] = {
    "frame": Target(
        frame,
        tuple(
            frames.encode(message, b"payload")
            for message in (
                _SUBMIT,
                m.Hello("worker", 1, 1, _MACHINE, "p", "name", 4),
                m.Part("j", (1, 2), 0, 3, 0.1, final=True, failed=(1,)),
                m.WorkerFacts((m.HeldAttempt("j", (1, 2), 0, 0, 3, True),), ("j",)),
            )
        ),
    ),
    "record": Target(record, tuple(bytes([KINDS.index(type(one))]) + frames.to_json(one).encode() for one in _RECORDS)),
    "results": Target(
        results,
        (b"".join(resuming.pack(m.Result("j", seq, seq, seq + 1, "w"), b"payload") for seq in (1, 2)),),
    ),
    "block": Target(block, (blocks.join([(2, b"ab"), (1, b"c")]), blocks.join([]))),
    "bundle": Target(bundle, (bundles.pack({"p/a.py": b"x = 1", "b.py": b"y" * 100}, {"b.py": "/home/b.py"}),)),
    "part": Target(
        part, tuple(b"".join(pack_part([pack_run(run) for run in runs])) for runs in ((), _RUNS[:1], _RUNS))
    ),
    "archive": Target(archived, (b'nbf\x01\0\0\0\x1c[[0, "a/b", 3], [1, "c", 0]]abc',)),
    "tail": Target(tail, (b'[7, ["a", "b"]]',)),
    "address": Target(
        address,
        (
            b"ws://127.0.0.1:8786/#key=abc",
            b"wss://[fe80::1]:8786/#key=a%20b&cert=" + b"0" * 64 + b"&also=10.0.0.5,host",
        ),
    ),
    "cell": Target(
        cell_text,
        (
            b"n in range(10) if n % 2 -> xs --plot line\nn * 2",
            b"(a, b) in zip(x, [1,\n2]) --keep-if _ > 3 --seed 7\nfor i in a:\n    if i: continue\na + b;",
            b"--each machine\nimport os\nos.getpid()",
            b"--stop-when '_ == 3' n in x --on-error keep\n# a comment\nif n:\n    break\n",
        ),
    ),
    "expression": Target(expression, (b"[f(x) for x in x if x] --seed 3", b"{a: b for a, b in x}", b"(x for x in y)")),
}


def mutations(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Any bytes, and bytes that nearly make sense."""

    def mutate(seed: bytes, number: int, more: bytes) -> bytes:
        chance = random.Random(number)
        data = bytearray(seed)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            until = min(len(data), at + chance.choice([0, 1, 2, 4, 16]))
            pieces = (more, bytes([chance.randrange(256)]), bytes(data[:at][-8:]), b"", chance.choice(seeds)[:20])
            data[at:until] = chance.choice(pieces)
        return bytes(data)

    return st.binary(max_size=200) | st.builds(mutate, st.sampled_from(seeds), st.integers(), st.binary(max_size=9))
