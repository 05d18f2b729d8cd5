"""A job whose kernel has died goes on, and another kernel takes it over: real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import nbdist
from nbdist.errors import NbdistError

LIMIT_SECONDS = 60.0
pytestmark = pytest.mark.usefixtures("own_embedded_pool")


def kernel(code: str) -> str:
    """Runs code in another process, which kills itself at its end; gives what it printed."""
    program = f"import os, signal, sys, time\nimport nbdist\npool = nbdist.connect()\n{code}\n"
    program += "sys.stdout.flush()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=LIMIT_SECONDS, stdout=subprocess.PIPE)
    assert ended.returncode == -9
    return ended.stdout.decode().strip()


SLOW = "lambda x: time.sleep(0.02) or x * x"


@pytest.mark.parametrize("consumed", [1, 30])
def test_results_that_the_old_kernel_had_come_again(consumed: int) -> None:
    job_id = kernel(
        f"job = pool.map({SLOW}, range(100), seed=7)\n"
        f"while job.progress.done < {consumed}: job.wait(0.02)\n"
        f"list(job.values)\nprint(job.id)"
    )
    with nbdist.connect() as pool:
        job = pool.attach(job_id)
        assert list(job) == [x * x for x in range(100)]
        assert job.result(LIMIT_SECONDS) == [x * x for x in range(100)]
        assert (job.seed, job.total, job.outcome) == (7, 100, "done")
        assert job.result().dict()[9] == 81
        assert nbdist.last_job is job


def test_a_job_that_ended_meanwhile_and_one_that_failed() -> None:
    done, failed = kernel(
        "a = pool.map(abs, range(50))\nb = pool.map(lambda x: 1 // (x - 3), range(9))\n"
        "a.result()\nb.wait(60)\nprint(a.id, b.id)"
    ).split()
    with nbdist.connect() as pool:
        assert pool.attach(done).result(LIMIT_SECONDS) == list(range(50))
        with pytest.raises(ZeroDivisionError):
            pool.attach(failed).result(LIMIT_SECONDS)


def test_a_fold_is_folded_with_what_the_job_brought() -> None:
    job_id = kernel(
        "import numpy as np\nlarge = np.ones(200_000)\n"
        "job = pool.map(lambda x: time.sleep(0.01) or x * int(large[x]), range(60), reduce=lambda a, b: a + b)\n"
        "while job.progress.done < 1: job.wait(0.02)\nprint(job.id)"
    )
    with nbdist.connect() as pool:
        assert pool.attach(job_id).result(LIMIT_SECONDS) == sum(range(60))


def test_items_of_a_generator_that_did_not_come_are_told() -> None:
    job_id = kernel(
        "def endless():\n    n = 0\n    while True:\n        time.sleep(0.001)\n        yield n\n        n += 1\n"
        "job = pool.map(lambda x: -x, endless())\nwhile job.progress.done < 20: job.wait(0.02)\nprint(job.id)"
    )
    with nbdist.connect() as pool:
        with pytest.warns(RuntimeWarning, match="notebook that made the items .* has gone"):
            job = pool.attach(job_id)
        values = job.result(LIMIT_SECONDS)
        assert len(values) >= 20
        assert values == [-x for x in range(len(values))]
        with pytest.raises((NbdistError, ValueError, LookupError)):
            values.dict()


def test_after_kernel_and_hub_have_died() -> None:
    job_id = kernel(
        f"import json\nfrom nbdist import embedded\njob = pool.map({SLOW}, range(100))\n"
        "while job.progress.done < 20: job.wait(0.02)\nprint(job.id)\n"
        'os.kill(json.loads((embedded.state_folder() / "ready.json").read_text())["pid"], signal.SIGKILL)'
    )
    with nbdist.connect() as pool:
        assert pool.attach(job_id).result(LIMIT_SECONDS) == [x * x for x in range(100)]


def test_what_cannot_be_attached_says_why(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def wait(x: int) -> None:
        while not gate.exists():
            time.sleep(0.01)

    with nbdist.connect() as pool, nbdist.connect() as other:
        with pytest.raises(NbdistError, match=r"no job 'nonsense' is known here.*%distribute jobs"):
            pool.attach("nonsense")
        job = pool.map(wait, range(3))
        with pytest.raises(NbdistError, match="own, and not over"):
            pool.attach(job.id)
        gate.touch()
        job.wait(LIMIT_SECONDS)
        with pytest.raises(NbdistError, match="notebook that is still open"):
            other.attach(job.id)
    with pytest.raises(NbdistError, match="inline"):
        nbdist.connect("inline").attach(job.id)


def test_an_own_job_that_is_over_gives_new_values() -> None:
    with nbdist.connect() as pool:
        job = pool.map(lambda x: [x], range(3))
        job.result(LIMIT_SECONDS).append("changed")
        again = pool.attach(job.id)
        assert again.result(LIMIT_SECONDS) == [[0], [1], [2]]
        assert again.result()[0] is not job.values[0]


def test_a_second_attachment_takes_the_job_from_one_that_has_gone() -> None:
    job_id = kernel(f"job = pool.map({SLOW}, range(50))\nwhile job.progress.done < 1: job.wait(0.02)\nprint(job.id)")
    again = kernel(f"job = pool.attach({job_id!r})\nwhile job.progress.done < 10: job.wait(0.02)\nprint(job.id)")
    assert again == job_id
    with nbdist.connect() as pool:
        assert pool.attach(job_id).result(LIMIT_SECONDS) == [x * x for x in range(50)]
