"""From a client's opening handshake to a proxied connection, or to the reason why there is none."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial

import attrs
import trio

from ..connection.connection import Connection
from ..connection.settings import Settings
from ..errors import HandshakeError, UpgradeRefused
from ..protocol.deflate import DeflateParameters
from ..protocol.handshake import (
    check_response,
    choose_compression,
    choose_subprotocol,
)
from ..protocol.http import Headers, Response
from ..server.offer import Offer
from ..transport.abc import Transport
from ..transport.choice import transport_of
from ..transport.poller import current_poller
from .backends import Pool, Upstream
from .forwarding import (
    EXTENSIONS,
    Client,
    Lines,
    accepting_lines,
    check_target,
    forwarded_request,
    refusing_response,
    without,
)
from .handshake import ask, dial, request_head
from .inspecting import Bridge, Inspection
from .relay import Relay
from .routes import Route, find

logger = logging.getLogger("hubws")

NOT_FOUND = Response.refusal(404, "nothing is here")
BAD_GATEWAY = Response.refusal(502, "the backend can't be reached")
FAILURES = (OSError, HandshakeError, trio.TooSlowError)
GATEWAY_TIMEOUT = Response.refusal(504, "the backend did not answer in time")


class RefusedByBackend(UpgradeRefused):
    """A backend's own refusal is passed on. Its body is nobody's business here, not even in a log."""

    def __init__(self, response: Response) -> None:
        HandshakeError.__init__(self, f"the backend answered {response.status}")
        self.response = response


@attrs.frozen(kw_only=True)
class Forwarding:
    """What a proxy does with all opening handshakes alike. Times are in seconds."""

    routes: Sequence[Route]
    settings: Settings
    is_secure: bool = False
    """Whether clients connect over TLS."""
    trust_forwarded: bool = False
    connect_timeout: float = 5.0
    timeout: float = 10.0

    def __attrs_post_init__(self) -> None:
        if not self.routes:
            raise ValueError("a proxy needs a route")
        for name in ("connect_timeout", "timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be over 0 and finite, not {getattr(self, name)!r}")


@attrs.frozen
class Asked:
    """What a backend is asked."""

    route: Route
    target: str
    lines: Lines
    _headers: Headers

    @property
    def subprotocols(self) -> list[str]:
        """Those that the client offers."""
        return self._headers.tokens("Sec-WebSocket-Protocol")


@attrs.frozen
class Reached:
    """A backend that answered with 101."""

    upstream: Upstream
    stream: trio.abc.Stream
    response: Response
    rest: bytes
    """What came behind its 101."""
    lines: Lines
    """What of the response's headers the client gets."""
    subprotocol: str | None
    compression: DeflateParameters | None
    """Of the inspecting mode, where it is the proxy's own."""

    def give_up(self) -> None:
        """Let go of it."""
        self.upstream.released()
        transport_of(self.stream).close()


class Forwarder:
    """Answers offers (see `server.offer.Forward`) by asking a backend for what the client asks.

    Attributes:
        pools: the backends of each route.

    """

    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding
        self.pools = [Pool(route.backends, route.balance) for route in forwarding.routes]
        # what a client may do is not asked of a backend
        self._backend_settings = attrs.evolve(
            forwarding.settings, rate_limit=None, idle_timeout=None, max_lifetime=None
        )

    async def __call__(self, offer: Offer) -> None:
        """Reach a backend and join the client to it, or raise UpgradeRefused."""
        forwarding, headers = self._forwarding, offer.headers
        check_target(offer.request.target)
        number = find(forwarding.routes, offer.request.target, headers)
        if number is None:
            raise UpgradeRefused(NOT_FOUND)
        route, pool = forwarding.routes[number], self.pools[number]
        choose_subprotocol(headers, ())  # whether it is a list of tokens
        compression = choose_compression(headers, forwarding.settings.compression)
        client = Client(
            offer.remote, headers["Host"], forwarding.is_secure, forwarding.trust_forwarded
        )
        lines = forwarded_request(headers, client)
        if route.inspect is not None:
            lines = without(lines, EXTENSIONS) + self._own_extensions()
        if route.edit_request is not None:
            lines = route.edit_request(offer.request, lines)
        request = Asked(route, route.target(offer.request.target), lines, headers)
        reached = await self._reach(pool, request, self._balance_key(offer, route))
        try:
            answer = Headers(_edited(route, reached.response, reached.lines)).to_bytes()
            offer.check()  # others came meanwhile
        except BaseException:
            reached.give_up()
            raise
        if not offer.is_open:  # the client went at the last moment
            reached.give_up()
            return
        reached.upstream.accepted += 1
        if route.inspect is None:
            offer.hand_over(partial(self._relay, offer, reached, answer))
            return
        connection = offer.open(reached.subprotocol, compression, answer)
        await self._bridge(connection, reached, route.inspect)

    @staticmethod
    def _balance_key(offer: Offer, route: Route) -> bytes:
        if route.hash_key is not None:
            key = route.hash_key(offer.request, offer.remote)
            return key.encode(errors="surrogateescape") if isinstance(key, str) else key
        return Client(offer.remote, "", is_secure=False).address.encode()

    def _own_extensions(self) -> Lines:
        deflate = self._backend_settings.compression
        if deflate is None:
            return []
        return [("Sec-WebSocket-Extensions", str(deflate.offer().to_extension(is_offer=True)))]

    # -- reaching ------------------------------------------------------------------------------

    async def _reach(self, pool: Pool, asked: Asked, key: bytes) -> Reached:
        """Try backends until one answers; its refusal is an answer, too."""
        deadline = trio.current_time() + self._forwarding.timeout
        tried: list[Upstream] = []
        last = BAD_GATEWAY
        while trio.current_time() < deadline:
            upstream = pool.choose(key, tried)
            if upstream is None:
                break
            tried.append(upstream)
            upstream.connections += 1
            try:
                with trio.fail_at(deadline):
                    return await self._try(upstream, asked)
            except BaseException as error:
                upstream.released()
                if not isinstance(error, FAILURES) or isinstance(error, UpgradeRefused):
                    raise
                upstream.failures += 1
                is_late = isinstance(error, trio.TooSlowError)
                last = GATEWAY_TIMEOUT if is_late else BAD_GATEWAY
                why = "no answer in time" if is_late else error
                logger.warning("backend %s: %s", upstream.backend.url, why)
        raise UpgradeRefused(last) if tried else pool.refusal()

    async def _try(self, upstream: Upstream, asked: Asked) -> Reached:
        """Ask one backend. UpgradeRefused with its own answer when it refuses."""
        key = os.urandom(16)
        head = request_head(asked.target, key, asked.lines)
        try:
            with trio.fail_after(self._forwarding.connect_timeout):
                stream = await dial(upstream.backend)
        except FAILURES:
            upstream.unreachable()
            raise
        try:
            response, rest = await ask(stream, head)
            _check_status(asked.route, upstream, response)
            lines = accepting_lines(response.headers)
            compression = None
            if asked.route.inspect is None:  # the client judges the extensions
                judged = attrs.evolve(response, headers=without(list(response.headers), EXTENSIONS))
                subprotocol, _ = check_response(judged, key, asked.subprotocols)
            else:
                subprotocol, compression = check_response(
                    response, key, asked.subprotocols, self._backend_settings.compression
                )
                lines = without(lines, EXTENSIONS)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        upstream.answered()
        return Reached(upstream, stream, response, rest, lines, subprotocol, compression)

    # -- joining -------------------------------------------------------------------------------

    def _relay(self, offer: Offer, reached: Reached, lines: bytes, client: Transport) -> Relay:
        acceptance = offer.acceptance(reached.subprotocol, lines)
        relay = Relay(
            client,
            transport_of(reached.stream),
            current_poller(),
            self._forwarding.settings,
            acceptance + reached.rest,
            offer.request,
            offer.user,
        )
        relay.add_end_callback(reached.upstream.released)
        return relay

    async def _bridge(self, client: Connection, reached: Reached, inspection: Inspection) -> None:
        backend = Connection(
            transport_of(reached.stream),
            current_poller(),
            is_client=True,
            settings=self._backend_settings,
            subprotocol=reached.subprotocol,
            compression=reached.compression,
            response=reached.response,
        )
        backend.add_end_callback(reached.upstream.released)
        backend.begin(reached.rest)
        await Bridge(client, backend, inspection).run(self._forwarding.settings.idle_timeout)


def _check_status(route: Route, upstream: Upstream, response: Response) -> None:
    """Pass a backend's refusal on, which is an answer like others as far as its health goes."""
    if response.status != 101:
        upstream.answered()
        refusal = refusing_response(response)
        lines = _edited(route, response, list(refusal.headers))
        raise RefusedByBackend(attrs.evolve(refusal, headers=lines))


def _edited(route: Route, response: Response, lines: Lines) -> Lines:
    return lines if route.edit_response is None else route.edit_response(response, lines)
