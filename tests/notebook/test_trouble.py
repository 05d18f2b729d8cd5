"""How errors look under a cell."""

from __future__ import annotations

import copy
import pickle

from nbdist.errors import CellError, JobCancelledError, RemoteTraceback
from nbdist.notebook.trouble import RESUME, show_interrupt, show_plainly, show_remotely, with_cells

TEXT = """Traceback (most recent call last):
  File "/tmp/ipykernel_1/42.py", line 3, in cell
    f(n)
    ~^^^
  File "/tmp/ipykernel_1/41.py", line 2, in f
    1 / n
  File "/home/u/lib.py", line 9, in g
    h()
ZeroDivisionError: division by zero
"""


def label(name: str) -> str:
    return {"/tmp/ipykernel_1/42.py": "Cell In[5]", "/tmp/ipykernel_1/41.py": "Cell In[4]"}.get(name, name)


def shown(error: BaseException) -> str:
    return "\n".join(error._render_traceback_())  # type: ignore[attr-defined]


def test_cells_have_their_numbers() -> None:
    lines = with_cells(TEXT, label).splitlines()
    assert lines[1] == "  Cell In[5], line 3"
    assert lines[4] == "  Cell In[4], line 2, in f"
    assert lines[6] == '  File "/home/u/lib.py", line 9, in g'


def test_an_items_exception_stays_what_it_is_and_shows_where_it_was_raised() -> None:
    error = ZeroDivisionError("division by zero")
    error.__cause__ = RemoteTraceback(TEXT)
    error.add_note("raised by item 3 = 0 on laptop")
    same = show_remotely(error, label, 7)
    assert same is error
    text = shown(error)
    assert "Cell In[5], line 3" in text
    assert "raised by item 3 = 0 on laptop" in text
    assert "7 items are in nbdist.last_job.values" in text


def test_a_failure_an_interrupt_and_a_cancelled_job_say_once_how_to_go_on() -> None:
    failed = ZeroDivisionError("division by zero")
    failed.__cause__ = RemoteTraceback(TEXT)
    shown_texts = [
        shown(show_remotely(failed, label, 7, RESUME)),
        shown(show_remotely(JobCancelledError("job 'xs' was cancelled"), label, 7, RESUME)),
        shown(show_interrupt(KeyboardInterrupt(), 5, confirmed=True, hint=RESUME)),
    ]
    assert [text.count("`--resume` runs only the items that are missing") for text in shown_texts] == [1, 1, 1]
    assert "--resume" not in shown(show_remotely(CellError("no"), label, 7, RESUME))


def test_errors_whose_message_says_all_show_it_alone() -> None:
    assert shown(show_plainly(CellError("line 1: no\nDo that."))) == "CellError: line 1: no\nDo that."


def test_an_interrupt_says_what_is_left() -> None:
    assert "first 5 values" in shown(show_interrupt(KeyboardInterrupt(), 5, confirmed=True))
    assert "has been told" in shown(show_interrupt(KeyboardInterrupt(), 0, confirmed=False))


def test_the_exception_can_still_be_copied_and_pickled() -> None:
    error = show_plainly(ValueError("x"))
    assert repr(copy.copy(error)) == repr(pickle.loads(pickle.dumps(error))) == "ValueError('x')"


def test_an_exception_without_attributes_is_left_as_it_is() -> None:
    class Slotted(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error = Slotted("x")
    assert show_plainly(error) is error
