"""Jobs that need environments, as the supervisor decides: no process, no file."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.driver import Send
from nbdist.wire import messages as m
from nbdist.wire.messages import Package
from nbdist.worker import orders
from nbdist.worker.installing import RETRY_SECONDS, Installer, environment_name
from nbdist.worker.records import WorkerPolicy
from nbdist.worker.supervisor import Supervisor

INSTALLER = Installer("/usr/bin/python3", "cpython 3.11.7")
ONE, TWO = (Package("pandas", "1.0"),), (Package("pandas", "2.0"),)
NAMES = {ONE: environment_name(ONE, INSTALLER), TWO: environment_name(TWO, INSTALLER)}


class World:
    """A supervisor of a worker with `--install`, whose hub is there and whose slots are up."""

    def __init__(self, slots: int = 1, installer: Installer | None = INSTALLER) -> None:
        self.now = 0.0
        self.machine = Supervisor(slots, WorkerPolicy(installer=installer))
        self.said: list[Send] = []
        for number in range(slots):
            self.hear(f"slot:{number}", m.SlotReady(1))
        self.hear("hub", m.Welcome(1, "h", 1, "box", "0.1.0"))

    def hear(self, peer: str, *heard: m.Message) -> World:
        for message in heard:
            self.said += self.machine.receive(peer, message, self.now)
        return self

    def until_due(self) -> World:
        due = self.machine.deadline()
        assert due is not None
        self.now = max(self.now, due)
        self.said += self.machine.tick(self.now)
        return self

    def of(self, *kinds: type[m.Message]) -> list[Any]:
        said, self.said = self.said, []
        return [send.message for send in said if isinstance(send.message, kinds)]

    def prepare(self, job: str, install: tuple[Package, ...] = ONE) -> World:
        return self.hear("hub", m.PrepareJob(job, m.JobOptions(), install=install))

    def here(self, *events: m.Message) -> World:
        return self.hear(orders.LOCAL, *events)

    def ready(self, job: str, install: tuple[Package, ...] = ONE) -> World:
        self.prepare(job, install).here(orders.JobInPlace(job))
        if install:
            self.here(orders.EnvironmentInPlace(NAMES[install]), orders.ModulesInPlace(job))
        assert self.of(m.JobReady) == [m.JobReady(job)]
        return self

    def run(self, job: str, number: int, slot: int = 0) -> World:
        return self.hear("hub", m.RunSlice(job, (1, number), slot, 10 * number, 10 * number + 10))

    def done(self, job: str, number: int, slot: int = 0) -> World:
        part = m.Part(job, (1, number), 10 * number, 10 * number + 10, 0.1, True)
        return self.hear(f"slot:{slot}", part)


def failed(install: tuple[Package, ...] = ONE, output: str = "no such version", reason: str = "") -> m.Message:
    return orders.EnvironmentNotInPlace(NAMES[install], output, reason)


def test_a_job_is_ready_once_data_environment_and_modules_are_there() -> None:
    world = World().prepare("j")
    get, build = world.of(orders.GetReady, orders.BuildEnvironment, orders.Say)
    assert (get.job, get.environment) == ("j", NAMES[ONE])
    assert build == orders.BuildEnvironment(NAMES[ONE], ONE)
    assert world.here(orders.BuildBegun(NAMES[ONE])).of(orders.Say) == [orders.Say("installing pandas 1.0")]
    world.here(orders.JobInPlace("j"))
    assert world.of(m.JobReady) == []
    world.here(orders.EnvironmentInPlace(NAMES[ONE]))
    assert world.of(m.JobReady, orders.LookForModules) == [orders.LookForModules("j", NAMES[ONE])]
    world.here(orders.ModulesInPlace("j"))
    assert world.of(m.JobReady) == [m.JobReady("j")]


def test_data_may_come_last() -> None:
    world = World().prepare("j").here(orders.EnvironmentInPlace(NAMES[ONE]), orders.ModulesInPlace("j"))
    assert world.of(m.JobReady) == []
    assert world.here(orders.JobInPlace("j")).of(m.JobReady) == [m.JobReady("j")]


def test_what_two_jobs_want_is_built_once() -> None:
    world = World().prepare("a").prepare("b")
    assert len(world.of(orders.BuildEnvironment)) == 1
    world.here(orders.EnvironmentInPlace(NAMES[ONE]))
    assert [order.job for order in world.of(orders.LookForModules)] == ["a", "b"]
    assert world.prepare("c").of(orders.BuildEnvironment, orders.LookForModules) == [
        orders.LookForModules("c", NAMES[ONE])
    ]


def test_one_is_built_after_the_other() -> None:
    world = World().prepare("a", ONE).prepare("b", TWO)
    assert [order.packages for order in world.of(orders.BuildEnvironment)] == [ONE]
    assert [order.packages for order in world.here(failed()).of(orders.BuildEnvironment)] == [TWO]


def test_all_who_wait_hear_of_a_failure_and_why() -> None:
    world = World().ready("other", ()).prepare("a").prepare("b").here(failed(output="a\n\nno pandas==1.0 here\n"))
    said, *refused = world.of(m.JobRefused, orders.Say, m.JobReady)
    assert said.text == "pandas==1.0 could not be installed. The end of what was written:\na\nno pandas==1.0 here"
    assert [(one.job, one.reason, one.again_seconds) for one in refused] == [
        (job, said.text, RETRY_SECONDS) for job in "ab"
    ]
    assert world.run("other", 1).of(m.RunSlice) == [m.RunSlice("other", (1, 1), 0, 10, 20)]


def test_another_job_tries_again_at_once() -> None:
    world = World().prepare("a").here(failed())
    world.of()
    assert len(world.prepare("b").of(orders.BuildEnvironment)) == 1


def test_the_last_job_that_wants_it_ends_a_build() -> None:
    world = World().prepare("a").prepare("b").prepare("c", TWO).hear("hub", m.ForgetJob("a"))
    assert world.of(orders.CancelBuild) == []
    ended = world.hear("hub", m.ForgetJob("b")).of(orders.CancelBuild, orders.BuildEnvironment)
    assert ended == [orders.CancelBuild(NAMES[ONE]), orders.BuildEnvironment(NAMES[TWO], TWO)]
    world.here(orders.EnvironmentInPlace(NAMES[ONE]))
    assert world.of(orders.LookForModules, orders.BuildEnvironment) == []


def test_a_build_goes_on_while_the_hub_is_away_and_none_begins() -> None:
    world = World().prepare("a").prepare("b", TWO)
    world.of()
    world.here(orders.HubLost("cut"))
    assert world.of(orders.CancelBuild, orders.BuildEnvironment) == []
    world.hear("hub", m.Welcome(1, "h", 1, "box", "0.1.0")).prepare("a")
    assert world.of(orders.BuildEnvironment) == []
    world.here(orders.EnvironmentInPlace(NAMES[ONE]))
    assert world.of(orders.LookForModules, orders.BuildEnvironment) == [orders.LookForModules("a", NAMES[ONE])]


def test_a_worker_that_does_not_install_says_so() -> None:
    world = World(installer=None).prepare("j")
    [refused] = world.of(m.JobRefused, orders.BuildEnvironment)
    assert "--install" in refused.todo


def test_what_is_no_package_is_refused() -> None:
    [refused] = World().prepare("j", (Package("--index-url=http://x", ""),)).of(m.JobRefused, orders.BuildEnvironment)
    assert "no package" in refused.reason


def test_jobs_without_packages_cost_nothing() -> None:
    world = World().ready("j", ()).run("j", 1).done("j", 1).run("j", 2)
    assert world.of(orders.KillSlot, orders.StartSlot, orders.BuildEnvironment, orders.LookForModules) == []


def test_a_slot_is_replaced_for_another_environment_and_back() -> None:
    world = World().ready("a").ready("own", ())
    world.run("a", 1)
    assert world.of(orders.KillSlot, m.RunSlice) == [orders.KillSlot(0)]
    world.here(orders.SlotDied(0, -1, "killed"))
    assert world.of(orders.StartSlot, m.RunSlice) == [orders.StartSlot(0, NAMES[ONE])]
    world.hear("slot:0", m.SlotReady(2))
    assert [message.job for message in world.of(m.RunSlice)] == ["a"]
    world.run("own", 2).run("a", 3)
    assert world.of(orders.KillSlot) == []
    world.done("a", 1)
    assert world.of(orders.KillSlot, m.RunSlice) == [orders.KillSlot(0)]
    world.here(orders.SlotDied(0, -1, "killed"))
    assert world.of(orders.StartSlot) == [orders.StartSlot(0)]
    world.hear("slot:0", m.SlotReady(3))
    assert [message.job for message in world.of(m.RunSlice)] == ["own"]


def test_a_slot_that_dies_stays_in_its_environment() -> None:
    world = World().ready("a").run("a", 1).here(orders.SlotDied(0, -1, "killed")).hear("slot:0", m.SlotReady(2))
    world.of()
    world.here(orders.SlotDied(0, 12, "killed by SIGSEGV"))
    assert world.of(orders.StartSlot) == [orders.StartSlot(0, NAMES[ONE])]


def test_an_environment_in_which_no_slot_starts_is_given_up() -> None:
    world = World(2).ready("a").ready("own", ()).run("a", 1).here(orders.SlotDied(0, -1, "killed"))
    for _ in range(3):
        assert world.of(orders.StartSlot, m.JobRefused) == [orders.StartSlot(0, NAMES[ONE])]
        world.run("a", 2, slot=1).here(orders.SlotDied(0, -1, "exit code 1", "ImportError: no ssl")).until_due()
    refused, cut, start = world.of(m.JobRefused, m.SliceCut, orders.StartSlot)
    assert "ImportError: no ssl" in refused.reason
    assert refused.again_seconds == RETRY_SECONDS
    assert cut == m.SliceCut((1, 2), 20), "what waits at the other slot goes back as well"
    assert start == orders.StartSlot(0)
    world.hear("slot:0", m.SlotReady(5)).run("own", 2)
    assert [message.job for message in world.of(m.RunSlice)] == ["own"]


@pytest.mark.parametrize(
    "event", [orders.BuildBegun("x"), orders.EnvironmentInPlace("x"), orders.EnvironmentNotInPlace("x", "?")]
)
def test_news_of_builds_that_nobody_waits_for_is_ignored(event: m.Message) -> None:
    world = World().prepare("j")
    world.of()
    assert world.here(event).said == []
