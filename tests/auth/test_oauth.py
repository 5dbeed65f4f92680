"""OAUTHBEARER and XOAUTH2: what the client says, and what it is told."""
from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, check, mechanisms
from courierpy.auth.sasl import Context
from courierpy.imap import capability
from courierpy.system.settings import Settings

if TYPE_CHECKING:
    from courierpy.auth.sasl import Exchange

# RFC 7628 4.1, its example of IMAP
EXAMPLE = ("bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
           "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB")
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def answered(exchange: Exchange, request: Request) -> bytes | Request:
    """What the mechanism says to the answer of a helper that lets two tokens in."""
    if request.password == "later":
        return exchange.throw(TemporaryFailure("nobody answers"))
    if request.password not in (TOKEN, "good"):
        return exchange.throw(Rejected())
    return exchange.send(Account(request.user or "joe", 1, 1, "/home"))


def run(name: bytes, data: bytes, **environ: str) -> tuple[list[Request], str | dict[str, str]]:
    """What was asked, and the address that came in or the JSON that the client is told before the NO."""
    asked = []
    mechanism = mechanisms.find(name)
    assert mechanism is not None
    exchange = mechanism(Context("imap", environ), bytes(bytearray(data)))
    try:
        said = next(exchange)
        while isinstance(said, Request):
            asked.append(Request(said.kind, said.service, {}, user=said.user,
                                 password=said.password.encode().decode()))
            said = answered(exchange, said)
        told = json.loads(said)
    except StopIteration as done:
        return asked, str(done.value.address)
    with pytest.raises(Rejected):
        exchange.send(b"\1")
    assert isinstance(told, dict)
    return asked, told


def test_the_example_of_the_rfc() -> None:
    asked, came = run(b"OAUTHBEARER", b64decode(EXAMPLE))
    assert came == "user@example.com"
    assert (asked[0].kind, asked[0].user, asked[0].password) == ("token", "user@example.com", TOKEN)


@pytest.mark.parametrize("data", [
    b"n,a=joe,\1auth=Bearer good\1\1", b"y,a=joe,\1auth=bearer good\1\1",
    b"n,a=joe,\1auth=BEARER good\1host=x\1\1", b"n,a=joe,\1port=143\1auth=Bearer good\1x=y\1\1"])
def test_bearer(data: bytes) -> None:
    assert run(b"OAUTHBEARER", data)[1] == "joe"


def test_names() -> None:
    assert run(b"OAUTHBEARER", b"n,a=a=2Cb=3Dc,\1auth=Bearer good\1\1")[1] == "a,b=c"
    asked, came = run(b"OAUTHBEARER", b"n,,\1auth=Bearer good\1\1")
    assert came == "joe" and asked[0].user == ""               # whose token it is
    assert run(b"OAUTHBEARER", b"n,,\1auth=Bearer good\1\1", DEFDOMAIN="@x")[0][0].user == ""
    assert run(b"OAUTHBEARER", b"n,a=joe,\1auth=Bearer good\1\1", DEFDOMAIN="@x")[0][0].user == "joe@x"


@pytest.mark.parametrize("data", [
    b"", b"n,,", b"n,,\1\1", b"n,,\1auth=Bearer \1\1", b"n,,\1auth=Bearer good", b"n,,\1auth=Bearer good\1",
    b"n,,\1auth=Basic good\1\1", b"n,,\1auth=good\1\1", b"p=tls-exporter,,\1auth=Bearer good\1\1",
    b"x,,\1auth=Bearer good\1\1", b"n,b=joe,\1auth=Bearer good\1\1", b"n,\1auth=Bearer good\1\1",
    b"n,,x\1auth=Bearer good\1\1", b"n,,\1auth=Bearer good\1auth=Bearer good\1\1",
    b"n,,\1auth=Bearer go od\1\1",
    b"n,,\1auth=Bearer go\nod\1\1", b"n,,\1auth=Bearer \xc3\xa4\1\1", b"\0joe\0good"])
def test_what_is_no_message(data: bytes) -> None:
    asked, told = run(b"OAUTHBEARER", data, OAUTH_SCOPE="mail")
    assert not asked and told == {"status": "invalid_request", "scope": "mail"}


def test_what_a_client_is_told_of_a_bad_token() -> None:
    """RFC 7628 3.2.2."""
    told = run(b"OAUTHBEARER", b"n,a=joe,\1auth=Bearer bad\1\1", OAUTH_SCOPE="mail",
               OAUTH_CONFIGURATION_URL="https://id/.well-known/openid-configuration")[1]
    assert told == {"status": "invalid_token", "scope": "mail",
                    "openid-configuration": "https://id/.well-known/openid-configuration"}
    assert run(b"OAUTHBEARER", b"n,a=joe,\1auth=Bearer bad\1\1")[1] == {"status": "invalid_token"}
    assert run(b"XOAUTH2", b"user=joe\1auth=Bearer bad\1\1")[1] == {"status": "401", "schemes": "bearer"}
    for name, data in ((b"OAUTHBEARER", b"n,a=joe,\1auth=Bearer later\1\1"),
                       (b"XOAUTH2", b"user=joe\1auth=Bearer later\1\1")):
        with pytest.raises(TemporaryFailure):
            run(name, data)


def test_xoauth2() -> None:
    assert run(b"XOAUTH2", b"user=joe\1auth=Bearer good\1\1")[1] == "joe"
    for data in (b"", b"user=joe\1\1", b"auth=Bearer good\1\1", b"user=\1auth=Bearer good\1\1",
                 b"n,a=joe,\1auth=Bearer good\1\1", b"user=joe\1auth=Bearer good"):
        asked, told = run(b"XOAUTH2", data)
        assert not asked and told == {"status": "401", "schemes": "bearer"}


BOTH = [b"AUTH=OAUTHBEARER", b"AUTH=XOAUTH2"]


@pytest.mark.parametrize(("values", "tls", "told"), [
    ({}, True, []), ({"OAUTH_KEYFILE": "/x"}, True, BOTH),
    ({"OAUTH_INTROSPECTION_URL": "https://x/"}, True, BOTH),
    ({"OAUTH_KEYFILE": "/x", "IMAP_CAPABILITY": "-AUTH=XOAUTH2"}, True, BOTH[:1]),
    ({"OAUTH_KEYFILE": "/x", "IMAP_CAPABILITY_TLS": "all AUTH=PLAIN"}, True, BOTH),
    ({"OAUTH_KEYFILE": "/x", "IMAP_CAPABILITY": "-AUTH"}, True, []),
    ({"OAUTH_KEYFILE": "/x", "TCPREMOTEIP": "::ffff:192.0.2.1"}, False, []),
    ({"OAUTH_KEYFILE": "/x", "TCPREMOTEIP": "2001:db8::1"}, False, []), ({"OAUTH_KEYFILE": "/x"}, False, []),
    *(({"OAUTH_KEYFILE": "/x", "TCPREMOTEIP": address}, False, BOTH)
      for address in ("127.0.0.1", "::ffff:127.0.0.1", "::1"))])
def test_they_are_told_where_they_are_configured_and_nobody_listens(values: dict[str, str], tls: bool,
                                                                    told: list[bytes]) -> None:
    """RFC 6750 5.3: a token goes by TLS; from a program of this machine also without."""
    line = capability.line(Settings(values), "login", tls)
    assert [word for word in line.split() if word in BOTH] == told
    assert not set(BOTH) & set(capability.line(Settings(values), "session", tls).split())




def test_no_module_is_asked_for_a_token_that_nobody_has_checked() -> None:
    with pytest.raises(TemporaryFailure):
        check(["authuserdb"], Request("token", "imap", {}, user="demo", password="guess"))
