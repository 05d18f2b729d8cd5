"""The magics `%distribute` and `%%distribute`: they parse nothing and run nothing, they hand over."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from nbdist.errors import CellError, NbdistError
from nbdist.notebook import trouble
from nbdist.notebook.commands import COMMANDS, command_help, run_command, show_pool
from nbdist.notebook.completion import complete
from nbdist.notebook.options import option_help
from nbdist.notebook.session import Session

USAGE = f"""%distribute                the pool: machines, slots, speeds, jobs
{command_help()}
xs = %distribute [f(x) for x in xs if g(x)]

%%distribute n in range(10_000_000) if is_prime(n) -> primes --plot
n

The head is what follows `for` in a comprehension; the cell below is the loop's body, its last expression the value.
`-> NAME` binds the values. Options, before or after the head:
{option_help()}"""


@magics_class
class DistributeMagics(Magics):
    """Registers `%distribute` and `%%distribute` in a shell."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._session = Session(shell)

    @no_var_expand
    @line_cell_magic
    def distribute(self, line: str, cell: str | None = None) -> Any:
        """Runs a cell's iterations on every machine of the pool; `%distribute --help` says how."""
        try:
            if re.search(r"(?<!\S)--help(?!\S)", line) and line.split()[0] not in COMMANDS:
                print(USAGE)
                return None
            return self._session.run_cell(line, cell) if cell is not None else self._line(line)
        except NbdistError as error:
            if not hasattr(error, "_render_traceback_"):
                trouble.show_plainly(error)
            raise

    def _line(self, line: str) -> Any:
        words = line.split()
        if not words:
            return show_pool(self._session)
        if words[0] in COMMANDS:
            return run_command(self._session, line)
        if re.match(r"[(\[{]|--", words[0]):
            return self._session.run_expression(line)
        raise CellError(
            f"%distribute does not know {words[0]!r}: it takes {', '.join(COMMANDS)} or a comprehension. "
            "A cell that is to be distributed begins with %%distribute"
        )


def load(shell: Any) -> None:
    """Registers the magics and their completion in a shell."""
    shell.register_magics(DistributeMagics(shell))
    for magic in ("%distribute", "%%distribute"):
        shell.set_hook("complete_command", complete, str_key=magic)
