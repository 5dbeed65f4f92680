"""FETCH of many messages tells the same by what is in the index as when it was computed."""
from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from courierpy.system.inotify import Inotify
from tests.conftest import plain_environ
from tests.view.test_searches import Client

IN_ACCESS, IN_OPEN = 0x1, 0x20         # of <sys/inotify.h>
MANY = 450                             # messages: more than stand in one text
FIELDS = 'BODY.PEEK[HEADER.FIELDS (SUBJECT "X-%s" "X-%d")]'
ITEMS = ("ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE", FIELDS, "PREVIEW",
         "RFC822.SIZE INTERNALDATE", "UID ENVELOPE RFC822.SIZE", f"{FIELDS} ENVELOPE", f"FLAGS {FIELDS} UID",
         f"INTERNALDATE {FIELDS} EMAILID RFC822.SIZE PREVIEW", "ENVELOPE BODY.PEEK[TEXT]<0.3>",
         f"BODYSTRUCTURE {FIELDS} PREVIEW FLAGS ENVELOPE")
SETS = ("1:*", "2,4,9:440", "7:9", "3")


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """Of odd texts: NUL, per cent, what is no ASCII, none at all."""
    root = tmp_path / "Maildir"
    for part in ("cur", "new", "tmp"):
        (root / part).mkdir(parents=True)
    for number in range(MANY):
        path = root / "cur" / f"{1700000000 + number}.M{number}P1.host:2,{'S' * (number % 2)}"
        odd = (b"100%", b"a\0\n b\0\0", "gr\u00fc\u00df".encode(), b"", b'"%s" %d')[number % 5]
        path.write_bytes(b"Subject: %s %d\nX-%%s: %s\nFrom: a%d@x\n\n%s text %d%%\n" % (
            odd, number, odd * (number % 7), number, odd, number))
        os.utime(path, (1700000000 + 4000 * number,) * 2)
    Session(root).logout()             # from now on they are not recent
    return root


class Session(Client):
    """Of the Maildir."""

    def __init__(self, root: Path, zone: str = "UTC") -> None:
        environ = " ".join(f"{name}={shlex.quote(value)}" for name, value in
                           plain_environ(AUTHENTICATED="demo", TZ=zone, IMAP_CAPABILITY="all").items())
        super().__init__(f"env -i {environ} {shlex.quote(sys.executable)} -m courierpy.imapd {root}")
        self.select()

    def whole(self, command: str) -> bytes:
        """The untagged octets of an answer."""
        tag = self._new_tag()
        self.send(tag + b" " + command.encode() + b"\r\n")
        found = b""
        while not (line := self.readline()).startswith(tag + b" "):
            found += line
        assert b" OK " in line, (command, line)
        return found


def commands() -> list[str]:
    return [f"{kind} {numbers} ({items})" for items in ITEMS for numbers in SETS
            for kind in ("FETCH", "UID FETCH")]


def told(root: Path) -> dict[str, bytes]:
    imap = Session(root)
    found = {command: imap.whole(command) for command in commands()}
    imap.logout()
    return found


def test_the_same_again(maildir: Path) -> None:
    first = told(maildir)
    assert told(maildir) == first
    whole = first[f"FETCH 1:* ({ITEMS[4]})"]
    assert whole.count(b" FETCH (") == MANY and b"\0" not in whole
    lines = re.findall(rb"\* (\d+) FETCH \(ENVELOPE \(NIL [^\r]*\{?[^\r]*", first["FETCH 1:* (ENVELOPE)"])
    assert [int(number) for number in lines] == list(range(1, MANY + 1))
    for name in ("cache.envelope", "cache.size"):
        assert (maildir / "courierpyindex" / name).exists()


def test_the_same_where_some_went_and_some_came(maildir: Path) -> None:
    told(maildir)
    imap = Session(maildir)        # between 100 and 200 hardly two are left one behind the other
    imap.whole(f"STORE 5:7,{','.join(map(str, range(100, 200, 3)))} +FLAGS.SILENT (\\Deleted)")
    imap.whole("EXPUNGE")
    imap.logout()
    for number in range(MANY, MANY + 40):
        path = maildir / "new" / f"{1700000000 + number}.M{number}P1.host"
        path.write_bytes(b"Subject: new %d\n\nx\n" % number)
        os.utime(path, (1700000000 + 4000 * number,) * 2)
    kept = told(maildir)
    for file in (maildir / "courierpyindex").glob("cache.*"):
        file.unlink()
    afresh = told(maildir)
    assert {command: text.replace(b"\\Recent", b"") for command, text in kept.items()} == afresh


def dates(root: Path, zone: str, numbers: str = "1:*") -> list[bytes]:
    imap = Session(root, zone)
    found = re.findall(rb'INTERNALDATE "([^"]*)"', imap.whole(f"FETCH {numbers} (INTERNALDATE)"))
    imap.logout()
    return found


def test_dates_in_the_time_zone_of_the_session(maildir: Path) -> None:
    for _ in range(2):
        found = dates(maildir, "UTC")
        assert len(found) == MANY and found[0] == b"14-Nov-2023 22:13:20 +0000"
        found = dates(maildir, "AAA-2BBB-3,M3.5.0,M10.5.0/3")
        assert len(found) == MANY and found[0] == b"15-Nov-2023 00:13:20 +0200"
    assert len([*(maildir / "courierpyindex").glob("cache.internaldate.*")]) == 2
    assert dates(maildir, "UTC", "1:2") == dates(maildir, "UTC")[:2]


def test_dates_of_files_that_may_be_written_to_yet(maildir: Path) -> None:
    before = dates(maildir, "UTC")
    soon = 4_000_000_000
    for number in range(MANY, MANY + 8):
        path = maildir / "new" / f"{1700000000 + number}.M{number}P1.host"
        path.write_bytes(b"Subject: new\n\nx\n")
        os.utime(path, (soon,) * 2)
    assert dates(maildir, "UTC") == before + [b"02-Oct-2096 07:06:40 +0000"] * 8
    for path in (maildir / "cur").iterdir():
        if path.stat().st_mtime == soon:
            os.utime(path, (1700000000,) * 2)
    for _ in range(2):
        assert dates(maildir, "UTC") == before + [b"14-Nov-2023 22:13:20 +0000"] * 8


def test_files_that_are_renamed_while_they_are_told(maildir: Path) -> None:
    """By others who set flags, when the first ones are told and the last ones are not read yet."""
    for path in (maildir / "cur").iterdir():
        path.write_bytes(b"Subject: %s\n\n" % path.name.partition(":")[0].encode() + b"0123456789\n" * 400)
    session = Session(maildir)
    tag = session._new_tag()
    session.send(tag + b" FETCH 1:* (BODY.PEEK[])\r\n")
    assert session.readline().startswith(b"* 1 FETCH ")        # the others are more than a pipe holds
    for path in (maildir / "cur").iterdir():
        path.rename(f"{path}F".replace(":2,SF", ":2,FS"))
    told = []
    while not (line := session.readline()).startswith(tag + b" "):
        if line.startswith(b"Subject: "):
            told.append(line.split()[1].decode())
    assert b" OK " in line
    assert told == [f"{1700000000 + number}.M{number}P1.host" for number in range(MANY)]
    session.logout()


@pytest.mark.parametrize("items", ["RFC822.SIZE BODY.PEEK[]", "BODY.PEEK[] RFC822.SIZE",
                                   "UID FLAGS INTERNALDATE BODY.PEEK[]"])
def test_a_message_is_opened_once_for_its_size_and_its_text(maildir: Path, items: str) -> None:
    """Both are told of the same look at it."""
    session, inotify = Session(maildir), Inotify()
    try:
        inotify.add(str(maildir / "cur"), IN_OPEN | IN_ACCESS)     # else two that follow each other are one
        assert b"BODY[] {" in session.whole(f"FETCH 3 ({items})")
        opened = [name.partition(b":")[0] for _, mask, name in inotify.events() if mask & IN_OPEN]
    finally:
        inotify.close()
    session.logout()
    assert opened == [b"1700000002.M2P1.host"]
