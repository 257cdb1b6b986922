"""Active health checks: whether a backend would answer, found out before a client does."""

from __future__ import annotations

import logging
import math

import attrs
import trio

from ..errors import HandshakeError
from .backends import MAX_RETRY, Upstream, jittered
from .handshake import ask, dial, plain_head

logger = logging.getLogger("hubws")


@attrs.frozen(kw_only=True)
class HealthCheck:
    """How all backends are checked. Times are in seconds."""

    path: str | None = None
    """Ask for this by HTTP, and expect a status below 400; None: see that it can be dialled."""
    interval: float = 5.0
    """Between two checks of a healthy backend. After a failed one the time is this, too, and doubles
    with each further one."""
    timeout: float = 2.0
    """For one check."""
    failures: int = 2
    """So many failed checks in a row, and the backend gets no new connections until one succeeds."""

    def __attrs_post_init__(self) -> None:
        for name in ("interval", "timeout", "failures"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be over 0 and finite, not {value!r}")
        if self.path is not None and not (self.path.startswith("/") and self.path.isascii()):
            raise ValueError(f"path must begin with / and be ASCII, not {self.path!r}")

    async def run(self, upstream: Upstream) -> None:
        """Check a backend for ever."""
        failed = 0
        while True:
            error = await self._check(upstream)
            if error is None:
                failed = 0
                if not upstream.is_up:
                    logger.warning("backend %s is healthy again", upstream.backend.url)
                upstream.is_up = True
                upstream.answered()
            else:
                failed += 1
                if failed >= self.failures and upstream.is_up:
                    logger.warning("backend %s is not healthy: %s", upstream.backend.url, error)
                    upstream.is_up = False
            pause = self.interval * 2.0 ** min(max(failed - self.failures, 0), 30)
            await trio.sleep(jittered(min(pause, max(MAX_RETRY, self.interval))))

    async def _check(self, upstream: Upstream) -> Exception | None:
        """What is wrong with it."""
        try:
            with trio.fail_after(self.timeout):
                await self._try(upstream)
        except (OSError, HandshakeError) as error:
            return error
        except trio.TooSlowError:
            return TimeoutError(f"no answer within {self.timeout:g} s")
        return None

    async def _try(self, upstream: Upstream) -> None:
        stream = await dial(upstream.backend)
        try:
            if self.path is not None:
                lines = [("Host", upstream.backend.address.host_header), ("Connection", "close")]
                response, _ = await ask(stream, plain_head(self.path, lines))
                if response.status >= 400:
                    raise HandshakeError(f"it answered {response.status}")
        finally:
            await trio.aclose_forcefully(stream)
