"""What lmtpd and deliver tell notifyd of: which mailboxes, which tokens, and nothing that is not allowed."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir.formats import annotation
from courierpy.newmail.event import Event
from tests.conftest import account_ids, plain_environ
from tests.lmtp.talk import Post

TEXT = b"From: Eve <eve@example.com>\r\nSubject: =?utf-8?q?h=C3=A4llo?=\r\n there\r\n\r\nSubject: body\r\n"


class Ear:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.socket.settimeout(30)

    def event(self) -> Event:
        return Event.of(self.socket.recv(1 << 17))

    def quiet(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(1 << 17)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(30)
        return False


@pytest.fixture
def ear(post: Post) -> Iterator[Ear]:
    made = Ear(post.folder / "notify")
    with made.socket:
        yield made


def set_entries(maildir: Path, values: dict[bytes, bytes]) -> None:
    path = maildir / "courierpy-metadata"
    path.write_bytes(annotation.render(values))
    os.chown(path, *account_ids())


def test_nothing_but_what_is_allowed(post: Post, ear: Ear) -> None:
    with post.client(NOTIFYD_SOCKET=str(ear.path)) as client:
        client.hello(b"<ann>", b"<bob>")
        assert client.data(TEXT, 2) == ["250 2.1.5"] * 2
    one, two = ear.event(), ear.event()
    assert (one.user, two.user, one.mailbox, one.about, one.tokens) == ("ann", "bob", "INBOX", {}, ())
    assert one.wanted and not one.ours and one.ident != two.ident
    with post.client(NOTIFYD_SOCKET=str(ear.path), NOTIFYD_FIELDS="Subject, from size date") as client:
        client.hello(b"<carol@example.org>")
        assert client.data(TEXT + b"x" * 300000 + b"\r\n") == ["250 2.1.5"]
    found = ear.event()
    copy, = post.mail("carol@example.org")
    assert (found.user, found.about) == ("carol@example.org", {
        "subject": "hällo there", "from": "Eve <eve@example.com>", "size": str(len(copy))})


@pytest.mark.parametrize("settings", [{}, {"NOTIFYD_SOCKET": "/nowhere", "NOTIFYD_MAILBOXES": "INBOX.x"}])
def test_where_nobody_wants_to_hear_nothing_is_said(settings: dict[str, str], post: Post) -> None:
    with post.client(**settings) as client:
        client.hello(b"<ann>")
        assert client.data(TEXT) == ["250 2.1.5"]
    logged = post.log.read_text()
    assert "ann" in logged and "ERR" not in logged and "told of new mail" not in logged


def test_which_mailboxes(post: Post, ear: Ear) -> None:
    post.account("dave", "", ".lists", ".junk")
    settings = {"NOTIFYD_SOCKET": str(ear.path), "NOTIFYD_MAILBOXES": "INBOX.li*"}
    with post.client(**settings) as client:
        client.hello(b"<dave+junk>", b"<dave>", b"<dave+lists>")
        assert client.data(TEXT, 3) == ["250 2.1.5"] * 3
    assert ear.event().mailbox == "INBOX.lists" and ear.quiet()


def test_tokens_of_devices(post: Post, ear: Ear) -> None:
    """Only where they are told, and only what is a token."""
    maildir = post.folder / "ann" / "Maildir"
    set_entries(maildir, {b"/private/DeviceToken": b"fcm:1", b"/private/devicetoken/phone": b"apns:2",
                          b"/private/devicetoken/same": b"apns:2", b"/private/devicetoken/odd": b"a b\r\n",
                          b"/private/devicetokens": b"no", b"/shared/devicetoken": b"no",
                          b"/private/comment": b"no"})
    values = {"NOTIFYD_SOCKET": str(ear.path), "NOTIFYD_MAILBOXES": ""}
    with post.client(**values) as client:
        client.hello(b"<ann>")
        assert client.data(TEXT) == ["250 2.1.5"]
    assert ear.quiet()
    with post.client(**values, NOTIFYD_TOKEN_URL="https://push.example/") as client:
        client.hello(b"<ann>", b"<bob>")
        assert client.data(TEXT + b"2\r\n", 2) == ["250 2.1.5"] * 2
    found = ear.event()
    assert sorted(found.tokens) == ["apns:2", "fcm:1"] and not found.wanted and ear.quiet()


def test_a_damaged_file_of_tokens_fails_nobody(post: Post, ear: Ear) -> None:
    (post.folder / "ann" / "Maildir" / "courierpy-metadata").write_bytes(b"\0rubbish")
    with post.client(NOTIFYD_SOCKET=str(ear.path), NOTIFYD_TOKEN_URL="https://push.example/") as client:
        client.hello(b"<ann>")
        assert client.data(TEXT) == ["250 2.1.5"]
    assert ear.event().tokens == () and len(post.mail("ann")) == 1


def test_what_is_there_already_is_not_told_again(post: Post, ear: Ear) -> None:
    text = b"Message-ID: <1@example.com>\r\n" + TEXT
    for _ in range(2):
        with post.client(NOTIFYD_SOCKET=str(ear.path)) as client:
            client.hello(b"<ann>")
            assert client.data(text) == ["250 2.1.5"]
    assert ear.event().user == "ann" and ear.quiet()


def test_a_notification_is_known_as_one(post: Post, ear: Ear) -> None:
    with post.client(NOTIFYD_SOCKET=str(ear.path)) as client:
        client.hello(b"<ann>")
        assert client.data(b"X-Courierpy-Notification: yes\r\n" + TEXT) == ["250 2.1.5"]
    assert ear.event().ours


@pytest.mark.parametrize("state", ["none", "left", "full"])
def test_nobody_hears(post: Post, state: str) -> None:
    """The mail comes all the same, and the log says once that nobody was told."""
    path = post.folder / "notify"
    ears: list[Ear] = []
    if state != "none":
        ears.append(Ear(path))
    if state == "left":
        ears[0].socket.close()
    if state == "full":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with pytest.raises(BlockingIOError):
                for _ in range(100000):
                    sender.sendto(b"x", str(path))
    with post.client(NOTIFYD_SOCKET=str(path)) as client:
        for number in range(3):
            client.hello(b"<ann>")
            assert client.data(TEXT + b"%d\r\n" % number) == ["250 2.1.5"]
    assert len(post.mail("ann")) == 3
    assert post.log.read_text().count("does not hear of new mail") == 1
    for each in ears:
        each.socket.close()


def test_deliver_tells_too(post: Post, ear: Ear) -> None:
    environ = {**plain_environ(), **post.settings, "NOTIFYD_SOCKET": str(ear.path),
               "NOTIFYD_FIELDS": "subject"}
    with post.log.open("ab") as log:
        done = subprocess.run([sys.executable, "-m", "courierpy.deliver", "ann"], input=TEXT, stderr=log,
                              env=environ, check=False, timeout=60, cwd=post.folder)
    assert done.returncode == 0
    found = ear.event()
    assert (found.user, found.about) == ("ann", {"subject": "hällo there"})
