"""The dialogue of lmtpd: RFC 2033 and the extensions that LHLO tells of."""
from __future__ import annotations

import json
import os
import re
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.conftest import account_ids
from tests.lmtp.talk import Client, Post

TEXT = b"Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\nbody\r\n"
LF = TEXT.replace(b"\r\n", b"\n")


def text_of(copy: bytes) -> bytes:
    """A message without the fields of its delivery."""
    return copy.partition(b"\tfor <")[2].partition(b"\n")[2]


def test_a_message_comes_to_its_recipient(post: Post, client: Client) -> None:
    client.hello(b"<ann@example.org>")
    assert client.data(TEXT) == ["250 2.1.5"]
    copy, = post.mail("ann")
    fields = copy.removesuffix(LF).decode()
    assert re.fullmatch(
        r"Return-Path: <sender@example\.com>\nDelivered-To: ann@example\.org\n"
        r"Received: from client\.example \(local\)\n\tby mx\.example\.net with LMTP id \w{12}\n"
        r"\tfor <ann@example\.org>; \w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\n", fields)
    name, = os.listdir(post.folder / "ann" / "Maildir" / "new")
    assert name.endswith(f",S={len(copy)}")
    found = os.stat(post.folder / "ann" / "Maildir" / "new" / name)
    assert (found.st_uid, found.st_gid) == account_ids()
    assert post.left("ann") == []


def test_who_is_denied_gets_no_mail(post: Post) -> None:
    """Where the administrator says so of LMTP; by the name of the account, whatever is behind the +."""
    (post.folder / "denied").write_text("ann\tlmtp\tGone f\u00fcr good\nbob\timap,pop3\tPay first\n")
    with post.client(CONFIGDIRECTORY=str(post.folder)) as client:
        assert client.say(b"LHLO c", b"MAIL FROM:<>")[1] == "250 2.1.0"
        client.send(b"RCPT TO:<ann+x>\r\n")
        assert client.reply() == "550 5.2.1 Gone f?r good"
        assert client.say(b"RCPT TO:<ANN@example.org>", b"RCPT TO:<bob>") == ["550 5.2.1", "250 2.1.5"]
        assert client.data(TEXT) == ["250 2.1.5"]


def test_lhlo_tells_what_there_is(client: Client) -> None:
    client.send(b"LHLO client.example\r\n")
    told = [client.line()]
    while told[-1][3] == "-":
        told.append(client.line())
    assert [line[4:].split()[0] for line in told[1:]] == [
        "PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "IGNOREQUOTA"]


def test_one_reply_for_each_recipient_that_was_taken(post: Post, client: Client) -> None:
    """Twice the same address too; none for one that was refused.  RFC 2033 4.2."""
    client.send(b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<nobody>\r\nRCPT TO:<ann>\r\n"
                b"RCPT TO:<bob>\r\nDATA\r\n")
    assert client.replies(7) == ["250 IGNOREQUOTA", "250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5",
                                 "250 2.1.5", "354 The"]
    client.send(TEXT + b".\r\nQUIT\r\n")
    assert client.replies(4) == ["250 2.1.5"] * 3 + ["221 2.0.0"]
    assert client.ended()
    assert [len(post.mail(user)) for user in ("ann", "bob")] == [1, 1]
    assert post.mail("bob")[0].startswith(b"Return-Path: <>\n")


def test_one_reply_each_after_the_last_chunk_too(post: Post, client: Client) -> None:
    client.hello(b"<ann>", b"<bob>", b"<ann>")
    client.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (10, TEXT[:10], len(TEXT) - 10, TEXT[10:]))
    assert client.replies(4) == ["250 2.0.0"] + ["250 2.1.5"] * 3
    assert text_of(post.mail("bob")[0]) == LF
    client.hello(b"<ann>")
    client.send(b"BDAT 3 \r\nA: BDAT 0 LAST\r\nNOOP\r\n")
    assert client.replies(3) == ["250 2.0.0", "250 2.1.5", "250 2.0.0"]


def test_octets_of_a_refused_chunk_are_no_commands(post: Post, client: Client) -> None:
    client.send(b"BDAT 17 LAST\r\nMAIL FROM:<a@b>\r\nNOOP\r\n")
    assert client.replies(2) == ["503 5.5.1", "250 2.0.0"]
    client.say(b"LHLO c", b"MAIL FROM:<a@b>")
    client.send(b"BDAT 6\r\nRSET\r\nRCPT TO:<ann>\r\n")
    assert client.replies(2) == ["503 5.5.1", "250 2.1.5"]
    client.send(b"BDAT 9999999999999999999999 LAST\r\nNOOP\r\n")
    assert client.reply().startswith("501 ")
    assert client.ended()


def test_a_pipeline_without_a_recipient_gets_no_354(post: Post, client: Client) -> None:
    client.send(b"LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody>\r\nDATA\r\nQUIT\r\n")
    assert client.replies(5) == ["250 IGNOREQUOTA", "250 2.1.0", "550 5.1.1", "503 5.5.1", "221 2.0.0"]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r.\r\n"])
def test_only_a_dot_between_two_crlf_ends_a_message(post: Post, client: Client, end: bytes) -> None:
    """What a sender has put into its text is not taken for commands."""
    text = b"Subject: s\r\n\r\nbefore" + end + b"MAIL FROM:<forged@example.com>\r\nafter\r\n"
    client.hello(b"<ann>")
    assert client.data(text) == ["250 2.1.5"]
    assert client.say(b"NOOP") == ["250 2.0.0"]
    copy, = post.mail("ann")
    assert b"before" in copy and copy.rstrip(b"\r\n").endswith(b"after")
    assert b"MAIL FROM:<forged@example.com>" in copy


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_dots_and_ends_in_pieces(post: Post, client: Client, size: int) -> None:
    client.hello(b"<ann>")
    assert client.say(b"DATA") == ["354 The"]
    text = b"Subject: s\r\n\r\n..one\r\n...\r\n..\r\n\r\n.\r\nNOOP\r\n"
    for at in range(0, len(text), size):
        client.send(text[at:at + size])
    assert client.replies(2) == ["250 2.1.5", "250 2.0.0"]
    assert text_of(post.mail("ann")[0]) == b"Subject: s\n\n.one\n..\n.\n\n"


@pytest.mark.parametrize("text", [b"", b"\r\n", b"no header", b"\r\nbody\r\n", b" odd\r\nA: b\r\n\r\nc\r\n",
                                  b"A: \x00\x80\xff\r\n\r\n\x00\r\n",
                                  b"From x Mon Jan  1 10:00:00 2024\r\nA: b\r\n"])
def test_a_message_is_kept_as_it_came(post: Post, client: Client, text: bytes) -> None:
    client.hello(b"<ann>")
    client.send(b"BDAT %d LAST\r\n%s" % (len(text), text))
    assert client.replies(1) == ["250 2.1.5"]
    assert text_of(post.mail("ann")[0]) == text.replace(b"\r\n", b"\n")


def test_there_is_one_return_path_and_a_forged_one_goes(post: Post, client: Client) -> None:
    client.hello(b"<ann>")
    text = (b"Return-Path: <forged@example.com>\r\n\t(folded)\r\nDelivered-To: forged\r\n"
            b"RETURN-PATH : <x>\r\nSubject: s\r\n\r\nReturn-Path: in the text\r\n")
    assert client.data(text) == ["250 2.1.5"]
    lines = post.mail("ann")[0].split(b"\n")
    assert [line for line in lines if line.lower().startswith(b"return-path")] == [
        b"Return-Path: <sender@example.com>", b"Return-Path: in the text"]
    assert lines.index(b"Delivered-To: ann") < lines.index(b"Delivered-To: forged")
    assert b"folded" not in b"".join(lines)


def test_the_address_that_the_sender_wrote_to(post: Post, client: Client) -> None:
    client.say(b"LHLO c", b"MAIL FROM:<a@b>", b"RCPT TO:<ann> ORCPT=rfc822;info+2Bx@example.org")
    client.data(TEXT)
    assert b"\nX-Original-To: info+x@example.org\n" in post.mail("ann")[0]
    client.say(b"MAIL FROM:<a@b>", b"RCPT TO:<bob> ORCPT=rfc822;a+0D+0AX-Forged:+20b")
    client.data(TEXT)
    assert b"Forged" not in post.mail("bob")[0]


@pytest.mark.parametrize("address", [b"<ann@EXAMPLE.ORG>", b"<Ann@example.org>", b"<ANN>",
                                     b'<"ann"@example.org>', b'<"a\\nn">',
                                     b"<@relay.example:ann@example.org>",
                                     b"<ann+nothing@x>",
                                     b"<ann+INBOX>", b"<ann+>", b"<ann@[192.0.2.1]>", b"<ann+..%2f@x>",
                                     b'<"ann+../../x">', b'<"ann+a b">'])
def test_many_spellings_of_one_account(post: Post, client: Client, address: bytes) -> None:
    client.hello(address)
    assert client.data(TEXT) == ["250 2.1.5"]
    assert len(post.mail("ann")) == 1


def test_accounts_with_domains(post: Post, client: Client) -> None:
    client.hello(b"<Carol+x@Example.ORG>")
    assert client.data(TEXT) == ["250 2.1.5"]
    assert client.say(b"MAIL FROM:<>", b"RCPT TO:<carol@example.net>", b"RCPT TO:<carol>") == [
        "250 2.1.0", "550 5.1.1", "550 5.1.1"]
    assert len(post.mail("carol@example.org")) == 1
    settings = {"LMTP_DOMAINS": "example.org example.net", "LMTP_FOLD_CASE": "0", "LMTP_DELIMITER": ""}
    with post.client(**settings) as other:
        assert other.say(b"LHLO c", b"MAIL FROM:<>", b"RCPT TO:<ann@example.net>",
                         b"RCPT TO:<ann@example.com>",
                         b"RCPT TO:<Ann@example.org>", b"RCPT TO:<ann+x@example.org>")[2:] == [
            "250 2.1.5", "550 5.1.1", "550 5.1.1", "550 5.1.1"]


def test_a_detail_names_a_mailbox_that_is_there(post: Post, client: Client) -> None:
    post.account("dave", "", ".lists", ".lists.python", ".a b", ".INBOX")
    client.hello(b"<dave+lists>", b"<dave+lists.python@x>", b'<"dave+a b"@x>', b"<dave+INBOX.lists>",
                 b"<dave+Lists>", b"<dave+inbox>")
    assert client.data(b"\r\n", 6) == ["250 2.1.5"] * 6
    assert [len(post.mail("dave", box)) for box in (".lists", ".lists.python", ".a b", ".INBOX", "")] \
        == [2, 1, 1, 0, 2]


@pytest.mark.parametrize("line", [
    b"RCPT TO:ann", b"RCPT TO:<ann", b"RCPT <ann>", b"RCPT TO:<>", b"RCPT TO:<a b>", b"RCPT TO:<ann>x",
    b"RCPT TO:<ann@a..b/c>", b"RCPT TO:<\x80>", b"RCPT TO:<" + b"a" * 300 + b">", b"RCPT TO:<ann\tx>",
    b"RCPT TO:<ann> SIZE=1", b"RCPT TO:<ann> =", b"RCPT TO:<ann> NOTIFY=NEVER NOTIFY=NEVER",
    b"RCPT TO:<ann\r>", b"RCPT TO:<ann\x00>"])
def test_what_is_no_recipient(client: Client, line: bytes) -> None:
    assert client.say(b"LHLO c", b"MAIL FROM:<a@b>", line)[2][0] == "5"
    assert client.say(b"RCPT TO:<ann>") == ["250 2.1.5"]


@pytest.mark.parametrize("line", [
    b"MAIL FROM:<a@b> SIZE=x", b"MAIL FROM:<a@b> BODY=BINARYMIME", b"MAIL FROM:<a@b> XYZ=1", b"MAIL TO:<a@b>",
    b"MAIL FROM:<a@b> SIZE=1 SIZE=2", "MAIL FROM:<ü@b>".encode(), b"MAIL FROM:<a@b> SMTPUTF8=1",
    b"MAIL FROM:<a@b> SIZE=-1", b"MAIL FROM:<a\x1b@b>"])
def test_what_is_no_sender(client: Client, line: bytes) -> None:
    assert client.say(b"LHLO c", line)[1][0] == "5"
    assert client.say(b"MAIL FROM:<a@b>") == ["250 2.1.0"]


def test_addresses_in_utf8(post: Post, client: Client) -> None:
    post.account("jörg")
    assert client.say(b"LHLO c", "MAIL FROM:<ü@bücher.example> SMTPUTF8 BODY=8BITMIME".encode(),
                      "RCPT TO:<jörg@bücher.example>".encode())[1:] == ["250 2.1.0", "250 2.1.5"]
    assert client.data("Subject: 🙂\r\n\r\n".encode()) == ["250 2.1.5"]
    copy = post.mail("jörg")[0].decode()
    assert copy.startswith("Return-Path: <ü@bücher.example>\nDelivered-To: jörg@bücher.example\n")
    assert " with UTF8LMTP id " in copy
    assert client.say(b"MAIL FROM:<a@b>", "RCPT TO:<jörg>".encode()) == ["250 2.1.0", "553 5.6.7"]


def test_the_order_of_commands(client: Client) -> None:
    assert client.say(b"MAIL FROM:<a@b>", b"VRFY ann", b"NOOP x", b"EHLO c", b"LHLO", b"LHLO a b",
                      b"LHLO c") == [
        "503 5.5.1", "503 5.5.1", "250 2.0.0", "500 5.5.1", "501 5.5.4", "501 5.5.4", "250 IGNOREQUOTA"]
    assert client.say(b"RCPT TO:<ann>", b"DATA", b"MAIL FROM:<a@b>", b"MAIL FROM:<a@b>", b"DATA", b"DATA x",
                      b"RSET", b"RCPT TO:<ann>", b"RSET x", b"VRFY ann", b"VRFY <x>", b"EXPN a", b"XYZ", b"",
                      b"HELP") == [
        "503 5.5.1", "503 5.5.1", "250 2.1.0", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2.0.0",
        "503 5.5.1", "501 5.5.4", "250 2.1.5", "550 5.1.1", "502 5.5.1", "500 5.5.1", "500 5.5.2",
        "214 2.0.0"]
    assert client.say(b"MAIL FROM:<a@b>", b"RCPT TO:<ann>", b"LHLO c", b"DATA")[3] == "503 5.5.1"


def test_a_size_that_is_too_large(post: Post) -> None:
    with post.client(IMAP_APPENDLIMIT="1000") as client:
        client.send(b"LHLO c\r\nMAIL FROM:<a@b> SIZE=1001\r\nMAIL FROM:<a@b> SIZE=1000\r\nRCPT TO:<ann>\r\n"
                    b"RCPT TO:<bob>\r\n")
        assert client.replies(5)[1:] == ["552 5.3.4", "250 2.1.0", "250 2.1.5", "250 2.1.5"]
        assert client.data(b"x" * 998 + b"\r\n" + b"y\r\n", 2) == ["552 5.3.4"] * 2
        client.hello(b"<ann>")
        client.send(b"BDAT 600\r\n" + b"x" * 600 + b"BDAT 600\r\n" + b"x" * 600 + b"BDAT 1 LAST\r\nx")
        assert client.replies(3) == ["250 2.0.0", "552 5.3.4", "552 5.3.4"]
        client.hello(b"<ann>")
        assert client.data(b"x" * 998 + b"\r\n") == ["250 2.1.5"]
    assert [len(post.mail(user)) for user in ("ann", "bob")] == [1, 0]


def test_a_line_that_is_too_long_and_lines_that_are_none(client: Client) -> None:
    assert client.say(b"NOOP " + b"x" * 20000, b"NOOP") == ["500 5.5.2", "250 2.0.0"]
    client.send(b"NOOP\nNOOP\r\nNO\rOP\r\n")
    assert client.replies(3) == ["500 5.5.2", "250 2.0.0", "500 5.5.2"]


def test_the_errors_of_a_client_come_to_an_end(post: Post, client: Client) -> None:
    client.send(b"XYZ\r\n" * 100)
    found = client.replies(21)
    assert found[:20] == ["500 5.5.1"] * 20 and found[20] == "421 4.7.0"
    with post.client() as other:               # that there is no such user is no error of the client's
        other.say(b"LHLO c", b"MAIL FROM:<a@b>")
        assert other.say(*[b"RCPT TO:<nobody%d>" % number for number in range(50)]) == ["550 5.1.1"] * 50


def test_too_many_recipients_come_the_next_time(post: Post) -> None:
    with post.client(LMTP_RECIPIENTS="100") as client:
        client.hello(*[b"<ann+%d>" % number for number in range(100)])
        assert client.say(b"RCPT TO:<bob>") == ["452 4.5.3"]
        assert client.data(b"Subject: many\r\n\r\n", 100) == ["250 2.1.5"] * 100
    assert len(post.mail("ann")) == 100


def test_a_thousand_recipients(post: Post, client: Client) -> None:
    client.hello(*[b"<ann+%d>" % number if number % 2 else b"<bob+%d>" % number for number in range(1000)])
    assert client.data(b"Subject: many\r\n\r\n", 1000) == ["250 2.1.5"] * 1000
    assert [len(post.mail(user)) for user in ("ann", "bob")] == [500, 500]


def test_who_goes_in_the_middle_has_brought_nothing(post: Post) -> None:
    for words in (b"Subject: half\r\n\r\n", b"Subject: half\r\n\r\n.\r", b""):
        with post.client() as client:
            client.hello(b"<ann>")
            assert client.say(b"DATA") == ["354 The"]
            client.send(words)
    with post.client() as client:
        client.hello(b"<ann>")
        client.send(b"BDAT 100 LAST\r\nhalf")
        client.end.shutdown(socket.SHUT_WR)
        assert client.ended()
    with post.client() as client:
        client.hello(b"<ann>")
        assert client.data(TEXT) == ["250 2.1.5"]
    assert [text_of(copy) for copy in post.mail("ann")] == [LF]
    assert post.left("ann") == []


def test_the_same_message_comes_once_while_it_is_there(post: Post, client: Client) -> None:
    new = post.folder / "ann" / "Maildir" / "new"
    for text, count in ((TEXT, 1), (TEXT, 1), (TEXT.replace(b"body", b"other"), 2), (b"no id\r\n", 3),
                        (b"no id\r\n", 4)):
        client.hello(b"<ann>")
        assert client.data(text) == ["250 2.1.5"]
        assert len(list(new.iterdir())) == count
    for path in list(new.iterdir()):           # read, and kept
        path.rename(new.parent / "cur" / f"{path.name}:2,S")
    client.hello(b"<ann>")
    client.data(TEXT)
    assert not list(new.iterdir())
    for path in (new.parent / "cur").iterdir():
        path.unlink()
    client.hello(b"<ann>")                     # removed, and sent again
    client.data(TEXT)
    assert len(list(new.iterdir())) == 1
    with post.client(LMTP_DUPLICATE_DAYS="0") as other:
        other.hello(b"<ann>")
        other.data(TEXT)
    assert len(list(new.iterdir())) == 2


# -- who may

def over_tcp(post: Post, *words: str, **settings: str) -> Client:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return post.over(ours, theirs, *words, **settings)


def signed(user: str, key: ECKey) -> str:
    claims = {"aud": "lmtp", "exp": int(time.time()) + 3600, "email": user}
    return jwt.encode({"alg": "ES256"}, claims, key)


@contextmanager
def token_sent(post: Post, token: str, key: ECKey) -> Iterator[Client]:
    """As ann's, who may deliver."""
    keys = post.folder / "keys"
    keys.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    with over_tcp(post, LMTP_ADMINS="ann", LMTP_AUTH="XOAUTH2", OAUTH_KEYFILE=str(keys), IMAP_TLS="1",
                  OAUTH_AUDIENCE="lmtp", IMAP_LOGIN_DELAY="0") as client:
        client.send(b"LHLO c\r\n")
        while client.line()[3] == "-":
            pass
        words = b64encode(f"user=ann\1auth=Bearer {token}\1\1".encode())
        client.send(b"AUTH XOAUTH2 " + words + b"\r\n")
        yield client


@pytest.mark.parametrize("end", [b"*", b"no base64", b""])
def test_a_refused_token_is_a_failed_login_however_the_exchange_ends(post: Post, end: bytes) -> None:
    key = ECKey.generate_key("P-256")
    for token in ("guess", signed("ann", ECKey.generate_key("P-256")), signed("bob", key)):
        with token_sent(post, token, key) as client:
            assert client.line().startswith("334 ")
            assert client.say(end, b"MAIL FROM:<a@b>") == ["535 5.7.8", "530 5.7.0"]


@pytest.mark.parametrize(("end", "told"), [(b"*", "501 5.7.0"), (b"no base64", "501 5.5.2")])
def test_who_cancels_before_he_has_proved_anything_does_not_learn_who_is_there(post: Post, end: bytes,
                                                                               told: str) -> None:
    """SCRAM looks the account up before its client has proved that it knows the password."""
    post.rows["ann"] += "|clearpw=secret"
    post.write()
    with over_tcp(post, LMTP_ADMINS="ann", LMTP_AUTH="SCRAM-SHA-256", IMAP_LOGIN_DELAY="0") as client:
        client.say(b"LHLO c")
        for user in (b"ann", b"nobody"):
            client.send(b"AUTH SCRAM-SHA-256 " + b64encode(b"n,,n=" + user + b",r=nonce") + b"\r\n")
            assert client.line().startswith("334 ")
            assert client.say(end) == [told]


def test_a_token_logs_in(post: Post) -> None:
    key = ECKey.generate_key("P-256")
    with token_sent(post, signed("ann", key), key) as client:
        assert client.replies(1) == ["235 2.7.0"]


def test_who_comes_over_the_network_has_to_log_in(post: Post) -> None:
    secret = b64encode(b"\0ann\0secret")
    post.rows["ann"] += "|clearpw=secret"
    post.rows["bob"] += "|clearpw=secret"
    post.write()
    with over_tcp(post, LMTP_ADMINS="ann", IMAP_LOGIN_DELAY="0") as client:
        client.send(b"LHLO c\r\n")
        told = [client.line()]
        while told[-1][3] == "-":
            told.append(client.line())
        assert told[-1] == "250 AUTH PLAIN LOGIN"
        assert client.say(b"MAIL FROM:<a@b>", b"AUTH XYZ", b"AUTH PLAIN " + b64encode(b"\0bob\0secret")) == [
            "530 5.7.0", "504 5.5.4", "535 5.7.8"]
        client.send(b"AUTH PLAIN\r\n*\r\n")
        assert client.line() == "334 " and client.replies(1) == ["501 5.7.0"]
        assert client.say(b"AUTH PLAIN " + secret) == ["235 2.7.0"]
        client.hello(b"<bob>")
        assert client.data(TEXT) == ["250 2.1.5"]
    assert re.search(rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\n\tby \S+ with LMTPA id ",
                     post.mail("bob")[0])
    with over_tcp(post) as client:             # nobody is named who may
        assert client.say(b"LHLO c", b"MAIL FROM:<a@b>", b"AUTH PLAIN " + secret) == [
            "250 IGNOREQUOTA", "530 5.7.0", "504 5.5.4"]
        client.send(b"BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n")
        assert client.replies(2) == ["530 5.7.0", "250 2.0.0"]
    with over_tcp(post, "-a") as client:
        client.hello(b"<ann>")
        assert client.data(TEXT) == ["250 2.1.5"]


def test_a_stranger_gets_little(post: Post) -> None:
    with over_tcp(post) as client:
        assert client.say(b"NOOP " + b"x" * 3000) == ["500 5.5.2"]
        client.send(b"XYZ\r\n" * 100)
        assert client.replies(5) == ["500 5.5.1"] * 4 + ["421 4.7.0"]


def test_words_of_the_command_line(post: Post) -> None:
    (post.folder / "settings").write_text("LMTP_DELIVERED_TO=0\n")
    words = ("-U", "250", "-T60", "-D", "-H", "-C", str(post.folder / "settings"), "Maildir")
    with post.client(*words) as client:
        client.hello(b"<ann>")
        client.data(TEXT)
    assert b"Delivered-To" not in post.mail("ann")[0]


# -- trouble

def test_in_doubt_the_client_keeps_the_message(post: Post, client: Client) -> None:
    post.userdb.chmod(0o644)                   # others can read it: that cannot be right
    client.say(b"LHLO c", b"MAIL FROM:<a@b>")
    assert client.say(b"RCPT TO:<ann>", b"RCPT TO:<nobody>") == ["451 4.3.0"] * 2
    post.userdb.chmod(0o600)
    post.rows["ann"] = "uid=|home=/"
    post.write()
    assert client.say(b"RCPT TO:<ann>") == ["451 4.3.0"]
    post.userdb.unlink()
    assert client.say(b"RCPT TO:<nobody>") == ["451 4.3.0"]


def test_a_maildir_that_cannot_be_used(post: Post, client: Client) -> None:
    """One of several recipients: the others have theirs."""
    ann, bob = (post.folder / user / "Maildir" for user in ("ann", "bob"))
    (ann / "new").rename(ann / "elsewhere")
    (ann / "new").write_text("no directory")
    bob.rename(post.folder / "bob" / "away")
    client.hello(b"<ann>", b"<carol@example.org>", b"<bob>")
    assert client.data(TEXT, 3) == ["451 4.2.1", "250 2.1.5", "451 4.2.1"]
    (post.folder / "bob" / "away").rename(bob)
    (ann / "new").unlink()                     # a part that is missing is made
    client.hello(b"<ann>", b"<bob>")
    assert client.data(TEXT, 2) == ["250 2.1.5"] * 2
    assert [len(post.mail(user)) for user in ("ann", "bob")] == [1, 1]
    logged = post.log.read_text()
    assert "DEFERRED, id=" in logged and "Traceback" not in logged


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of others")
def test_a_maildir_of_somebody_else(post: Post, client: Client) -> None:
    os.chown(post.folder / "ann" / "Maildir", 0, 0)
    (post.folder / "ann" / "Maildir").chmod(0o777)
    client.hello(b"<ann>")
    assert client.data(TEXT) == ["451 4.2.1"]
    uid, gid = account_ids()
    post.account("root", f"uid=0|gid=0|home={post.folder}/ann")
    client.hello(b"<root>")
    assert client.data(TEXT) == ["451 4.2.1"]


def test_a_full_mailbox(post: Post, client: Client) -> None:
    """452 for who is full alone, 250 for the others; IGNOREQUOTA comes in, and counts."""
    post.rows["ann"] += "|quota=300S"
    post.write()
    client.hello(b"<ann>", b"<bob>")
    assert client.data(TEXT, 2) == ["250 2.1.5"] * 2
    client.hello(b"<bob>", b"<ann>", b"<carol@example.org>")
    assert client.data(b"Subject: another\r\n\r\n", 3) == ["250 2.1.5", "452 4.2.2", "250 2.1.5"]
    assert client.say(b"MAIL FROM:<a@b>", b"RCPT TO:<ann> IGNOREQUOTA") == ["250 2.1.0", "250 2.1.5"]
    assert client.data(b"Subject: third\r\n\r\n") == ["250 2.1.5"]
    sizes = (post.folder / "ann" / "Maildir" / "maildirsize").read_text().split("\n")
    assert sizes[0] == "300S"
    assert sum(int(line.split()[0]) for line in sizes[1:] if line) == sum(map(len, post.mail("ann")))
    with post.client(LMTP_OVERQUOTA_PERMANENT="1") as other:
        other.hello(b"<ann>")
        assert other.data(b"Subject: another\r\n\r\n") == ["552 5.2.2"]
    assert len(post.mail("ann")) == 2 and post.left("ann") == []
