"""IMAP before the login (see driven.py)."""
from __future__ import annotations

import gc
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from weakref import ref

import pytest

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, Unservable
from courierpy.imap import prelogin
from courierpy.login.alone import Alone
from courierpy.login.stage import Stage
from courierpy.model.replies import Bye, No, anew
from courierpy.model.steps import Forward, Look, Secure, Wait
from courierpy.pop3 import prelogin as pop3
from courierpy.smap import prelogin as smap
from courierpy.system import notices
from courierpy.system.conn import Conn, Gone, TimedOut
from tests.login.driven import Driven, Said

DEMO = Account("demo", 1000, 1000, "/home/demo")


@pytest.fixture
def driven() -> Iterator[Driven]:
    made = Driven(prelogin)
    yield made
    made.steps.close()


def test_a_command_in_pieces(driven: Driven) -> None:
    whole = driven.say(b"a NOOP\r\n")
    assert whole.startswith(b"a OK ")
    assert b"".join(driven.say(bytes([octet])) for octet in b"a NOOP\r\n") == whole
    assert driven.say(b"a LOGOUT\r\nb NOOP\r\n").splitlines()[-1].startswith(b"a OK ")
    assert driven.found == 0


def test_who_logs_in_is_asked_looked_at_and_told(driven: Driven) -> None:
    driven.say(b"a LOGIN demo secret\r\nb SELECT INBOX\r\n")
    asked = driven.wants
    assert isinstance(asked, Request)
    assert (asked.kind, asked.user, asked.password) == ("login", "demo", "secret")
    look = driven.answer(DEMO)
    assert isinstance(look, Look) and look.account is DEMO
    driven.answer()
    assert driven.found is DEMO
    assert driven.stage.environ["IMAPLOGINTAG"] == "a"
    assert driven.login.framer.rest() == b"b SELECT INBOX\r\n"
    assert driven.heard() == b""                       # the next program answers


@pytest.mark.parametrize("why", [Rejected(), Unservable("no home")], ids=["wrong", "unservable"])
@pytest.mark.parametrize("late", [False, True], ids=["asked", "looked at"])
def test_a_refusal_is_told_when_it_is_due(driven: Driven, why: Exception, late: bool) -> None:
    driven.say(b"a LOGIN demo secret\r\n")
    if late:
        driven.answer(DEMO)
    wait = driven.answer(why)
    assert isinstance(wait, Wait) and wait.until >= driven.stage.gate.started + 5
    assert driven.heard() == b""
    driven.answer()
    assert driven.heard() == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert driven.say(b"b NOOP\r\n").startswith(b"b OK ")


def test_a_module_that_cannot_tell_ends_it(driven: Driven) -> None:
    driven.say(b"a LOGIN demo secret\r\n")
    driven.answer(TemporaryFailure("down"))
    assert driven.heard().startswith(b"* BYE [UNAVAILABLE] ")
    assert driven.found == 1


@pytest.mark.parametrize(("spoken", "words"), [(prelogin, b"a LOGIN demo secret\r\n"),
                                               (pop3, b"USER demo\r\nPASS secret\r\n"),
                                               (smap, b"\\SMAP1 LOGIN demo secret\r\n")])
def test_nothing_stays_of_a_client_that_nobody_could_let_in(spoken: ModuleType, words: bytes) -> None:
    """The process has others, and this can happen to each of them."""
    driven = Driven(spoken, SMAP_CAPABILITY="SMAP1")
    for line in words.splitlines(keepends=True):
        driven.say(line)
    driven.answer(TemporaryFailure("down"))
    assert driven.found == 1
    login = ref(driven.login)
    del driven
    gc.collect()
    assert login() is None


def test_an_exchange_asks_between_challenges(driven: Driven) -> None:
    assert driven.say(b"a AUTHENTICATE LOGIN\r\n") == b"+ " + b64encode(b"Username:") + b"\r\n"
    assert driven.say(b64encode(b"demo") + b"\r\n") == b"+ " + b64encode(b"Password:") + b"\r\n"
    driven.say(b64encode(b"secret") + b"\r\n")
    assert isinstance(driven.wants, Request) and driven.wants.password == "secret"
    driven.answer(DEMO)
    driven.answer()
    assert driven.found is DEMO


def test_a_client_that_gives_up_an_exchange(driven: Driven) -> None:
    driven.say(b"a AUTHENTICATE PLAIN\r\n")
    assert driven.say(b"*\r\n").startswith(b"a BAD ")       # at once: it is no failed login
    assert driven.say(b"b NOOP\r\n").startswith(b"b OK ")


@pytest.mark.parametrize("end", [b"*\r\n", b"no base64\r\n", b"x" * 70000, b"", TimedOut(), Gone()],
                         ids=["cancelled", "no base64", "too long", "gone", "silent", "broken"])
def test_a_token_that_was_refused_failed_however_the_exchange_ends(end: bytes | Exception) -> None:
    driven = refused_by_token()
    if isinstance(end, bytes):
        driven.say(end)
    else:
        driven.answer(end)
    assert isinstance(driven.wants, Wait)
    driven.answer()
    assert driven.heard().startswith(b"a NO [AUTHENTICATIONFAILED] ")


def test_who_is_told_to_end_ends_also_in_an_exchange_that_was_refused() -> None:
    driven = refused_by_token()
    driven.answer(anew(prelogin.STOPPED))
    assert driven.found == 0 and driven.heard().startswith(b"* BYE ")


def refused_by_token() -> Driven:
    driven = Driven(prelogin, IMAP_TLS="1", OAUTH_KEYFILE="/dev/null")
    token = b64encode(b"user=demo\1auth=Bearer guess\1\1")
    driven.say(b"a AUTHENTICATE XOAUTH2 " + token + b"\r\n")
    assert isinstance(driven.wants, Request) and driven.wants.password == "guess"
    driven.answer(Rejected())
    assert driven.heard().startswith(b"+ ")
    return driven


@pytest.mark.parametrize("end", [b"*\r\n", b"no base64\r\n"])
def test_who_cancels_before_he_has_proved_anything_does_not_learn_who_is_there(end: bytes) -> None:
    """SCRAM looks the account up before its client has proved that it knows the password."""
    heard = []
    for found in (Account("demo", 1000, 1000, "/home/demo", passwd2="secret"), Rejected()):
        driven = Driven(prelogin)
        driven.say(b"a AUTHENTICATE SCRAM-SHA-256 " + b64encode(b"n,,n=demo,r=nonce") + b"\r\n")
        assert isinstance(driven.wants, Request) and driven.wants.kind == "pre"
        driven.answer(found)
        assert driven.heard().startswith(b"+ ")
        heard.append(driven.say(end))
    assert heard[0] == heard[1] and heard[0].startswith(b"a BAD ")


def test_what_came_ahead_of_the_handshake_is_forgotten() -> None:
    driven = Driven(prelogin, IMAP_STARTTLS="YES", TLS_CERTFILE="/dev/null", IMAP_TLS_REQUIRED="1")
    assert driven.say(b"a LOGIN demo secret\r\n").startswith(b"a NO [PRIVACYREQUIRED] ")
    assert driven.say(b"b STARTTLS\r\nc NOOP\r\n").startswith(b"b OK ")
    assert isinstance(driven.wants, Secure)
    driven.stage.secured({"IMAP_TLS": "1", "IMAP_STARTTLS": "NO", "IMAP_TLS_REQUIRED": "0"})
    driven.answer()
    assert driven.heard() == b""
    driven.say(b"d LOGIN demo secret\r\n")
    assert isinstance(driven.wants, Request)
    driven.steps.close()


@pytest.mark.parametrize("end", [b"", TimedOut()], ids=["closed", "late"])
def test_a_client_that_is_gone(driven: Driven, end: object) -> None:
    if isinstance(end, bytes):
        driven.say(end)
    else:
        driven.answer(end)
    assert driven.found == 0 and driven.heard() == b""


def referred(options: str, line: bytes = b"a LOGIN demo secret\r\n", **settings: str) -> Driven:
    driven = Driven(prelogin, **{"IMAP_LOGIN_REFERRALS": "1", "PROXY_HOSTNAME": "here.example.org",
                                 **settings})
    driven.say(bytes(bytearray(line)))
    driven.answer(Account("a b;c@x", 1, 1, "/home", options=options))
    return driven


@pytest.mark.parametrize("line", [b"a LOGIN demo secret\r\n",
                                  b"a AUTHENTICATE PLAIN " + b64encode(b"\0demo\0secret") + b"\r\n"])
@pytest.mark.parametrize("options", ["mailhost=mail2", "x=y,mailhost=mail2,other", "mailhost= mail2 ,a=0"])
def test_who_lives_elsewhere_is_told_where(line: bytes, options: str) -> None:
    """RFC 2221 4.1; before it is looked whether a session could begin here."""
    driven = referred(options, line)
    assert driven.heard() == (b"a NO [REFERRAL imap://a%20b%3Bc%40x;AUTH=*@mail2/] Specified user is invalid "
                              b"on this server. Try mail2.\r\n")
    assert driven.say(b"b NOOP\r\n").startswith(b"b OK ")
    driven.steps.close()


@pytest.mark.parametrize(("options", "settings"), [
    ("", {}), ("mailhost=", {}), ("mailhost=HERE.example.org", {}),
    ("mailhost=mail2", {"IMAP_LOGIN_REFERRALS": "0"})])
def test_who_lives_here_comes_in(options: str, settings: dict[str, str]) -> None:
    driven = referred(options, **settings)
    assert isinstance(driven.wants, Look)
    driven.steps.close()


@pytest.mark.parametrize("options", ["mailhost=a b", "mailhost=x]y", "mailhost=a/../", "mailhost=\u00e4",
                                     "mailhost=a:b"])
def test_a_mailhost_that_is_no_host_is_told_nobody(options: str) -> None:
    driven = referred(options)
    assert isinstance(driven.wants, Wait)
    driven.answer()
    assert driven.heard() == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    driven.steps.close()


@pytest.mark.parametrize("options", ["mailhost=mail2.example.org:1143", "mailhost=[2001:db8::1]:143",
                                     "mailhost=10.0.0.1"])
def test_hosts_with_ports_and_addresses(options: str) -> None:
    driven = referred(options)
    assert f"@{options.partition('=')[2]}/] ".encode() in driven.heard()
    driven.steps.close()


def test_a_wrong_password_is_told_nothing() -> None:
    driven = Driven(prelogin, IMAP_LOGIN_REFERRALS="1")
    assert b"LOGIN-REFERRALS" in driven.said.octets or b"LOGIN-REFERRALS" in driven.say(b"x CAPABILITY\r\n")
    driven.say(bytes(bytearray(b"a LOGIN demo wrong\r\n")))
    driven.answer(Rejected())
    driven.answer()
    assert driven.heard() == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    driven.steps.close()
    assert b"LOGIN-REFERRALS" not in Driven(prelogin).say(b"x CAPABILITY\r\n")


@pytest.mark.parametrize(("spoken", "told"), [
    (prelogin, b"* BYE [ALERT] Back at noon\r\n"), (smap, b"* BYE [ALERT] Back at noon\r\n"),
    (pop3, b"-ERR [SYS/TEMP] Back at noon\r\n")])
def test_nobody_is_let_in(spoken: ModuleType, told: bytes) -> None:
    """The administrator says why in the place of the greeting."""
    said = Said()
    stage = Stage(spoken.PROTOCOL, spoken.PORT, {notices.VARIABLE: "Back at noon"}, said, -1)
    with pytest.raises(StopIteration):
        next(spoken.dialogue(stage).steps())
    assert said.octets == told and notices.VARIABLE not in stage.environ


def test_where_mail_is_elsewhere_the_administrator_decides_too(tmp_path: Path) -> None:
    """Before any host is asked."""
    settings = {"CONFIGDIRECTORY": str(tmp_path), "IMAP_NOLOGIN": str(tmp_path / "nologin")}
    step = Forward("IMAP", ["host.invalid"], lambda server: None, "ann")     # type: ignore[arg-type,return-value]
    alone = Alone(Stage("IMAP", "143", settings, Said(), -1), Conn(-1, -1), [], ["imapd"])
    (tmp_path / "denied").write_text("ann\timap\tPay first\n")
    with pytest.raises(No, match="Pay first"):
        alone._forward(step)
    (tmp_path / "nologin").write_text("Backup\n")
    with pytest.raises(Bye, match="Backup"):
        alone._forward(step)
