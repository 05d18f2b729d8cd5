"""The hub's own secrets, kept over restarts: its id, the notebooks' key, and the invite that it prints."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from nbdist.hub.access import Access, Grant, new_secret
from nbdist.hub.statedir import StateDir

KEYS_FILE = "keys.json"
ACCESS_FILE = "access.json"


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets in the clear: the hub must print them again after a restart."""

    hub: str
    notebook: str
    invite: str


def open_access(state: StateDir, access: Access, *, embedded: bool) -> Keys:
    """Loads what earlier hubs on this state granted, and admits the hub's own keys; makes those that are missing.

    The printed invite is good for a day from each start, and for ever in an embedded pool, which nobody reads it off.
    One that was revoked, or has expired, is replaced.
    """
    access.load(state.read(ACCESS_FILE))
    found = state.read(KEYS_FILE)
    invite = str(found.get("invite", ""))
    if not embedded and not access.knows(invite):
        invite = ""
    keys = Keys(
        hub=str(found.get("hub") or secrets.token_hex(8)),
        notebook=str(found.get("notebook") or new_secret()),
        invite=invite or new_secret(),
    )
    state.write(KEYS_FILE, {"hub": keys.hub, "notebook": keys.notebook, "invite": keys.invite})
    access.admit(keys.notebook, Grant("notebooks", "notebook", standing=True))
    if embedded:
        access.make_invite("worker", key=keys.invite, valid_seconds=0, standing=True)
    else:
        access.make_invite("worker", key=keys.invite)
    return keys
