"""What was found on this machine and of its embedded pool means this, and this is the next step. Pure."""

from __future__ import annotations

from nbdist.doctor.findings import Computer, Folder, Line, Pool

MIN_FREE_BYTES = 64 * 1024**2
"""With less room nothing works."""
GOOD_FREE_BYTES = 1024**3
MIN_MEMORY_BYTES = 100 * 1024**2
"""For each slot, free: Python with numpy and a little data."""
FILES_BESIDE_SLOTS = 100
FILES_PER_SLOT = 8
OLDEST_PYTHON = (3, 11)
_MB = 1024**2


def judge_computer(found: Computer) -> list[Line]:
    """The lines of this machine."""
    lines = [_software(found), _slot(found), _folder("temporary folder", found.temporary)]
    if found.shared is not None:
        lines.append(_shared(found.shared))
    lines += [_memory(found), *_files(found), _awake(found)]
    return lines


def _software(found: Computer) -> Line:
    software = found.software
    shown = f"Python {software.python} ({software.implementation}), nbdist {software.nbdist}, {found.cores} cores"
    if tuple(int(part) for part in software.python.split(".")[:2]) < OLDEST_PYTHON:
        return Line("FAIL", "machine", f"{shown}: too old a Python", "start it with Python 3.11 or later")
    return Line("ok", "machine", shown)


def _slot(found: Computer) -> Line:
    if not found.slot_error:
        return Line("ok", "slot", f"a slot has started and run a line after {found.slot_seconds:.2f} s")
    todo = (
        f"see that {found.software.executable} -c 'import nbdist' works, that the system lets this user start "
        "processes, and that a virus scanner does not stop them"
    )
    return Line("FAIL", "slot", f"no slot starts here: {found.slot_error}", todo)


def _folder(name: str, folder: Folder) -> Line:
    if folder.error:
        todo = "make room or see to its permissions, or name another folder in the environment variable TMPDIR"
        return Line("FAIL", name, f"nothing can be written in {folder.path}: {folder.error}", todo)
    text = f"{folder.path} has {_size(folder.free_bytes)} free"
    if folder.free_bytes < MIN_FREE_BYTES:
        return Line(
            "FAIL", name, f"{text}, too little for the data of a job", f"make room on the disk of {folder.path}"
        )
    if folder.free_bytes < GOOD_FREE_BYTES:
        return Line("warn", name, f"{text}: large items and results may find no room")
    return Line("ok", name, text)


def _shared(folder: Folder) -> Line:
    if folder.error:
        return Line("warn", "shared memory", f"{folder.path} cannot be used ({folder.error}): files on disk do instead")
    text = f"{folder.path} has {_size(folder.free_bytes)} free"
    if folder.free_bytes < GOOD_FREE_BYTES:
        text += ": files on disk do instead, more slowly (containers: --shm-size=2g)"
        return Line("warn", "shared memory", text)
    return Line("ok", "shared memory", text)


def _memory(found: Computer) -> Line:
    if not found.memory_bytes:
        return Line("ok", "memory", "the system does not say how much there is")
    text = f"{_size(found.memory_free_bytes)} of {_size(found.memory_bytes)} free, {found.cores} slots"
    if found.memory_free_bytes and found.memory_free_bytes < MIN_MEMORY_BYTES * found.cores:
        slots = max(1, found.memory_free_bytes // MIN_MEMORY_BYTES)
        return Line("warn", "memory", f"{text}: little for each", f"close programs, or join with --slots {slots}")
    return Line("ok", "memory", text)


def _files(found: Computer) -> list[Line]:
    if not found.files:
        return []
    needed = FILES_BESIDE_SLOTS + FILES_PER_SLOT * found.cores
    if found.files < needed:
        text = f"a process may have {found.files} files open, and {found.cores} slots may need {needed}"
        return [Line("warn", "open files", text, f"ulimit -n {needed * 2} before the worker is started")]
    return [Line("ok", "open files", f"a process may have {found.files}")]


def _awake(found: Computer) -> Line:
    if found.keeps_awake:
        return Line("ok", "sleep", f"{found.keeps_awake} is there to keep this machine awake while it works")
    return Line(
        "warn", "sleep", "nothing can keep this machine awake while it works", "turn off its sleep in the settings"
    )


def judge_pool(found: Pool) -> list[Line]:
    """The lines of the embedded pool's files; whether its hub answers is judged as of any hub."""
    if not found.exists:
        return [Line("ok", "pool", f"this user has had no pool here yet; a notebook starts one (in {found.folder})")]
    lines = []
    if not found.is_private:
        text = f"others than its user can look into the state directory {found.folder}"
        lines.append(Line("FAIL", "state", text, f"chmod 700 {found.folder}"))
    else:
        lines.append(Line("ok", "state", f"{found.folder}, private, {_size(found.free_bytes)} free on its disk"))
    if found.free_bytes < MIN_FREE_BYTES:
        text = f"only {_size(found.free_bytes)} free for results: jobs wait until there is more"
        lines.append(Line("FAIL", "disk", text, f"make room on the disk of {found.folder}"))
    if found.journal_error:
        todo = "the next hub sets a damaged journal aside and begins a new one; end this one first (see ready.json)"
        lines.append(Line("FAIL", "journal", f"the record of jobs cannot be read: {found.journal_error}", todo))
    elif found.has_journal:
        lines.append(Line("ok", "journal", "the record of jobs can be read"))
    return [*lines, _running(found)]


def _running(found: Pool) -> Line:
    log = f"{found.folder}/hub.log"
    last = f"; its log ends with: {found.log}" if found.log else ""
    if not found.hub_lives:
        text = "no hub runs; the next notebook starts one"
        if found.has_ready_file:
            text = "the hub was killed; the next notebook starts it again, and it takes its jobs up"
        return Line("ok", "pool", text)
    if found.ready_error or not found.has_ready_file:
        reason = found.ready_error or "its file ready.json is not there"
        text = f"a hub holds {found.folder} but nobody can find it: {reason}{last}"
        return Line("FAIL", "pool", text, f"read {log}; end that hub's process, the next notebook starts another")
    if not found.worker_lives:
        text = "the hub runs without its worker: this machine's own cores do nothing"
        return Line("warn", "pool", text, f"read {found.folder}/worker.log; the worker starts with the next hub")
    return Line("ok", "pool", "hub and worker run")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f} GB" if size_bytes >= 1024**3 else f"{size_bytes / _MB:.0f} MB"
