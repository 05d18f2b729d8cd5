"""What a person may not know about a failure: that a file is beside the notebook, but not where the item ran."""

from __future__ import annotations

import os

MAX_PATH_CHARS = 300


def missing_file(error: BaseException, machine: str) -> str:
    """One line for a FileNotFoundError of an item whose file is here; empty for any other."""
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str | bytes):
        return ""
    path = os.fsdecode(error.filename)
    if not path or "\0" in path or len(path) > MAX_PATH_CHARS or not os.path.exists(path):
        return ""
    where = "on the notebook's machine" if os.path.isabs(path) else "beside the notebook"
    if os.path.isdir(path):
        todo = "nbdist.file(path) for each of its files that items need"
    else:
        todo = f"nbdist.file({path!r}), outside the distributed code, and that in place of the path"
    return f"{path} is {where} but not on {machine}: use {todo}"
