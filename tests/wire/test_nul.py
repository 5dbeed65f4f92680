"""NUL stands in no literal, which only a literal8 may hold.  RFC 3501 9 CHAR8."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.model import strings
from tests.conftest import plain_environ

SMALL = (b"From: f@example.org\nSubject: a\0b\nX-Odd: \0\0\nMIME-Version: 1.0\n"
         b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; name=\"n\0\"\n"
         b"Content-ID: <\0>\n\none \0 end\n--b\nContent-Type: message/rfc822\n\n"
         b"Subject: in\0ner\n\n\0\n--b--\n")
LARGE = b"Subject: large\n\n" + b"0123456\0\n" * 400_000
ITEMS = (b"BODY.PEEK[]", b"BODY.PEEK[HEADER]", b"BODY.PEEK[TEXT]", b"BODY.PEEK[1]", b"BODY.PEEK[1.MIME]",
         b"BODY.PEEK[2.HEADER]", b"BODY.PEEK[2.TEXT]", b"BODY.PEEK[HEADER.FIELDS (X-Odd Subject)]",
         b"BODY.PEEK[HEADER.FIELDS.NOT (From)]", b"BODY.PEEK[2.HEADER.FIELDS (Subject)]",
         b"BODY.PEEK[]<20.40>", b"BODY.PEEK[TEXT]<1000000.60000>", b"BODY.PEEK[HEADER.FIELDS (X-Odd)]<3.9>",
         b"RFC822", b"RFC822.HEADER", b"RFC822.TEXT", b"ENVELOPE", b"BODYSTRUCTURE",
         b"(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    (tmp_path / "cur" / "1700000001.M1P1.host:2,").write_bytes(SMALL)
    (tmp_path / "cur" / "1700000002.M2P1.host:2,").write_bytes(LARGE)
    return tmp_path


def fetched(folder: Path, item: bytes) -> bytes:
    """All that comes for it, twice: from the files, then from where it may be kept."""
    script = b"a SELECT INBOX\r\nb FETCH 1:2 %s\r\nc FETCH 1:2 %s\r\nd LOGOUT\r\n" % (item, item)
    done = subprocess.run([sys.executable, "-m", "courierpy.imapd", str(folder)], input=script, timeout=60,
                          capture_output=True, check=True, env=plain_environ(AUTHENTICATED="demo"))
    first, _, second = done.stdout.partition(b"\r\nb OK FETCH completed.\r\n")
    assert b"\r\nc OK " in second, done.stdout[-200:]
    return first[first.index(b"* 1 FETCH"):] + b"\r\n" + second[:second.index(b"\r\nc OK ")]


@pytest.mark.parametrize("item", ITEMS, ids=bytes.decode)
def test_no_literal_holds_one(folder: Path, item: bytes) -> None:
    assert b"\0" not in fetched(folder, item)


def test_the_size_stays_and_the_rest(folder: Path) -> None:
    small, large = (data.replace(b"\n", b"\r\n").replace(b"\0", b"\x80") for data in (SMALL, LARGE))
    assert fetched(folder, b"BODY.PEEK[]") == b"\r\n".join(
        [b"* 1 FETCH (BODY[] {%d}\r\n%s)" % (len(small), small),
         b"* 2 FETCH (BODY[] {%d}\r\n%s)" % (len(large), large)] * 2)
    assert re.findall(rb"RFC822.SIZE (\d+)", fetched(folder, b"RFC822.SIZE")) == [
        b"%d" % len(small), b"%d" % len(large)] * 2
    assert b"{20}\r\n" + large[1018:1038] + b")" in fetched(folder, b"BODY.PEEK[]<1018.20>")


def test_strings() -> None:
    assert strings.string(b"a\0b") == strings.string(b"a\0b", True) == b"{3}\r\na\x80b"
    assert strings.literal(b"\0") == b"{1}\r\n\x80"
