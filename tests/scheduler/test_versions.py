"""Machines with another version of Python than the notebook: they get the task as source, or are left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nbdist.scheduler.kept import Kept
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import STORES, BlobsReady, OwnerChanged, PeerClosed
from nbdist.wire import messages as m

from .conftest import HOST, Hand

NEWER = replace(HOST, python="3.13.0")
PYPY = replace(HOST, implementation="pypy")
SOURCE = m.PortableTask("job", "", m.BlobRef("a" * 64, 7), (m.BlobRef("b" * 64, 8),))
REFUSAL = m.PortableTask("job", "the lambda in line 3 cannot go as source")


def share(hand: Hand, worker: str) -> Any:
    return hand.scheduler.state.jobs["job"].shares.get(worker)


def test_a_pool_of_one_version_asks_for_nothing(hand: Hand) -> None:
    hand.worker("a")
    hand.worker("b", machine=replace(HOST, python="3.11.2"))
    hand.job()
    assert len(hand.take(m.PrepareJob)) == 2
    assert not hand.take(m.NeedPortable)


@pytest.mark.parametrize("machine", [NEWER, PYPY])
def test_another_version_waits_for_the_notebook_while_the_same_goes_on(hand: Hand, machine: m.Machine) -> None:
    hand.worker("same")
    hand.worker("other", machine=machine)
    hand.worker("third", machine=NEWER)
    hand.job()
    assert [order.portable for order in hand.take(m.PrepareJob, "same")] == [False]  # type: ignore[attr-defined]
    assert hand.one(m.NeedPortable, "notebook") == m.NeedPortable("job")
    hand.ready("other")  # it lies
    hand.ready("same")
    assert {send.peer for send in hand.said if isinstance(send.message, m.RunSlice)} == {"same"}
    assert "packs its code" in share(hand, "other").reason
    hand.say("notebook", SOURCE)
    for name in ("other", "third"):
        order = hand.one(m.PrepareJob, name)
        assert isinstance(order, m.PrepareJob)
        assert (order.portable, order.task, order.blobs) == (True, SOURCE.task, SOURCE.blobs)
    hand.ready("other")
    assert hand.take(m.RunSlice, "other")


def test_one_that_comes_later_gets_what_is_there(hand: Hand) -> None:
    hand.worker("first", machine=NEWER)
    hand.job()
    hand.say("notebook", SOURCE)
    hand.take(m.NeedPortable)
    hand.worker("late", machine=NEWER)
    assert hand.one(m.PrepareJob, "late")
    assert not hand.take(m.NeedPortable)
    hand.say("notebook", REFUSAL)  # only the first answer counts
    assert hand.scheduler.state.jobs["job"].portable == SOURCE


def test_what_cannot_go_as_source_is_told_and_runs_where_the_version_is_the_same(hand: Hand) -> None:
    hand.worker("same")
    hand.worker("other", machine=NEWER)
    hand.job()
    hand.say("notebook", REFUSAL)
    assert share(hand, "other").reason == f"Python 3.13 here, 3.11 in the notebook; {REFUSAL.refusal}"
    assert share(hand, "other").todo == "start the worker with Python 3.11"
    notice = hand.one(m.Notice)
    assert isinstance(notice, m.Notice)
    assert f"other: another version of Python, left out of job job; {REFUSAL.refusal}" in notice.text
    assert not hand.take(m.PrepareJob, "other")
    hand.worker("late", machine=NEWER)
    assert share(hand, "late").reason == share(hand, "other").reason
    hand.ready("same")
    hand.finish("same")
    assert hand.one(m.JobFinished).outcome == "done"  # type: ignore[attr-defined]


def test_if_no_machine_is_left_the_job_says_so_at_once(hand: Hand) -> None:
    hand.worker("other", machine=NEWER)
    hand.job()
    hand.wait(0.1)
    assert not hand.take(m.Notice)
    hand.say("notebook", REFUSAL)
    hand.wait(0.1)
    notice = hand.one(m.Notice)
    assert isinstance(notice, m.Notice)
    assert "no machine can run it. other: Python 3.13 here, 3.11 in the notebook; the lambda in line 3" in notice.text


def test_without_its_notebook_the_job_waits_for_it_to_come_back(hand: Hand) -> None:
    hand.worker("same")
    hand.job()
    hand.say("notebook", PeerClosed("gone"))
    hand.worker("late", machine=NEWER)
    assert "only the job's notebook can give its code as source" in share(hand, "late").reason
    assert not hand.take(m.NeedPortable)
    hand.notebook()
    assert hand.one(m.NeedPortable, "notebook")
    hand.say("notebook", PeerClosed("gone"))  # before it has answered
    assert "only the job's notebook" in share(hand, "late").reason
    hand.notebook()
    assert hand.one(m.NeedPortable, "notebook")
    hand.say("notebook", SOURCE)
    assert hand.one(m.PrepareJob, "late")


def test_a_notebook_that_takes_the_job_over_is_asked(hand: Hand) -> None:
    hand.job()
    hand.say("notebook", PeerClosed("gone"))
    hand.worker("late", machine=NEWER)
    hand.notebook("another")
    assert not hand.take(m.NeedPortable)
    hand.say(STORES, OwnerChanged("job", "another"))
    assert hand.one(m.NeedPortable, "another")
    hand.say("another", REFUSAL)
    assert REFUSAL.refusal in share(hand, "late").reason


def test_items_for_the_notebooks_version_alone_leave_the_others_out(hand: Hand) -> None:
    hand.worker("same")
    hand.worker("other", machine=NEWER)
    hand.job(total=None)
    hand.say("notebook", SOURCE)
    for name in ("same", "other"):
        hand.ready(name)
    hand.say("notebook", m.AddItems("job", 0, 2), 10)
    assert hand.take(m.RunSlice, "other")
    hand.say("notebook", m.AddItems("job", 2, 2, native="item 2 has a lambda"), 10)
    assert share(hand, "other").reason == "Python 3.13 here, 3.11 in the notebook; item 2 has a lambda"
    assert "item 2 has a lambda" in hand.one(m.Notice).text  # type: ignore[attr-defined]
    hand.worker("late", machine=NEWER)
    assert "item 2 has a lambda" in share(hand, "late").reason
    assert not hand.take(m.PrepareJob, "late")


@pytest.mark.parametrize("each", ["machine", "slot"])
@pytest.mark.parametrize(("answer", "expected"), [(SOURCE, {"same", "other"}), (REFUSAL, {"same"})])
def test_a_job_for_each_machine_waits_until_it_is_known_for_which(
    hand: Hand, each: str, answer: m.PortableTask, expected: set[str]
) -> None:
    hand.worker("same")
    hand.worker("other", machine=NEWER)
    hand.job(total=None, each=each)
    assert hand.one(m.NeedPortable)
    hand.worker("more")
    assert not hand.scheduler.state.jobs["job"].targets
    hand.say("notebook", answer)
    targets = hand.scheduler.state.jobs["job"].targets
    assert {worker for worker, _ in targets} == expected | {"more"}
    for name in expected | {"more"}:
        hand.ready(name)
    for name in expected | {"more"}:
        hand.finish(name)
    assert hand.one(m.JobFinished).outcome == "done"  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", [SOURCE, REFUSAL])
def test_a_hub_that_was_started_anew_knows_the_answer(hand: Hand, answer: m.PortableTask) -> None:
    hand.worker("other", machine=NEWER)
    hand.job()
    hand.say("notebook", answer)
    kept = Kept()
    for send in hand.said:
        if send.peer == STORES:
            kept.add(send.message)
    hand.scheduler, hand.said = Scheduler(2), []
    for job in kept.jobs():
        hand.say(STORES, job)
    hand.say(STORES, BlobsReady("job"))
    hand.worker("other", machine=NEWER)
    assert not hand.take(m.NeedPortable)
    assert len(hand.take(m.PrepareJob, "other")) == (not answer.refusal)
    assert (answer.refusal in share(hand, "other").reason) or not answer.refusal


def test_a_worker_that_has_it_goes_on_although_the_hub_has_lost_the_answer(hand: Hand) -> None:
    hand.job()
    hand.say("other", m.Hello("worker", 1, 1, NEWER, "other", "other", 1))
    hand.say("other", m.WorkerFacts(ready_jobs=("job",)))
    assert hand.take(m.RunSlice, "other")


def test_a_long_refusal_is_cut(hand: Hand) -> None:
    hand.worker("other", machine=NEWER)
    hand.job()
    hand.say("notebook", m.PortableTask("job", "x" * 60_000))
    assert len(share(hand, "other").reason) < 3_000


def test_another_notebook_may_not_answer(hand: Hand) -> None:
    hand.worker("other", machine=NEWER)
    hand.job()
    hand.notebook("another")
    hand.say("another", SOURCE)
    assert hand.scheduler.state.jobs["job"].portable is None
