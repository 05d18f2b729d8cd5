"""What is passed on must fit a frame: bounds, and how they are kept. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from nbdist.errors import ProtocolError
from nbdist.wire.frames import MAX_HEADER_BYTES, Payload
from nbdist.wire.messages import JobProgress, NeedBlobs, WorkerRow

MAX_PAYLOAD_BYTES = 768 * 1024
"""Of a part or a packed task: passed on, it must fit a frame with another header. What is larger is a blob."""
MAX_OUTPUT_BYTES = 64 * 1024
"""One message of a cell's output to the notebook has at most so much text."""
NAMES_PER_MESSAGE = 500
"""Blobs that one message asks for, of 67 bytes each in a header of 64 KiB."""
PROGRESS_BYTES = 4096
"""What the header of a progress message takes beside its rows."""


def check_size(payload: Payload) -> None:
    """Raises ProtocolError for a payload that should have been a blob."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"a payload of {len(payload)} bytes in a frame: what is over {MAX_PAYLOAD_BYTES} is a blob")


def need_blobs(job: str, names: Collection[str]) -> Iterator[NeedBlobs]:
    """Says which blobs are missing, in as many messages as fit frames; one if there are none."""
    ordered = sorted(names)
    for at in range(0, max(1, len(ordered)), NAMES_PER_MESSAGE):
        yield NeedBlobs(job, tuple(ordered[at : at + NAMES_PER_MESSAGE]), more=at + NAMES_PER_MESSAGE < len(ordered))


def fit_frame(progress: JobProgress) -> JobProgress:
    """The progress with as many rows as a frame's header has room for; the slowest machines are only counted."""
    while progress.workers:
        room = MAX_HEADER_BYTES - sum(_row_bytes(row) for row in progress.workers)
        if room >= PROGRESS_BYTES:
            break
        keep = len(progress.workers) // 2
        left_out = progress.more_workers + len(progress.workers) - keep
        progress = replace(progress, workers=progress.workers[:keep], more_workers=left_out)
    return progress


def _row_bytes(row: WorkerRow) -> int:
    """An upper bound of what a row takes as JSON: six bytes for a character, twenty for a number."""
    return 200 + 6 * (len(row.name) + len(row.reason)) + 20 * len(row.running)
