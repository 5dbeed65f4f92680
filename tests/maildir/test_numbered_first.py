"""A mailbox of which nothing has a number is numbered by columns: as name by name, or not at all."""
from __future__ import annotations

import random
from pathlib import Path

import pytest

from courierpy.maildir import contents
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.names import in_columns, in_order
from courierpy.maildir.store import Store

BASES = [b"1700000000.a", b"1700000000.a!", b"1700000000.a,S=3", b"1700000000.A", b"999999999.b",
         b"20000000000.c", b"1700000001.d", b"1700000001.d:2", b"1700000000.", b"b", b"1700000002.e:2,S:x",
         b"2,S"]
INFOS = [b"", b":", b":2,", b":2,S", b":2,FS", b":2,SF", b":2,a", b":1,", b":2,S:2,S", b":2,DFRST"]


def name_by_name(files: list[bytes]) -> tuple[list[bytes], bytearray, dict[int, bytes], frozenset[bytes]]:
    held, _, unknown = contents.look(UidDb(1, 1), files)
    names = in_order(unknown)
    more = held.extended(range(1, len(names) + 1), names, [unknown[name] for name in names])
    return names, more.flags, more.odd, more.twins


@pytest.mark.parametrize("seed", range(20))
def test_as_name_by_name(seed: int) -> None:
    """What is not plain is left to that."""
    rng = random.Random(seed)
    plain = 0
    for _ in range(500):
        files = [*{rng.choice(BASES[:rng.choice((5, 12))]) + rng.choice(INFOS[2:rng.choice((5, 10))])
                   for _ in range(rng.randrange(5))}]
        found = in_columns(files)
        if found is not None:
            plain += bool(files)
            names, flags, odd = found
            by_uid = {row + 1: file for row, file in odd.items()}
            assert (names, flags, by_uid, frozenset()) == name_by_name(files), files
    assert plain


@pytest.mark.parametrize("files", [
    [b"1700000000.a", b"1700000000.b:2,S:2,S"], [b"1700000000.a:2,S", b"1700000000.a:2,"],
    [b"1700000000.a:1,"], [b"1700000000.a:2,S", b"17.b:2,S"], [b"1700000000.a"],
    [b"1700000000.a:2,S", b"2,S:1700000000.b:2,S"]])
def test_what_is_not_plain(files: list[bytes]) -> None:
    assert in_columns(files) is None


def test_a_link_in_a_circle_among_them(maildir: Path) -> None:
    (maildir / "cur" / "1700000009.loop:2,S").symlink_to("1700000009.loop:2,S")
    (maildir / "cur" / "1700000008.nothing:2,S").symlink_to("nowhere")
    (maildir / "cur" / "1700000007.folder:2,S").mkdir()
    for number in range(3):
        (maildir / "cur" / f"170000000{number}.plain:2,S").write_bytes(b"A: b\n\n")
    snapshot = Store(str(maildir), host="host").open("INBOX").scan()
    names = [line.partition(b" ")[2] for line in (maildir / "courierimapuiddb").read_bytes().splitlines()[1:]]
    assert b"1700000009.loop" in names
    assert b"1700000008.nothing" not in names
    assert b"1700000007.folder" not in names
    assert len(snapshot.messages.uids) == len(names)
