"""The login at another host, spoken by hand: no host, no process, no clock."""
from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from courierpy.auth import Rejected
from courierpy.imap import backend as imap
from courierpy.model.steps import Accepted, Read, Secure, Unreachable
from courierpy.pop3 import backend as pop3
from courierpy.system.answers import MAX_OCTETS
from tests.login.driven import Said

PLAIN = b64encode(b"\0joe\0geheim!")


class Host:
    """What is said to a host, and what it says.  ``found``: what came of it."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.said: Said = backend._server
        self.steps = backend.steps()
        self.found: object = None
        self.wants: object = next(self.steps)

    def says(self, data: bytes) -> bytes:
        """What it hears then."""
        assert isinstance(self.wants, Read)
        return self.goes_on(data)

    def goes_on(self, answer: object = None) -> bytes:
        try:
            self.wants = self.steps.send(answer)
        except StopIteration as over:
            self.found, self.wants = over.value, None
        except (Rejected, Unreachable) as error:
            self.found, self.wants = error, None
        octets, self.said.octets = bytes(bytearray(self.said.octets)), b""
        return octets


def by_imap(user: str = "joe", password: str = "geheim!", tls: str = "may", asks: bool = False,
            fields: tuple[tuple[bytes, bytes], ...] = ()) -> Host:
    wish = imap.Wish(user, "".join(list(password)), tls, fields, asks)
    return Host(imap.Backend(wish, Said()))


def by_pop3(user: str = "joe", password: str = "geheim!", tls: str = "may", utf8: bool = False) -> Host:
    return Host(pop3.Backend(user, "".join(list(password)), tls, utf8, Said()))


def accepted(host: Host) -> Accepted:
    assert isinstance(host.found, Accepted), host.found
    return host.found


def test_plain_with_its_first_response() -> None:
    host = by_imap()
    assert host.says(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n") \
        == b"p1 AUTHENTICATE PLAIN " + PLAIN + b"\r\n"
    assert host.backend.sent
    host.says(b"p1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* 3 EXISTS\r\n")
    assert accepted(host).capabilities == b"IMAP4rev1 IDLE"
    assert accepted(host).rest == b"* 3 EXISTS\r\n"


def test_what_a_host_can_is_asked_for() -> None:
    """Before the login, and after one that does not say it."""
    host = by_imap()
    assert host.says(b"* OK Hello\r\n") == b"p1 CAPABILITY\r\n"
    assert host.says(b"* CAPABILITY IMAP4rev1 auth=plain\r\np1 OK done\r\n") == b"p2 AUTHENTICATE PLAIN\r\n"
    assert host.says(b"+ \r\n") == PLAIN + b"\r\n"
    assert host.says(b"p2 OK in\r\n") == b"p3 CAPABILITY\r\n"
    host.says(b"* CAPABILITY IMAP4rev1 SORT\r\np3 OK done\r\n")
    assert accepted(host).capabilities == b"IMAP4rev1 SORT"


def test_what_it_can_is_asked_for_where_that_is_wanted() -> None:
    host = by_imap(asks=True)
    host.says(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n")
    assert host.says(b"p1 OK [CAPABILITY IMAP4rev1] in\r\n") == b"p2 CAPABILITY\r\n"
    host.says(b"* CAPABILITY IMAP4rev1 X\r\np2 OK\r\n")
    assert accepted(host).capabilities == b"IMAP4rev1 X"


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_login_octet_by_octet(size: int) -> None:
    """A greeting with literals in it, untagged data, and an answer, however they are cut."""
    host = by_imap('j"oe', "a\\b c")
    heard = b""
    script = [b"* OK ready\r\n", b"* CAPABILITY IMAP4rev1\r\n* XDATA {4}\r\n\r\n\r\n x\r\np1 OK\r\n",
              b"* CAPABILITY IMAP4rev1 IDLE\r\np2 OK in\r\n"]
    for part in script:
        for at in range(0, len(part), size):
            heard += host.says(part[at:at + size])
    assert heard == b'p1 CAPABILITY\r\np2 LOGIN "j\\"oe" "a\\\\b c"\r\n'
    assert accepted(host).capabilities == b"IMAP4rev1 IDLE"


def test_names_and_passwords_that_are_not_ascii() -> None:
    host = by_imap("j\u00f6e", "gehe\u00efm")
    assert host.says(b"* OK [CAPABILITY IMAP4rev1] hi\r\n") == b"p1 LOGIN {4}\r\n"
    assert host.says(b"+ go\r\n") == "j\u00f6e {7}\r\n".encode()
    assert host.says(b"+ go\r\n") == "gehe\u00efm\r\n".encode()
    host.says(b"p1 OK [CAPABILITY IMAP4rev1] in\r\n")
    assert accepted(host).rest == b""


def test_id_comes_ahead_of_the_password() -> None:
    host = by_imap(fields=((b"name", b'a "b"'), (imap.HOPS_FIELD, b"4")))
    assert host.says(b"* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN SASL-IR] hi\r\n") \
        == b'p1 ID ("name" "a \\"b\\"" "x-proxy-ttl" "4")\r\n'
    assert host.says(b"* ID NIL\r\np1 BAD what\r\n").startswith(b"p2 AUTHENTICATE PLAIN ")
    without = by_imap(fields=((b"name", b"x"),))
    assert without.says(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n").startswith(b"p1 AUTH")


def test_starttls() -> None:
    host = by_imap(tls="starttls")
    assert host.says(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n") == b"p1 STARTTLS\r\n"
    host.says(b"p1 OK go\r\n")
    assert isinstance(host.wants, Secure) and not host.backend.sent
    assert host.goes_on() == b"p2 CAPABILITY\r\n"
    assert host.says(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\np2 OK\r\n").startswith(b"p3 AUTH")


@pytest.mark.parametrize("tls", ["starttls", "yes"])
def test_no_password_where_tls_is_not_offered(tls: str) -> None:
    """A wrong word of the setting counts as the strict one."""
    host = by_imap(tls=tls)
    assert host.says(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n") == b""
    assert isinstance(host.found, Unreachable) and not host.backend.sent
    pop = by_pop3(tls=tls)
    pop.says(b"+OK hi\r\n")
    assert pop.says(b"+OK\r\nUSER\r\n.\r\n") == b""
    assert isinstance(pop.found, Unreachable) and not pop.backend.sent


@pytest.mark.parametrize("tls", ["no", "tls"])
def test_no_starttls_where_it_is_not_wanted(tls: str) -> None:
    assert b"LOGIN" in by_imap(tls=tls).says(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n")


@pytest.mark.parametrize("said", [
    b"* BYE too many\r\n", b"* PREAUTH hi\r\n", b"+OK hi\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"",
    b"\0\xff\n", b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n", b"* OK {999999999}\r\n",
    b"* OK " + b"x" * 2 * MAX_OCTETS])
def test_no_greeting_that_is_one(said: bytes) -> None:
    """Nor does the host hear a password."""
    host = by_imap()
    heard = host.says(said)
    if isinstance(host.wants, Read):
        heard += host.says(b"")
    assert isinstance(host.found, Unreachable) and b"LOGIN" not in heard and not host.backend.sent


@pytest.mark.parametrize("said", [b"p1 OK go\r\n* CAPABILITY IMAP4rev1\r\n", b"p1 NO no\r\n", b"p1 BAD\r\n",
                                  b"p2 OK go\r\n", b"* BYE\r\n", b"* BYE no\r\n", b""])
def test_tls_that_does_not_come(said: bytes) -> None:
    """What comes ahead of the handshake may be anybody's."""
    host = by_imap()
    host.says(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n")
    host.says(said)
    if isinstance(host.wants, Read):
        host.says(b"")
    assert isinstance(host.found, Unreachable) and not host.backend.sent


@pytest.mark.parametrize(("said", "found", "code"), [
    (b"p1 NO Login failed.\r\n", Rejected, b""), (b"p1 NO [AUTHENTICATIONFAILED] no\r\n", Rejected, b""),
    (b"p1 BAD what\r\n", Rejected, b""), (b"p1 NO [REFERRAL imap://other/] there\r\n", Rejected, b""),
    (b"p1 NO [UNAVAILABLE] later\r\n", Unreachable, b"UNAVAILABLE"),
    (b"p1 NO [limit] many\r\n", Unreachable, b"LIMIT"), (b"p1 NO [INUSE] x\r\n", Unreachable, b"INUSE"),
    (b"* BYE [UNAVAILABLE] later\r\n", Unreachable, b"UNAVAILABLE"), (b"* BYE later\r\n", Unreachable, b""),
    (b"p1 OKAY\r\n", Unreachable, b""), (b"p1 \r\n", Unreachable, b""), (b"x1 OK in\r\n", Unreachable, b""),
    (b"", Unreachable, b"")])
def test_refusals(said: bytes, found: type, code: bytes) -> None:
    """A wrong password is told apart from what may be better in a moment."""
    host = by_imap()
    host.says(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
    host.says(said)
    assert type(host.found) is found and getattr(host.found, "code", b"") == code
    assert "geheim" not in str(host.found)


def test_a_refused_literal() -> None:
    host = by_imap("j\u00f6e")
    host.says(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
    assert host.says(b"p1 NO no\r\n") == b"" and isinstance(host.found, Rejected)


def test_a_challenge_to_the_password_is_given_up() -> None:
    host = by_imap()
    host.says(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n")
    assert host.says(b"+ eyJzdGF0dXMiOiI0MDEifQ==\r\n") == b"*\r\n"
    host.says(b"p1 NO no\r\n")
    assert isinstance(host.found, Rejected)


def test_fields_that_are_passed_on() -> None:
    """None that a proxy is believed for, and none with what a quoted string cannot hold."""
    fields, hops = imap.passed_on([
        (b"name", b"tb"), (b"X-Originating-IP", b"10.0.0.1"), (b"x-connected-port", b"1"), (b"os", None),
        (b"x-session-id", b"1"), (b"vendor", b"a\r\nb"), (b"address", "\u00e4".encode()), (b"date", b""),
        (b"x-forward-user", b"root"), (b"X-Proxy-TTL", b"3")])
    assert fields == [(b"name", b"tb"), (b"date", b"")] and hops == 3


@pytest.mark.parametrize(("said", "hops"), [(b"0", 0), (b"9" * 20, imap.HOPS), (b"-1", imap.HOPS),
                                            (b"x", imap.HOPS), (b"", imap.HOPS), (None, imap.HOPS)])
def test_hops_are_never_more_than_ours(said: bytes | None, hops: int) -> None:
    assert imap.passed_on([(imap.HOPS_FIELD, said)])[1] == hops
    assert len(imap.passed_on([(b"f%d" % at, b"v") for at in range(30)])[0]) == imap.MAX_FIELDS


def test_pop3_by_user_and_pass() -> None:
    host = by_pop3("j\u00f6e", utf8=True)
    assert host.says(b"+OK hi\r\n") == b"CAPA\r\n"
    assert host.says(b"+OK\r\nUSER\r\nUTF8 USER\r\n.\r\n") == b"UTF8\r\n"
    assert host.says(b"+OK\r\n") == "USER j\u00f6e\r\n".encode()
    assert not host.backend.sent
    assert host.says(b"+OK\r\n") == b"PASS geheim!\r\n" and host.backend.sent
    host.says(b"+OK in\r\nx")
    assert accepted(host).rest == b"x"


def test_pop3_by_plain() -> None:
    host = by_pop3()
    host.says(b"+OK hi\r\n")
    assert host.says(b"+OK\r\nSASL LOGIN PLAIN\r\n.\r\n") == b"AUTH PLAIN\r\n" and not host.backend.sent
    assert host.says(b"+ \r\n") == PLAIN + b"\r\n" and host.backend.sent
    host.says(b"+OK\r\n")
    assert accepted(host).rest == b""


def test_pop3_by_stls() -> None:
    host = by_pop3()
    host.says(b"+OK hi\r\n")
    assert host.says(b"+OK\r\nSTLS\r\n.\r\n") == b"STLS\r\n"
    host.says(b"+OK\r\n")
    assert isinstance(host.wants, Secure)
    assert host.goes_on() == b"CAPA\r\n"
    assert host.says(b"-ERR none\r\n") == b"USER joe\r\n"


@pytest.mark.parametrize(("said", "found", "code"), [
    (b"-ERR no\r\n", Rejected, b""), (b"-ERR [AUTH] no\r\n", Rejected, b""), (b"", Unreachable, b""),
    (b"-ERR [IN-USE] x\r\n", Unreachable, b"IN-USE"), (b"-ERR [SYS/TEMP] x\r\n", Unreachable, b"SYS/TEMP"),
    (b"* OK\r\n", Unreachable, b""), (b"-ERR [LOGIN-DELAY] x\r\n", Unreachable, b"LOGIN-DELAY")])
def test_refusals_of_pop3(said: bytes, found: type, code: bytes) -> None:
    host = by_pop3()
    for line in (b"+OK hi\r\n", b"-ERR\r\n", b"+OK\r\n", said):
        host.says(line)
    assert type(host.found) is found and getattr(host.found, "code", b"") == code


@pytest.mark.parametrize("said", [b"-ERR [SYS/TEMP] no\r\n", b"* OK hi\r\n", b"", b"\n",
                                  b"x" * 2 * MAX_OCTETS])
def test_no_greeting_of_pop3(said: bytes) -> None:
    host = by_pop3()
    host.says(said)
    if isinstance(host.wants, Read):
        host.says(b"")
    assert isinstance(host.found, Unreachable) and not host.backend.sent


def test_no_password_in_the_log() -> None:
    """There are hosts that say again what they do not understand."""
    host = by_imap()
    host.says(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
    host.says(b'p1 BAD what is p1 LOGIN "joe" "geheim!"\r\n')
    pop = by_pop3()
    for line in (b"+OK hi\r\n", b"-ERR\r\n", b"+OK\r\n", b"-ERR PASS geheim!\r\n"):
        pop.says(line)
    for found in (host.found, pop.found):
        assert isinstance(found, Rejected) and "geheim" not in str(found) and str(found)
