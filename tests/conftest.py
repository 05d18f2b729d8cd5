"""For all tests: a home of their own, stacks when one hangs, no skips if so asked for, no process left behind."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator

import psutil
import pytest
import pythons
from ownpool import own_embedded_pool

__all__ = ["own_embedded_pool"]

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell has its background jobs ignore Ctrl-C, and what these start does too: many tests press it."""

HANG_SECONDS = 180.0
"""After so long in one test the stacks of all threads are printed."""
LEAVE_SECONDS = 30.0
"""Processes that a test has started may need so long to end after the last one."""
MARK = "NBDIST_TEST_RUN"
"""An environment variable that every process started by the tests inherits."""
NO_SKIPS = "NBDIST_NO_SKIPS"

_home = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the tests away from the pools, names and state of the person who runs them."""
    home = tempfile.TemporaryDirectory(prefix="nbdist-tests-", ignore_cleanup_errors=True)
    config.stash[_home] = home
    config.stash[_stderr] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    os.environ[MARK] = uuid.uuid4().hex
    for name in ("JUPYTER_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA"):
        os.environ[name] = os.path.join(home.name, name.lower())
    for name in ("POOL", "INVITE", "KEEP", "RESULTS_LIMIT", "KEPT_RESULTS", "CACHE"):
        os.environ.pop(f"NBDIST_{name}", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the home."""
    config.stash[_home].cleanup()
    os.close(config.stash[_stderr])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Prints all stacks when a test hangs, long before it is ended."""
    faulthandler.dump_traceback_later(HANG_SECONDS, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Makes a skip a failure if the environment says so: what is not tested must not look tested."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole module."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    may_be_missing = pythons.missing(pythons.NEWEST) in str(report.longrepr)
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(NO_SKIPS) and not may_be_missing:
        report.outcome = "failed"
        report.longrepr = f"skipped, although {NO_SKIPS} is set: {report.longrepr}"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fails the run if a process that it has started is still there."""
    result = yield
    deadline = time.monotonic() + LEAVE_SECONDS
    while (left := started_processes()) and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=deadline - time.monotonic())
    for process in left:
        print(f"\nleft behind by the tests: {_describe(process)}", file=sys.stderr)
        process.kill()
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return result


def started_processes() -> list[psutil.Process]:
    """The processes that carry this run's mark, without this one."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(MARK) == os.environ[MARK] and process.pid != os.getpid()
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # it is gone, or another user's
    return found


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error as error:
        return str(error)
