"""SMAP with none, one and very many ranges, quotes in each word, and keywords beside a session of IMAP."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.realtime.windows import over_pipe
from tests.smap.client import Smap, fill


def ones(pattern: bytes, told: bytes) -> list[int]:
    return [int(number) for number in re.findall(pattern, told)]


@pytest.mark.parametrize("count", [0, 1, 101])
def test_each_command_with_so_many_ranges(tmp_path: Path, count: int) -> None:
    fill(tmp_path, 2 * count + 1)
    numbers = [2 * number for number in range(1, count + 1)]
    ranges = " ".join(map(str, numbers))
    with Smap(tmp_path) as client:
        client.do("CREATE INBOX Sub")
        client.do("OPEN INBOX")
        assert ones(rb'\* FETCH (\d+) "UID=', client.do(f"FETCH {ranges} UID")) == numbers
        told = client.do(f"FETCH {ranges} CONTENTS.PEEK=HEADERS(subject)")
        assert ones(rb"\} FETCH (\d+) HEADERS", told) == numbers
        told = client.do(f"STORE {ranges} +FLAGS=MARKED KEYWORDS=Foo")
        assert sorted(ones(rb"\* FETCH (\d+) FLAGS=", told)) == numbers
        assert sorted(ones(rb'\* FETCH (\d+) "KEYWORDS=Foo"', told)) == numbers
        found = client.do(f"SEARCH {','.join(map(str, numbers)) or '9999'} KEYWORD Foo")
        assert ones(rb"\d+", found.replace(b"+OK Search completed.\n", b"")) == numbers
        copied = client.do(f'COPY {ranges} "" INBOX Sub')
        assert ones(rb"\* COPY (\d+) ", copied) == numbers
        moved = client.do(f'MOVE {ranges} "" INBOX Sub')
        assert ones(rb"\* COPY (\d+) ", moved) == numbers
        assert client.do("STATUS FULL INBOX").startswith(b"* STATUS EXISTS=%d " % (count + 1))
        assert client.do("STATUS FULL INBOX Sub").startswith(b"* STATUS EXISTS=%d " % (2 * count))


def test_quotes_in_each_word(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with Smap(tmp_path) as client:
        name = '"a ""b"""'
        for command, ends in (
                (f"CREATE INBOX {name}", b"+OK Folder created\n"),
                (f"STATUS FULL INBOX {name}", b"+OK Folder status retrieved\n"),
                (f"OPEN INBOX {name}", b"+OK Folder opened\n"),
                (f'SOPEN "" INBOX {name}', b"+OK Folder opened\n"),
                (f'SETACL INBOX {name} "" "user=""x""" lr', b"+OK Updated ACLs\n"),
                (f"GETACL INBOX {name}", b' "user=""x""" "lr"\n+OK ACLs retrieved\n'),
                (f'DELETEACL INBOX {name} "" "user=""x"""', b"+OK Updated ACLs\n"),
                (f'ADD FOLDER INBOX {name} ""', b"+OK Will add to this folder\n"),
                ('ADD "KEYWORDS=""k"""', b"+OK KEYWORDS set\n"), ("ADD {.5}", b"> Go ahead\n"),
                ("A: b\n\n.", b"+OK Message saved\n"), ('FETCH 1 "UID"', b"+OK Message retrieved.\n"),
                ('SEARCH ALL TEXT """"', b"+OK Search completed.\n"), ("OPEN INBOX", b"+OK Folder opened\n"),
                (f'COPY 1 "" INBOX {name}', b"+OK Messages copied.\n"),
                (f'MOVE 1 "" INBOX {name}', b"+OK Messages copied.\n"),
                (f'RENAME INBOX {name} "" INBOX "c ""d"""', b"+OK Folder renamed.\n"),
                ('DELETE INBOX "c ""d"""', b"+OK Folder deleted\n")):
            told = client.do(command)
            assert told.endswith(ends), (command, told)
        assert client.do("LIST INBOX") == b"+OK LIST completed\n"


def test_keywords_by_both_protocols_at_the_same_time(tmp_path: Path) -> None:
    """What the one adds or removes the other is told, and neither loses the other's."""
    fill(tmp_path, 3)
    window = over_pipe(tmp_path, IMAP_KEYWORDS="1")
    try:
        with Smap(tmp_path) as client:
            window.do("SELECT INBOX")
            client.do("OPEN INBOX")
            for at in range(5):
                client.do(f"STORE 1-3 +KEYWORDS=smap{at}")
                window.do(f"STORE 1:3 +FLAGS (imap{at})")
            client.do("STORE 2 -KEYWORDS=imap0,smap0")
            window.do("STORE 2 -FLAGS (imap1 smap1)")
            left = {f"{name}{at}" for name in ("smap", "imap") for at in (2, 3, 4)}
            client.do("NOOP")
            told = client.do("FETCH 1-3 KEYWORDS").decode()
            by_smap = [{*words.split(",")} for words in re.findall(r'"KEYWORDS=([^"]*)"', told)]
            by_imap = [set(re.findall(r"(?:smap|imap)\d", line))
                       for line in window.do("FETCH 1:3 FLAGS")[-3:]]
            assert by_smap == by_imap
            assert by_smap[1] == left and all(len(words) == 10 for words in (by_smap[0], by_smap[2]))
    finally:
        window.close()
