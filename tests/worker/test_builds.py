"""Real environments: a real worker with `--install`, packages that the tests write, pip and uv."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from machines import start
from wheels import own_uv, remove_wheel, variables, wheels, write_wheel

from nbdist.packing import unpack_part
from nbdist.wire import messages as m
from nbdist.wire.messages import Package
from nbdist.worker import installing, places

__all__ = ["own_uv", "start", "wheels"]

pytestmark = pytest.mark.real
NAME = "nbdt_colour"
ONE, TWO, NONE = (Package(NAME, version, (NAME,)) for version in ("1.0", "2.0", "9.9"))
Pack = Callable[..., bytes]
OnWorker = Callable[[Any], None]


def looker() -> Callable[[int], tuple[Any, ...]]:
    """What items run: it sees the package's version, what else it could import, and where it is."""

    def look(item: int) -> tuple[Any, ...]:
        import importlib.util
        import sys

        found = importlib.util.find_spec("nbdt_colour") is not None
        version = __import__("nbdt_colour").VERSION if found else ""
        return version, [name for name in ("pytest", "tornado") if importlib.util.find_spec(name)], sys.prefix

    return look


async def until(is_so: Callable[[], bool]) -> None:
    """Until it is so; the test has a limit."""
    while not is_so():  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(0.02)


class Jobs:
    """Says what a hub says about jobs."""

    def __init__(self, talk: Any, task: bytes) -> None:
        self.talk = talk
        self.task = task
        self._attempts = 0

    async def prepare(self, job: str, *install: Package) -> Any:
        """JobReady, or why not."""
        await self.begin(job, *install)
        return await self.talk.until(m.JobReady, m.JobRefused)

    async def begin(self, job: str, *install: Package) -> None:
        modules = tuple(name for package in install for name in package.modules)
        message = m.PrepareJob(job, m.JobOptions(), ranges=((0, 9, 1),), modules=modules, install=install)
        await self.talk.say(message, self.task)

    async def run(self, job: str) -> Any:
        """What an item gives."""
        self._attempts += 1
        await self.talk.say(m.RunSlice(job, (1, self._attempts), 0, 0, 1))
        part = await self.talk.until(m.Part, m.SliceEnded, m.JobRefused)
        assert isinstance(part, m.Part), part
        [run] = unpack_part(self.talk.said[-1][1])
        return run.values[0]


def environments() -> list[str]:
    """What lies in the cache."""
    return [path.name for path in places.environments().iterdir() if path.is_dir()]


def runs(named: str) -> bool:
    """Whether this process has a descendant whose command line says that."""
    return any(named in " ".join(words(child)) for child in psutil.Process().children(recursive=True))


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.slow
def test_items_import_what_is_installed_for_their_job_alone(installs: OnWorker, packed: Pack, wheels: Path) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(wheels, NAME, version)

    async def test(worker: Any) -> None:
        talk = await worker.talk()
        jobs = Jobs(talk, packed(looker()))
        for job, install in (("a", [ONE]), ("b", [TWO]), ("own", []), ("more", [ONE])):
            assert await jobs.prepare(job, *install) == m.JobReady(job)
        seen = {job: await jobs.run(job) for job in ("a", "b", "own", "more")}
        assert [seen[job][:2] for job in seen] == [
            ("1.0", []),
            ("2.0", []),
            ("", ["pytest", "tornado"]),
            ("1.0", []),
        ]
        assert seen["a"][2] == seen["more"][2] != seen["b"][2]
        assert worker.notes[1:] == ["installing nbdt_colour 1.0", "installing nbdt_colour 2.0"]
        for job in seen:
            await talk.say(m.ForgetJob(job))
        for version in ("1.0", "2.0"):
            remove_wheel(wheels, NAME, version)  # nothing could be installed any more
        assert await jobs.prepare("later", TWO) == m.JobReady("later")
        assert await jobs.run("later") == seen["b"]

    installs(test)


def test_what_cannot_be_installed_is_told_and_other_jobs_go_on(installs: OnWorker, packed: Pack, wheels: Path) -> None:
    write_wheel(wheels, NAME, "1.0")

    async def test(worker: Any) -> None:
        jobs = Jobs(await worker.talk(), packed(looker()))
        await jobs.prepare("own")
        refused = await jobs.prepare("bad", NONE)
        assert refused.reason.startswith("nbdt_colour==9.9 could not be installed. The end of what was written:\n")
        assert any(f"no {what}" in refused.reason.lower() for what in ("matching distribution", "version of"))
        assert refused.again_seconds >= 60
        assert (await jobs.run("own"))[0] == ""
        assert environments() == []

    installs(test)


@pytest.mark.slow
def test_an_environment_gets_a_pip_of_its_own_if_the_worker_has_none(
    installs: OnWorker, packed: Pack, tmp_path: Path, monkeypatch: Any
) -> None:
    for name, value in variables(tmp_path / "wheels", "pip").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(installing, "PIP_SERVES_OTHERS", (999, 0))
    write_wheel(tmp_path / "wheels", NAME, "1.0")

    async def test(worker: Any) -> None:
        jobs = Jobs(await worker.talk(), packed(looker()))
        assert await jobs.prepare("j", ONE) == m.JobReady("j")
        assert (await jobs.run("j"))[0] == "1.0"

    installs(test)


def test_a_module_that_is_not_in_what_was_installed_is_named(installs: OnWorker, packed: Pack, own_uv: Path) -> None:
    async def test(worker: Any) -> None:
        jobs = Jobs(await worker.talk(), packed(looker()))
        refused = await jobs.prepare("j", Package(NAME, "1.0", (NAME, "nbdt_missing")))
        assert "'nbdt_missing'" in refused.reason

    installs(test)


async def begun(folder: Path) -> None:
    """Until the installer is at it."""
    await until(lambda: bool((folder / "log").read_text()))


def test_a_cancelled_build_ends_with_all_its_processes(installs: OnWorker, packed: Pack, own_uv: Path) -> None:
    (own_uv / "wait").touch()

    async def test(worker: Any) -> None:
        jobs = Jobs(await worker.talk(), packed(looker()))
        await jobs.begin("j", ONE)
        await begun(own_uv)
        assert len(environments()) == 1
        await jobs.prepare("own")
        assert (await jobs.run("own"))[0] == "", "the worker goes on with other jobs"
        await jobs.talk.say(m.ForgetJob("j"))
        await until(lambda: not runs(str(own_uv)) and not runs("nbdist.worker.guard"))
        (own_uv / "wait").unlink()
        assert await jobs.prepare("k", ONE) == m.JobReady("k")
        assert (await jobs.run("k"))[0] == "1.0"

    installs(test)


def test_an_installer_that_takes_too_long_is_stopped(
    installs: OnWorker, packed: Pack, own_uv: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(installing, "INSTALL_SECONDS", 1.0)
    (own_uv / "wait").touch()

    async def test(worker: Any) -> None:
        refused = await Jobs(await worker.talk(), packed(looker())).prepare("j", ONE)
        assert refused.reason == "nbdt_colour==1.0 could not be installed (the installer was stopped after 1 s)"
        assert environments() == []
        assert not runs(str(own_uv))

    installs(test)


def test_a_worker_that_ends_ends_its_builds(installs: OnWorker, packed: Pack, own_uv: Path) -> None:
    (own_uv / "wait").touch()

    async def test(worker: Any) -> None:
        jobs = Jobs(await worker.talk(), packed(looker()))
        await jobs.begin("j", ONE)
        await begun(own_uv)

    installs(test)
    assert environments() == []
    assert not runs(str(own_uv))


def test_a_killed_worker_takes_its_build_along_and_another_one_builds(
    start: Any, fake_hub: Any, installs: OnWorker, packed: Pack, own_uv: Path
) -> None:
    (own_uv / "wait").touch()

    async def test(worker: Any) -> None:
        other = start.worker(worker.hub.invite, "--install", "--slots", "1")
        mine = await worker.talk()
        jobs = Jobs(type(mine)(await worker.hub.lines.get()), packed(looker()))
        await jobs.begin("j", ONE)
        await begun(own_uv)
        both = Jobs(mine, jobs.task)
        await both.begin("j", ONE)  # waits for the other's
        family = other.family()
        other.popen.kill()
        await until(lambda: not psutil.wait_procs(family, timeout=0)[1])
        (own_uv / "wait").unlink()
        assert await mine.until(m.JobReady) == m.JobReady("j")
        assert (await both.run("j"))[0] == "1.0"
        assert len((own_uv / "log").read_text().splitlines()) == 2

    installs(test)


def test_two_workers_of_a_machine_build_once(start: Any, installs: OnWorker, packed: Pack, own_uv: Path) -> None:
    (own_uv / "wait").touch()

    async def test(worker: Any) -> None:
        start.worker(worker.hub.invite, "--install", "--slots", "1")
        talks = [await worker.talk() for _ in range(2)]
        both = [Jobs(talk, packed(looker())) for talk in talks]
        for jobs in both:
            await jobs.begin("j", ONE)
        await begun(own_uv)
        (own_uv / "wait").unlink()
        for jobs in both:
            assert await jobs.talk.until(m.JobReady) == m.JobReady("j")
            assert (await jobs.run("j"))[0] == "1.0"
        assert len((own_uv / "log").read_text().splitlines()) == 1

    installs(test)


def test_an_environment_that_is_broken_is_made_again(installs: OnWorker, packed: Pack, own_uv: Path) -> None:
    async def test(worker: Any) -> None:
        jobs = Jobs(await worker.talk(), packed(looker()))
        assert await jobs.prepare("j", ONE) == m.JobReady("j")
        await jobs.talk.say(m.ForgetJob("j"))
        [name] = environments()
        (places.environments() / name / "bin" / "python").unlink()
        assert await jobs.prepare("k", ONE) == m.JobReady("k")
        assert (await jobs.run("k"))[0] == "1.0"

    installs(test)
