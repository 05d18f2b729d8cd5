"""Jobs that need something run only where it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nbdist.scheduler.orders import Disconnect
from nbdist.wire import messages as m

from .conftest import HOST


def test_only_machines_that_meet_the_needs_are_prepared(hand: Any) -> None:
    hand.worker("plain")
    hand.worker("strong", machine=replace(HOST, gpus=("card",)))
    hand.job(needs="gpu")
    assert [s.peer for s in hand.said if isinstance(s.message, m.PrepareJob)] == ["strong"]
    shares = hand.scheduler.state.jobs["job"].shares
    assert shares["plain"].reason == "no GPU here, the job needs gpu"
    hand.ready("strong")
    hand.finish("strong")
    assert hand.one(m.JobFinished).outcome == "done"


def test_a_machine_that_comes_later_and_meets_them_runs_the_job(hand: Any) -> None:
    hand.worker("plain")
    hand.job(needs="worker=late")
    assert not hand.take(m.PrepareJob)
    hand.worker("late")
    assert hand.one(m.PrepareJob, "late").job == "job"


@pytest.mark.parametrize("each", ["machine", "slot"])
def test_a_job_for_each_machine_is_for_those_that_meet_them(hand: Any, each: str) -> None:
    hand.worker("a", slots=2)
    hand.worker("b", slots=2, machine=replace(HOST, platform="win32"))
    hand.job(total=None, each=each, needs="windows")
    assert {worker for worker, _ in hand.scheduler.state.jobs["job"].targets} == {"b"}


def test_needs_that_nobody_can_read_break_the_protocol(hand: Any) -> None:
    hand.job(needs="a big one")
    assert "is no need of a job" in hand.one(Disconnect, "notebook").reason
