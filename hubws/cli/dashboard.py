"""The options for a dashboard, of those servers that have a hub."""

from __future__ import annotations

from typing import Annotated, cast

import attrs
import trio
from cyclopts import Group, Parameter

from ..hub.hub import Hub
from ..pages.dashboard import Dashboard
from ..pages.live import LivePage
from ..pages.site import check_path
from ..server.authentication import basic_auth
from ..server.server import Server
from .options import ServerOptions
from .running import Run
from .serving import urls_of

_Dashboard = Parameter(group=Group("Dashboard", sort_key=5))

USER = "admin"
"""The name that goes with the password."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class DashboardOptions:
    """Whether there is a dashboard, and for whom."""

    dashboard: Annotated[str | None, _Dashboard] = None
    """The path of a page that shows what the hub does, such as /dashboard/; by default none."""
    dashboard_password: Annotated[
        str | None, Parameter(env_var="HUBWS_DASHBOARD_PASSWORD"), _Dashboard
    ] = None
    """The password for it, of the user admin; better in the environment, where other users don't see
    it."""

    def check(self) -> None:
        """ValueError for what makes no sense."""
        if self.dashboard is None:
            return
        if not self.dashboard_password:
            raise ValueError("--dashboard needs --dashboard-password, or HUBWS_DASHBOARD_PASSWORD")
        if check_path(self.dashboard) == "/":
            raise ValueError("--dashboard can't be at /, where the server has its own page")

    def pages(self, hub: Hub) -> list[LivePage]:
        """The page, if there is to be one."""
        if self.dashboard is None or self.dashboard_password is None:
            return []
        check = basic_auth({USER: self.dashboard_password}, realm="dashboard")
        return [Dashboard(hub, self.dashboard, authenticate=check)]

    def telling(
        self, options: ServerOptions, run: Run, task_status: trio.TaskStatus[Server]
    ) -> trio.TaskStatus[Server]:
        """A task status that says where the pages are before it passes the server on."""
        paths = [""] if self.dashboard is None else ["", self.dashboard[1:]]
        return cast("trio.TaskStatus[Server]", _Telling(paths, options, run, task_status))


@attrs.frozen
class _Telling:
    paths: list[str]
    options: ServerOptions
    run: Run
    task_status: trio.TaskStatus[Server]

    def started(self, server: Server) -> None:
        for url in urls_of(self.options, server):
            for path in self.paths if "+unix:" not in url else []:
                page = f"http{url.removeprefix('ws')}{path}"
                self.run.output.say(f"page at {page}")
                self.run.output.record(event="page", url=page)
        self.task_status.started(server)
