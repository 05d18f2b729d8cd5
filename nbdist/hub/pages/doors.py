"""The HTTP doors of pages, of the login to them, and of what a joining machine fetches."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from nbdist.errors import AccessError, NbdistError
from nbdist.hub.access import BROWSER_SECONDS
from nbdist.hub.joinlines import PYZ_PATH
from nbdist.hub.pages.status import login_page, status_page, welcome_page
from nbdist.hub.pyz import build_pyz
from nbdist.hub.web import COOKIE, Door

_FILES = {"/style.css": "text/css; charset=utf-8", "/login.js": "text/javascript; charset=utf-8"}


def routes(shared: dict[str, Any]) -> list[Any]:
    """The doors, for Tornado's application."""
    return [
        ("/", StatusDoor, shared),
        ("/login", LoginDoor, shared),
        ("/api/login", LoginCodeDoor, shared),
        (PYZ_PATH.replace(".", r"\."), PyzDoor, shared),
        *((path.replace(".", r"\."), FileDoor, shared) for path in _FILES),
    ]


class StatusDoor(Door):
    """GET /: the pool."""

    def get(self) -> None:
        """Shows the pool to who is logged in, and to everybody else how to."""
        has_shown = self.get_cookie(COOKIE) or self.request.headers.get("Authorization")
        if not has_shown:
            self.finish(welcome_page())
        elif self.grant("notebook", "viewer") is not None:
            self.finish(status_page(self.rooms.board.describe(), self.rooms.version))


class LoginDoor(Door):
    """/login: GET the page that posts a one-time code; POST it, and get a cookie for the browser."""

    def get(self) -> None:
        """The page."""
        self.finish(login_page())

    def post(self) -> None:
        """The code."""
        try:
            secret = self.rooms.access.log_in(str(self.json_body().get("code", "")))
        except AccessError as error:
            self.refuse(401, str(error))
            return
        self.set_cookie(
            COOKIE,
            secret,
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
            max_age=int(BROWSER_SECONDS),
        )
        self.set_status(204)
        self.finish()


class LoginCodeDoor(Door):
    """POST /api/login: a one-time code with which a browser may log in as a viewer. For notebooks."""

    def post(self) -> None:
        """JSON with `path`: what to open on this hub, the code behind '#'."""
        if self.grant("notebook") is not None:
            self.write({"path": f"/login#code={self.rooms.access.make_login_code('viewer')}"})


class FileDoor(Door):
    """The pages' own files."""

    def get(self) -> None:
        """One of them."""
        self.set_header("Content-Type", _FILES[self.request.path])
        self.finish((Path(__file__).parent / self.request.path[1:]).read_bytes())


class PyzDoor(Door):
    """GET /worker.pyz: the worker as one file. Public: there is no secret in it."""

    _built: asyncio.Future[bytes] | None = None

    async def get(self) -> None:
        """The file, made at the first request."""
        if PyzDoor._built is None or PyzDoor._built.get_loop() is not asyncio.get_running_loop():
            PyzDoor._built = asyncio.get_running_loop().run_in_executor(None, build_pyz)
        try:
            data = await asyncio.shield(PyzDoor._built)
        except (NbdistError, OSError) as error:
            PyzDoor._built = None
            self.refuse(500, str(error))
            return
        self.set_header("Content-Type", "application/zip")
        self.set_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.finish(data)
