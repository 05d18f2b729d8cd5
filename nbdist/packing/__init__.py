"""Values to bytes and back. The only room that knows pickle and cloudpickle.

`encode` and `decode` for one value, `pack_task` and `load_task` for a function with all that it needs
(`pack_portable`: for every version of Python; `repack`: from a packed one), `pack_chunk` for
items, `pack_run` and `pack_part` for results.
"""

from nbdist.packing.again import repack
from nbdist.packing.codes import remember_tree, rename_code
from nbdist.packing.container import Buffer
from nbdist.packing.decoding import decode, open_file, unpack_chunk
from nbdist.packing.encoding import encode, is_by_value, item_chunk, pack_chunk, pack_item
from nbdist.packing.failures import Failure, innermost, setup_reason, traceback_text, user_frames
from nbdist.packing.mentions import mentioned_names
from nbdist.packing.parts import (
    MAX_REASONS,
    PackedRun,
    UnpackedRun,
    pack_part,
    pack_run,
    pack_runs,
    tail_of,
    unpack_part,
)
from nbdist.packing.tasks import fresh_setups, load_task, pack_portable, pack_task, snapshot, without_names
from nbdist.packing.weighing import weigh

__all__ = [
    "MAX_REASONS",
    "Buffer",
    "Failure",
    "PackedRun",
    "UnpackedRun",
    "decode",
    "encode",
    "fresh_setups",
    "innermost",
    "is_by_value",
    "item_chunk",
    "load_task",
    "mentioned_names",
    "open_file",
    "pack_chunk",
    "pack_item",
    "pack_part",
    "pack_portable",
    "pack_run",
    "pack_runs",
    "pack_task",
    "remember_tree",
    "rename_code",
    "repack",
    "setup_reason",
    "snapshot",
    "tail_of",
    "traceback_text",
    "unpack_chunk",
    "unpack_part",
    "user_frames",
    "weigh",
    "without_names",
]
