"""What a machine is at while it prepares a job, and what the hub hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.wire import messages as m
from nbdist.worker import orders
from nbdist.worker.preparing import MAX_CHARACTERS, Doings
from nbdist.worker.records import WorkerPolicy
from nbdist.worker.supervisor import Supervisor


def test_bytes_are_counted_and_words_are_cut() -> None:
    doings = Doings()
    doings.begin("j")
    assert doings.of("j") == ""
    doings.fetching("j", 1_200_000_000)
    for _ in range(4):
        doings.came("j", 103_000_000)
    assert doings.of("j") == "fetching 412 MB of 1.2 GB"
    doings.came("j", 2_000_000_000)  # a second try
    assert doings.of("j") == "fetching 1.2 GB of 1.2 GB"
    doings.tell("j", "installing pandas 2.3.3")
    assert doings.of("j") == "installing pandas 2.3.3"
    doings.tell("j", "x" * 1000)
    assert len(doings.of("j")) == MAX_CHARACTERS


def test_nothing_is_kept_of_jobs_that_are_over() -> None:
    doings = Doings()
    doings.begin("j")
    doings.forget("j")
    doings.tell("j", "installing")
    doings.fetching("j", 5)
    doings.came("j", 5)
    assert doings.of("j") == ""


class World:
    """A supervisor, and an agent that answers at once what `doing` says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.doing = {"j": "", "k": ""}
        self.looks = 0
        self.told: list[tuple[float, Any]] = []
        self.machine = Supervisor(1, WorkerPolicy(heartbeat_seconds=1e9, start_seconds=1e9))
        self.take(self.machine.start(self.now))
        self.hear(orders.HUB, m.Welcome(1, "h1", 1, "box", "0.1.0"))

    def hear(self, peer: str, message: m.Message) -> None:
        self.take(self.machine.receive(peer, message, self.now))

    def take(self, said: Any) -> None:
        for send in list(said):
            if isinstance(send.message, orders.LookAtJob):
                self.looks += 1
                self.hear(orders.LOCAL, orders.JobSeen(send.message.job, self.doing[send.message.job]))
            elif isinstance(send.message, m.Preparing | m.JobReady):
                self.told.append((self.now, send.message))

    def prepare(self, job: str = "j") -> None:
        self.hear(orders.HUB, m.PrepareJob(job, m.JobOptions(), ranges=((0, 9, 1),)))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.machine.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.take(self.machine.tick(self.now))
        self.now = end


@pytest.fixture
def world() -> World:
    return World()


def test_news_are_told_every_half_second_and_nothing_twice(world: World) -> None:
    world.prepare()
    for percent in (10, 20, 20, 30):
        world.doing["j"] = f"{percent} %"
        world.pass_time(0.5)
    times = [when - 100.0 for when, _ in world.told]
    assert [(when, message.what) for when, (_, message) in zip(times, world.told, strict=True)] == [
        (0.5, "10 %"),
        (1.0, "20 %"),
        (2.0, "30 %"),
    ]


def test_a_job_that_is_ready_soon_says_no_more_than_that(world: World) -> None:
    world.prepare()
    world.doing["j"] = "fetching"
    world.pass_time(0.4)
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    world.pass_time(5.0)
    assert [message for _, message in world.told] == [m.JobReady("j")]
    assert not world.looks


def test_two_jobs_are_told_apart_and_looking_ends_with_the_last(world: World) -> None:
    world.prepare("j")
    world.pass_time(0.2)
    world.prepare("k")
    world.doing |= {"j": "one", "k": "two"}
    world.pass_time(0.3)
    assert [message for _, message in world.told] == [m.Preparing("j", "one"), m.Preparing("k", "two")]
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    world.hear(orders.HUB, m.ForgetJob("k"))
    looks = world.looks
    world.pass_time(5.0)
    assert world.looks == looks


def test_what_is_seen_of_a_job_that_is_ready_is_not_told(world: World) -> None:
    world.prepare()
    world.hear(orders.LOCAL, orders.JobInPlace("j"))
    world.hear(orders.LOCAL, orders.JobSeen("j", "late"))
    assert [message for _, message in world.told] == [m.JobReady("j")]


def test_a_hub_that_comes_back_hears_it_again(world: World) -> None:
    world.prepare()
    world.doing["j"] = "fetching"
    world.pass_time(0.5)
    world.hear(orders.LOCAL, orders.HubLost("cut"))
    world.hear(orders.HUB, m.Welcome(1, "h1", 1, "box", "0.1.0"))
    world.prepare()
    world.pass_time(0.5)
    assert [message.what for _, message in world.told] == ["fetching", "fetching"]
