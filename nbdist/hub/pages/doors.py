"""The HTTP doors of pages, of the login to them, and of what a joining machine fetches."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from nbdist.errors import AccessError, NbdistError
from nbdist.hub.access import BROWSER_SECONDS, login_path
from nbdist.hub.joinlines import PYZ_PATH
from nbdist.hub.pages.metrics import CONTENT_TYPE, metrics
from nbdist.hub.pages.status import login_page, shell_page, status_page, welcome_page
from nbdist.hub.pyz import build_pyz
from nbdist.hub.web import Door
from nbdist.scheduler.orders import StopJob, StopWorker

ASSETS = Path(__file__).parent / "assets"
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
BY_PAGE = "stopped on the hub's page"
MAX_ID_CHARS = 200
VIEWERS_LINK = "this browser may only look: open a link that `nbdist status --web` or %distribute web shows"


def routes(shared: dict[str, Any]) -> list[Any]:
    """The doors, for Tornado's application."""
    return [
        (r"/", PageDoor, shared),
        (r"/jobs/[^/]+", PageDoor, shared),
        (r"/machines/[^/]+", PageDoor, shared),
        (r"/plain", PlainDoor, shared),
        (r"/api/view/pool", PoolViewDoor, shared),
        (r"/api/view/job", JobViewDoor, shared),
        (r"/api/view/machine", MachineViewDoor, shared),
        (r"/api/stop/job", StopJobDoor, shared),
        (r"/api/stop/machine", StopMachineDoor, shared),
        (r"/metrics", MetricsDoor, shared),
        (r"/login", LoginDoor, shared),
        (r"/api/login", LoginCodeDoor, shared),
        (PYZ_PATH.replace(".", r"\."), PyzDoor, shared),
        (r"/assets/([a-z]+\.[a-z]+)", FileDoor, shared),
    ]


class Shown(Door):
    """The base of what people look at: who may not is told how to, on a page."""

    def is_known(self) -> bool:
        """Whether who asks may look; if not, the request has been answered."""
        try:
            grant = self.rooms.access.check(self.secret)
        except AccessError:
            self.set_status(403)
            self.finish(welcome_page(is_expired=bool(self.secret)))
            return False
        if grant.role == "worker":
            self.refuse(403, "a worker's credential opens no page: a notebook's or a viewer's is needed")
            return False
        return True


class PageDoor(Shown):
    """GET /, /jobs/ID, /machines/ID: the page, which asks for its data itself."""

    def get(self) -> None:
        """The same text for all three."""
        if self.is_known():
            self.finish(shell_page())


class PlainDoor(Shown):
    """GET /plain: the pool without scripts."""

    def get(self) -> None:
        """Machines and jobs, as tables."""
        if self.is_known():
            self.finish(status_page(self.rooms.board.describe(), self.rooms.version))


class PoolViewDoor(Door):
    """GET /api/view/pool: what the first page shows (`View.pool`), `version` and `may_stop`."""

    def get(self) -> None:
        """Describes."""
        grant = self.grant("notebook", "viewer")
        if grant is not None:
            may_stop = grant.role == "notebook"
            self.write({**self.rooms.view.pool(), "version": self.rooms.version, "may_stop": may_stop})


class JobViewDoor(Door):
    """GET /api/view/job?id=ID: a job's page (`View.job`), and `may_stop`."""

    def get(self) -> None:
        """Describes."""
        grant = self.grant("notebook", "viewer")
        if grant is None:
            return
        found = self.rooms.view.job(self.get_query_argument("id", "")[:MAX_ID_CHARS])
        if found:
            self.write({**found, "may_stop": grant.role == "notebook"})
        else:
            self.refuse(404, "this job is not known (any more)")


class MachineViewDoor(Door):
    """GET /api/view/machine?id=ID: a machine's page (`View.worker`), and `may_stop`."""

    def get(self) -> None:
        """Describes."""
        grant = self.grant("notebook", "viewer")
        if grant is None:
            return
        found = self.rooms.view.worker(self.get_query_argument("id", "")[:MAX_ID_CHARS])
        if found:
            self.write({**found, "may_stop": grant.role == "notebook"})
        else:
            self.refuse(404, "this machine is not in the pool (any more)")


class Stopping(Door):
    """The base of what changes something: for notebooks, and for browsers that came by a notebook's link."""

    async def prepare(self) -> None:
        """A form of another site cannot send JSON; what `Door` checks comes first."""
        await super().prepare()
        is_json = self.request.headers.get("Content-Type", "") == "application/json"
        if not self._finished and self.request.method == "POST" and not is_json:
            self.refuse(415, "the body is JSON, and says so (Content-Type: application/json)")

    def may(self) -> bool:
        """Whether who asks may do that; if not, the request has been answered."""
        try:
            role = self.rooms.access.check(self.secret).role
        except AccessError as error:
            self.refuse(403, str(error))
            return False
        if role != "notebook":
            self.refuse(403, VIEWERS_LINK)
        return role == "notebook"


class StopJobDoor(Stopping):
    """POST /api/stop/job: JSON with `job`, its id."""

    def post(self) -> None:
        """Cancels it."""
        if not self.may():
            return
        job = str(self.json_body().get("job", ""))[:MAX_ID_CHARS]
        if not self.rooms.view.job(job):
            self.refuse(404, "this job is not known (any more)")
            return
        self.rooms.board.order(StopJob(job, BY_PAGE))
        self.write({"job": job})


class StopMachineDoor(Stopping):
    """POST /api/stop/machine: JSON with `machine`, its id, and `at_once` (its running items go to others)."""

    def post(self) -> None:
        """Lets it leave."""
        if not self.may():
            return
        body = self.json_body()
        worker = str(body.get("machine", ""))[:MAX_ID_CHARS]
        if not self.rooms.view.worker(worker):
            self.refuse(404, "this machine is not in the pool (any more)")
            return
        self.rooms.board.order(StopWorker(worker, BY_PAGE, at_once=body.get("at_once") is True))
        self.write({"machine": worker})


class MetricsDoor(Door):
    """GET /metrics: for Prometheus, with a viewer's or a notebook's credential."""

    def get(self) -> None:
        """Counts."""
        if self.grant("notebook", "viewer") is not None:
            rooms = self.rooms
            self.set_header("Content-Type", CONTENT_TYPE)
            self.finish(metrics(rooms.board.describe(), rooms.view.throughput.latest, rooms.version))


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
            self.refuse(403, str(error))
            return
        self.set_cookie(
            self.cookie_name,
            secret,
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
            max_age=int(BROWSER_SECONDS),
        )
        self.set_status(204)
        self.finish()


class LoginCodeDoor(Door):
    """POST /api/login: a one-time code with which a browser may log in. For notebooks.

    The body may be JSON with `role`: `viewer` (it may look; the default) or `notebook` (it may also stop jobs and
    machines).
    """

    def post(self) -> None:
        """JSON with `path`: what to open on this hub, the code behind '#'."""
        if self.grant("notebook") is None:
            return
        role = self.json_body().get("role", "viewer")
        if role not in ("viewer", "notebook"):
            self.refuse(400, "'role' is viewer or notebook")
            return
        self.write({"path": login_path(self.rooms.access.make_login_code(role))})


class FileDoor(Door):
    """The pages' own files: they hold nothing secret."""

    def get(self, name: str) -> None:
        """One of them."""
        path = ASSETS / name
        if path.suffix not in _KINDS or not path.is_file():
            self.refuse(404, "nothing is here; the hub's pages begin at /")
            return
        self.set_header("Content-Type", _KINDS[path.suffix])
        self.finish(path.read_bytes())


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
