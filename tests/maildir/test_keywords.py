"""Keywords read without the lock, while somebody who has it writes."""
from __future__ import annotations

import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from courierpy.maildir.formats import keywordlist
from courierpy.maildir.formats.keyworddrafts import KeywordDrafts
from courierpy.maildir.formats.keywordlist import Keywords
from courierpy.maildir.formats.uiddb import key_of
from tests.conftest import fill
from tests.realtime.windows import Window, over_pipe

A, B, C, D = (frozenset({letter}) for letter in (b"a", b"b", b"c", b"d"))
ONE, TWO = b"1700000001.M1P1.host", b"1700000002.M2P1.host"


def rows(names: object) -> dict[bytes, int]:
    assert isinstance(names, set)
    return {name: row for row, name in enumerate((ONE, TWO)) if name in names}


def read(keywords: Keywords, merge: bool) -> dict[int, frozenset[bytes]]:
    found = keywords.read(rows, merge)
    assert found is not None
    return found


def merge(other: Keywords) -> None:
    read(other, True)


def change(other: Keywords) -> None:
    other.write(ONE, C)


def change_and_merge(other: Keywords) -> None:
    change(other)
    merge(other)


def merge_and_change(other: Keywords) -> None:
    merge(other)
    change(other)


def twice(other: Keywords) -> None:
    change_and_merge(other)
    other.write(ONE, D)
    merge(other)


def much_later(other: Keywords) -> None:
    """So that what is put aside has another name."""
    keywordlist.PERIOD = 100
    try:
        change_and_merge(other)
    finally:
        keywordlist.PERIOD = 300


DEEDS: dict[Callable[[Keywords], None], list[frozenset[bytes]]] = {
    merge: [B], change: [B, C], change_and_merge: [B, C], merge_and_change: [B, C], twice: [B, C, D],
    much_later: [B, C]}


def disturbed(work: Callable[[], dict[int, frozenset[bytes]]], moment: int,
              deed: Callable[[], None]) -> dict[int, frozenset[bytes]] | None:
    """What ``work`` gives when ``deed`` happens before the call of the kernel with this number;
    None when there are not so many."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        if event == "c_call" and getattr(arg, "__name__", "") in ("open", "listdir", "stat", "readall"):
            calls += 1
            if calls == moment + 1:
                sys.setprofile(None)
                deed()
                sys.setprofile(count)
    sys.setprofile(count)
    try:
        found = work()
    finally:
        sys.setprofile(None)
    return found if calls > moment else None


STARTS = ["an update", "a list", "a list and an old update"]


def told_by(start: str, other: Keywords, folder: Path) -> None:
    """ONE has B, as one of STARTS says it."""
    other.write(ONE, B)
    if start != "an update":
        merge(other)
    if start == "a list and an old update":
        for file in (folder / "courierimapkeywords").glob(".*." + ONE.decode()):
            file.rename(file.with_name(f".999999999.{ONE.decode()}"))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_change_at_any_moment(deed: Callable[[Keywords], None], start: str, tmp_path: Path) -> None:
    """Between any two calls of the one who reads: never what was before, never what will be."""
    (tmp_path / "tmp").mkdir()
    ours, other = Keywords(str(tmp_path), "host"), Keywords(str(tmp_path), "host")
    other.write(ONE, A)
    other.write(TWO, A)
    merge(other)
    moments = 0
    while True:
        told_by(start, other, tmp_path)
        assert read(ours, False) == {0: B, 1: A}
        found = disturbed(lambda: read(ours, False), moments, lambda: deed(other))
        if found is None:
            assert moments > 3
            return
        assert found[1] == A
        assert found[0] in DEEDS[deed], f"call {moments}"
        assert read(ours, False)[0] == DEEDS[deed][-1]
        moments += 1


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_change_while_the_list_alone_is_read(deed: Callable[[Keywords], None], start: str,
                                               tmp_path: Path) -> None:
    """As who hears of changes reads it: what it knows is of before, and it was not told yet of what happens
    meanwhile."""
    (tmp_path / "tmp").mkdir()
    ours, other = Keywords(str(tmp_path), "host"), Keywords(str(tmp_path), "host")
    moments = 0
    while True:
        for known, heard in ((A, [ONE]), (B, []), (B, [ONE])):
            other.write(ONE, A)
            other.write(TWO, A)
            merge(other)
            told_by(start, other, tmp_path)

            def work(known: frozenset[bytes] = known, heard: list[bytes] = heard,
                     ) -> dict[int, frozenset[bytes]]:
                found = ours.news({ONE: known, TWO: A}, heard, rows)
                assert found is not None
                return {0: known, 1: A} | found
            if moments == 0:
                assert work() == {0: B, 1: A}
            found = disturbed(work, moments, lambda: deed(other))
            if found is None:
                assert moments > 3
                return
            assert found[1] == A
            assert found[0] in DEEDS[deed], f"call {moments}"
        moments += 1


def test_who_cannot_read_needs_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    ours, other = Keywords(str(tmp_path), "host"), Keywords(str(tmp_path), "host")
    other.write(ONE, A)
    real = keywordlist.Keywords._is_list

    def replaced(self: Keywords, fd: int) -> bool:
        other.write(ONE, B)
        merge(other)
        return real(self, fd)
    monkeypatch.setattr(keywordlist.Keywords, "_is_list", replaced)
    assert ours.read(rows, False) is None
    assert ours.news({}, [], rows) is None
    assert ours.read(rows, True) == {0: B}


WRITERS, ROUNDS = 2, 400


@pytest.mark.server
@pytest.mark.parametrize("count", [6, 300])
def test_what_was_told_stays_told(count: int, tmp_path: Path) -> None:
    """Writers give their messages the keywords n1, n2, ...; others open the folder again and again, which
    merges them.  Who reads hears of no lower number than before: lines that do are counted."""
    maildir = tmp_path / "Maildir"
    fill(maildir, count)
    first = over_pipe(maildir)
    first.do("SELECT INBOX")
    stop = threading.Event()
    failed: list[BaseException] = []
    wrong: list[str] = []
    lines = [0]

    def write(window: Window, uids: range) -> None:
        window.do("SELECT INBOX")
        for number in range(1, ROUNDS + 1):
            window.do(f"UID STORE {random.choice(uids)} FLAGS.SILENT (n{number})")

    def merged(window: Window, uids: range) -> None:
        while not stop.is_set():
            window.do("SELECT INBOX")

    def heard(window: Window, uids: range) -> None:
        window.do("SELECT INBOX")
        known: dict[int, int] = {}
        while not stop.is_set():
            for line in window.do("UID FETCH 1:6 (FLAGS)") + window.do("NOOP"):
                if match := re.match(r"\* (\d+) FETCH .*FLAGS \(([^)]*)", line):
                    seq, numbers = int(match[1]), re.findall(r"n(\d+)", match[2])
                    lines[0] += 1
                    number = int(numbers[0]) if numbers else 0
                    if number < known.get(seq, 0) or len(numbers) > 1:
                        wrong.append(f"after n{known[seq]}: {line}")
                    known[seq] = max(number, known.get(seq, 0))

    def guarded(work: Callable[[Window, range], None], uids: range) -> None:
        window = over_pipe(maildir)
        try:
            work(window, uids)
        except BaseException as error:
            failed.append(error)
            stop.set()
        window.close()
    writers = [threading.Thread(target=guarded, args=(write, range(number, 7, WRITERS)))
               for number in range(1, WRITERS + 1)]
    others = [threading.Thread(target=guarded, args=(work, range(0))) for work in (merged, heard, heard)]
    for each in (*writers, *others):
        each.start()
    for each in writers:
        each.join(600)
    time.sleep(0.1)
    stop.set()
    for each in others:
        each.join(60)
    assert not failed
    assert not wrong, f"{len(wrong)} of {lines[0]} lines are wrong; {wrong[:5]}"
    assert lines[0] > 100
    first.close()


def test_keywords_of_a_message_that_is_coming_stay(tmp_path: Path) -> None:
    """Who takes the keywords over from elsewhere knows of the messages in cur/ alone."""
    (tmp_path / "tmp").mkdir()
    keywords = Keywords(str(tmp_path), "host")
    keywords.write(ONE, A)
    keywords.write(TWO, B)
    keywords.replace({ONE: C}, there={ONE})
    assert read(keywords, False) == {0: C, 1: B}
    keywords.replace({ONE: D})
    assert read(keywords, False) == {0: D}


def within_the_grain(path: Path, words: bytes) -> None:
    """Another list looks to stat() like the one that was there: written twice more in the same moment, it
    has that one's size and time, and the inode that it had set free."""
    before = path.stat()
    data = path.read_bytes()
    changed = data.replace(b"a\n", words, 1)
    assert len(changed) == len(data) and changed != data
    path.write_bytes(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert key_of(before) == key_of(after)


@pytest.mark.parametrize("how", ["written", "read"])
def test_a_list_that_looks_like_the_one_that_is_known(tmp_path: Path, how: str) -> None:
    (tmp_path / "tmp").mkdir()
    mine = Keywords(str(tmp_path), "host")
    mine.make()
    mine.write_list({ONE: A})
    if how == "read":
        mine = Keywords(str(tmp_path), "host")
        read(mine, False)
    assert mine.is_seen() and mine.is_seen()
    within_the_grain(Path(mine.path) / ":list", b"b\n")
    assert not mine.is_seen()
    assert read(mine, False) == {0: B} and mine.is_seen()


def test_a_list_of_long_ago_is_known_by_its_times(tmp_path: Path) -> None:
    """What comes later has another time: it is not read to be known again."""
    (tmp_path / "tmp").mkdir()
    mine = Keywords(str(tmp_path), "host")
    mine.make()
    mine.write_list({ONE: A})
    path = Path(mine.path) / ":list"
    os.utime(path, (1e9, 1e9))
    assert not mine.is_seen()
    read(mine, False)
    within_the_grain(path, b"b\n")            # nobody can do that so much later
    assert mine.is_seen()
    mine.write_list({ONE: A})
    within_the_grain(path, b"b\n")
    assert not mine.is_seen()


def test_a_change_goes_on_from_the_list_that_was_there(tmp_path: Path) -> None:
    """Not from one that only looked like it: who knew that one knows nothing of the new one."""
    (tmp_path / "tmp").mkdir()
    mine = Keywords(str(tmp_path), "host")
    mine.make()
    names = [b"17000000%02d.M1P1.host" % at for at in range(20)]
    mine.write_list(dict.fromkeys([ONE, *names], A))
    for change, knows in ((lambda: None, True),
                          (lambda: within_the_grain(Path(mine.path) / ":list", b"b\n"), False)):
        change()
        drafts = KeywordDrafts(mine, names, lambda name, words: words ^ D)
        drafts.commit(names)
        assert (mine.seen is not None and mine.is_seen()) == knows
        if knows:
            mine.write_list(dict.fromkeys([ONE, *names], A))
