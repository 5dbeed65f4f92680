"""The dialogue with a client whose mail is at another host, driven by hand."""
from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from courierpy.auth import Account, Rejected, Request
from courierpy.imap import backend
from courierpy.imap import prelogin as imap
from courierpy.model.steps import Accepted, Forward, Look, Unreachable, Wait
from courierpy.pop3 import prelogin as pop3
from tests.login.driven import Driven, Said

IMAP = {"IMAP_PROXY": "1", "PROXY_HOSTNAME": "here.example.org"}
POP3 = {"POP3_PROXY": "1", "PROXY_HOSTNAME": "here.example.org"}
THERE = "mailhost=mail2.example.org:1143"


def asked(driven: Driven, *said: bytes) -> None:
    """Until the password is checked."""
    for data in said:
        driven.say(data)
    assert isinstance(driven.wants, Request)


def imap_to(options: str = THERE, said: bytes = b"a LOGIN Joe secret\r\n", **settings: str) -> Driven:
    driven = Driven(imap, **{**IMAP, **settings})
    asked(driven, said)
    driven.answer(Account("joe@x", 1, 1, "/none", options=options))
    return driven


def pop3_to(*before: bytes) -> Driven:
    driven = Driven(pop3, **POP3)
    asked(driven, *before, b"USER Joe\r\n", b"PASS secret\r\n")
    driven.answer(Account("joe@x", 1, 1, "/none", options=THERE))
    return driven


def wish(driven: Driven) -> Any:
    """What the host would be told."""
    assert isinstance(driven.wants, Forward)
    speech: Any = driven.wants.speak(Said())
    return speech._wish


@pytest.mark.parametrize("said", [b"a LOGIN Joe secret\r\n",
                                  b"a AUTHENTICATE PLAIN " + b64encode(b"\0Joe\0secret") + b"\r\n"])
def test_the_same_login_goes_to_the_host(said: bytes) -> None:
    """By the name that the client said; no Maildir is looked for here."""
    driven = imap_to(said=said)
    assert isinstance(driven.wants, Forward)
    assert driven.wants.protocol == "IMAP" and driven.wants.hosts == ["mail2.example.org:1143"]
    assert (wish(driven).user, wish(driven).password, wish(driven).tls) == ("Joe", "secret", "may")
    driven.answer(Accepted(b"", b"IMAP4rev1 IDLE"))
    assert driven.heard() == b"a OK [CAPABILITY IMAP4rev1 IDLE] connected to proxy server.\r\n"
    assert isinstance(driven.found, Account) and driven.stage.accepted is not None


def test_what_follows_the_login_is_kept() -> None:
    driven = imap_to(said=b"a LOGIN Joe secret\r\nb NOOP\r\nc LOG")
    driven.answer(Accepted(b"", b"IMAP4rev1"))
    assert driven.login.framer.rest() == b"b NOOP\r\nc LOG"


def test_a_foreign_host_says_itself_what_it_can() -> None:
    """As Courier with IMAP_PROXY_FOREIGN."""
    driven = imap_to(IMAP_PROXY_FOREIGN="1")
    assert wish(driven).asks
    driven.answer(Accepted(b"", b"IMAP4rev1 X]Y \xff Z"))
    assert driven.heard() == b"* CAPABILITY IMAP4rev1 Z\r\na OK connected to proxy server.\r\n"


@pytest.mark.parametrize(("options", "settings"), [
    ("", {}), ("mailhost=HERE.example.org", {}), (THERE, {"IMAP_PROXY": "0"})])
def test_who_has_his_mail_here_comes_in(options: str, settings: dict[str, str]) -> None:
    driven = imap_to(options, **settings)
    assert isinstance(driven.wants, Look)
    driven.steps.close()


def test_an_account_without_a_host_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    """In Courier's words."""
    imap_to("").steps.close()
    assert "proxy enabled, but no proxy host defined for joe@x" in capfd.readouterr().err
    imap_to("mailhost=here.example.org").steps.close()
    assert "no proxy host" not in capfd.readouterr().err


def test_a_proxy_refers_nobody() -> None:
    driven = imap_to(IMAP_LOGIN_REFERRALS="1")
    assert isinstance(driven.wants, Forward)
    driven.steps.close()
    fresh = Driven(imap, **IMAP, IMAP_LOGIN_REFERRALS="1")
    assert b"LOGIN-REFERRALS" not in fresh.greeted + fresh.say(b"x CAPABILITY\r\n")
    fresh.steps.close()


@pytest.mark.parametrize(("error", "said"), [
    (Unreachable("down"), b"a NO [UNAVAILABLE] The server of your mail cannot be reached, "),
    (Unreachable("many", b"LIMIT"), b"a NO [LIMIT] The server of your mail cannot be reached, ")])
def test_a_host_that_is_down_costs_no_connection(error: Unreachable, said: bytes,
                                                 capfd: pytest.CaptureFixture[str]) -> None:
    driven = imap_to()
    driven.answer(error)
    assert driven.heard().startswith(said)
    assert f"Login to mail2.example.org:1143 failed: {error}, user=Joe" in capfd.readouterr().err
    assert driven.say(b"b NOOP\r\n").startswith(b"b OK ")
    asked(driven, b"c LOGIN demo demo\r\n")
    driven.answer(Account("demo", 1, 1, "/none"))
    assert isinstance(driven.wants, Look)
    driven.steps.close()


def test_a_password_that_is_wrong_there() -> None:
    """It is answered as one that is wrong here, as late."""
    driven = imap_to()
    driven.answer(Rejected("it says NO"))
    assert isinstance(driven.wants, Wait)
    driven.answer()
    assert driven.heard() == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    driven.steps.close()


def test_without_a_password_of_the_client(capfd: pytest.CaptureFixture[str]) -> None:
    """CRAM and the like prove that a client knows it, and do not tell it."""
    driven = Driven(imap, **IMAP, IMAP_CAPABILITY="all AUTH=CRAM-MD5")
    driven.say(b"a AUTHENTICATE CRAM-MD5\r\n")
    asked(driven, b64encode(b"Joe 0123456789abcdef0123456789abcdef") + b"\r\n")
    driven.answer(Account("joe@x", 1, 1, "/none", options=THERE, passwd2="secret"))
    assert driven.heard().startswith(b"a NO [CANNOT] Your mail is at another server, which needs ")
    assert "the client has said no password" in capfd.readouterr().err
    driven.steps.close()


@pytest.mark.parametrize(("origin", "told"), [
    ("none", []), ("proxy", []),
    ("id", [(b"x-originating-ip", b"192.0.2.1"), (b"x-originating-port", b"7"), (b"x-connected-ip", b""),
            (b"x-connected-port", b"143")])])
def test_id_of_the_client_and_of_its_way(origin: str, told: list[tuple[bytes, bytes]]) -> None:
    driven = Driven(imap, **IMAP, PROXY_ORIGIN=origin)
    driven.say(b'x ID ("name" "tb" "X-Originating-IP" "10.9.9.9" "x-proxy-ttl" "2")\r\n')
    asked(driven, b"a LOGIN Joe secret\r\n")
    driven.answer(Account("joe@x", 1, 1, "/none", options=THERE))
    assert wish(driven).fields == [(b"name", b"tb"), (b"x-proxy-ttl", b"1"), *told]
    driven.steps.close()


def test_two_proxies_that_send_a_login_to_each_other() -> None:
    driven = Driven(imap, **IMAP)
    driven.say(b'x ID ("x-proxy-ttl" "0")\r\n')
    asked(driven, b"a LOGIN Joe secret\r\n")
    driven.answer(Account("joe@x", 1, 1, "/none", options=THERE))
    with pytest.raises(Unreachable):
        wish(driven)
    driven.steps.close()
    assert imap_to().wants and wish(imap_to()).fields == [(b"x-proxy-ttl", b"%d" % (backend.HOPS - 1))]


def test_pop3_to_another_host() -> None:
    driven = pop3_to(b"UTF8\r\n")
    assert isinstance(driven.wants, Forward) and driven.wants.protocol == "POP3"
    speech: Any = driven.wants.speak(Said())
    assert (speech._user, speech._password, speech._utf8) == ("Joe", "secret", True)
    driven.answer(Accepted(b""))
    assert driven.heard() == b"+OK connected to proxy server.\r\n" and isinstance(driven.found, Account)


@pytest.mark.parametrize(("error", "said"), [(Unreachable("down"), b"-ERR [SYS/TEMP] The server of "),
                                             (Unreachable("x", b"IN-USE"), b"-ERR [IN-USE] The server ")])
def test_pop3_where_that_host_is_down(error: Unreachable, said: bytes) -> None:
    driven = pop3_to()
    driven.answer(error)
    assert driven.heard().startswith(said)
    assert driven.say(b"USER x\r\n").startswith(b"+OK")
    driven.steps.close()
