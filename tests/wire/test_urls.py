"""URLs of messages, and what is left of a message that could not be put together."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.imap.urls import MessageUrl
from courierpy.model.section import Section


@pytest.mark.parametrize(("url", "mailbox", "uidvalidity", "uid", "section", "partial"), [
    (b"/INBOX/;UID=20", "INBOX", None, 20, Section((), b""), None),
    (b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "Drafts", 385759045, 20,
     Section((), b"HEADER"), None),
    (b"/Drafts;uidvalidity=1/;uid=20/;Section=1.MIME", "Drafts", 1, 20, Section((1,), b"MIME"), None),
    (b"/Drafts;UIDVALIDITY=1/;UID=30;SECTION=1.5.9", "Drafts", 1, 30, Section((1, 5, 9), b""), None),
    (b";UID=7/;SECTION=TEXT/;PARTIAL=5", "", None, 7, Section((), b"TEXT"), (5, None)),
    (b"/;UID=7/;PARTIAL=0.1024", "", None, 7, Section((), b""), (0, 1024)),
    (b"a/b/c/;UID=7", "a/b/c", None, 7, Section((), b""), None),
    (b"/Entw%C3%BCrfe%20%26%3B/;UID=4294967295", "Entw\u00fcrfe &;", None, 4294967295,
     Section((), b""), None),
    (b"/a/;UID=1/;SECTION=2.HEADER.FIELDS%20(From%20To)", "a", None, 1,
     Section((2,), b"HEADER.FIELDS", (b"From", b"To")), None)])
def test_what_a_url_names(url: bytes, mailbox: str, uidvalidity: int | None, uid: int, section: Section,
                          partial: tuple[int, int | None] | None) -> None:
    found = MessageUrl(url)
    assert (found.mailbox, found.uidvalidity, found.uid, found.partial) == (
        mailbox, uidvalidity, uid, partial)
    assert (found.section.part, found.section.kind, found.section.fields) == (
        section.part, section.kind, section.fields)


@pytest.mark.parametrize("url", [
    b"", b"/INBOX", b"/INBOX/;UID=0", b"/INBOX/;UID=x", b"imap://host/INBOX/;UID=1?", b"/a%/;UID=1",
    b"/a%f/;UID=1",
    b"/a%FF/;UID=1", b"/a;UIDVALIDITY=0/;UID=1", b"/a/;UID=1/;SECTION=MIME", b"/a/;UID=1/;SECTION=1.",
    b"/a/;UID=1/;SECTION=HEADER.FIELDS", b"/a/;UID=1/;SECTION=1]%20[", b"/a/;UID=1/;SECTION=TEXT%0D%0A",
    b"/a/;UID=1/;PARTIAL=1.0", b"/a/;UID=1/;PARTIAL=-1", b"/a/;UID=1;URLAUTH=anonymous", b"/a?SUBJECT%20x"])
def test_what_names_no_message(url: bytes) -> None:
    with pytest.raises(ValueError):
        MessageUrl(url)


@given(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from([
    b"/", b";UID=", b"1", b"INBOX", b";UIDVALIDITY=", b"/;SECTION=", b"TEXT", b"HEADER.FIELDS (", b"%20",
    b"%",
    b";PARTIAL=", b".", b"]", b"\0", b")"]), max_size=12).map(b"".join)))
def test_any_octets_are_a_url_or_none(url: bytes) -> None:
    try:
        MessageUrl(url)
    except ValueError:
        pass


def test_nothing_is_left_of_what_could_not_be_stored(tmp_path: Path) -> None:
    """However far it came; and however many pieces there are, one file is open at a time."""
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    (tmp_path / "cur" / "1.M1P1.host:2,").write_bytes(b"Subject: one\n\n" + b"text\n" * 2_000)
    good = b'URL "/INBOX/;UID=1" TEXT {5+}\r\nhello '
    pieces = [b"APPEND INBOX CATENATE (%s URL ;UID=9)" % good.strip(),
              b"APPEND INBOX CATENATE (%s URL ;UID=9 TEXT {5+}\r\nhello)" % good.strip(),
              b"APPEND INBOX CATENATE (%s) {3+}\r\nabc CATENATE (%s FOO)" % (good.strip(), good.strip()),
              b"APPEND INBOX CATENATE (%s" % good.strip(),
              b"APPEND INBOX.none CATENATE (%s)" % good.strip(),
              b"APPEND INBOX" + b" CATENATE (%s)" % good.strip() * 50 + b" CATENATE (URL ;UID=9)",
              b"APPEND INBOX CATENATE (%s)" % (good * 50).strip(),
              b"LOGOUT"]
    done = subprocess.run(
        [sys.executable, "-m", "courierpy.imapd", "."], cwd=tmp_path, capture_output=True, timeout=120,
        check=True, input=b"".join(b"a%d %s\r\n" % pair for pair in enumerate(pieces)),
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "AUTHENTICATED": "demo"})
    words = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(b"a")]
    assert words == [b"NO", b"NO", b"BAD", b"BAD", b"NO", b"NO", b"OK", b"OK"]
    assert [name for name in os.listdir(tmp_path / "tmp") if "_uid" not in name and "lock" not in name] == []
    sizes = sorted(path.stat().st_size for path in (tmp_path / "cur").iterdir())
    assert len(sizes) == 2
    assert sizes[1] == 50 * (sizes[0] + len(b"hello"))
