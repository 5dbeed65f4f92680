"""SCRAM with and without channel bindings, against a client library."""
from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import scramp

from courierpy.auth import Account, Rejected, Request, mechanisms, scram
from courierpy.auth.sasl import Context
from courierpy.system import channelbinding
from courierpy.system.channelbinding import END_POINT, EXPORTER

if TYPE_CHECKING:
    from courierpy.auth.sasl import Exchange

NAMES = ["SCRAM-SHA-1", "SCRAM-SHA-256"]
BINDINGS = {END_POINT: b"e" * 32, EXPORTER: b"x" * 32}


@pytest.fixture(autouse=True)
def _any_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library leaves it to its user to come by a value of tls-exporter, and then has no word for it."""
    monkeypatch.setattr(scramp.core.CbName, "UNSUPPORTED_TYPES", frozenset())
    monkeypatch.setattr(scramp.core.CbName, "SUPPORTED_TYPES", frozenset({END_POINT, EXPORTER, "tls-unique"}))


class Server(Context):
    """Of the account demo.  ``password``: its own."""

    def __init__(self, password: str, bindings: dict[str, bytes]) -> None:
        super().__init__("imap", channelbinding.variables(bindings))
        self.password = password


def context(password: str = "secret", **bindings: bytes) -> Server:
    return Server(password, {kind.replace("_", "-"): value for kind, value in bindings.items()})


def bound() -> Server:
    return context(**BINDINGS)


def begun(server: Server, name: str, first: bytes) -> tuple[Exchange, bytes]:
    """The exchange, and its first challenge; the module knows demo."""
    mechanism = mechanisms.find(name.encode())
    assert mechanism is not None
    exchange = mechanism(server, first)
    asked = next(exchange)
    assert isinstance(asked, Request) and asked.kind == "pre"
    if asked.user == "demo":
        challenge = exchange.send(Account("demo", 1, 1, "/home", passwd2=server.password))
    else:
        challenge = exchange.throw(Rejected())
    assert isinstance(challenge, bytes)
    return exchange, challenge


def login(server: Server, name: str, client: scramp.ScramClient) -> str:
    """The exchange of ``client`` with the mechanism of this name: the address that came in."""
    exchange, challenge = begun(server, name, client.get_client_first().encode())
    client.set_server_first(challenge.decode())
    final = exchange.send(client.get_client_final().encode())
    assert isinstance(final, bytes)
    client.set_server_final(final.decode())
    try:
        exchange.send(b"")
    except StopIteration as done:
        return str(done.value.address)
    raise AssertionError("it goes on")


def client(name: str, password: str = "secret", user: str = "demo",
           binding: tuple[str, bytes] | None = None) -> scramp.ScramClient:
    return scramp.ScramClient([name], user, password, channel_binding=binding)


@pytest.mark.parametrize("name", NAMES)
def test_without_binding(name: str) -> None:
    assert login(context(), name, client(name)) == "demo"
    for wrong in (client(name, "wrong"), client(name, user="who")):
        with pytest.raises(Rejected):
            login(context(), name, wrong)
    with pytest.raises(Rejected):
        login(context(""), name, client(name))     # no clear password is known


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [END_POINT, EXPORTER])
def test_with_binding(name: str, kind: str) -> None:
    name += "-PLUS"
    assert login(bound(), name, client(name, binding=(kind, BINDINGS[kind]))) == "demo"
    for binding in ((kind, os.urandom(32)), (kind, b"x"), ("tls-unique", BINDINGS[kind])):
        with pytest.raises(Rejected):
            login(bound(), name, client(name, binding=binding))
    with pytest.raises(Rejected):                   # the connection has none
        login(context(), name, client(name, binding=(kind, BINDINGS[kind])))


@pytest.mark.parametrize(("text", "prepared"), [
    ("secret", "secret"), ("I\u00adX", "IX"), ("\u00aa", "a"), ("\u2168", "IX"),
    ("p\u00e4ss wort", "p\u00e4ss wort"), ("pa\u0308ss", "p\u00e4ss"),
    ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
    # RFC 4013 3: these cannot be prepared, and are what they are
    ("\u00e4\u0007", "\u00e4\u0007"), ("\u0627\u0031", "\u0627\u0031"), ("\U0001f600", "\U0001f600")])
def test_passwords_are_prepared(text: str, prepared: str) -> None:
    assert scram.prepare(text) == prepared


@pytest.mark.parametrize(("stored", "typed"), [
    ("pa\u0308ss", "p\u00e4ss"), ("\u2168", "IX"), ("a\u00a0b", "a b")])
def test_a_password_typed_on_another_keyboard(stored: str, typed: str) -> None:
    assert login(context(stored), "SCRAM-SHA-256", client("SCRAM-SHA-256", typed)) == "demo"


def test_a_stored_password_that_is_not_utf_8() -> None:
    with pytest.raises(Rejected):
        login(context("s\udce9cret"), "SCRAM-SHA-256", client("SCRAM-SHA-256", "s\u00e9cret"))


def begins(name: str, first: str, server: Server | None = None, change: str | None = None) -> bool:
    """Is ``first`` answered with a challenge?"""
    try:
        return begun(server or bound(), name, first.encode())[1].startswith(b"r=nonce")
    except Rejected:
        return False


def told(*names: bytes) -> Callable[[], Server]:
    def make() -> Server:
        made = bound()
        made.told = names
        return made
    return make


@pytest.mark.parametrize("name", NAMES)
def test_the_flag_of_the_binding(name: str) -> None:
    """RFC 5802 6: who says y where we told that we can was lied to."""
    plus = name + "-PLUS"
    rest = ",,n=demo,r=nonce"
    assert begins(name, "n" + rest) and begins(name, "y" + rest)
    can = told(name.encode(), plus.encode())
    assert begins(name, "n" + rest, can()) and not begins(name, "y" + rest, can())
    assert begins(name, "y" + rest, told(name.encode())())
    assert begins(plus, f"p={EXPORTER}" + rest)
    for flag in ("n", "y", "p", "p=", "", "x", "p=tls-unique", "n=", f"y={EXPORTER}"):
        assert not begins(plus, flag + rest)
    assert not begins(name, f"p={EXPORTER}" + rest)


@pytest.mark.parametrize("first", [
    "", "n", "n,", "n,,", "n,,n=demo", "n,,r=nonce", "n,,n=,r=nonce", "n,,n=demo,r=", "n,,m=x,n=demo,r=nonce",
    "n,x,n=demo,r=nonce", "n,a=other,n=demo,r=nonce", "n,,n=demo,r=nonce\0"])
def test_what_is_no_first_message(first: str) -> None:
    assert not begins("SCRAM-SHA-256", first)


def test_names_with_commas_and_equals_signs() -> None:
    server = context()
    assert begins("SCRAM-SHA-256", "n,,n=a=2Cb=3Dc,r=nonce", server)
    assert server.user == "a,b=c"


@pytest.mark.parametrize("final", ["", "c=biws", "c=biws,r=other,p=x", "c=eSws,r={nonce},p=x",
                                   "c=!!,r={nonce},p=x", "c=biws,r={nonce},p=", "c=biws,r={nonce},p=!!"])
def test_what_is_no_final_message(final: str) -> None:
    exchange, challenge = begun(context(), "SCRAM-SHA-256", b"n,,n=demo,r=nonce")
    nonce = challenge.decode().partition(",")[0][2:]
    with pytest.raises(Rejected):
        exchange.send(final.format(nonce=nonce).encode())


def test_the_header_is_bound_too() -> None:
    """Who changes the flag on the way is found out: c= holds what the client said."""
    other = client("SCRAM-SHA-256")
    first = other.get_client_first()
    exchange, challenge = begun(context(), "SCRAM-SHA-256", b"y" + first[1:].encode())
    other.set_server_first(challenge.decode())
    final = other.get_client_final()
    assert b64encode(b"n,,").decode() in final
    with pytest.raises(Rejected):
        exchange.send(final.encode())
