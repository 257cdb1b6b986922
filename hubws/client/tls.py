"""TLS of a client: what is trusted, and who the client is."""

from __future__ import annotations

import functools
import os
import re
import ssl

import attrs
import trio

from ..errors import HandshakeError

OPENSSL = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")
"""What an error of the ssl module says around its words."""

_Path = str | os.PathLike[str]


@attrs.frozen(kw_only=True)
class TLS:
    """How a client speaks TLS; without arguments it trusts whom the system trusts.

    Args:
        ca_file: certificates of the authorities to trust instead of the system's, in PEM.
        ca_data: the same as text in PEM, or bytes in DER.
        certificate: the client's own certificate, with those between it and its authority, in PEM.
        key: its private key in PEM, if that is in a file of its own.
        password: of the private key, if it is encrypted.
        verify: False takes whatever certificate the server has: anybody may be the server then.
        check_hostname: False takes a certificate for any name that a trusted authority signed.
        server_hostname: the name to send (SNI) and to look for in the certificate, if it is not the
            URL's host.
        ciphers: for TLS 1.2 and earlier, as OpenSSL writes them.
        context: a context of your own, in place of all but `server_hostname`.

    Files are read when a connection is opened. What is wrong with them is an OSError (of which
    `ssl.SSLError` is one), or a ValueError.

    """

    ca_file: _Path | None = None
    ca_data: str | bytes | None = attrs.field(default=None, repr=False)
    certificate: _Path | None = None
    key: _Path | None = None
    password: str | None = attrs.field(default=None, repr=False)
    verify: bool = True
    check_hostname: bool = True
    server_hostname: str | None = None
    ciphers: str | None = None
    context: ssl.SSLContext | None = None

    def __attrs_post_init__(self) -> None:
        if self.context is not None and attrs.evolve(self, context=None) != TLS(
            server_hostname=self.server_hostname
        ):
            raise ValueError("a TLS context of your own goes with no option but server_hostname")
        if self.certificate is None and (self.key is not None or self.password is not None):
            raise ValueError("a key or its password needs the certificate that it belongs to")

    def elsewhere(self) -> TLS | None:
        """The same for another server, which must not get to see the client's certificate.

        None when that can't be said, since the context is the application's.
        """
        if self.context is not None:
            return None
        return attrs.evolve(self, certificate=None, key=None, password=None, server_hostname=None)

    def make_context(self) -> ssl.SSLContext:
        """A context of this kind: a new one, unless it is the application's or the default."""
        if self.context is not None:
            return self.context
        if attrs.evolve(self, server_hostname=None) == TLS():
            return _system_context()
        context = ssl.create_default_context(
            cafile=None if self.ca_file is None else os.fspath(self.ca_file), cadata=self.ca_data
        )
        context.set_alpn_protocols(["http/1.1"])
        context.check_hostname = self.verify and self.check_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        if self.ciphers is not None:
            context.set_ciphers(self.ciphers)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, self._password)
        return context

    def _password(self) -> str:
        """Asked for when the key is encrypted; without this OpenSSL asks at the terminal."""
        if self.password is None:
            raise ValueError(f"the key of {os.fspath(self.certificate or '')!r} needs its password")
        return self.password


@functools.cache
def _system_context() -> ssl.SSLContext:
    """The default, made once: reading the system's authorities takes 30 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def start_tls(
    stream: trio.abc.Stream,
    context: ssl.SSLContext,
    host: str,
    peer: str,
    error: type[HandshakeError] = HandshakeError,
) -> trio.SSLStream[trio.abc.Stream]:
    """Do the TLS handshake on a stream, which is closed if that fails.

    Args:
        stream: the way to the peer.
        context: what to trust, and who to be.
        host: the name to send, and to look for in the certificate.
        peer: what to call the other side when they don't come to terms.
        error: what to raise then.

    """
    try:
        secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        await secure.do_handshake()
    except trio.BrokenResourceError as broken:
        await trio.aclose_forcefully(stream)
        why = OPENSSL.sub("", str(broken.__cause__ or broken))
        raise error(f"no TLS with {peer}: {why}") from broken
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure
