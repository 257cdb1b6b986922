"""The files of a page, and the answers that bring them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from ..protocol.http import Request, Response

SHARED = ("page.css", "live.js", "board.js", "icon.svg")
"""What every page may ask for."""

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: everything comes from the server itself, nothing stands inline."""


@cache
def load(name: str) -> Response:
    """The answer with a file of this package."""
    return Response(
        200,
        (files(__package__) / "files" / name).read_bytes(),
        {
            "Content-Type": TYPES[name.rpartition(".")[2]],
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        },
    )


def check_path(path: str) -> str:
    """The path; ValueError for one that can't be a folder."""
    if not (path.startswith("/") and path.endswith("/")) or "//" in path:
        raise ValueError(f"a page's path begins and ends with one slash, as /page/, not {path!r}")
    return path


class Site:
    """A page and the files that belong to it, under a path of a server.

    Args:
        name: of the page; what it needs beside the shared files is called so, too.
        path: its folder, such as "/" or "/dashboard/".

    """

    def __init__(self, name: str, path: str = "/") -> None:
        self.path = check_path(path)
        self._files = {f"{name}.css", f"{name}.js", *SHARED}
        self._page = f"{name}.html"

    def answer(self, request: Request) -> Response | None:
        """The answer to a plain request; None when it is for something else."""
        path = request.path
        if path == self.path[:-1]:  # without the slash, relative addresses would lead elsewhere
            return Response(308, "", {"Location": f"{path.rpartition('/')[2]}/"})
        if not path.startswith(self.path):
            return None
        name = path[len(self.path) :] or self._page
        if name != self._page and name not in self._files:
            return None
        if request.method not in ("GET", "HEAD"):
            return Response.refusal(405, "a page can only be read", {"Allow": "GET, HEAD"})
        return load(name)
