"""What every HTTP door of the hub does first: Host, Origin, credential; and how it says no."""

from __future__ import annotations

import json
from typing import Any

from tornado.web import RequestHandler

from nbdist.errors import AccessError, NbdistError
from nbdist.hub import visitors
from nbdist.hub.access import AlreadyTradedError, Grant, bearer
from nbdist.hub.rooms import Rooms
from nbdist.wire.messages import PROTOCOL_MAX, PROTOCOL_MIN, Role

MAX_BODY_BYTES = 64 * 1024
"""Of a request that is no blob."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Door(RequestHandler):
    """The base of all HTTP doors."""

    def initialize(self, rooms: Rooms) -> None:
        """Called by Tornado with what the application was made with."""
        self.rooms = rooms

    def set_default_headers(self) -> None:
        """Nothing of the hub is framed, sniffed, cached or allowed to load from elsewhere."""
        self.clear_header("Server")
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Turns web pages of other sites away."""
        error = visitors.host_error(self.request.host, self.rooms.hosts())
        if error is None and self.request.method not in ("GET", "HEAD"):
            error = visitors.origin_error(self.request.headers.get("Origin"), self.request.host)
        if error is not None:
            self.refuse(403, error)

    def refuse(self, status: int, reason: str) -> None:
        """Ends the request with one line that says why and what to do."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.finish(reason + "\n")

    @property
    def cookie_name(self) -> str:
        """One for each hub: browsers send a machine's cookies to all its ports."""
        return f"nbdist-{self.rooms.board.identity.hub[:12]}"

    @property
    def secret(self) -> str:
        """What the request shows, as a program or as a browser; empty if it shows nothing."""
        return bearer(self.request.headers.get("Authorization", "")) or self.get_cookie(self.cookie_name) or ""

    def grant(self, *roles: Role) -> Grant | None:
        """The grant of the request's credential if it has one of these roles; if not, the request has been refused."""
        try:
            grant = self.rooms.access.check(self.secret)
        except AccessError as error:
            self.refuse(401, str(error))
            return None
        if grant.role not in roles:
            self.refuse(403, f"a {grant.role}'s credential is not enough here: {' or '.join(roles)} is needed")
            return None
        return grant

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's own errors, in the same form."""
        self.refuse(status_code, f"{status_code}: {self._reason}")

    def json_body(self) -> dict[str, Any]:
        """The request's body as a JSON object; empty if it is none."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}


class JoinDoor(Door):
    """POST /join: an invite is traded for a credential of the peer's own. GET /join: would it be?

    POST: the body is JSON with `name` and `peer`, the answer JSON with `key` and `role`; 409 if it is a credential
    already. GET uses nothing up. Its answer is JSON: `role`, `is_invite`, `valid_seconds` (0: for ever), `nbdist`,
    `protocol` (lowest and highest) and `pythons`, those of the notebooks that are here now.
    """

    def get(self) -> None:
        """Looks."""
        try:
            grant, seconds = self.rooms.access.look(bearer(self.request.headers.get("Authorization", "")))
        except AccessError as error:
            self.refuse(401, str(error))
            return
        machines = [peer.machine for peer in self.rooms.board.peers if peer.role == "notebook"]
        self.write(
            {
                "role": grant.role,
                "is_invite": grant.is_invite,
                "valid_seconds": seconds,
                "nbdist": self.rooms.version,
                "protocol": [PROTOCOL_MIN, PROTOCOL_MAX],
                "pythons": sorted({f"{machine.implementation} {machine.python_minor}" for machine in machines}),
            }
        )

    def post(self) -> None:
        """Trades."""
        body = self.json_body()
        peer, name = str(body.get("peer", "")), str(body.get("name", ""))
        if not 0 < len(peer) <= 80:
            self.refuse(400, "the body of /join is JSON with 'name' and 'peer'")
            return
        try:
            key, grant = self.rooms.access.trade(bearer(self.request.headers.get("Authorization", "")), name, peer)
        except AlreadyTradedError as error:
            self.refuse(409, str(error))
        except AccessError as error:
            self.refuse(401, str(error))
        else:
            self.write({"key": key, "role": grant.role})


class PoolDoor(Door):
    """GET /api/pool: the pool as JSON, for `nbdist status` and for pages."""

    def get(self) -> None:
        """Describes."""
        if self.grant("notebook", "viewer") is not None:
            self.write(self.rooms.board.describe())


class ExplainDoor(Door):
    """GET /api/explain?job=…&item=…: why an item is not done, as text."""

    def get(self) -> None:
        """Explains."""
        if self.grant("notebook", "viewer") is None:
            return
        try:
            item = int(self.get_query_argument("item", "0"))
            text = self.rooms.board.explain(self.get_query_argument("job", ""), item)
        except (ValueError, NbdistError) as error:
            self.refuse(400, f"{error}")
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text + "\n")


class NothingHere(Door):
    """Any other path."""

    async def prepare(self) -> None:
        """Says so."""
        await super().prepare()
        if not self._finished:
            self.refuse(404, "nothing is here; the hub's pages begin at /")
