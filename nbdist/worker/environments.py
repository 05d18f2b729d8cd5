"""The environments that jobs want: which, who builds what, what becomes of those who wait. Pure.

Each is built once however many jobs want it, one after another; a build that no job wants any more is ended. What was
built is looked at for each job: whether all modules are there that it imports.
"""

from __future__ import annotations

from nbdist.wire.messages import Message, Package
from nbdist.worker.installing import RETRY_SECONDS, Installer, blamed, described, environment_name, no_package, tail
from nbdist.worker.orders import (
    BuildBegun,
    BuildEnvironment,
    CancelBuild,
    EnvironmentInPlace,
    EnvironmentNotInPlace,
    JobNotInPlace,
    LookForModules,
    Say,
)


class Environments:
    """Jobs by their ids, and their environments by name. Answers are orders, and events about jobs."""

    def __init__(self, installer: Installer | None) -> None:
        self._installer = installer
        self._names: dict[str, str] = {}
        """Job -> its environment."""
        self._builds: dict[str, tuple[Package, ...]] = {}
        """What is to be built; the first is being built."""
        self._built: set[str] = set()
        """Those of them that jobs want."""

    def name(self, job: str) -> str:
        """The job's environment; empty: the worker's own."""
        return self._names.get(job, "")

    def want(self, job: str, packages: tuple[Package, ...]) -> list[Message]:
        """A job comes that needs an environment with these."""
        if self._installer is None:
            return [JobNotInPlace(job, f"{described(packages)} is not here", "start the worker with --install")]
        if odd := no_package(packages):
            return [JobNotInPlace(job, f"{odd!r} is no package that could be installed")]
        name = self._names[job] = environment_name(packages, self._installer)
        if name in self._built:
            return [LookForModules(job, name)]
        if name in self._builds:
            return []
        self._builds[name] = packages
        return self._begin() if len(self._builds) == 1 else []

    def receive(self, event: BuildBegun | EnvironmentInPlace | EnvironmentNotInPlace) -> list[Message]:
        """The build that is under way has begun or ended, or what was built is of no use."""
        if isinstance(event, BuildBegun):
            # here is known what the jobs of this environment wait for
            packages = self._builds.get(event.environment, ())
            return [Say(f"installing {described(packages)}")] if packages else []
        packages = self._builds.pop(event.environment, ())
        jobs = [job for job, name in self._names.items() if name == event.environment]
        if not packages and event.environment not in self._built:
            return []
        if isinstance(event, EnvironmentInPlace):
            if jobs:
                self._built.add(event.environment)
            found: list[Message] = [LookForModules(job, event.environment) for job in jobs]
            return [*found, *self._begin()]
        reason, todo = _failure(packages, event)
        refusals = [JobNotInPlace(job, reason, todo, RETRY_SECONDS) for job in jobs]
        return [Say(reason), *refusals, *(self._begin() if packages else [])]

    def drop(self, job: str, *, is_hub_lost: bool = False) -> list[Message]:
        """The job is over. One whose hub is away will come again: the build that is under way goes on for it."""
        name = self._names.pop(job, "")
        if not name or name in self._names.values():
            return []
        self._built.discard(name)
        is_first = name == next(iter(self._builds), "")
        if name not in self._builds or (is_first and is_hub_lost):
            return []
        del self._builds[name]
        return [CancelBuild(name), *self._begin()] if is_first else []

    def _begin(self) -> list[Message]:
        """Begins the next build."""
        return [BuildEnvironment(*build) for build in list(self._builds.items())[:1]]


def _failure(packages: tuple[Package, ...], event: EnvironmentNotInPlace) -> tuple[str, str]:
    """Why an environment could not be made, with the end of what was written, and what to do."""
    end = tail(event.output)
    what = f"{blamed(packages, event.output)} could not be installed" if packages else "what was installed is broken"
    reason = f"{what} ({event.reason})" if event.reason else what
    todo = "the cell, run again, tries that again at once; a job that goes on does after some minutes"
    return f"{reason}. The end of what was written:\n{end}" if end else reason, todo
