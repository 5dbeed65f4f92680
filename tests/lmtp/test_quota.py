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
