"""XCLIENT: a proxy says for whom it speaks, where LMTP_XCLIENT lets it."""
from __future__ import annotations

import socket

import pytest

from tests.lmtp.talk import Client, Post

TEXT = b"Subject: hello\r\n\r\nbody\r\n"


def offers(client: Client) -> list[str]:
    client.send(b"LHLO proxy.example\r\n")
    told = [client.line()]
    while told[-1][3] == "-":
        told.append(client.line())
    return [line[4:].split()[0] for line in told[1:]]


def received(post: Post, user: str) -> str:
    return post.mail(user)[-1].decode().partition("Received: ")[2].partition("\n")[0]


def test_a_proxy_that_may(post: Post) -> None:
    """The dialogue begins anew, with the client's words in Received and in the log."""
    with post.client(LMTP_XCLIENT="10.0.0.0/8 unix") as client:
        assert offers(client)[-1] == "XCLIENT"
        assert client.say(b"XCLIENT ADDR=192.0.2.7 PORT=4321 NAME=mail.example.com HELO=client.example") == [
            "220 2.0.0"]
        assert client.say(b"MAIL FROM:<a@b>") == ["503 5.5.1"]
        client.hello(b"<ann>")
        assert client.data(TEXT) == ["250 2.1.5"]
        assert received(post, "ann") == "from client.example (mail.example.com [192.0.2.7])"
        assert client.say(b"XCLIENT addr=ipv6:2001:DB8::1 name=[UNAVAILABLE] helo=[TEMPUNAVAIL]") == [
            "220 2.0.0"]
        client.hello(b"<bob>")
        assert client.say(b"XCLIENT ADDR=192.0.2.8") == ["503 5.5.1"]
        assert client.data(TEXT) == ["250 2.1.5"]
        assert received(post, "bob") == "from client.example ([2001:db8::1])"
    assert "XCLIENT, ip=[192.0.2.7], port=[4321], said by uid=" in post.log.read_text()


@pytest.mark.parametrize("words", [
    b"", b"ADDR", b"ADDR=x", b"ADDR=192.0.2.300", b"ADDR=IPV6:x", b"NAME=a+0D+0AX-Evil:+20b", b"NAME=a(b",
    b"HELO=a+20b", b"PORT=x", b"ODD=1", b"ADDR=192.0.2.1 LOGIN=+00", b"LOGIN=+C3+BC"])
def test_what_is_none(post: Post, words: bytes) -> None:
    with post.client(LMTP_XCLIENT="unix") as client:
        client.hello()
        assert client.say(b"RSET", b"XCLIENT " + words, b"NOOP") == ["250 2.0.0", "501 5.5.4", "250 2.0.0"]


def test_who_may_not(post: Post, client: Client) -> None:
    assert "XCLIENT" not in offers(client)
    assert client.say(b"XCLIENT ADDR=192.0.2.7") == ["550 5.7.0"]


@pytest.mark.parametrize(("listed", "may"), [("127.0.0.0/8", True), ("::1, 127.0.0.1", True), ("unix", False),
                                             ("127.0.0.2 odd", False)])
def test_over_the_network(post: Post, listed: str, may: bool) -> None:
    """What it says of another changes nothing in what it may itself: who does not deliver does not then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with post.over(ours, theirs, LMTP_XCLIENT=listed) as client:
        assert ("XCLIENT" in offers(client)) is may
        assert client.say(b"XCLIENT ADDR=192.0.2.7 LOGIN=root") == ["220 2.0.0" if may else "550 5.7.0"]
        client.send(b"LHLO c\r\n")
        client.reply()
        assert client.say(b"MAIL FROM:<a@b>") == ["530 5.7.0"]
    if "odd" in listed:
        assert "LMTP_XCLIENT" in post.log.read_text()
