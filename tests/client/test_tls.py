"""TLS of a client: whom it trusts, who it is, and what goes wrong."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

import hubws
from hubws.client.tls import TLS, _system_context


async def accept(peer) -> None:
    """Open, and close."""
    await peer.accept()
    await peer.frame()
    await peer.send(hubws.Frame.close())


async def see_it_fail(peer) -> None:
    """The other side doesn't like it, and goes."""
    assert await peer.at_end()


@attrs.frozen
class Files:
    """What a user of TLS has on disk."""

    ca: Path
    other_ca: Path
    certificate: Path
    """The client's chain and key."""
    chain: Path
    key: Path
    encrypted: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    files = Files(*(folder / f"{field.name}.pem" for field in attrs.fields(Files)))
    client = authority.issue_cert("ada@client.example")
    authority.cert_pem.write_to_path(files.ca)
    trustme.CA().cert_pem.write_to_path(files.other_ca)
    client.private_key_and_cert_chain_pem.write_to_path(files.certificate)
    client.private_key_pem.write_to_path(files.key)
    client.cert_chain_pems[0].write_to_path(files.chain)
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    files.encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    return files


@pytest.fixture
def own_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server whose context the test may change."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def demanding_tls(own_tls: ssl.SSLContext, authority: trustme.CA) -> ssl.SSLContext:
    """A server that wants the client's certificate."""
    authority.configure_trust(own_tls)
    own_tls.verify_mode = ssl.CERT_REQUIRED
    return own_tls


@pytest.fixture
def _forget_system_context() -> Iterator[None]:
    _system_context.cache_clear()
    yield
    _system_context.cache_clear()


class TestTrust:
    async def test_file(self, serve_script, server_tls, files) -> None:
        url = await serve_script(accept, server_tls)
        async with hubws.connect(url, tls=TLS(ca_file=files.ca)) as connection:
            assert connection.response.status == 101

    @pytest.mark.parametrize("form", ["PEM", "DER"])
    async def test_data(self, serve_script, server_tls, files, form) -> None:
        data = files.ca.read_text()
        tls = TLS(ca_data=data if form == "PEM" else ssl.PEM_cert_to_DER_cert(data))
        url = await serve_script(accept, server_tls)
        async with hubws.connect(url, tls=tls) as connection:
            assert connection.response.status == 101

    @pytest.mark.usefixtures("_forget_system_context")
    async def test_system(self, serve_script, server_tls, files, monkeypatch) -> None:
        """The system's authorities are those that OpenSSL is told of."""
        monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
        url = await serve_script(accept, server_tls)
        async with hubws.connect(url) as connection:
            assert connection.response.status == 101

    async def test_system_context_is_made_once(self) -> None:
        assert TLS().make_context() is TLS(server_hostname="a").make_context()
        assert TLS().make_context() is not TLS(verify=False).make_context()
        assert TLS().make_context().verify_mode == ssl.CERT_REQUIRED
        assert TLS().make_context().check_hostname

    @pytest.mark.parametrize("options", [{}, {"ca": "other_ca"}, {"check_hostname": False}])
    async def test_nobody_else(self, serve_script, server_tls, files, options) -> None:
        """Not somebody signed by whom we don't trust; for the system that is self-signed."""
        options = dict(options)
        if name := options.pop("ca", None):
            options["ca_file"] = getattr(files, name)
        url = await serve_script(see_it_fail, server_tls)
        with pytest.raises(hubws.HandshakeError, match="certificate verify failed"):
            async with hubws.connect(url, tls=TLS(**options)):
                pass

    async def test_anybody(self, serve_script, server_tls) -> None:
        url = (await serve_script(accept, server_tls)).replace("localhost", "127.0.0.1")
        async with hubws.connect(url, tls=TLS(verify=False)) as connection:
            assert connection.response.status == 101


class TestHostName:
    async def test_of_another(self, serve_script, server_tls, files) -> None:
        url = (await serve_script(see_it_fail, server_tls)).replace("localhost", "127.0.0.1")
        with pytest.raises(hubws.HandshakeError, match=r"IP address mismatch.*'127\.0\.0\.1'"):
            async with hubws.connect(url, tls=TLS(ca_file=files.ca)):
                pass

    async def test_is_not_looked_at(self, serve_script, server_tls, files) -> None:
        url = (await serve_script(accept, server_tls)).replace("localhost", "127.0.0.1")
        tls = TLS(ca_file=files.ca, check_hostname=False)
        async with hubws.connect(url, tls=tls) as connection:
            assert connection.response.status == 101

    @pytest.mark.parametrize("own", [False, True])
    async def test_server_hostname(self, serve_script, authority, files, client_tls, own) -> None:
        """Sent to the server (SNI), and looked for in its certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("inner.example").configure_cert(context)
        names = []
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        url = (await serve_script(accept, context)).replace("localhost", "127.0.0.1")
        tls = TLS(context=client_tls) if own else TLS(ca_file=files.ca)
        tls = attrs.evolve(tls, server_hostname="inner.example")
        async with hubws.connect(url, tls=tls) as connection:
            assert connection.response.status == 101
        assert names == ["inner.example"]

    async def test_url_host_is_sent(self, serve_script, own_tls, files) -> None:
        names = []
        own_tls.sni_callback = lambda _socket, name, _context: names.append(name)
        async with hubws.connect(await serve_script(accept, own_tls), tls=TLS(ca_file=files.ca)):
            pass
        assert names == ["localhost"]


class TestClientCertificate:
    @pytest.mark.parametrize(
        "names",
        [
            {"certificate": "certificate"},
            {"certificate": "chain", "key": "key"},
            {"certificate": "chain", "key": "encrypted", "password": "open sesame"},
        ],
    )
    async def test_is_shown(self, serve_script, demanding_tls, files, names) -> None:
        shown = []

        async def script(peer) -> None:
            await accept(peer)
            shown.append(peer.stream.getpeercert())

        url = await serve_script(script, demanding_tls)
        options = {name: getattr(files, value, value) for name, value in names.items()}
        async with hubws.connect(url, tls=TLS(ca_file=files.ca, **options)) as connection:
            assert connection.response.status == 101
        (certificate,) = shown
        assert ("email", "ada@client.example") in certificate["subjectAltName"]

    async def test_is_missing(self, serve_script, demanding_tls, files) -> None:
        async def script(peer) -> None:
            with pytest.raises(trio.BrokenResourceError):
                await peer.request()

        url = await serve_script(script, demanding_tls)
        with pytest.raises(hubws.HandshakeError):
            async with hubws.connect(url, tls=TLS(ca_file=files.ca)):
                pass

    async def test_is_not_for_others(self, files) -> None:
        tls = TLS(
            ca_file=files.ca,
            certificate=files.chain,
            key=files.encrypted,
            password="open sesame",
            server_hostname="inner.example",
            check_hostname=False,
        )
        assert tls.elsewhere() == TLS(ca_file=files.ca, check_hostname=False)
        assert TLS(context=ssl.create_default_context()).elsewhere() is None


class TestOptions:
    async def test_nobody_is_asked_for_a_password(self, files) -> None:
        """OpenSSL would ask at the terminal, and wait."""
        with pytest.raises(ValueError, match=r"chain\.pem' needs its password"):
            TLS(certificate=files.chain, key=files.encrypted).make_context()

    async def test_wrong_password(self, files) -> None:
        tls = TLS(certificate=files.chain, key=files.encrypted, password="hidden")
        with pytest.raises(ssl.SSLError) as caught:
            tls.make_context()
        assert "hidden" not in str(caught.value)
        assert "hidden" not in repr(tls)

    async def test_files_are_looked_at_first(self, tmp_path) -> None:
        """Before anybody is called."""
        for name in ("ca_file", "certificate"):
            with pytest.raises(FileNotFoundError):
                async with hubws.connect(
                    "wss://localhost:1/", tls=TLS(**{name: tmp_path / "missing.pem"})
                ):
                    pass

    async def test_ciphers(self, serve_script, own_tls, files) -> None:
        own_tls.maximum_version = ssl.TLSVersion.TLSv1_2
        seen = []

        async def script(peer) -> None:
            await accept(peer)
            seen.append(peer.stream.cipher()[0])

        tls = TLS(ca_file=files.ca, ciphers="ECDHE+AES128")
        async with hubws.connect(await serve_script(script, own_tls), tls=tls):
            pass
        assert len(seen) == 1
        assert "AES128" in seen[0]

    async def test_no_such_ciphers(self) -> None:
        with pytest.raises(ssl.SSLError, match="No cipher"):
            TLS(ciphers="none such").make_context()

    async def test_protocol_is_http(self, serve_script, own_tls, files) -> None:
        """ALPN keeps a server that could speak HTTP/2 from it (RFC 7301)."""
        chosen = []

        async def script(peer) -> None:
            await accept(peer)
            chosen.append(peer.stream.selected_alpn_protocol())

        own_tls.set_alpn_protocols(["h2", "http/1.1"])
        async with hubws.connect(await serve_script(script, own_tls), tls=TLS(ca_file=files.ca)):
            pass
        assert chosen == ["http/1.1"]

    @pytest.mark.parametrize(
        "options",
        [
            {"context": ssl.create_default_context(), "verify": False},
            {"context": ssl.create_default_context(), "ca_file": "a"},
            {"key": "a"},
            {"password": "a"},
        ],
        ids=lambda options: "+".join(options),
    )
    async def test_what_does_not_fit(self, options) -> None:
        with pytest.raises(ValueError, match=r"server_hostname|needs the certificate"):
            TLS(**options)
