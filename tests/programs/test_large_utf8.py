"""A message as Thunderbird files it: ``APPEND "Sent" (\\Seen) UTF8 (~{n}``, of megabytes.  RFC 6855 4."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.pop3.client import Pop3d, fill

IMAPD = (sys.executable, "-m", "courierpy.imapd")
MESSAGE = "Subject: gr\u00fc\u00dfe\r\n\r\n".encode() + b"".join(
    b"%08d\r\n" % number for number in range(420_000))


@pytest.mark.parametrize("word", ["UTF8=ACCEPT", "IMAP4rev2 UTF8=ACCEPT"])
@pytest.mark.parametrize("waits", [True, False])
def test_append(tmp_path: Path, waits: bool, word: str) -> None:
    fill(tmp_path)
    assert len(MESSAGE) > 4_000_000
    with Pop3d(tmp_path, IMAPD) as client:
        assert client.process.stdout is not None
        assert client.line().startswith(b"* PREAUTH ")
        client.say(b"a ENABLE " + word.encode())
        assert client.line().startswith(b"* ENABLED ")
        assert client.line().startswith(b"a OK ")
        assert client.ask(b"b CREATE INBOX.Sent").startswith(b"b OK ")
        client.say(b'c APPEND "INBOX.Sent" (\\Seen) UTF8 (~{%d%s}' % (len(MESSAGE), b"" if waits else b"+"))
        if waits:
            assert client.line().startswith(b"+ ")
        client.say(MESSAGE + b")")
        assert client.line().startswith(b"c OK [APPENDUID ")
        client.say(b"d SELECT INBOX.Sent")
        while not (line := client.line()).startswith(b"d "):
            assert line
        client.say(b"e FETCH 1 (FLAGS BODY.PEEK[])")
        told = client.line()
        assert told.startswith(b"* 1 FETCH (FLAGS (\\Seen")
        assert told.endswith(b" BODY[] {%d}\r\n" % len(MESSAGE))
        assert client.process.stdout.read(len(MESSAGE)) == MESSAGE
        assert client.line() == b")\r\n"
        assert client.line().startswith(b"e OK ")
