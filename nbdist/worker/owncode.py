"""What a slot needs of its worker, apart from all else that is installed there: for slots of other environments."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import nbdist

PACKAGES = ("nbdist", "cloudpickle")


def own_code(folder: Path) -> str:
    """A place for `sys.path` that has nothing else; made in `folder`, once. Raises OSError."""
    root = Path(nbdist.__file__).parent.parent
    if not root.is_dir():
        return str(root)  # worker.pyz has nothing else anyway
    if not folder.exists():
        draft = folder.with_name(f"{folder.name}-new")
        shutil.rmtree(draft, ignore_errors=True)
        for name in PACKAGES:
            package = Path(str(import_module(name).__file__)).parent
            shutil.copytree(package, draft / name)
        draft.rename(folder)
    return str(folder)
