"""Redirects of an opening handshake (RFC 9110 §15.4): where they lead, and what goes along."""

from __future__ import annotations

from urllib.parse import urljoin

import attrs

from ..errors import HandshakeRefused, LocalProtocolError
from ..protocol.address import Address, without_secrets
from ..protocol.http import HeaderPairs, Headers, Response
from .dial import Way

STATUSES = frozenset({301, 302, 303, 307, 308})

HARMLESS = frozenset({"accept-language", "user-agent"})
"""What of the application's headers goes to another server, too: any other may be a credential."""

_SCHEMES = {"http": "ws", "https": "wss"}


@attrs.frozen
class Destination:
    """Where an opening handshake goes, by which way, and what it shows there of the application."""

    address: Address
    way: Way
    origin: str | None = None
    headers: HeaderPairs = attrs.field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return without_secrets(self.address.origin + self.address.target)

    def redirected(self, response: Response) -> Destination | None:
        """Where a response leads instead; None if it is no redirect.

        Another scheme, host or port is another server, which gets no credentials: no user and
        password, no header of the application but harmless ones, no Origin, no client certificate.
        Raises HandshakeRefused for a redirect that may not be followed.
        """
        locations = response.headers.get_all("Location")
        if response.status not in STATUSES or len(locations) != 1:
            return None
        target = _read(self.address, locations[0], response)
        shown = without_secrets(target.origin + target.target)
        if self.address.secure and not target.secure:
            raise HandshakeRefused(
                f"the server answered {response.status}; {shown} is not secure as it is", response
            )
        self.way.check_redirect(shown, response)
        if target.origin == self.address.origin:
            target = attrs.evolve(target, authorization=self.address.authorization)
            return attrs.evolve(self, address=target)
        way = self.way.elsewhere(shown, response) if target.secure else self.way
        lines = [line for line in Headers(self.headers) if line[0].lower() in HARMLESS]
        return Destination(target, way, None, lines)


def _read(address: Address, location: str, response: Response) -> Address:
    """The address that a Location names, in relation to the address that was asked."""
    refusal = f"the server answered {response.status} with a Location that can't be followed"
    try:
        url = urljoin(address.origin + address.target, location).partition("#")[0]
        scheme, slashes, rest = url.partition("://")
        scheme = scheme.lower()
        target = Address.from_url(_SCHEMES.get(scheme, scheme) + slashes + rest)
    except LocalProtocolError as error:
        raise HandshakeRefused(f"{refusal}: {error}", response) from error
    except ValueError:  # from urljoin, whose text may have a password
        raise HandshakeRefused(f"{refusal}: {without_secrets(location)!r}", response) from None
    if target.authorization is not None:
        raise HandshakeRefused(f"{refusal}: it has user information", response)
    return target
