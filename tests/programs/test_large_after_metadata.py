"""A message of a megabyte, whole and in pieces, to a client that has just set metadata of its mailbox."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.pop3.client import Pop3d, fill

IMAPD = (sys.executable, "-m", "courierpy.imapd")
MESSAGE = b"Subject: large\n\n" + b"".join(b"%09d\n" % number for number in range(105_000))
WIRE = MESSAGE.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("value", [b'"x"', b"{60000}"], ids=["small", "large"])
def test_fetch_after_setmetadata(tmp_path: Path, value: bytes) -> None:
    fill(tmp_path)
    (tmp_path / "new" / "1700000001.M1P1.host").write_bytes(MESSAGE)
    with Pop3d(tmp_path, IMAPD, IMAPLOGINTAG="x") as client:
        assert client.process.stdout is not None
        assert client.line().startswith(b"x OK ")
        client.say(b"a SELECT INBOX")
        while not (line := client.line()).startswith(b"a "):
            assert line
        client.say(b"b SETMETADATA INBOX (/private/comment " + value + (b")" if value[:1] == b'"' else b""))
        line = client.line()
        if value[:1] == b"{":
            assert line.startswith(b"+ ")
            client.say(b"v" * 60_000 + b")")
            line = client.line()
        assert line.startswith(b"b OK "), line
        client.say(b"c FETCH 1 (BODY.PEEK[])")
        assert client.line() == b"* 1 FETCH (BODY[] {%d}\r\n" % len(WIRE)
        assert client.process.stdout.read(len(WIRE)) == WIRE
        assert client.line() == b")\r\n"
        assert client.line().startswith(b"c OK ")
        client.say(b"d FETCH 1 (BODY.PEEK[]<1000000.5000>)")
        assert client.line() == b"* 1 FETCH (BODY[]<1000000> {5000}\r\n"
        assert client.process.stdout.read(5000) == WIRE[1_000_000:1_005_000]
        assert client.line() == b")\r\n"
        assert client.line().startswith(b"d OK ")
