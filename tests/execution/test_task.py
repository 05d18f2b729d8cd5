"""The marks that functions return."""

import copy
import pickle

from nbdist.execution.task import SKIP, StopHere


def test_skip_is_one_object_everywhere() -> None:
    assert pickle.loads(pickle.dumps(SKIP)) is SKIP
    assert copy.deepcopy(SKIP) is SKIP


def test_stop_here_travels_with_its_value() -> None:
    assert pickle.loads(pickle.dumps(StopHere([1, 2]))) == StopHere([1, 2])
