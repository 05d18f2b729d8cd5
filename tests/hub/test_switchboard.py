"""The switchboard with a machine that says what the test wants: what is attached, kept, passed on and refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbdist.driver import Send
from nbdist.errors import FrameError, ProtocolError
from nbdist.hub import bounds, refusal
from nbdist.hub.access import Grant
from nbdist.hub.archive import Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.journal import Journal, JournalError
from nbdist.hub.limits import Limits
from nbdist.hub.peers import Peer
from nbdist.hub.refusal import RefusalError
from nbdist.hub.resultlog import ENTRY_BYTES, ResultLog
from nbdist.hub.roles import ALLOWED
from nbdist.hub.stores import Stores
from nbdist.hub.switchboard import Identity, Switchboard
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import (
    STORES,
    BlobsReady,
    Disconnect,
    DropItems,
    JobEnded,
    JobTaken,
    PeerClosed,
    ReleaseJob,
    ResultsWait,
    StoresFull,
)
from nbdist.wire import blocks, frames
from nbdist.wire import messages as m
from nbdist.wire.messages import Message

VERSION = "9.9"
MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", VERSION)


class Script:
    """Stands for the scheduler: keeps its inputs, and answers the next one with what it was told to."""

    def __init__(self) -> None:
        self.inputs: list[tuple[str, Message]] = []
        self.answers: list[Send] = []

    def receive(self, peer: str, message: Message, now: float, payload_bytes: int = 0) -> list[Send]:
        self.inputs.append((peer, message))
        answers, self.answers = self.answers, []
        return answers

    def tick(self, now: float) -> list[Send]:
        return []

    def deadline(self) -> float | None:
        return None

    def describe(self, now: float) -> dict[str, Any]:
        return {}

    def explain(self, job: str, item: int, now: float) -> str:
        return ""

    def row(self, job: str, now: float) -> dict[str, Any]:
        return {}

    def knows_packages(self, digest: str) -> bool:
        return True


class Wire:
    """A link that encodes what it is given, as a real one does, and keeps it."""

    def __init__(self, is_remote: bool = False) -> None:
        self.is_remote = is_remote
        self.sent: list[tuple[Message, bytes]] = []

    def send(self, message: Message, payload: Any = b"") -> None:
        decoded, data = frames.decode(frames.encode(message, payload))
        self.sent.append((decoded, bytes(data)))

    def send_if_room(self, message: Message, payload: Any = b"") -> None:
        self.send(message, payload)

    def refuse(self, refused: m.Refused) -> None:
        self.send(refused)

    def of(self, kind: type[Message]) -> list[tuple[Any, bytes]]:
        return [entry for entry in self.sent if isinstance(entry[0], kind)]


class World:
    def __init__(self, folder: Path, machine: Any = None, limits: Limits | None = None) -> None:
        self.script = machine or Script()
        self.later: list[Callable[[], None]] = []
        self.timers: list[Callable[[], None]] = []
        self.blobs = BlobStore(folder)
        self.stores = Stores(self.blobs, Archive(folder), limits)
        self.board = Switchboard(
            Identity("hub", 3, VERSION),
            self.script,
            self.stores,
            clock=lambda: 0.0,
            call_at=self._call_at,
            call_soon=self.later.append,
        )
        self.notebook, self.n = self.join("notebook", "n1")
        self.worker, self.w = self.join("worker", "w1")

    def _call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        self.timers.append(callback)
        return lambda: None

    def end_turn(self) -> None:
        while self.later:
            self.later.pop(0)()

    def join(self, role: Any, peer: str, **wire: Any) -> tuple[Peer, Wire]:
        link = Wire(**wire)
        grant = Grant("notebooks", role) if role == "notebook" else Grant(f"of {peer}", role, peer=peer)
        return self.board.greet(m.Hello(role, 1, 1, MACHINE, peer, "laptop", 1), grant, link), link

    def says(self, peer: Peer, message: Message, payload: bytes = b"", then: list[Send] | None = None) -> None:
        self.script.answers = then or []
        self.board.receive(peer, message, payload)
        self.end_turn()

    def submit(self, job: str = "j", payload: bytes = b"task", **fields: Any) -> None:
        self.says(self.notebook, m.SubmitJob(job, job, MACHINE, m.JobOptions(), **fields), payload)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def part(seq: int, payload: bytes, world: World) -> None:
    result = m.Result("j", seq, seq, seq + 1, "laptop")
    message = m.Part("j", (3, seq), seq, seq + 1, 0.1, final=True)
    world.says(world.worker, message, payload, then=[Send(STORES, result)])


def test_a_greeting_is_answered_and_told_to_the_scheduler_with_the_name_it_was_given(world: World) -> None:
    _, other = world.join("worker", "w2", is_remote=True)
    (welcome, _), (remote, _) = world.w.sent[0], other.sent[0]
    assert isinstance(welcome, m.Welcome)
    assert isinstance(remote, m.Welcome)
    assert (welcome.hub, welcome.epoch, welcome.name, remote.name) == ("hub", 3, "laptop", "laptop-2")
    assert welcome.folder == str(world.blobs.folder)
    assert remote.folder == ""
    hello = world.script.inputs[-1][1]
    assert isinstance(hello, m.Hello)
    assert hello.name == "laptop-2"


def test_a_submitted_job_without_blobs_is_ready_at_once(world: World) -> None:
    world.submit(ranges=((0, 3, 1),))
    assert world.n.of(m.NeedBlobs) == [(m.NeedBlobs("j", ()), b"")]
    assert [type(message) for _, message in world.script.inputs[-2:]] == [m.SubmitJob, BlobsReady]


def test_a_job_waits_for_its_blobs_each_named_once(world: World, tmp_path: Path) -> None:
    from nbdist.wire.blobs import blob_name

    ref = m.BlobRef(blob_name([b"abc"]), 3)
    world.submit(payload=b"", task=ref, blobs=(ref,), ranges=((0, 3, 1),))
    assert world.n.of(m.NeedBlobs)[0][0].names == (ref.name,)
    assert not isinstance(world.script.inputs[-1][1], BlobsReady)
    (tmp_path / "blobs" / ref.name).write_bytes(b"abc")
    with pytest.raises(ProtocolError, match="did not prove"):
        world.says(world.notebook, m.BlobPlaced(ref))
    world.says(world.notebook, m.ProveLocal(world.blobs.nonce))
    world.says(world.notebook, m.BlobPlaced(ref))
    assert world.script.inputs[-1] == ("n1", BlobsReady("j"))


def test_payloads_are_attached_on_the_way_out(world: World) -> None:
    world.submit()
    block = blocks.join([(2, b"ab"), (1, b"c")])
    prepare, run = m.PrepareJob("j", m.JobOptions()), m.RunSlice("j", (3, 1), 0, 2, 3)
    world.says(world.notebook, m.AddItems("j", 0, 3), block, then=[Send("w1", prepare), Send("w1", run)])
    assert world.w.of(m.PrepareJob) == [(prepare, b"task")]
    payload = world.w.of(m.RunSlice)[0][1]
    assert payload == (2).to_bytes(8, "big") + blocks.join([(1, b"c")])


def test_what_cannot_be_put_together_ends_its_job_and_nobody_is_blamed(world: World) -> None:
    world.submit()
    order = m.RunSlice("j", (3, 1), 0, 5, 9)
    world.says(world.worker, m.Heartbeat(), then=[Send("w1", order)])
    assert world.w.of(m.RunSlice) == []
    for callback in world.later:
        callback()
    peer, message = world.script.inputs[-1]
    assert (peer, type(message)) == ("n1", m.CancelJob)
    assert "could not send RunSlice" in message.reason  # type: ignore[attr-defined]


def test_results_go_to_the_notebook_with_their_payload(world: World) -> None:
    world.submit()
    part(1, b"one", world)
    assert world.n.of(m.Result) == [(m.Result("j", 1, 1, 2, "laptop"), b"one")]


def test_a_fault_has_no_payload(world: World) -> None:
    world.submit()
    fault = m.ItemFault(4, "crashed", "killed", "laptop", 3)
    crash = m.SlotCrashed((3, 1), 4, "killed")
    world.says(world.worker, crash, b"x", then=[Send(STORES, m.Result("j", 1, 4, 5, "laptop", fault=fault))])
    assert world.n.of(m.Result)[0][1] == b""


def test_results_wait_while_the_notebook_is_away(world: World) -> None:
    world.submit()
    world.board.closed(world.notebook, "gone")
    assert world.script.inputs[-1] == ("n1", PeerClosed("gone"))
    part(1, b"one", world)
    part(2, b"two", world)
    world.notebook, link = world.join("notebook", "n1")
    part(3, b"three", world)
    assert link.of(m.Result) == [], "it has not said how far it has come"
    world.says(world.notebook, m.AttachJob("j", 1, 10_000))
    assert [payload for _, payload in link.of(m.Result)] == [b"two", b"three"]


def test_results_that_were_lost_with_a_connection_are_sent_again(world: World) -> None:
    world.submit()
    part(1, b"one", world)
    part(2, b"two", world)
    assert len(world.n.of(m.Result)) == 2
    world.notebook, link = world.join("notebook", "n1")
    world.says(world.notebook, m.AttachJob("j", 1, 10_000))
    assert [payload for _, payload in link.of(m.Result)] == [b"two"]


def test_a_result_of_a_forgotten_job_is_dropped(world: World) -> None:
    world.submit()
    world.says(world.notebook, m.ForgetJob("j"))
    part(1, b"one", world)
    assert world.n.of(m.Result) == []
    assert world.stores.get("j") is None


def test_a_part_whose_blob_did_not_arrive_gives_its_items_back(world: World) -> None:
    world.submit()
    message = m.Part("j", (3, 1), 0, 1, 0.1, final=True, blob=m.BlobRef("0" * 64, 10))
    world.says(world.worker, message)
    assert isinstance(world.script.inputs[-1][1], m.SliceEnded)


def test_jobs_of_others_are_out_of_reach_but_may_be_cancelled(world: World) -> None:
    world.submit()
    other, _ = world.join("notebook", "n2")
    for message in (m.TakeResults("j", 0, 1), m.AttachJob("j", 0, 1), m.ForgetJob("j"), m.CloseItems("j", 0)):
        with pytest.raises(ProtocolError, match="another notebook"):
            world.says(other, message)
    with pytest.raises(ProtocolError, match="another notebook"):
        world.says(other, m.SubmitJob("j", "j", MACHINE, m.JobOptions()))
    world.says(other, m.CancelJob("j"))
    assert world.script.inputs[-1] == ("n2", m.CancelJob("j"))


def test_output_is_named_cut_and_passed_on(world: World) -> None:
    world.submit()
    text = b"x" * (bounds.MAX_OUTPUT_BYTES + 10)
    world.says(world.worker, m.Output("j", (3, 1), 4, "stdout", worker="lie", cut_bytes=5), text)
    message, payload = world.n.of(m.Output)[0]
    assert (message.worker, message.cut_bytes, len(payload)) == ("laptop", 15, bounds.MAX_OUTPUT_BYTES)
    world.says(world.worker, m.Output("unknown", (3, 1), 4, "stdout"), b"text")
    assert len(world.n.of(m.Output)) == 1


@pytest.mark.parametrize("role", ["notebook", "worker", "viewer"])
def test_a_role_may_send_its_messages_and_no_others(world: World, role: Any) -> None:
    peer, _ = world.join(role, "p9")
    for kind in set(m.MESSAGES) - ALLOWED[role]:
        message = object.__new__(kind)
        with pytest.raises(RefusalError) as caught:
            world.board.receive(peer, message, b"")
        assert caught.value.code == "access"


def test_a_payload_that_could_not_be_passed_on_is_refused(world: World) -> None:
    with pytest.raises(ProtocolError, match="is a blob"):
        world.submit(payload=b"x" * (bounds.MAX_PAYLOAD_BYTES + 1))


@pytest.mark.parametrize("job", ["", "a#1", "a b", "x" * 101, "a\n"])
def test_ids_of_jobs_have_a_form(world: World, job: str) -> None:
    with pytest.raises(ProtocolError, match="a job's id"):
        world.submit(job)


def test_the_scheduler_may_disconnect_a_peer(world: World) -> None:
    order = Disconnect("protocol", "lies", "stop lying")
    world.says(world.worker, m.Heartbeat(), then=[Send("w1", order), Send("gone", m.Acknowledge(()))])
    assert world.w.sent[-1][0] == m.Refused("protocol", "lies", "stop lying")


def test_the_last_state_comes_again_after_a_reconnect(world: World) -> None:
    world.submit()
    progress = m.JobProgress("j", 1.0, 10, 3, 0, 0, 1, 2.0)
    finished = m.JobFinished("j", "done", 0, 10)
    world.says(world.worker, m.Heartbeat(), then=[Send("n1", progress), Send(STORES, JobEnded(finished))])
    world.notebook, link = world.join("notebook", "n1")
    assert world.n.sent[-1][0].code == "replaced"  # type: ignore[attr-defined]
    world.says(world.notebook, m.AttachJob("j", 0, 1000))
    assert [message for message, _ in link.sent[1:]] == [progress, finished]


def test_progress_with_too_many_rows_is_cut_to_what_a_frame_holds(world: World) -> None:
    world.submit()
    rows = tuple(m.WorkerRow(f"w{n}", 4, "refused", "é" * 3000, running=tuple(range(64))) for n in range(64))
    progress = m.JobProgress("j", 1.0, 10, 3, 0, 0, 1, 2.0, rows, 5)
    world.says(world.worker, m.Heartbeat(), then=[Send("n1", progress)])
    sent = world.n.of(m.JobProgress)[0][0]
    assert 0 < len(sent.workers) < 64
    assert len(sent.workers) + sent.more_workers == 69
    assert sent.workers[0].name == "w0"
    assert bounds.fit_frame(sent) is sent


def test_credit_that_was_lost_with_a_connection_is_given_again(world: World) -> None:
    world.submit()
    block = blocks.join([(1, b"a")])
    for start in (0, 1):
        world.says(world.notebook, m.AddItems("j", start, 1), block)
    world.says(world.worker, m.Heartbeat(), then=[Send(STORES, DropItems("j", 0, 1))])
    for start in (0, 1):
        world.says(world.notebook, m.AddItems("j", start, 1), block)
    assert world.n.of(m.GrantItems) == [(m.GrantItems("j", len(block)), b"")]
    assert len([1 for _, message in world.script.inputs if isinstance(message, m.AddItems)]) == 2


def test_a_blob_that_was_placed_unheard_is_found_after_a_reconnect(world: World, tmp_path: Path) -> None:
    refs = [m.BlobRef(f"{n}" * 64, 3) for n in range(2)]
    world.submit(payload=b"", blobs=tuple(refs), ranges=((0, 3, 1),))
    (tmp_path / "blobs" / refs[0].name).write_bytes(b"abc")
    world.notebook, link = world.join("notebook", "n1")
    world.says(world.notebook, m.ProveLocal(world.blobs.nonce))
    world.says(world.notebook, m.AttachJob("j", 0, 1000))
    assert link.of(m.NeedBlobs)[0][0].names == (refs[1].name,)
    (tmp_path / "blobs" / refs[1].name).write_bytes(b"abc")
    world.says(world.notebook, m.AttachJob("j", 0, 1000))
    assert (("n1", BlobsReady("j"))) in world.script.inputs


def test_an_answer_in_lines_is_json_too(world: World) -> None:
    answers = [Send("n1", m.Answer(4, text="laptop\ndesk")), Send("n1", m.Answer(5))]
    world.says(world.notebook, m.StopWorkers(4), then=answers)
    assert [payload for _, payload in world.n.of(m.Answer)] == [b'["laptop", "desk"]', b""]


def test_a_full_disk_holds_up_everything_that_depends_on_it_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(ranges=((0, 3, 1),))
    part(1, b"one", world)

    def full(log: ResultLog, message: m.Result, payload: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ResultLog, "append", full)
        part(2, b"two", world)
        world.says(world.worker, m.Heartbeat(), then=[Send("w1", m.Acknowledge((((1, 1), 2),)))])
        assert (STORES, StoresFull(True)) in world.script.inputs
        assert "no space left" in world.n.of(m.Notice)[0][0].text
        world.submit("another", ranges=((0, 3, 1),))
        (refused, _), *_ = world.n.of(m.JobFinished)
        assert (refused.job, refused.outcome, refused.reason) == ("another", "refused", refusal.DISK_FULL)
        assert world.stores.get("another") is None
        world.timers.pop()()
    assert [payload for _, payload in world.n.of(m.Result)] == [b"one"]
    assert world.w.of(m.Acknowledge) == []
    world.timers.pop()()
    world.end_turn()
    assert (STORES, StoresFull(False)) in world.script.inputs
    assert [payload for _, payload in world.n.of(m.Result)] == [b"one", b"two"]
    assert len(world.w.of(m.Acknowledge)) == 1
    assert len(world.n.of(m.Notice)) == 2


def test_a_job_that_the_scheduler_forgets_stays_until_its_notebook_has_the_results(world: World) -> None:
    world.submit(ranges=((0, 3, 1),))
    part(1, b"one", world)
    world.says(world.worker, m.Heartbeat(), then=[Send(STORES, ReleaseJob("j"))])
    assert world.stores.get("j") is not None
    world.says(world.notebook, m.TakeResults("j", 1, 10))
    assert world.stores.get("j") is None


def test_what_a_notebook_that_is_away_has_not_consumed_stays(world: World) -> None:
    world.submit(ranges=((0, 3, 1),))
    part(1, b"one", world)
    world.says(world.worker, m.Heartbeat(), then=[Send(STORES, ReleaseJob("j"))])
    world.board.closed(world.notebook)
    world.notebook, link = world.join("notebook", "n1")
    world.says(world.notebook, m.AttachJob("j", 0, 1000))
    assert [payload for _, payload in link.of(m.Result)] == [b"one"]


# --- items whose data lies in blobs ---


def placed(world: World, data: bytes) -> tuple[m.BlobRef, str]:
    """A file of a local notebook's, and what is said of it."""
    from nbdist.wire.blobs import blob_name

    file = f"{len(list((world.blobs.folder / 'incoming').iterdir())):032x}"
    (world.blobs.folder / "incoming" / file).write_bytes(data)
    return m.BlobRef(blob_name([data]), len(data)), file


def add_large(world: World, start: int, data: bytes = b"large", job: str = "j") -> m.BlobRef:
    ref, file = placed(world, data)
    world.says(world.notebook, m.AddItems(job, start, 1, (ref,), (file,)), blocks.join([(1, b"see blob")]))
    return ref


def files(world: World) -> list[str]:
    return [path.name for part in ("blobs", "incoming") for path in (world.blobs.folder / part).iterdir()]


@pytest.fixture
def local(world: World) -> World:
    """Its notebook has proved to be local, and has an open job."""
    world.says(world.notebook, m.ProveLocal(world.blobs.nonce))
    world.submit()
    return world


def test_the_blobs_of_items_are_held_until_their_block_is_finished(local: World) -> None:
    refs = [add_large(local, 0), add_large(local, 1, b"other"), add_large(local, 2)]
    assert refs[0] == refs[2]
    assert sorted(files(local)) == sorted({ref.name for ref in refs})
    local.says(local.worker, m.Heartbeat(), then=[Send(STORES, DropItems("j", 0, 1))])
    assert sorted(files(local)) == sorted({ref.name for ref in refs})
    local.says(local.worker, m.Heartbeat(), then=[Send(STORES, DropItems("j", 2, 3))])
    assert files(local) == [refs[1].name]
    local.says(local.worker, m.Heartbeat(), then=[Send(STORES, JobEnded(m.JobFinished("j", "cancelled", 0, None)))])
    assert files(local) == []


def test_a_worker_may_get_the_blobs_of_the_items_that_it_was_given_and_no_others(local: World) -> None:
    refs = [add_large(local, 0), add_large(local, 1, b"other")]
    other, _ = local.join("worker", "w2")
    run = m.RunSlice("j", (3, 1), 0, 0, 1, (refs[0],))
    local.says(local.worker, m.Heartbeat(), then=[Send("w1", m.PrepareJob("j", m.JobOptions())), Send("w1", run)])
    may = [[local.stores.may_get(peer.grant, ref.name) for ref in refs] for peer in (local.worker, other)]
    assert may == [[True, False], [False, False]]
    assert all(local.stores.may_get(local.notebook.grant, ref.name) for ref in refs)
    assert not local.stores.may_get(Grant("another", "notebook"), refs[0].name)
    assert local.w.of(m.RunSlice)[0] == (run, (0).to_bytes(8, "big") + blocks.join([(1, b"see blob")]))


def test_items_that_come_too_late_leave_no_file(local: World) -> None:
    local.says(local.worker, m.Heartbeat(), then=[Send(STORES, JobEnded(m.JobFinished("j", "cancelled", 0, None)))])
    add_large(local, 0)
    add_large(local, 0, job="unknown")
    assert files(local) == []


def test_items_without_their_blob_cancel_their_job_and_nothing_else(local: World) -> None:
    ref = m.BlobRef("a" * 64, 5)
    local.says(local.notebook, m.AddItems("j", 0, 1, (ref,), ("0" * 32,)), blocks.join([(1, b"x")]))
    cancel = local.script.inputs[-1][1]
    assert isinstance(cancel, m.CancelJob)
    assert "data of item 0" in cancel.reason


def test_a_peer_that_is_not_local_names_no_files(world: World) -> None:
    world.submit()
    ref, file = placed(world, b"large")
    world.says(world.notebook, m.AddItems("j", 0, 1, (ref,), (file,)), blocks.join([(1, b"x")]))
    assert isinstance(world.script.inputs[-1][1], m.CancelJob)


@pytest.mark.parametrize("file", ["../blobs/x", "..", "", "0" * 31, "0" * 31 + "/"])
def test_a_name_of_a_file_is_nothing_but_that(local: World, file: str) -> None:
    local.says(local.notebook, m.AddItems("j", 0, 1, (m.BlobRef("a" * 64, 5),), (file,)), blocks.join([(1, b"x")]))
    assert isinstance(local.script.inputs[-1][1], m.CancelJob)


def test_large_credit_that_was_lost_with_a_connection_is_given_again(local: World) -> None:
    ref = add_large(local, 0, bytes(1000))
    local.says(local.worker, m.Heartbeat(), then=[Send(STORES, DropItems("j", 0, 1))])
    local.says(local.notebook, m.AddItems("j", 0, 1, (ref,), ("0" * 32,)), blocks.join([(1, b"see blob")]))
    assert local.n.of(m.GrantItems)[0][0].more_bytes == 1000


@pytest.mark.parametrize("count", [0, -1, -(2**40)])
def test_items_that_are_none_end_their_job_and_earn_no_credit(world: World, count: int) -> None:
    world.submit()
    world.says(world.notebook, m.AddItems("j", 0, 1), blocks.join([(1, b"a")]))
    for start in (0, 1, 5):
        world.says(world.notebook, m.AddItems("j", start, count), blocks.join([(1, b"a")]))
        assert isinstance(cancel := world.script.inputs[-1][1], m.CancelJob)
        assert f"its notebook broke the protocol: a block of {count} items" in cancel.reason
    assert world.n.of(m.GrantItems) == []


@pytest.mark.parametrize("step", [0, 1], ids=["refused", "taken"])
def test_a_job_that_the_scheduler_refuses_is_kept_by_nobody(tmp_path: Path, step: int) -> None:
    from nbdist.wire.blobs import blob_name

    world = World(tmp_path, Scheduler(3))
    here, missing = m.BlobRef(blob_name([b"abc"]), 3), m.BlobRef("0" * 64, 5)
    (tmp_path / "blobs" / here.name).write_bytes(b"abc")
    world.blobs.placed(here)
    world.submit(ranges=((0, 5, step),), blobs=(here, missing))
    kept = step == 1
    assert world.stores.unfinished() == kept
    assert bool(world.blobs.holders(here.name)) is kept
    assert bool(world.n.of(m.Refused)) is not kept
    world.board.blob_came(missing.name) if not kept else None
    assert (world.stores.get("j") is not None) is kept


def test_a_notebook_that_has_more_results_than_were_found_is_told_that_its_job_cannot_go_on(world: World) -> None:
    world.submit(ranges=((0, 9, 1),))
    for seq in (1, 2):
        part(seq, b"x", world)
    record = world.stores.get("j")
    assert record is not None
    record.restored_seq = 1  # the second came after the restart, in place of one that was lost
    world.says(world.notebook, m.AttachJob("j", 0, 1000, received=2))
    ((finished, _),) = world.n.of(m.JobFinished)
    assert isinstance(finished, m.JobFinished)
    assert (finished.outcome, finished.last_seq) == ("cancelled", 0)
    assert "damaged" in finished.reason
    assert world.script.inputs[-1] == ("n1", m.CancelJob("j", finished.reason))


def test_a_notebook_that_has_what_was_found_goes_on_and_may_have_more_later(world: World) -> None:
    world.submit(ranges=((0, 9, 1),))
    part(1, b"x", world)
    record = world.stores.get("j")
    assert record is not None
    record.restored_seq = 1
    world.says(world.notebook, m.AttachJob("j", 0, 1000, received=1))
    part(2, b"y", world)
    world.says(world.notebook, m.AttachJob("j", 1, 1000, received=2))
    assert world.n.of(m.JobFinished) == []


# --- what is kept, and what waits ---


def ended(world: World, count: int, consumed: int = 0) -> None:
    """A job with results that has ended."""
    world.submit(ranges=((0, 9, 1),))
    for seq in range(1, count + 1):
        part(seq, b"x" * 100, world)
    if consumed:
        world.says(world.notebook, m.TakeResults("j", consumed, 1000))
    world.says(world.worker, m.Heartbeat(), then=[Send(STORES, JobEnded(m.JobFinished("j", "done", count, 9)))])


def test_the_scheduler_hears_what_waits_for_a_notebook(tmp_path: Path) -> None:
    world = World(tmp_path, limits=Limits(results_bytes=16_000))
    world.submit(ranges=((0, 9, 1),))
    part(1, b"x" * 100, world)
    assert not [1 for _, message in world.script.inputs if isinstance(message, ResultsWait)]
    part(2, b"x" * 1_000, world)
    peer, waits = world.script.inputs[-1]
    assert (peer, waits.job, waits.waiting_bytes) == (STORES, "j", 1_100 + 2 * ENTRY_BYTES)  # type: ignore[attr-defined]
    world.says(world.notebook, m.TakeResults("j", 2, 1000))
    assert world.script.inputs[-1][1].waiting_bytes == 0  # type: ignore[attr-defined]


def test_after_a_restart_the_scheduler_hears_it_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    spec = m.SubmitJob("j", "j", MACHINE, m.JobOptions(), ranges=((0, 9, 1),))
    world.says(world.notebook, spec, b"task", then=[Send(STORES, JobTaken("n1", spec))])
    part(1, b"x" * 5_000, world)
    again = World(tmp_path, limits=Limits(results_bytes=16_000))
    again.board.restore()
    (waits,) = [message for _, message in again.script.inputs if isinstance(message, ResultsWait)]
    assert waits.waiting_bytes == 5_000 + ENTRY_BYTES


def test_results_taken_while_the_disk_is_full_blame_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.submit(ranges=((0, 9, 1),))
    part(1, b"one", world)

    def full(journal: Journal) -> None:
        raise JournalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "flush", full)
        world.says(world.notebook, m.TakeResults("j", 1, 1000))
        assert world.n.of(m.Refused) == []
        assert (STORES, StoresFull(True)) in world.script.inputs
    world.timers.pop()()
    world.end_turn()
    assert (STORES, StoresFull(False)) in world.script.inputs


def test_an_expired_job_is_over_for_a_notebook_that_still_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(world, 2, consumed=1)
    monkeypatch.setattr(world.stores, "expired", lambda: ["j"])
    world.board.expire()
    world.end_turn()
    finished = world.n.of(m.JobFinished)[-1][0]
    assert (finished.outcome, finished.last_seq) == ("cancelled", 1)
    assert "--keep" in finished.reason
    assert world.stores.get("j") is None


def test_a_notebook_that_has_everything_hears_nothing_of_the_expiry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(world, 2, consumed=2)
    monkeypatch.setattr(world.stores, "expired", lambda: ["j"])
    world.board.expire()
    assert world.n.of(m.JobFinished) == []


def test_a_new_notebook_is_told_that_the_first_results_are_not_kept(world: World) -> None:
    world.submit(ranges=((0, 9, 1),))
    for seq in (1, 2, 3):
        part(seq, b"x", world)
    record = world.stores.get("j")
    assert record is not None
    record.dropped.seq = 2
    world.says(world.notebook, m.AttachJob("j", 0, 1000))
    assert world.n.of(m.JobFinished)[-1][0].reason == refusal.RESULTS_GONE
    world.says(world.notebook, m.AttachJob("j", 2, 1000))
    assert len(world.n.of(m.JobFinished)) == 1


def test_a_result_that_cannot_be_read_ends_the_job_here_and_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(world, 3)

    def damaged(log: ResultLog, spot: Any) -> Any:
        raise FrameError("the record is damaged")

    monkeypatch.setattr(ResultLog, "read", damaged)
    world.says(world.notebook, m.TakeResults("j", 2, 1000))
    world.says(world.notebook, m.AttachJob("j", 1, 1000))
    (finished,) = [told for told, _ in world.n.of(m.JobFinished) if told.outcome == "cancelled"]
    assert (finished.last_seq, finished.reason) == (1, refusal.RESULTS_LOST)
    assert world.script.inputs[-1] == ("n1", m.CancelJob("j", refusal.RESULTS_LOST))


def test_many_missing_blobs_are_asked_for_in_several_messages() -> None:
    names = {f"{number:064x}" for number in range(1_201)}
    asked = list(bounds.need_blobs("j" * 100, names))
    assert [len(need.names) for need in asked] == [500, 500, 201]
    assert [need.more for need in asked] == [True, True, False]
    assert {name for need in asked for name in need.names} == names
    assert all(len(frames.encode(need)) < frames.MAX_HEADER_BYTES for need in asked)
    assert list(bounds.need_blobs("j", ())) == [m.NeedBlobs("j", ())]


def test_the_description_says_what_is_kept(world: World) -> None:
    ended(world, 2)
    hub = world.board.describe()["hub"]
    assert hub["keep_seconds"] == 86_400
    assert hub["results_bytes"] == 2 * (ENTRY_BYTES + 100)


def test_a_full_disk_is_freed_of_what_nobody_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, file = placed(world, b"captured by an earlier cell")
    world.blobs.adopt(ref, file)
    assert files(world) == [ref.name]

    def full(journal: Journal) -> None:
        raise JournalError("database or disk is full")

    monkeypatch.setattr(Journal, "flush", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    world.submit(ranges=((0, 9, 1),))
    assert files(world) == []


KEY = "a" * 64


def end(world: World, job: str = "j") -> None:
    finished = m.JobFinished(job, "done", 1, 1)
    world.says(world.worker, m.Heartbeat(()), then=[Send(STORES, JobEnded(finished)), Send("n1", finished)])


def test_a_job_with_a_key_that_has_ended_outlives_its_notebooks_interest(world: World) -> None:
    world.submit(ranges=((0, 1, 1),), key=KEY)
    part(1, b"one", world)
    end(world)
    before = len(world.script.inputs)
    world.says(world.notebook, m.ForgetJob("j"))
    assert len(world.script.inputs) == before
    world.says(world.notebook, m.AttachJob("j", 0, 10_000))
    assert [payload for _, payload in world.n.of(m.Result)] == [b"one", b"one"]


def test_a_notebook_that_comes_back_hears_that_its_job_was_taken_over_and_keeps_its_connection(world: World) -> None:
    world.submit(ranges=((0, 1, 1),), key=KEY)
    part(1, b"one", world)
    other, link = world.join("notebook", "n2")
    world.board.closed(world.notebook)
    world.says(other, m.AttachJob("j", 0, 10_000))
    assert [payload for _, payload in link.of(m.Result)] == [b"one"]
    back, again = world.join("notebook", "n1")
    for message in (m.TakeResults("j", 1, 1), m.ForgetJob("j"), m.CloseItems("j", 1)):
        world.says(back, message)
    world.says(back, m.AttachJob("j", 1, 10_000))
    (finished, _) = again.of(m.JobFinished)[0]
    assert (finished.outcome, finished.last_seq) == ("cancelled", 1)
    assert "taken the job over" in finished.reason
    with pytest.raises(ProtocolError, match="another notebook"):
        world.says(back, m.SubmitJob("j", "j", MACHINE, m.JobOptions()))
    assert world.stores.get("j") is not None
    world.board.closed(other)
    world.says(back, m.AttachJob("j", 0, 10_000))
    assert [payload for _, payload in again.of(m.Result)] == [b"one"]
