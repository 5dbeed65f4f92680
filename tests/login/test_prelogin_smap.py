"""SMAP before the login, beside IMAP (see driven.py)."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest

from courierpy.auth import Account, Rejected, Request
from courierpy.model.steps import Accepted
from courierpy.smap import prelogin
from courierpy.system import programs
from tests.login.driven import Driven

DEMO = Account("demo", 1000, 1000, "/home/demo")


@pytest.fixture
def driven() -> Iterator[Driven]:
    made = Driven(prelogin, SMAP_CAPABILITY="SMAP1", IMAP_KEYWORDS="1")
    yield made
    made.steps.close()


def test_it_is_told_where_it_is_spoken(driven: Driven) -> None:
    assert b" SMAP1 KEYWORDS" in driven.greeted and driven.greeted.endswith(b"\r\n")
    told, last = driven.say(b"\\SMAP1 CAPABILITY\r\n").splitlines()
    assert told.startswith(b"* CAPABILITY IMAP4rev1 ") and b" SMAP1 KEYWORDS" in told
    assert last == b"+OK CAPABILITY completed"
    assert programs.TABLE["imaplogin"].dialogue({"SMAP_CAPABILITY": "SMAP1"}) is prelogin
    assert programs.TABLE["imaplogin"].dialogue({}) is not prelogin


@pytest.mark.parametrize(("line", "password"), [
    (b"\\SMAP1 LOGIN demo secret\n", "secret"), (b'\\smap1  login "demo" "a""b\\c d"\r\n', 'a"b\\c d')])
def test_login(driven: Driven, line: bytes, password: str) -> None:
    assert driven.say(line) == b""
    asked = driven.wants
    assert isinstance(asked, Request)
    assert (asked.user, asked.password) == ("demo", password)
    driven.answer(DEMO)
    driven.answer()
    assert driven.found is DEMO and driven.heard() == b""
    assert driven.stage.environ["IMAPLOGINTAG"] == "\\SMAP1"
    assert driven.stage.environ["PROTOCOL"] == "SMAP1"


def test_mail_that_is_elsewhere_cannot_be_had(driven: Driven) -> None:
    driven.say(b"\\SMAP1 LOGIN demo secret\r\n")
    driven.answer(DEMO)
    driven.stage.accepted = Accepted(b"")
    driven.answer()
    assert driven.heard().startswith(b"* BYE [UNAVAILABLE] Your mail is at another server")
    assert driven.found == 0 and driven.login.account is None


def test_a_wrong_password_and_then_imap(driven: Driven) -> None:
    driven.say(b"\\SMAP1 LOGIN demo wrong\r\n")
    driven.answer(Rejected())
    driven.answer()
    assert driven.heard() == b"-ERR Login failed.\n"
    assert driven.say(b"a NOOP\r\n") == b"a OK NOOP completed\r\n"
    driven.say(b"b LOGIN demo secret\r\n")
    driven.answer(DEMO)
    driven.answer()
    assert driven.stage.environ["IMAPLOGINTAG"] == "b" and driven.stage.environ["PROTOCOL"] == "IMAP"


def test_authenticate(driven: Driven) -> None:
    assert driven.say(b"\\SMAP1 AUTHENTICATE LOGIN\r\n") == b"> VXNlcm5hbWU6\n"
    assert driven.say(b64encode(b"demo") + b"\r\n") == b"> UGFzc3dvcmQ6\n"
    driven.say(b64encode(b"secret") + b"\r\n")
    asked = driven.wants
    assert isinstance(asked, Request) and (asked.user, asked.password) == ("demo", "secret")


def test_what_cannot_be_understood(driven: Driven) -> None:
    for wrong in (b"LIST", b"LOGIN", b"LOGIN demo", b'LOGIN "demo', b"LOGIN a b c", b"AUTHENTICATE", b""):
        assert driven.say(b"\\SMAP1 " + wrong + b"\r\n").startswith(b"-ERR "), wrong
    assert driven.say(b"\\SMAP2 NOOP\r\n").startswith(b"* BAD ")
    assert driven.say(b"\\SMAP1 NOOP\r\n") == b"+OK NOOP completed\n"


def test_logout(driven: Driven) -> None:
    assert driven.say(b"\\SMAP1 LOGOUT\r\n") == \
        b"* BYE Courier-IMAP server shutting down\r\n+OK LOGOUT completed\n"
    assert driven.found == 0
