"""What smmapd says of accounts, mailboxes, rights and quotas: the same in both tongues, and as LMTP."""
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from courierpy import smmapd
from tests.conftest import account_ids
from tests.lmtp.talk import Post
from tests.mta.talk import Asker, netstring, request


@contextmanager
def asking(post: Post, *words: str, **settings: str) -> Iterator[Asker]:
    ours, theirs = socket.socketpair()
    post.birth("smmapd", theirs, *words, **settings)
    with Asker(ours) as made:
        yield made


@pytest.fixture
def asker(post: Post) -> Iterator[Asker]:
    with asking(post) as made:
        yield made


def account(post: Post, user: str, quota: str, *boxes: str) -> None:
    uid, gid = account_ids()
    post.account(user, f"uid={uid}|gid={gid}|home={post.folder / user}|quota={quota}", *boxes)


@pytest.mark.parametrize("key", [
    "ann", "ann@example.org", "ANN@Example.ORG", "ann+lists@example.org", "ann+INBOX@x", "ann+a b@x",
    '"ann"@x', "carol@example.org", "Carol+x@EXAMPLE.org"])
def test_who_gets_mail(asker: Asker, key: str) -> None:
    assert asker.map(key.encode()) == f"OK {key}"
    assert asker.policy(key) == "DUNNO"


@pytest.mark.parametrize("key", ["nobody@x", "", "@example.org", "+lists@x", "ann@x@y", "carol@x",
                                 "\u00fc@x", "a\0b", "../ann", "x" * 3000])
def test_who_gets_none(asker: Asker, key: str) -> None:
    """A map says so; a policy is asked about others' mail too, and refuses nobody whom it does not know."""
    assert asker.map(key.encode()) == "NOTFOUND "
    if "\0" not in key:
        assert asker.policy(key) == "DUNNO"
    assert asker.map(b"ann") == "OK ann"


def test_one_verdict_for_a_name_in_quotes(post: Post, asker: Asker) -> None:
    account(post, "a b", "")
    for key in ('"a b"@x', "a b@x", "a b", "A B@x"):
        assert asker.map(key.encode()) == f"OK {key}"
    with post.client() as client:
        client.hello(b'<"a b"@x>')


def test_who_is_full(post: Post, asker: Asker) -> None:
    account(post, "full", "1000S,5C", ".Trash")
    assert asker.policy("full@x", size="500") == "DUNNO"
    assert asker.policy("full@x", size="5000") == "452 4.2.2 The mailbox is full"
    assert asker.policy("full+Trash@x", size="5000") == "DUNNO"
    assert asker.map(b"full@x") == "OK full@x"
    (post.folder / "full" / "Maildir" / "new" / "1.x.y,S=1000").write_bytes(b"x" * 1000)
    (post.folder / "full" / "Maildir" / "maildirsize").unlink(missing_ok=True)
    assert asker.map(b"full@x") == "TEMP 4.2.2 The mailbox is full"
    assert asker.map(b"full@x", b"exists") == "OK full@x"
    assert asker.policy("full@x") == "452 4.2.2 The mailbox is full"
    with asking(post, LMTP_OVERQUOTA_PERMANENT="1") as other:
        assert other.map(b"full@x") == "PERM 5.2.2 The mailbox is full"
        assert other.policy("full@x") == "552 5.2.2 The mailbox is full"


def test_a_message_that_is_too_large_for_all(post: Post) -> None:
    with asking(post, IMAP_APPENDLIMIT="1000") as asker:
        assert asker.policy("ann", size="1001") == "552 5.3.4 The message is too large"
        assert asker.policy("ann", size="1000") == asker.policy("nobody", size="1001") == "DUNNO"


def test_a_mailbox_behind_a_plus(post: Post, asker: Asker) -> None:
    """As LMTP: where it is not there, or takes no mail, INBOX takes it, unless LMTP_DETAIL_MUST_EXIST."""
    account(post, "dora", "", ".lists", ".shut")
    shut = post.folder / "dora" / "Maildir" / ".shut" / "courierimapacl"
    shut.write_text("owner aceilrstwx\nanyone lr\n")
    os.chown(shut, *account_ids())
    with asking(post, LMTP_DETAIL_MUST_EXIST="1") as strict, \
            asking(post, "-p", LMTP_DETAIL_MUST_EXIST="1") as blind:
        for detail, there in (("lists", True), ("shut", False), ("none", False), ("INBOX", True), ("", True),
                              ("INBOX.lists", True), ("a/../b", False)):
            key = f"dora+{detail}@x"
            assert asker.map(key.encode()) == blind.map(key.encode()) == f"OK {key}"
            assert asker.policy(key) == blind.policy(key) == "DUNNO"
            assert strict.map(key.encode()) == (f"OK {key}" if there else "NOTFOUND ")
            assert strict.map(key.encode(), b"exists") == (f"OK {key}" if there else "NOTFOUND ")
            assert strict.policy(key) == ("DUNNO" if there else
                                          "550 5.2.1 There is no such mailbox, or it takes no mail")
            with post.client(LMTP_DETAIL_MUST_EXIST="1") as client:
                client.say(b"LHLO c", b"MAIL FROM:<a@b>")
                assert client.say(b'RCPT TO:<"%s"@x>' % key.removesuffix("@x").encode()) == [
                    "250 2.1.5" if there else "550 5.2.1"]


def test_in_doubt_the_mta_tries_again(post: Post, asker: Asker) -> None:
    """A database that cannot be read, a Maildir that is not there: never "unknown", never "full"."""
    (post.folder / "ann" / "Maildir").rename(post.folder / "ann" / "away")
    assert asker.map(b"ann").startswith("TEMP 4.2.1 ")
    assert asker.map(b"ann", b"exists") == "OK ann"
    assert asker.policy("ann") == "DUNNO"      # to where an alias leads, or into the queue
    post.userdb.chmod(0o644)                   # others can read it: that cannot be right
    with asking(post) as other:
        assert other.map(b"bob").startswith("TEMP 4.3.0 ")
        assert other.map(b"nobody").startswith("TEMP 4.3.0 ")
        assert other.policy("bob").startswith("DEFER_IF_PERMIT 4.3.0 ")
        assert other.policy("") == "DUNNO"


@pytest.mark.skipif(os.getuid() != 0, reason="to others root's mail is that of another user")
def test_an_alias_of_root_is_let_in(post: Post, asker: Asker) -> None:
    """No session and no delivery is root's; /etc/aliases sends his mail on behind the policy."""
    post.account("root", f"uid=0|gid=0|home={post.folder}/root")
    assert asker.policy("root@x", size="100") == "DUNNO"
    assert asker.map(b"root").startswith("TEMP 4.2.1 ")


def test_requests_in_a_row_and_in_pieces(asker: Asker) -> None:
    """Each gets one answer, in order; END-OF-MESSAGE has no recipient where there are several."""
    both = netstring(b"v ann") + request("bob", protocol_state="END-OF-MESSAGE") + netstring(b"v x")
    for size in (len(both), 1):
        for at in range(0, len(both), size):
            asker.send(both[at:at + size])
        assert asker.map_reply() == b"OK ann"
        assert asker.action() == "DUNNO"
        assert asker.map_reply() == b"NOTFOUND "
    assert asker.policy("", protocol_state="END-OF-MESSAGE", recipient_count="2") == "DUNNO"
    for text in (b"request=other\n\n", b"\n", b"odd\n\n", b"\xff=\xff\n\n"):
        asker.send(text)
        assert asker.action() == "DUNNO"


@pytest.mark.parametrize("text", [b"3:abc;", b"99999:", b"1x"])
def test_what_cannot_be_read_ends_with_a_word(asker: Asker, text: bytes) -> None:
    asker.send(text)
    assert asker.map_reply().startswith(b"PERM ")
    assert asker.ended()


def test_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["-x"], ["-C"], ["-Ux"], ["a", "b"], ["-pp"], ["-\udcff"]):
        assert smmapd.main(["smmapd", *words], {}) == os.EX_USAGE
        assert capfd.readouterr().err.startswith("smmapd: ")
    assert smmapd.main(["smmapd", "--help"], {}) == 0
    found = smmapd.Options(["-p", "-D", "-H", "-U", "5", "-T60", "-C", "/x", "/run/s"])
    assert (found.files, found.ignores_detail, found.socket) == (["/x"], True, "/run/s")


def test_who_is_denied(post: Post) -> None:
    """Where lmtp is among the services, as LMTP itself."""
    (post.folder / "denied").write_text("ann\timap,lmtp\tAsk Bob.\nbob\timap,pop3\tno\n")
    with asking(post, CONFIGDIRECTORY=str(post.folder)) as asker:
        assert asker.map(b"ann@x") == asker.map(b"ann", b"exists") == "NOTFOUND "
        assert asker.policy("ann+lists@x") == "550 5.2.1 Ask Bob."
        assert asker.map(b"bob") == "OK bob"
        (post.folder / "denied").unlink()
        assert asker.map(b"ann@x") == "OK ann@x"
