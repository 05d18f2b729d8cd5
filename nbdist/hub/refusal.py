"""Why the hub breaks with a peer: a code, a reason and what to do, as one exception and one message."""

from __future__ import annotations

from typing import Literal, TypeAlias

from nbdist.errors import AccessError, NbdistError, ProtocolError
from nbdist.wire.messages import PROTOCOL_MAX, PROTOCOL_MIN, Hello, Refused, Role

Code: TypeAlias = Literal["version", "access", "protocol", "full", "replaced", "stopped"]

_REPORT = "upgrade both ends to the same nbdist; if they are the same, this is a bug of nbdist: report it"
_SECRET_FOR = {"notebook": "the hub's connect URL", "worker": "an invite of the hub", "viewer": "a viewer's invite"}

DISK_FULL = "the hub's disk is full, it takes no jobs until there is room again: make room there, then run it again"
RESULTS_LOST = (
    "a file with its results is damaged, and the hub would compute again what this notebook has already (the hub's log "
    "names the file): run the job again"
)
RESULTS_GONE = (
    "its first results, which its notebook has had, are not kept any more, because there were too many (nbdist hub "
    "--kept-results): run it again"
)
RESULTS_MISSING = (
    "a file with its results is damaged, or has gone (the hub's log names what it has set aside): run it again, or "
    "with --resume, which takes over those that are left"
)
RESULTS_EXPIRED = "its results were not taken for so long that the hub does not keep them any more (nbdist hub --keep)"

TAKEN_OVER = "another notebook has taken the job over while this one was away: look there"


class RefusalError(NbdistError):
    """The connection is to be closed, and the peer told why."""

    def __init__(self, code: Code, reason: str, todo: str) -> None:
        super().__init__(reason)
        self.code: Code = code
        self.todo = todo


def as_refused(error: NbdistError) -> Refused:
    """The message that tells a peer about an error of its making."""
    if isinstance(error, RefusalError):
        return Refused(error.code, str(error), error.todo)
    if isinstance(error, AccessError):
        return Refused("access", str(error), "")  # these say themselves what to do
    return Refused("protocol", str(error), _REPORT)


def check_version(hello: Hello, own_version: str) -> int:
    """The protocol to speak with this peer. Raises RefusalError, with the line that upgrades the older end."""
    lowest, highest = max(PROTOCOL_MIN, hello.protocol_min), min(PROTOCOL_MAX, hello.protocol_max)
    if lowest <= highest and hello.machine.nbdist == own_version:
        return highest
    raise RefusalError(
        "version",
        f"the hub runs nbdist {own_version}, {hello.machine.hostname or 'this machine'} runs {hello.machine.nbdist}",
        f"python -m pip install nbdist=={own_version}",
    )


def check_role(hello: Hello, role: Role) -> None:
    """Raises RefusalError if a credential for one role is used for another."""
    if hello.role != role:
        raise RefusalError(
            "access",
            f"this credential is a {role}'s and cannot be used as a {hello.role}",
            f"a {hello.role} needs {_SECRET_FOR[hello.role]}",
        )


def wrong_role(role: Role, name: str) -> RefusalError:
    """A peer has sent a message that its role may not send."""
    return RefusalError(
        "access",
        f"a {role}'s credential does not allow {name}",
        f"submit and control jobs with {_SECRET_FOR['notebook']}" if role != "notebook" else _REPORT,
    )


def not_yours(job: str) -> ProtocolError:
    """A notebook has named a job that another credential has submitted."""
    return ProtocolError(f"job {job[:64]!r} belongs to another notebook")
