"""A recipient whose Maildir is full: that one alone is refused."""
from __future__ import annotations

from courierpy.maildir.formats import maildirsize
from tests.conftest import account_ids
from tests.lmtp.talk import Client, Post

TEXT = b"Subject: x\r\n\r\nhello\r\n"


def test_one_of_three_is_full(post: Post, client: Client) -> None:
    uid, gid = account_ids()
    fields = f"uid={uid}|gid={gid}|home={post.folder / 'full'}|quota=0S,1C"
    maildir = post.account("full", fields)
    client.hello(b"<ann>", b"<full>", b"<bob>")
    assert client.data(TEXT, 3) == ["250 2.1.5"] * 3
    client.hello(b"<ann>", b"<full>", b"<bob>")
    assert client.data(TEXT.replace(b"x", b"y"), 3) == ["250 2.1.5", "452 4.2.2", "250 2.1.5"]
    assert (len(post.mail("full")), post.left("full"), len(post.mail("bob"))) == (1, [], 2)
    # what a client may ask for
    client.hello(b"<full> IGNOREQUOTA")
    assert client.data(TEXT.replace(b"x", b"z")) == ["250 2.1.5"]
    found = maildirsize.parse((maildir / "maildirsize").read_bytes())
    assert found is not None
    size = sum(len(mail) for mail in post.mail("full"))
    assert (found.limits.messages, found.there.octets, found.there.messages) == (1, size, 2)


def full(post: Post, user: str = "full", quota: str = "1000S", *boxes: str) -> None:
    """An account for which 1,000 octets are too many, at least."""
    uid, gid = account_ids()
    post.account(user, f"uid={uid}|gid={gid}|home={post.folder / user}|quota={quota}", *boxes)


def test_a_size_that_is_announced_is_refused_at_rcpt(post: Post, client: Client) -> None:
    """For that recipient alone, and before the message is sent; the others get it.  RFC 1870 6.1 (2)."""
    full(post)
    client.say(b"LHLO c", b"MAIL FROM:<a@b> SIZE=5000")
    assert client.say(b"RCPT TO:<ann>", b"RCPT TO:<full@x.example>", b"RCPT TO:<full+Trash@x.example>",
                      b"RCPT TO:<full> IGNOREQUOTA", b"RCPT TO:<bob>") == [
        "250 2.1.5", "452 4.2.2", "452 4.2.2", "250 2.1.5", "250 2.1.5"]
    assert client.data(TEXT, 3) == ["250 2.1.5"] * 3
    assert len(post.mail("full")) == 1
    # what fits, by less than what its lines lose here
    assert client.say(b"MAIL FROM:<a@b> SIZE=500", b"RCPT TO:<full>", b"RSET") == [
        "250 2.1.0", "250 2.1.5", "250 2.0.0"]
    assert client.say(b"MAIL FROM:<a@b>", b"RCPT TO:<full>") == ["250 2.1.0", "250 2.1.5"]
    assert "DEFERRED" in post.log.read_text() and 'user=full' in post.log.read_text()


def test_a_quota_that_is_lowered_counts_at_once(post: Post) -> None:
    """In the account database, for the next delivery; the header of the file is made anew."""
    full(post, quota="2000S")
    text = b"Subject: x\r\n\r\n" + b"y" * 500 + b"\r\n"
    for number, (quota, answer) in enumerate((("2000S", "250 2.1.5"), ("800S", "452 4.2.2"),
                                              ("2100S", "250 2.1.5"))):
        post.rows["full"] = post.rows["full"].rpartition("=")[0] + f"={quota}"
        post.write()
        with post.client() as client:
            client.hello(b"<full>")
            assert client.data(text.replace(b"x", b"%d" % number)) == [answer], quota
        assert (post.folder / "full/Maildir/maildirsize").read_text().startswith(f"{quota}\n")


def test_by_setting_such_mail_goes_back(post: Post) -> None:
    full(post)
    with post.client(LMTP_OVERQUOTA_PERMANENT="1") as client:
        client.say(b"LHLO c", b"MAIL FROM:<a@b> SIZE=5000")
        assert client.say(b"RCPT TO:<full>") == ["552 5.2.2"]


def test_in_doubt_the_message_may_come(post: Post, client: Client) -> None:
    """What is wrong with a Maildir at RCPT may be mended when the message is there."""
    maildir = post.folder / "ann" / "Maildir"
    maildir.rename(post.folder / "ann" / "away")
    client.say(b"LHLO c", b"MAIL FROM:<a@b> SIZE=50")
    assert client.say(b"RCPT TO:<ann>") == ["250 2.1.5"]
    (post.folder / "ann" / "away").rename(maildir)
    assert client.data(TEXT) == ["250 2.1.5"]


def test_the_trash_has_no_quota(post: Post, client: Client) -> None:
    full(post, "full", "1000S", ".Trash")
    client.say(b"LHLO c", b"MAIL FROM:<a@b> SIZE=5000")
    assert client.say(b"RCPT TO:<full+Trash>", b"RCPT TO:<full>") == ["250 2.1.5", "452 4.2.2"]


def test_a_detail_may_have_to_be_a_mailbox(post: Post) -> None:
    post.account("dora", "", ".lists")
    with post.client(LMTP_DETAIL_MUST_EXIST="1") as client:
        client.say(b"LHLO c", b"MAIL FROM:<a@b>")
        assert client.say(b"RCPT TO:<dora+lists>", b"RCPT TO:<dora+none>", b"RCPT TO:<dora+inbox>",
                          b"RCPT TO:<dora+INBOX.lists>", b"RCPT TO:<dora>") == [
            "250 2.1.5", "550 5.2.1", "250 2.1.5", "250 2.1.5", "250 2.1.5"]
        assert client.data(TEXT, 4) == ["250 2.1.5"] * 4
    assert len(post.mail("dora", ".lists")) == 2
