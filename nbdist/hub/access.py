"""Who may come in: invites, credentials, roles and one-time logins. Pure but for the clock and the save it is given.

Secrets are kept as SHA-256 hashes. They are 256 random bits, so a fast hash is as good as a slow one, and finding a
hash in a table tells a listener nothing about the secret.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from nbdist.errors import AccessError
from nbdist.wire.messages import Role

INVITE_SECONDS = 24 * 3600.0
LOGIN_CODE_SECONDS = 600.0
BROWSER_SECONDS = 12 * 3600.0
MAX_CREDENTIALS = 10_000
"""The oldest make room: a worker gets a new one at each start of its process."""
MAX_INVITES = 1_000
MAX_LOGIN_CODES = 100
MAX_USERS_PER_INVITE = 1_000
"""An invite for a number of uses remembers its users; one for more uses than this does not."""

NEW_LOGIN = "%distribute web in a notebook, or nbdist status --web on the hub's machine, shows a new one"
ASK_AGAIN = "ask for a new invite: %distribute invite in the notebook, or nbdist invite on the hub's machine"


class AlreadyTradedError(AccessError):
    """What was shown is a credential already: use it as it is."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a secret allows."""

    id: str
    """Names the grant without giving the secret away."""
    role: Role
    expires: float = 0.0
    """In seconds since 1970; 0: never."""
    name: str = ""
    peer: str = ""
    """The only peer that may use it; empty: any."""
    is_invite: bool = False
    uses: int = 0
    """Invites: for so many peers; 0: for as many as come."""
    users: tuple[str, ...] = ()
    """Invites with a number of uses: the peers that have used it."""
    standing: bool = False
    """Belongs to the hub itself: not revoked with the invites."""


@dataclass
class Access:
    """All grants of a hub. `changed` is called after each change of `table`; `load` takes that back after a restart."""

    clock: Callable[[], float]
    changed: Callable[[], None]
    _grants: dict[str, Grant] = field(default_factory=dict)
    _codes: dict[str, tuple[Role, float]] = field(default_factory=dict)
    _of_peers: dict[str, str] = field(default_factory=dict)
    """Peer -> digest of its credential."""

    def load(self, table: dict[str, Any]) -> None:
        """Takes the grants that `save` was given by an earlier hub; entries that make no sense are left out."""
        for digest, entry in table.items():
            try:
                grant = Grant(**{**entry, "users": tuple(entry.get("users", ()))})
            except (TypeError, AttributeError):
                continue
            if grant.role in get_args(Role) and not self._is_over(grant):
                self._grants[digest] = grant
                if grant.peer:
                    self._of_peers[grant.peer] = digest

    def table(self) -> dict[str, Any]:
        """All that a restarted hub must know, as JSON data without a secret."""
        return {digest: _record(grant) for digest, grant in self._grants.items() if not grant.standing}

    def admit(self, key: str, grant: Grant) -> None:
        """Takes a secret that the hub itself has made, under the terms given."""
        self._keep(_digest(key), grant)

    def knows(self, key: str) -> bool:
        """Whether the secret opens anything now."""
        grant = self._grants.get(_digest(key))
        return grant is not None and not self._is_over(grant)

    def check(self, key: str, peer: str = "") -> Grant:
        """The grant of a secret that opens a door. Raises AccessError, in one line with what to do.

        An invite for a notebook or a viewer is shown as it is; a worker's must be traded before (`trade`).
        """
        grant = self._find(key)
        if grant.is_invite and grant.role == "worker":
            raise AccessError(
                "this is a worker's invite: `nbdist worker` takes it, and trades it for a credential (POST /join); a "
                "notebook needs the hub's connect URL, or an invite of its own (%distribute invite --notebook)"
            )
        if grant.peer and peer and grant.peer != peer:
            raise AccessError(f"this credential belongs to another worker; {ASK_AGAIN}")
        if grant.is_invite and peer:
            self._count_use(_digest(key), grant, peer)
        return grant

    def trade(self, key: str, name: str, peer: str) -> tuple[str, Grant]:
        """A credential of its own for the peer that shows an invite. Raises AccessError, AlreadyTradedError."""
        invite = self._find(key)
        if not invite.is_invite:
            raise AlreadyTradedError("this is a credential already, not an invite")
        self._count_use(_digest(key), invite, peer)
        self._grants.pop(self._of_peers.get(peer, ""), None)
        secret = new_secret()
        self._of_peers[peer] = _digest(secret)
        grant = Grant(_digest(secret)[:12], invite.role, name=name[:100], peer=peer)
        self._keep(_digest(secret), grant)
        return secret, grant

    def look(self, key: str) -> tuple[Grant, float]:
        """What a secret would open for a peer that is new here, and for how many seconds more (0: for ever). Nothing is
        used up. Raises AccessError, as using it would."""
        grant = self._find(key)
        if grant.is_invite and 0 < grant.uses <= min(MAX_USERS_PER_INVITE, len(grant.users)):
            raise _used_up(grant)
        return grant, max(0.0, grant.expires - self.clock()) if grant.expires else 0.0

    def make_invite(
        self, role: Role, *, uses: int = 0, valid_seconds: float = INVITE_SECONDS, key: str = "", standing: bool = False
    ) -> str:
        """A new invite's secret. `valid_seconds` 0: for ever."""
        key = key or new_secret()
        expires = self.clock() + valid_seconds if valid_seconds else 0.0
        grant = Grant(_digest(key)[:12], role, expires, is_invite=True, uses=uses, standing=standing)
        self._keep(_digest(key), grant)
        return key

    def revoke_invites(self) -> None:
        """Makes all printed invites worthless; credentials traded for them stay good."""
        self._grants = {d: g for d, g in self._grants.items() if not g.is_invite or g.standing}
        self.changed()

    def make_login_code(self, role: Role, valid_seconds: float = LOGIN_CODE_SECONDS) -> str:
        """A code that a browser may use once, soon, to log in."""
        code = new_secret()
        _make_room(self._codes, MAX_LOGIN_CODES)
        self._codes[_digest(code)] = (role, self.clock() + valid_seconds)
        return code

    def log_in(self, code: str) -> str:
        """A browser's secret (for its cookie) for a one-time code. Raises AccessError."""
        role, expires = self._codes.pop(_digest(code), ("viewer", 0.0))
        if expires <= self.clock():
            raise AccessError(f"this login link was used already or is too old. {NEW_LOGIN}")
        secret = new_secret()
        grant = Grant(_digest(secret)[:12], role, self.clock() + BROWSER_SECONDS, name="browser")
        self._keep(_digest(secret), grant)
        return secret

    def _find(self, key: str) -> Grant:
        if not key:
            raise AccessError(f"no credential was shown; {ASK_AGAIN}")
        grant = self._grants.get(_digest(key))
        if grant is None:
            raise AccessError(f"the credential is wrong or was revoked; {ASK_AGAIN}")
        if self._is_over(grant):
            raise AccessError(f"the {'invite' if grant.is_invite else 'credential'} has expired; {ASK_AGAIN}")
        return grant

    def _count_use(self, digest: str, invite: Grant, peer: str) -> None:
        if not 0 < invite.uses <= MAX_USERS_PER_INVITE or peer in invite.users:
            return
        if len(invite.users) >= invite.uses:
            raise _used_up(invite)
        self._grants[digest] = replace(invite, users=(*invite.users, peer))
        self.changed()

    def _keep(self, digest: str, grant: Grant) -> None:
        most = MAX_INVITES if grant.is_invite else MAX_CREDENTIALS
        if len(self._grants) >= most:
            alike = [d for d, g in self._grants.items() if g.is_invite == grant.is_invite and not g.standing]
            for oldest in alike[: max(0, len(alike) - most + 1)]:
                self._of_peers.pop(self._grants.pop(oldest).peer, None)
        self._grants[digest] = grant
        self.changed()

    def _is_over(self, grant: Grant) -> bool:
        return 0 < grant.expires <= self.clock()


def login_path(code: str) -> str:
    """What stands behind the hub's address in a link with a login code."""
    return f"/login#code={code}"


def new_secret() -> str:
    """256 random bits that can stand in a URL."""
    return secrets.token_urlsafe(32)


def bearer(header: str) -> str:
    """The secret in an Authorization header; empty if there is none."""
    scheme, _, secret = header.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _used_up(invite: Grant) -> AccessError:
    return AccessError(f"the invite has been used {invite.uses} times, which was its limit; {ASK_AGAIN}")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _record(grant: Grant) -> dict[str, Any]:
    """The grant's fields that are not at their default. (`dataclasses.asdict` takes 100 ms for 10,000 of them.)"""
    values = {name: getattr(grant, name) for name in Grant.__slots__}
    return {name: value for name, value in values.items() if value or name in ("id", "role")}


def _make_room(table: dict[str, Any], most: int) -> None:
    while len(table) >= most:
        del table[next(iter(table))]
