"""hubws/cli/options.py: from options to what `serve` and `connect` take."""

from __future__ import annotations

import inspect
import ssl
from pathlib import Path

import pytest
import trustme

import hubws
from hubws.cli.options import PORT, ClientOptions, CommonOptions, ServerOptions
from tests.cli.command import run
from tests.cli.conftest import Serve, echo


@pytest.mark.parametrize(
    ("options", "function"),
    [(ClientOptions(), hubws.connect), (ServerOptions(), hubws.serve)],
    ids=["connect", "serve"],
)
def test_defaults_are_those_of_the_library(options: CommonOptions, function: object):
    assert callable(function)
    parameters = inspect.signature(function).parameters
    settings = hubws.Settings()
    ours = {"host": "127.0.0.1", "port": PORT, "headers": [], "tls": None}
    for name, value in options.arguments().items():
        if name in parameters:
            assert value == ours.get(name, parameters[name].default), name
        else:
            assert value in (getattr(settings, name), None), name


def test_of_both():
    options = ClientOptions(
        header=("Name: value: more", "Empty:"),
        subprotocol=("a", "b"),
        compression=True,
        compression_level=9,
        context_takeover=False,
        max_message_size=10,
        keepalive_interval=0,
    )
    arguments = options.arguments()
    assert arguments["headers"] == [("Name", "value: more"), ("Empty", "")]
    assert arguments["subprotocols"] == ("a", "b")
    assert arguments["compression"] == hubws.Deflate(
        level=9, client_no_context_takeover=True, server_no_context_takeover=True
    )
    assert arguments["max_message_size"] == 10
    assert arguments["keepalive_interval"] is None


def test_of_servers():
    arguments = ServerOptions(
        host="", unix_path=Path("socket"), origin=("https://example.org",), max_rate=5
    ).arguments()
    assert (arguments["host"], arguments["port"]) == (None, None)
    assert arguments["origins"] == ("https://example.org",)
    assert arguments["rate_limit"] == hubws.RateLimit(messages=5)
    assert ServerOptions(unix_path=Path("socket"), port=1).arguments()["port"] == 1
    assert ServerOptions(origin=("any",)).arguments()["origins"] == "any"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (ClientOptions(header=("secret",)), '--header needs "Name: value"'),
        (ClientOptions(proxy="http://x", no_proxy=True), "exclude each other"),
        (ClientOptions(max_message_size=0), "max_message_size must be a whole number from 1"),
        (ClientOptions(compression=True, compression_level=10), "level must be 0 to 9, not 10"),
        (ClientOptions(ca=Path(__file__)), f"no TLS with {__file__}: "),
        (ClientOptions(key=Path("key.pem")), "needs the certificate"),
        (ClientOptions(ciphers="none"), "no TLS with these options: "),
        (ServerOptions(certificate=Path("none.pem")), "no TLS with none.pem: .*No such file"),
        (ServerOptions(key=Path("key.pem")), "need --certificate"),
        (ServerOptions(max_rate=0), "must be over 0"),
    ],
)
def test_what_makes_no_sense(options: CommonOptions, error: str):
    with pytest.raises(ValueError, match=error):
        options.arguments()


async def test_certificates_of_both_sides(serve: Serve, authority: trustme.CA, tmp_path: Path):
    for name in ("127.0.0.1", "client"):
        issued = authority.issue_cert(name)
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    server = ServerOptions(certificate=tmp_path / "127.0.0.1.pem", client_ca=ca)
    assert server.is_secure
    context = server.arguments()["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    url = await serve(echo, ssl_context=context)
    client = ["--certificate", str(tmp_path / "client.pem"), "--ca", str(ca)]
    end = await run("ping", url, "-q", "--count", "1", *client)
    assert (end.status, end.errors) == (0, [])
    end = await run("ping", url, "-q", "--count", "1")
    assert end.status == 1
    assert len(end.errors) == 1
    assert "certificate" in end.errors[0]
