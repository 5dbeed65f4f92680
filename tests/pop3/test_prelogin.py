"""POP3 before the login (see tests/login/driven.py)."""
from __future__ import annotations

from base64 import b64encode

import pytest

from courierpy.auth import Account, Rejected, Request, TemporaryFailure
from courierpy.model.steps import Look, Read, Secure, Wait
from courierpy.pop3 import prelogin
from courierpy.system.conn import TimedOut
from tests.login import driven as by_hand

JOE = Account("joe", 1000, 1000, "/home/joe")
PLAIN = b64encode(b"\0joe\0secret")


class Driven(by_hand.Driven):
    def __init__(self, **settings: str) -> None:
        super().__init__(prelogin, **settings)
        assert self.greeted == b"+OK Hello there.\r\n"

    def admitted(self, password: str = "secret") -> None:
        asked = self.wants
        assert isinstance(asked, Request)
        assert (asked.kind, asked.service, asked.user, asked.password) == ("login", "pop3", "joe", password)
        assert isinstance(self.answer(JOE), Look)
        self.answer()
        assert self.found is JOE

    def refused(self, why: Exception) -> bytes:
        """What the client hears of it."""
        assert isinstance(self.wants, Request)
        if isinstance(self.answer(why), Wait):
            self.answer()
        return self.heard()


def rows(reply: bytes) -> list[bytes]:
    lines = reply.split(b"\r\n")
    assert lines[0] == b"+OK Here's what I can do:" and lines[-2:] == [b".", b""]
    return lines[1:-2]


@pytest.mark.parametrize("password", ["secret", "a b  c ", " two  blanks first", "gr\u00fc\u00dfe"])
def test_user_and_password(password: str) -> None:
    driven = Driven()
    assert driven.say(b"user joe\r\n") == b"+OK Password required.\r\n"
    assert driven.say(b"PASS " + password.encode() + b"\r\nSTAT\r\n") == b""
    driven.admitted(password)
    assert driven.login.framer.rest() == b"STAT\r\n"
    assert driven.stage.environ["UTF8"] == "0"
    assert driven.stage.environ["PROTOCOL"] == "POP3"


def test_there_is_no_apop() -> None:
    """It is told nowhere: the greeting has no timestamp to hash (RFC 1939 7)."""
    driven = Driven()
    assert b"<" not in driven.greeted
    assert not [row for row in rows(driven.say(b"CAPA\r\n")) if b"APOP" in row]
    assert driven.say(b"APOP joe c4c9334bac560ecc979e58001b3e22fb\r\n").startswith(b"-ERR ")


def test_a_command_in_pieces() -> None:
    driven = Driven()
    assert b"".join(driven.say(bytes([octet])) for octet in b"USER joe\r\n") == b"+OK Password required.\r\n"
    assert driven.say(b"UTF8\r\nUSER joe\r\nPASS secret\r\n").count(b"+OK") == 2
    driven.admitted()
    assert driven.stage.environ["UTF8"] == "1"


def test_auth_in_all_ways() -> None:
    for words in ([b"AUTH PLAIN " + PLAIN], [b"auth plain", PLAIN], [b"AUTH PLAIN =", PLAIN],
                  [b"AUTH LOGIN", b64encode(b"joe"), b64encode(b"secret")],
                  [b"AUTH LOGIN " + b64encode(b"joe"), b64encode(b"secret")]):
        driven = Driven()
        if words[0].endswith(b"="):
            assert driven.say(words[0] + b"\r\n") == b""           # an empty one is none that PLAIN takes
            continue
        for word in words:
            said = driven.say(word + b"\r\n")
            assert said == b"" or said.startswith(b"+ ")
        driven.admitted()


def test_auth_that_fails_lets_the_client_go_on() -> None:
    driven = Driven()
    driven.say(b"AUTH PLAIN\r\n")
    assert driven.say(b"*\r\n") == b"-ERR The exchange is cancelled.\r\n"
    assert driven.say(b"AUTH PLAIN x!\r\n") == b"-ERR Invalid base64.\r\n"
    assert driven.say(b"AUTH NONE\r\n") == b"-ERR Unsupported authentication mechanism.\r\n"
    assert driven.say(b"AUTH\r\n") == b"-ERR Unsupported authentication mechanism.\r\n"
    long = b64encode(b"\0joe\0" + b"p" * 3000)
    for at in range(0, len(long), 1000):
        driven.say(b"AUTH PLAIN " * (at == 0) + long[at:at + 1000])
    driven.say(b"\r\n")
    assert driven.refused(Rejected()) == b"-ERR [AUTH] Login failed.\r\n"
    driven.say(b"USER joe\r\n")
    driven.say(b"PASS secret\r\n")
    driven.admitted()


def test_what_is_refused() -> None:
    driven = Driven()
    for line in (b"", b":", b"PASS secret", b"STAT", b"NOOP", b"STLS", b"\0", b"USER"):
        assert driven.say(line + b"\r\n").startswith(b"-ERR ")
    assert driven.say(b"x" * 9000) == b""
    assert driven.say(b"y\r\n") == b"-ERR Line too long.\r\n"
    assert driven.say(b"x" * 300 + b"\r\n") == b"-ERR Too many errors.\r\n"
    assert driven.found == 1


def test_no_password_after_a_failure_without_a_user() -> None:
    driven = Driven()
    driven.say(b"USER joe\r\n")
    driven.say(b"PASS wrong\r\n")
    driven.refused(Rejected())
    assert driven.say(b"PASS secret\r\n") == b"-ERR USER/PASS required.\r\n"
    assert driven.say(b"QUIT\r\nUSER x\r\n") == b"+OK Better luck next time.\r\n"
    assert driven.found == 0 and driven.login.logged_out()


def test_nobody_can_tell_now() -> None:
    driven = Driven()
    driven.say(b"USER joe\r\n")
    driven.say(b"PASS secret\r\n")
    assert driven.refused(TemporaryFailure()).startswith(b"-ERR [SYS/TEMP] Temporary problem, ")
    assert driven.found == 1
    driven = Driven()
    driven.answer(TimedOut())
    assert driven.found == 0


def test_capabilities_and_tls(tmp_path: object) -> None:
    plain = rows(Driven().say(b"CAPA\r\n"))
    assert b"SASL PLAIN LOGIN" in plain and b"STLS" not in plain
    assert {b"UIDL", b"TOP", b"USER", b"PIPELINING", b"UTF8 USER", b"RESP-CODES", b"AUTH-RESP-CODE", b"LANG",
            b"EXPIRE NEVER", b"LOGIN-DELAY 10"} < set(plain)
    settings = {"POP3_STARTTLS": "YES", "TLS_CERTFILE": str(tmp_path), "POP3_TLS_REQUIRED": "1"}
    driven = Driven(**settings)
    found = rows(driven.say(b"CAPA\r\n"))
    assert b"STLS" in found and b"USER" not in found and not any(row.startswith(b"SASL") for row in found)
    assert driven.say(b"USER joe\r\n") == b"-ERR TLS required to log in.\r\n"
    assert driven.say(b"AUTH PLAIN " + PLAIN + b"\r\n") == b"-ERR TLS required to log in.\r\n"
    assert driven.say(b"STLS\r\nUSER joe\r\n") == b"+OK Begin SSL/TLS negotiation now.\r\n"
    assert isinstance(driven.wants, Secure)
    driven.stage.secured({"IMAP_TLS": "1", "IMAP_STARTTLS": "NO", "IMAP_TLS_REQUIRED": "0"})
    assert isinstance(driven.answer(), Read)
    assert driven.heard() == b""                   # what came before the handshake is never answered
    found = rows(driven.say(b"CAPA\r\n"))
    assert b"STLS" not in found and b"USER" in found and b"SASL PLAIN LOGIN" in found
    assert driven.say(b"STLS\r\n") == b"-ERR Invalid command.\r\n"
    assert driven.stage.environ["POP3_TLS"] == "1"
    driven = Driven(**settings)
    driven.say(b"UTF8\r\n")
    assert driven.say(b"STLS\r\n") == b"-ERR Invalid command.\r\n"


def test_mechanisms_as_the_settings_say() -> None:
    assert not any(row.startswith(b"SASL") for row in rows(Driven(POP3AUTH="").say(b"CAPA\r\n")))
    both = {"POP3AUTH": "CRAM-MD5", "POP3AUTH_TLS": "LOGIN SCRAM-SHA-256"}
    assert b"SASL CRAM-MD5" in rows(Driven(**both).say(b"CAPA\r\n"))
    assert b"SASL LOGIN SCRAM-SHA-256" in rows(Driven(POP3_TLS="1", **both).say(b"CAPA\r\n"))
