"""The options that commands share: what `serve` and `connect` take, said once.

Cyclopts makes an option of each attribute, and its help of the text under it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.types import ExistingFile

from ..client.backoff import Backoff
from ..client.connect import MAX_REDIRECTS
from ..client.tls import TLS
from ..connection.rate_limit import RateLimit
from ..connection.settings import Settings
from ..protocol.deflate import Deflate

PORT = 8008
"""Where servers listen when nothing else is said."""

_DEFAULT = Settings()

_HANDSHAKE = Group("Opening handshake", sort_key=10)
_TLS = Group("TLS", sort_key=20)
_LIMITS = Group("Limits", sort_key=30)
_TIMES = Group("Times, in seconds; 0 means never", sort_key=40)
_OUTPUT = Group("Output", sort_key=50)

_Handshake = Parameter(group=_HANDSHAKE)
_Tls = Parameter(group=_TLS)
_Switch = Parameter(negative=())
_Limit = Parameter(group=_LIMITS)
_Time = Parameter(group=_TIMES)
_Output = Parameter(group=_OUTPUT)

_File = ExistingFile | None


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class CommonOptions:
    """What a command of either side can be told."""

    header: Annotated[tuple[str, ...], Parameter(name=["--header", "-H"]), _Switch, _Handshake] = ()
    """One more header for our side of the opening handshake, "Name: value"; may be repeated."""
    subprotocol: Annotated[tuple[str, ...], _Switch, _Handshake] = ()
    """A subprotocol that we speak, the preferred one first; may be repeated."""
    compression: Annotated[bool, _Switch, _Handshake] = False
    """Compress messages (permessage-deflate) if the peer does too."""
    compression_level: Annotated[int, _Handshake] = 1
    """From 1, fastest, to 9, smallest."""
    context_takeover: Annotated[bool, _Handshake] = True
    """Compress each message with the help of those before it, which costs memory."""

    max_message_size: Annotated[int, _Limit] = _DEFAULT.max_message_size
    """The largest message that we receive, in bytes; a larger one closes with 1009."""
    inbox_bytes: Annotated[int, _Limit] = _DEFAULT.inbox_bytes
    """Received messages that may wait, before the peer is held back."""
    outbox_bytes: Annotated[int, _Limit] = _DEFAULT.outbox_bytes
    """Messages that may wait to be sent."""

    keepalive_interval: Annotated[float, _Time] = _DEFAULT.keepalive_interval
    """Between a pong and the next ping that keeps the connection alive."""
    keepalive_timeout: Annotated[float, _Time] = _DEFAULT.keepalive_timeout
    """For its pong; the connection is closed with 1011 after it."""
    write_timeout: Annotated[float, _Time] = _DEFAULT.write_timeout
    """For the peer to take at least something of what is being sent."""
    close_timeout: Annotated[float, _Time] = _DEFAULT.close_timeout
    """For the peer's close frame."""

    json: Annotated[bool, _Switch, _Output] = False
    """One JSON object a line, for programs."""
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"]), _Switch, _Output] = False
    """Nothing on standard error but errors."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _Output] = "warning"
    """What is logged, to standard error; errors with their traceback at debug."""

    def _headers(self) -> list[tuple[str, str]]:
        pairs = []
        for line in self.header:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f'--header needs "Name: value"; {name!r} has no colon')
            pairs.append((name.strip(), value.strip()))
        return pairs

    def _compression(self) -> Deflate | None:
        if not self.compression:
            return None
        return Deflate(
            level=self.compression_level,
            server_no_context_takeover=not self.context_takeover,
            client_no_context_takeover=not self.context_takeover,
        )

    def arguments(self) -> dict[str, Any]:
        """What `serve` and `connect` take. ValueError for what makes no sense."""
        settings: dict[str, Any] = {
            "compression": self._compression(),
            "max_message_size": self.max_message_size,
            "inbox_bytes": self.inbox_bytes,
            "outbox_bytes": self.outbox_bytes,
            "keepalive_interval": self.keepalive_interval or None,
            "keepalive_timeout": self.keepalive_timeout or None,
            "write_timeout": self.write_timeout or None,
            "close_timeout": self.close_timeout or None,
        }
        Settings(**settings)  # raises here, where nothing is open
        return settings | {"headers": self._headers(), "subprotocols": self.subprotocol}


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ClientOptions(CommonOptions):
    """What a client can be told; see `connect`."""

    origin: Annotated[str | None, _Handshake] = None
    """The Origin header, such as https://example.org."""
    proxy: Annotated[str | None, _Handshake] = None
    """The URL of a proxy: http, https, socks4, socks4a, socks5 or socks5h. By default that of the
    environment (HTTPS_PROXY and so on)."""
    no_proxy: Annotated[bool, _Switch, _Handshake] = False
    """No proxy, whatever the environment says."""
    unix_path: Annotated[Path | None, _Handshake] = None
    """The server's Unix socket; the URL then only says what to ask for."""
    max_redirects: Annotated[int, _Handshake] = MAX_REDIRECTS
    """How many redirects to follow."""

    ca: Annotated[_File, _Tls] = None
    """Certificates of the authorities to trust instead of the system's, in PEM."""
    certificate: Annotated[_File, _Tls] = None
    """The client's own certificate, in PEM."""
    key: Annotated[_File, _Tls] = None
    """Its private key, if that is in a file of its own."""
    key_password: Annotated[str | None, Parameter(env_var="HUBWS_KEY_PASSWORD"), _Tls] = None
    """The key's password; better in the environment, where other users don't see it."""
    verify: Annotated[bool, _Tls] = True
    """Take only certificates of trusted authorities."""
    check_hostname: Annotated[bool, _Tls] = True
    """Take only certificates for the host of the URL."""
    server_hostname: Annotated[str | None, _Tls] = None
    """The name to send and to look for in the certificate, if not the URL's host."""
    ciphers: Annotated[str | None, _Tls] = None
    """For TLS 1.2 and earlier, as OpenSSL writes them."""

    timeout: Annotated[float, _Time] = 10.0
    """For everything up to the server's 101."""

    def _tls(self) -> TLS | None:
        tls = TLS(
            ca_file=self.ca,
            certificate=self.certificate,
            key=self.key,
            password=self.key_password if self.certificate else None,
            verify=self.verify,
            check_hostname=self.check_hostname,
            server_hostname=self.server_hostname,
            ciphers=self.ciphers,
        )
        if tls == TLS():
            return None
        with _files_named(self.ca, self.certificate, self.key):
            tls.make_context()
        return tls

    def arguments(self) -> dict[str, Any]:
        if self.no_proxy and self.proxy is not None:
            raise ValueError("--proxy and --no-proxy exclude each other")
        return super().arguments() | {
            "origin": self.origin,
            "proxy": None if self.no_proxy else self.proxy or True,
            "unix_path": self.unix_path,
            "max_redirects": self.max_redirects,
            "tls": self._tls(),
            "timeout": self.timeout or float("inf"),
        }


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class RetryOptions:
    """What a client that connects again can be told."""

    no_reconnect: Annotated[bool, _Switch] = False
    """When the connection is lost, that is the end."""
    retries: int | None = None
    """How many times in a row to try again; by default without end."""
    max_wait: float = 10.0
    """The longest wait before trying again, in seconds."""

    def backoff(self) -> Backoff:
        """When to try again. ValueError for what makes no sense."""
        return Backoff(
            maximum=self.max_wait,
            initial=min(0.1, self.max_wait),
            retries=0 if self.no_reconnect else self.retries,
        )


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ServerOptions(CommonOptions):
    """What a server can be told; see `serve`."""

    host: str = "127.0.0.1"
    """The address to listen at; "" for all of them."""
    port: int | None = None
    """The port to listen at, 8008 unless there is a Unix socket; 0 for any that is free."""
    unix_path: Path | None = None
    """A Unix socket to make and to listen at."""

    origin: Annotated[tuple[str, ...], _Switch, _Handshake] = ()
    """A web page that may connect, such as https://example.org; may be repeated; "any" for all. By
    default those of the same host."""

    certificate: Annotated[_File, _Tls] = None
    """The server's certificate, with those between it and its authority, in PEM: speaks wss."""
    key: Annotated[_File, _Tls] = None
    """Its private key, if that is in a file of its own."""
    key_password: Annotated[str | None, Parameter(env_var="HUBWS_KEY_PASSWORD"), _Tls] = None
    """The key's password; better in the environment, where other users don't see it."""
    client_ca: Annotated[_File, _Tls] = None
    """Certificates of the authorities of whose clients one is asked for, in PEM."""
    ciphers: Annotated[str | None, _Tls] = None
    """For TLS 1.2 and earlier, as OpenSSL writes them."""

    max_connections: Annotated[int | None, _Limit] = None
    """More than these are refused with 503."""
    max_connections_per_address: Annotated[int | None, _Limit] = None
    """From one IPv4 address or IPv6 /64."""
    max_rate: Annotated[float | None, _Limit] = None
    """Messages a second that a client may send; it is held back to that."""

    timeout: Annotated[float, _Time] = 10.0
    """For everything up to our 101."""
    idle_timeout: Annotated[float, _Time] = 0.0
    """Without a message from the client; it is closed with 1001."""
    max_lifetime: Annotated[float, _Time] = 0.0
    """Of a connection; it is closed with 1001 then."""
    grace: Annotated[float, _Time] = 5.0
    """For closing all connections with 1001 at the end; 0: at once."""

    def _ssl_context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            if self.key or self.client_ca or self.ciphers:
                raise ValueError("--key, --client-ca and --ciphers need --certificate")
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with _files_named(self.certificate, self.key, self.client_ca):
            context.load_cert_chain(self.certificate, self.key, lambda: self.key_password or "")
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        if self.ciphers is not None:
            context.set_ciphers(self.ciphers)
        return context

    @property
    def listens_at_port(self) -> int | None:
        """The port, None for a Unix socket alone."""
        return PORT if self.port is None and self.unix_path is None else self.port

    @property
    def place(self) -> str:
        """Where it is to listen, for people."""
        ports = [] if self.listens_at_port is None else [f"{self.host}:{self.listens_at_port}"]
        return " and ".join([*ports, *([str(self.unix_path)] if self.unix_path else [])])

    @property
    def is_secure(self) -> bool:
        """Whether it speaks wss."""
        return self.certificate is not None

    def arguments(self) -> dict[str, Any]:
        origins: str | tuple[str, ...] = self.origin or "same"
        return super().arguments() | {
            "host": self.host or None,
            "port": self.listens_at_port,
            "unix_path": self.unix_path,
            "origins": "any" if "any" in origins else origins,
            "ssl_context": self._ssl_context(),
            "max_connections": self.max_connections,
            "max_connections_per_address": self.max_connections_per_address,
            "rate_limit": None if self.max_rate is None else RateLimit(messages=self.max_rate),
            "handshake_timeout": self.timeout or float("inf"),
            "idle_timeout": self.idle_timeout or None,
            "max_lifetime": self.max_lifetime or None,
            "grace": self.grace,
        }


@contextlib.contextmanager
def _files_named(*paths: Path | None) -> Iterator[None]:
    """In this block, what is wrong with TLS is a ValueError that names the files."""
    try:
        yield
    except (OSError, ValueError) as error:
        names = ", ".join(str(path) for path in paths if path is not None) or "these options"
        raise ValueError(f"no TLS with {names}: {error}") from error
