"""courierpop3dsizelist by Courier's pop3d and ours in turn: each keeps what the other told."""
from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from courierpy.maildir.formats import pop3list
from tests.pop3.client import MAILS, Pop3d, fill

pytestmark = pytest.mark.peers
COURIERS = "/usr/lib/courier/courier/courierpop3d"
OURS = (sys.executable, "-m", "courierpy.pop3d")


def programs() -> tuple[tuple[str, ...], ...]:
    if not os.access(COURIERS, os.X_OK):
        pytest.skip("Courier's pop3d is not installed")
    return (COURIERS,), OURS


def told(maildir: Path, program: tuple[str, ...]) -> list[bytes]:
    """The UIDLs, in the order of their numbers."""
    with Pop3d(maildir, program) as client:
        assert client.line() == b"+OK logged in.\r\n"
        rows = client.rows(b"UIDL")
        assert client.ask(b"QUIT") == b"+OK Bye-bye.\r\n"
    return [row.split()[1] for row in rows]


def deliver(maildir: Path, name: str, part: str = "new", text: bytes = b"Subject: x\n\nx\r\ny") -> None:
    (maildir / part / name).write_bytes(text)


def test_both_in_turn(tmp_path: Path) -> None:
    couriers, ours = programs()
    fill(tmp_path, *MAILS)
    for number, name in enumerate(("-5.x:2,", "nodigits:2,S", "1000.a", "1000.a-:2,", "1000.B:2,",
                                   "1000.ab:2,T", "0999.z:2,DFRST", "1000,S=3:2,", "1000.\u00e4:2,")):
        deliver(tmp_path, name, "cur", b"Subject: %d\n\n.\n" % number)
    known = told(tmp_path, couriers)
    for turn, program in enumerate((ours, couriers, ours, couriers)):
        before = (tmp_path / pop3list.NAME).read_bytes()
        assert told(tmp_path, program) == known
        assert (tmp_path / pop3list.NAME).read_bytes() == before
        deliver(tmp_path, f"18000000{turn}0.M1P1.host")
        known += told(tmp_path, program)[-1:]
        assert len(set(known)) == len(known)


def test_the_same_messages_give_the_same_list(tmp_path: Path) -> None:
    lists = []
    for number, program in enumerate(programs()):
        place = tmp_path / str(number)
        fill(place, *MAILS)
        (place / pop3list.NAME).write_text("/3 7 777\ngone:2, 9 3:777:0\n")
        told(place, program)
        lists.append((place / pop3list.NAME).read_bytes())
    assert lists[0] == lists[1]


def test_the_list_is_couriers_through_every_swap(tmp_path: Path) -> None:
    """Two equal Maildirs: Courier serves one all the time, both in turn the other.  Mail comes, is deleted,
    gets flags and goes by other hands; what is told and the list are the same, octet by octet."""
    couriers, ours = programs()
    chance = random.Random(5)
    places = tmp_path / "theirs", tmp_path / "turns"
    for place in places:
        fill(place)
        (place / pop3list.NAME).write_text("/3 1 777\n")
    ever: set[bytes] = set()
    known: set[bytes] = set()
    for turn in range(12):
        arrived = [f"18000{turn:02}{number}.M{chance.randrange(9999)}P1.host" for number in range(3)]
        texts = [b"Subject: %d\n\n%s" % (turn, b"x\n" * chance.randrange(9)) for _ in arrived]
        letters = chance.choice(["", "S", "FS", "T"])
        flagged, removed, deleted = (chance.randrange(4) for _ in range(3))
        lists, rows = [], []
        for place, program in zip(places, (couriers, (ours, couriers)[turn % 2]), strict=True):
            for name, text in zip(arrived, texts, strict=True):
                deliver(place, name, text=text)
            here = sorted((place / "cur").iterdir())
            if flagged < len(here):
                base = here[flagged].name.partition(":")[0]
                here[flagged].rename(here[flagged].with_name(f"{base}:2,{letters}"))
            for file in sorted((place / "cur").iterdir())[:removed % 2]:
                file.unlink()
            with Pop3d(place, program) as client:
                client.line()
                rows.append((client.rows(b"UIDL"), client.rows(b"LIST")))
                answer = client.ask(b"DELE %d" % (deleted + 1))
                assert client.ask(b"QUIT") == b"+OK Bye-bye.\r\n"
                rows[-1] += ([answer],)
            lists.append((place / pop3list.NAME).read_bytes())
        assert rows[0] == rows[1]
        assert lists[0] == lists[1]
        uidls = {row.split()[1] for row in rows[0][0]}
        assert (uidls - known).isdisjoint(ever)
        known, ever = uidls, ever | uidls
    assert len(ever) == 36
