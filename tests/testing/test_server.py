"""The server for tests: accounts and their mail, misbehaviour, and its end."""
from __future__ import annotations

import imaplib
import os
import poplib
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from courierpy.testing import Account, Server, ServerError
from tests.conftest import account_ids, account_python, as_account, plain_environ, until

MAIL = b"Subject: hello\r\n\r\ntext\r\n"
DEADLINE = 60.0                        # seconds
server_test = pytest.mark.server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def account(server: Server) -> Iterator[Account]:
    with server.account() as account:
        yield account


def logged_in(account: Account) -> imaplib.IMAP4:
    client = imaplib.IMAP4(account.host, account.port, timeout=DEADLINE)
    client.login(account.user, account.password)
    return client


def processes(folder: str) -> list[str]:
    """The command lines of those that serve this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if folder in words.split("\0"):
            found.append(words)
    return found


def wait_until_gone(folder: str) -> None:
    end = time.monotonic() + DEADLINE
    while processes(folder) or os.path.exists(folder):
        assert time.monotonic() < end, processes(folder)
        time.sleep(0.05)


# -- accounts

@server_test
def test_mail_comes_by_each_way(account: Account) -> None:
    mail = EmailMessage()
    mail["Subject"] = "gr\u00fc\u00dfe"
    mail.set_content("text")
    account.deliver(MAIL)
    account.deliver(mail)
    account.deliver(b"Subject: LF\n\nonly\n", flags="\\Seen")
    account.deliver(MAIL, flags=["\\Flagged", "work"])
    account.deliver(b"")
    found = account.messages()
    assert [message.uid for message in found] == [1, 2, 3, 4, 5]
    assert [message["subject"] for message in found] == ["hello", "gr\u00fc\u00dfe", "LF", "hello", None]
    assert found[0].octets == MAIL and found[2].octets == b"Subject: LF\r\n\r\nonly\r\n"
    assert [sorted(message.flags - {"\\Recent"}) for message in found] == [
        [], [], ["\\Seen"], ["\\Flagged", "work"], []]
    assert found[1].email.get_content() == "text\r\n"
    assert account.messages()[0].flags == found[0].flags           # looking changes nothing
    assert len(os.listdir(os.path.join(account.maildir, "cur"))) == 5
    assert {os.stat(entry).st_uid for entry in os.scandir(os.path.join(account.maildir, "cur"))} == {
        account_ids()[0]}


@server_test
def test_mailboxes(account: Account) -> None:
    sent = account.mailbox("Sent")
    assert (sent.name, sent.path) == ("INBOX.Sent", os.path.join(account.maildir, ".Sent"))
    assert account.mailbox("INBOX.Sent").path == sent.path
    sent.deliver(MAIL)
    odd = account.mailbox('Gr\u00fc\u00dfe & "quotes" \\')
    odd.deliver(MAIL, "\\Answered")
    assert [len(box.messages()) for box in (account.mailbox(), sent, odd)] == [0, 1, 1]
    assert odd.wait(1)[0].flags - {"\\Recent"} == {"\\Answered"}
    with pytest.raises(ServerError, match="NO|BAD"):
        account.deliver(MAIL, flags="\\NoSuchFlag(")


@server_test
def test_waiting(account: Account) -> None:
    with pytest.raises(TimeoutError, match="INBOX has 0 messages, not 1 after"):
        account.wait(1, timeout=0)
    account.deliver(MAIL)
    assert len(account.wait(1)) == 1
    assert len(account.wait(0)) == 1


@server_test
def test_accounts_know_nothing_of_each_other(server: Server) -> None:
    with server.account() as one, server.account("ann@example.org", 'pass "word"') as other:
        one.deliver(MAIL)
        assert other.messages() == [] and len(one.messages()) == 1
        assert one.user != other.user and one.port != other.port
        logged_in(other).logout()
        assert one.transcript == "" and "ann@example.org" in other.transcript
        with pytest.raises(ValueError, match="there is such an account"):
            server.account("ann@example.org")
        with pytest.raises(imaplib.IMAP4.error):
            imaplib.IMAP4(other.host, other.port).login(other.user, one.password)
    one.close()
    for name in ("../x", ".", "a/b", "a\n", " "):
        with pytest.raises(ValueError, match="name"):
            server.account(name)
    with pytest.raises(ValueError, match="password"):
        server.account(password="a|b")


@server_test
def test_tls(account: Account) -> None:
    with imaplib.IMAP4_SSL(account.host, account.tls_port, ssl_context=account.tls_context) as client:
        client.login(account.user, account.password)
        assert client.select() == ("OK", [b"0"])
    with imaplib.IMAP4("localhost", account.port) as client:
        client.starttls(account.tls_context)
        client.login(account.user, account.password)
    assert account.transcript.count("from here on TLS or compressed") == 2
    assert " STARTTLS\n" in account.transcript and account.password not in account.transcript


@server_test
def test_preauth(account: Account) -> None:
    account.deliver(MAIL)
    account.without("MOVE")
    client = imaplib.IMAP4_stream(account.preauth_command)
    assert client.state == "AUTH" and "MOVE" not in client.capabilities
    assert client.select() == ("OK", [b"1"])
    assert client.store("1", "+FLAGS", "(\\Flagged)")[0] == "OK"
    client.logout()
    assert "\\Flagged" in account.messages()[0].flags


@server_test
def test_lmtp(account: Account) -> None:
    account.mailbox("lists")
    with smtplib.LMTP(account.lmtp_socket, timeout=DEADLINE) as client:
        assert client.sendmail("a@b.example", [account.user], MAIL) == {}
        assert client.sendmail("a@b.example", [f"{account.user}+lists@example.org"], MAIL) == {}
        with pytest.raises(smtplib.SMTPRecipientsRefused) as found:
            client.sendmail("a@b.example", ["nobody-at-all"], MAIL)
        assert found.value.recipients["nobody-at-all"][0] == 550
    assert [len(account.wait(1, mailbox=name)) for name in ("INBOX", "lists")] == [1, 1]
    assert account.messages()[0]["Return-Path"] == "<a@b.example>"


@server_test
def test_pop3(account: Account) -> None:
    account.deliver(MAIL)
    account.cut("NOOP")
    client = poplib.POP3(account.host, account.pop3_port, timeout=DEADLINE)
    client.user(account.user)
    client.pass_(account.password)
    assert client.retr(1)[1] == MAIL.splitlines()
    with pytest.raises(poplib.error_proto):
        client.noop()
    client.close()
    port = account.pop3_tls_port
    secure = poplib.POP3_SSL(account.host, port, context=account.tls_context, timeout=DEADLINE)
    secure.user(account.user)
    secure.pass_(account.password)
    assert secure.stat()[0] == 1
    secure.quit()
    assert " C: RETR 1\n" in account.transcript


@server_test
def test_mail_by_smtp(server: Server, account: Account) -> None:
    pytest.importorskip("aiosmtpd")
    with server.account() as other, smtplib.SMTP(server.host, server.smtp_port, timeout=DEADLINE) as smtp:
        assert smtp.sendmail("ann@example.org", [account.user, f"{other.user}@example.net", "nobody@x"],
                             MAIL + b".\r\n..dots\r\n") == {"nobody@x": (550, b"5.1.1 no such account")}
        assert account.wait(1)[0].octets == b"Return-Path: <ann@example.org>\r\n" + MAIL + b".\r\n..dots\r\n"
        assert other.wait(1)[0]["subject"] == "hello"


# -- misbehaviour

@server_test
def test_without(account: Account) -> None:
    client = logged_in(account)
    assert "MOVE" in client.capabilities
    account.without("MOVE", "starttls").without("AUTH=PLAIN")
    account.deliver(MAIL)
    client.select()
    assert client._simple_command("MOVE", "1", "INBOX.x")[0] == "NO"       # an old connection is as it was
    client.logout()
    client = imaplib.IMAP4(account.host, account.port, timeout=DEADLINE)
    assert not {"MOVE", "STARTTLS", "AUTH=PLAIN"} & set(client.capabilities)
    assert {"AUTH=LOGIN", "UIDPLUS"} <= set(client.capabilities)
    assert client._simple_command("AUTHENTICATE", "PLAIN", "AGEAYg==")[0] == "NO"
    with pytest.raises(imaplib.IMAP4.error, match="BAD"):
        client._simple_command("STARTTLS")
    client.login(account.user, account.password)
    client.select()
    with pytest.raises(imaplib.IMAP4.error, match="BAD"):
        client._simple_command("MOVE", "1", "x")
    client.logout()
    with pytest.raises(ValueError, match="NOSUCH"):
        account.without("NOSUCH")


@server_test
def test_cuts(account: Account) -> None:
    account.deliver(MAIL)
    client = logged_in(account)
    account.cut()
    # who says something to a closed connection reads its end, or that it was reset
    with pytest.raises((imaplib.IMAP4.abort, ConnectionError)):
        client.noop()
    account.cut("FETCH", after=5, times=2)
    for _ in range(2):
        client = logged_in(account)
        client.select()
        with pytest.raises(imaplib.IMAP4.abort):
            client.uid("FETCH", "1", "(FLAGS)")
    client = logged_in(account)
    client.select()
    assert client.fetch("1", "(UID)") == ("OK", [b"1 (UID 1)"])
    client.logout()
    assert account.transcript.count(" -: cut") == 3
    assert account.transcript.count(" S: * 1 F\n") == 2            # five octets


@server_test
def test_a_reset(account: Account) -> None:
    account.cut("NOOP", reset=True)
    with socket.create_connection((account.host, account.port), timeout=DEADLINE) as client:
        assert until(client, b"\n").startswith(b"* OK")
        client.sendall(b"a NOOP\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)


@server_test
def test_delays(account: Account) -> None:
    client = logged_in(account)
    account.delay(0.3, "NOOP")
    began = time.monotonic()
    client.noop()
    assert time.monotonic() - began > 0.25                         # a load makes it only longer
    account.delay(0, "NOOP")
    client.noop()
    account.delay(0.3)
    began = time.monotonic()
    client.capability()
    assert time.monotonic() - began > 0.25
    client.shutdown()


@server_test
def test_a_client_that_idles_hears_of_mail(account: Account) -> None:
    client = logged_in(account)
    client.select()
    client.send(b"x IDLE\r\n")
    while not client.readline().startswith(b"+"):
        pass
    account.deliver(MAIL)
    while client.readline() != b"* 1 EXISTS\r\n":
        pass
    client.shutdown()


# -- the server

@pytest.mark.parametrize(("settings", "said"), [
    ({"IMAP_HIBERNATE": "soon"}, "IMAP_HIBERNATE.*soon"), ({"IMAP_HIBERNAT": "1"}, "HIBERNAT: there is no"),
    ({"IMAP_TRASHFOLDERNAME": "a\nb"}, "settings")])
def test_settings_that_are_wrong(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said), Server(settings):
        pass


def test_a_server_that_does_not_run() -> None:
    server = Server()
    server.stop()
    with pytest.raises(ServerError, match="does not run"):
        server.account()
    with pytest.raises(ValueError, match="NOSUCH"):
        Server(without=["NOSUCH"])


@server_test
def test_the_end(server: Server) -> None:
    """A client idles; stop() comes twice; and the server may begin again."""
    other = Server(settings={"IMAP_NO_PREFIX": "1"}, without=["MOVE"])
    for _ in range(2):
        other.start()
        folder = other.folder
        with pytest.raises(ServerError, match="runs already"):
            other.start()
        account = other.account()
        client = logged_in(account)
        assert "MOVE" not in client.capabilities
        client.select()
        client.send(b"x IDLE\r\n")
        assert processes(folder)
        other.stop()
        other.stop()
        account.close()
        client.shutdown()
        assert not os.path.exists(folder)
        assert processes(folder) == []
    assert os.path.exists(server.folder)


@server_test
def test_a_fork_of_the_tests_does_not_end_it(server: Server, account: Account) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            server.stop()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    account.deliver(MAIL)
    assert len(account.messages()) == 1
    assert "imapd" in server.log and account.user in server.log


PROGRAM = """
import sys
from courierpy.testing import Server
server = Server().start()
account = server.account()
account.deliver(b"Subject: hello\\n\\ntext\\n")
account.deliver(b"Subject: hello\\n\\ntext\\n", "Sent", "\\\\Seen")
print(len(account.messages()), len(account.messages("Sent")), server.folder, flush=True)
sys.stdin.read()
server.stop()
"""


@server_test
def test_it_ends_when_the_tests_are_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=plain_environ())
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        one, sent, folder = process.stdout.readline().decode().split()
        assert (one, sent) == ("1", "1")
        assert processes(folder)
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
    wait_until_gone(folder)


@server_test
def test_a_user_without_root() -> None:
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as folder:       # which the user may enter
        os.chmod(folder, 0o755)
        python, path = account_python(Path(folder))
        assert as_account([python, "-c", PROGRAM], plain_environ(PYTHONPATH=path))
