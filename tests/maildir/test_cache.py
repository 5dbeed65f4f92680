"""The cache: what is read is what was written, whatever happened to the file in between."""
from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.maildir.index import cachefile, segments
from courierpy.maildir.index import valuecache as caches
from courierpy.maildir.index.columns import Index
from courierpy.maildir.index.valuecache import Cache
from courierpy.model.uidset import UidSet

VALIDITY = 700000001
RULES = b"rules of this test.."


def opened(folder: Path, validity: int = VALIDITY, rules: bytes = RULES) -> Cache:
    """As one more session."""
    index = Index(str(folder), "host")
    index.rules = rules
    return Cache(index, validity)


def value_of(uid: int) -> bytes:
    """Not two alike."""
    return b"<%d>" % uid * (uid % 7)


def put(folder: Path, *uids: int, kind: str = "kind") -> None:
    """A session that adds these and ends."""
    cache = opened(folder)
    for uid in uids:
        cache.add(kind, uid, value_of(uid))
    cache.flush()


def get(folder: Path, *uids: int, kind: str = "kind") -> list[bytes | None]:
    return opened(folder).values(kind, array("I", uids))


def right(folder: Path, *uids: int) -> int:
    """How many are known; each must be right."""
    values = get(folder, *uids)
    assert all(value in (None, value_of(uid)) for uid, value in zip(uids, values, strict=True))
    return len(values) - values.count(None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    return tmp_path


def file_of(folder: Path, kind: str = "kind") -> Path:
    return folder / "courierpyindex" / f"cache.{kind}"


def numbered(folder: Path, *uids: int, uidnext: int) -> None:
    (folder / "courierimapuiddb").write_bytes(
        b"1 %d %d\n" % (VALIDITY, uidnext) + b"".join(b"%d name%d\n" % (uid, uid) for uid in uids))


# -- what is written is read

def test_values_of_all_sizes(folder: Path) -> None:
    large = os.urandom(3_000_000)
    values = {1: b"", 2: b"x", 7: large, 0x7FFFFFFF: b"y", 0x80000001: b"high", 0xFFFFFFFE: large[::-1]}
    cache = opened(folder)
    for uid, value in values.items():
        cache.add("kind", uid, value)
    wanted = array("I", [1, 2, 3, 7, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFE])
    expected = [values.get(uid) for uid in wanted]
    assert cache.values("kind", wanted) == expected
    cache.flush()
    assert cache.values("kind", wanted) == expected
    assert opened(folder).values("kind", wanted) == expected
    assert opened(folder).values("kind", array("I")) == []
    assert opened(folder).sound("kind") == ""



def number_of(uid: int) -> bytes:
    return uid.to_bytes(8, "little")


def in_segments(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str,
                value: Callable[[int], bytes]) -> tuple[array[int], caches.Cache]:
    """UIDs, and a cache that has a value of each, in several segments."""
    monkeypatch.setattr(segments, "PIECE", 2000)
    monkeypatch.setattr(caches, "PIECE", 2000)
    uids = array("I", [*range(3, 400, 2), *range(500, 900)])
    cache = opened(folder)
    for uid in uids:
        cache.add(kind, uid, value(uid))
    cache.flush()
    return uids, opened(folder)


def test_numbers_in_one_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uids, cache = in_segments(folder, monkeypatch, "size", number_of)
    assert len(cache._held.file("size").look().places) > 3
    for start, stop in ((0, len(uids)), (0, 1), (7, 90), (150, 400), (len(uids) - 1, len(uids))):
        assert cache.run("size", uids[start:stop]) == b"".join(map(number_of, uids[start:stop]))
    for unknown in ([2], [3, 4, 5], [3, 7], [899, 900], [900], []):
        assert cache.run("size", array("I", unknown)) is None
    cache.add("size", 950, number_of(950))
    assert cache.run("size", array("I", [899, 950])) is None       # it is not on disk yet
    assert opened(folder).run("day", uids) is None


def test_texts_as_they_stand_in_a_segment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uids, cache = in_segments(folder, monkeypatch, "told", lambda uid: value_of(uid) + segments.END)
    lasts = [place.last for place in cache._held.file("told").look().places]
    assert len(lasts) > 3
    for start, stop in ((0, len(uids)), (0, 1), (7, 90), (150, 400), (len(uids) - 1, len(uids))):
        at = start
        while at < stop:                           # up to the end of each segment, or of what is wanted
            texts = cache.texts("told", uids[at:stop])
            assert texts is not None
            values = [*map(value_of, uids[at:at + len(texts)])]
            assert [*texts] == values and texts.lengths() == [*map(len, values)]
            assert texts.octets == sum(map(len, values))
            assert texts.joined(0, len(texts)) == segments.END.join(values)
            assert [*texts.first(1)] == values[:1] and texts.first(1).joined(0, 1) == values[0]
            half = len(texts) // 2
            assert half == 0 or texts.joined(half, len(texts)) == segments.END.join(values[half:])
            at += len(texts)
            assert at == stop or uids[at - 1] in lasts
    for unknown in ([2], [2, 3], [900], []):
        assert cache.texts("told", array("I", unknown)) is None
    for some, count in (([3, 4, 5], 1), ([3, 7], 1), ([3, 5, 7, 8], 3), ([3, 5, 7, 13, 15], 3)):
        texts = cache.texts("told", array("I", some))
        assert texts is not None and [*texts] == [*map(value_of, some[:count])]
    assert [*segments.Texts.of(array("I"), [])] == []


def test_no_run_of_what_is_out_of_order_or_damaged(folder: Path) -> None:
    for uid in (9, 5):
        cache = opened(folder)
        cache.add("size", uid, number_of(uid))
        cache.flush()
    found = opened(folder).run("size", array("I", [5, 9]))
    assert found in (None, number_of(5) + number_of(9))
    path = file_of(folder, "size")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert opened(folder).run("size", array("I", [5, 9])) is None


def test_whole_columns(folder: Path) -> None:
    uids = array("I", range(1, 200_001, 2))
    cache = opened(folder)
    for uid in uids:
        cache.add("number", uid, uid.to_bytes(8, "little"))
    column = cache.whole("number", uids)
    assert column is not None
    assert list(column.numbers("q")) == list(uids)
    again = opened(folder)
    assert len(segments.walk(os.open(file_of(folder, "number"), os.O_RDONLY),
                             again._held.file("number").head).places) > 1
    some = array("I", [uid for uid in uids if uid % 10 != 1])          # the others were expunged
    column = again.whole("number", some)
    assert column is not None
    assert column.uids == some
    assert list(column.numbers("q")) == list(some)
    assert again.whole("number", array("I", [*some[:5], 2_000_001])) is None
    assert again.whole("number", array("I", [2, 3])) is None
    assert [*again.known("number", array("I", [1, 2, 3, 4, 5]))] == [1, 0, 1, 0, 1]
    assert [again.has("number", uid) for uid in (1, 2, 199_999, 200_001)] == [True, False, True, False]
    assert not again.is_beyond("number", 199_999)
    assert again.is_beyond("number", 200_000)


def test_other_sessions_see_what_was_flushed(folder: Path) -> None:
    one, two = opened(folder), opened(folder)
    for uid in range(1, 50):
        one.add("kind", uid, value_of(uid))
        one.flush()
        assert two.values("kind", array("I", [uid])) == [value_of(uid)]
        two.add("kind", uid + 1000, value_of(uid + 1000))
        two.flush()
    assert right(folder, *range(1, 50), *range(1001, 1050)) == 98


def test_small_segments_are_taken_into_the_next(folder: Path) -> None:
    for uid in range(1, 200):
        put(folder, uid)
    fd = os.open(file_of(folder), os.O_RDONLY)
    try:
        places = segments.walk(fd, opened(folder)._held.file("kind").head).places
    finally:
        os.close(fd)
    assert len(places) <= 12               # about the logarithm
    assert right(folder, *range(1, 200)) == 199


def test_out_of_order_and_twice(folder: Path) -> None:
    """Sessions that look here and there; it is written anew in order when it is much."""
    for start in range(40, 0, -1):
        put(folder, *range(start, 4000, 40), 1, 2, 3)
    assert right(folder, *range(1, 4000)) == 3999
    numbered(folder, *range(1, 4000), uidnext=4000)
    for start in range(40, 0, -1):
        put(folder, *range(start, 4000, 40), 1, 2, 3)
    fd = os.open(file_of(folder), os.O_RDONLY)
    try:
        table = segments.walk(fd, opened(folder)._held.file("kind").head)
    finally:
        os.close(fd)
    assert table.disorder < cachefile.MANY
    assert right(folder, *range(1, 4000)) == 3999
    uids = array("I", range(1, 4000))
    column = opened(folder).whole("kind", uids)
    assert column is not None
    assert column.values(0, 3999) == [value_of(uid) for uid in uids]


def test_values_of_messages_that_are_gone_go(folder: Path) -> None:
    put(folder, *range(1, 5001))
    before = file_of(folder).stat().st_size
    numbered(folder, *range(4001, 5001), uidnext=5001)
    put(folder, 5001)                      # numbered since: not in the uiddb that is read
    assert file_of(folder).stat().st_size < before / 3
    assert right(folder, *range(4001, 5002)) == 1001
    assert right(folder, *range(1, 4001)) == 0
    assert os.listdir(folder / "tmp") == []
    # while a uiddb of another UIDVALIDITY says nothing about them
    (folder / "courierimapuiddb").write_bytes(b"1 5 6\n5 x\n")
    put(folder, *range(1, 5001))
    put(folder, 6000)
    assert right(folder, *range(1, 5002)) == 5001


# -- what happened to the file

def test_a_tail_that_is_torn_anywhere_is_cut(folder: Path) -> None:
    put(folder, *range(1, 60))
    put(folder, *range(60, 80))
    put(folder, *range(80, 85))
    whole = file_of(folder).read_bytes()
    known = set()
    for size in range(len(whole)):
        file_of(folder).write_bytes(whole[:size])
        known.add(right(folder, *range(1, 85)))
        if size % 5 == 0:
            assert size < 60 or opened(folder).sound("kind") in ("", "torn at its end")
            put(folder, *range(1, 85))
            assert opened(folder).sound("kind") == ""
            assert right(folder, *range(1, 85)) == 84
    assert known == {0, 59, 79}


def test_octets_that_changed_are_not_believed(folder: Path) -> None:
    put(folder, *range(1, 60))
    put(folder, *range(60, 80))
    whole = file_of(folder).read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        file_of(folder).write_bytes(damaged)
        assert right(folder, *range(1, 80)) in (0, 20, 59)       # the later ones are read first
        if at % 7 == 0:
            assert opened(folder).sound("kind") != ""
            uids = array("I", range(1, 80))
            for _ in range(2):             # a session computes what is missing, and cuts off the rest
                session = opened(folder)
                for uid, value in zip(uids, session.values("kind", uids), strict=True):
                    if value is None:
                        session.add("kind", uid, value_of(uid))
                session.flush()
                assert opened(folder).sound("kind") == ""
            assert right(folder, *uids) == 79


def test_a_segment_is_checked_once_while_its_file_stays(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again when anything of the file changed, even if size and mtime did not."""
    uids = array("I", range(1, 60))
    put(folder, *uids)
    monkeypatch.setattr(segments, "settled", lambda changed, now: True)
    checked: list[int] = []

    def counted(data: bytes, start: int = 0) -> int:
        checked.append(len(data))
        return crc32(data, start)

    assert None not in get(folder, *uids)
    octets = bytearray(file_of(folder).read_bytes())
    monkeypatch.setattr(segments, "crc32", counted)
    assert None not in get(folder, *uids)
    assert max(checked) < len(octets) // 4             # headers alone

    before = file_of(folder).stat()
    octets[-1] ^= 1
    with open(file_of(folder), "r+b") as file:
        file.write(octets)
    os.utime(file_of(folder), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert get(folder, *uids) == [None] * len(uids)


def test_a_file_that_is_young_is_checked_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes in the same tick of the clock has the same times."""
    uids = array("I", range(1, 60))
    put(folder, *uids)
    found = file_of(folder).stat()
    monkeypatch.setattr(segments, "settled", lambda changed, now: changed != found.st_ctime_ns)
    assert None not in get(folder, *uids)
    same = segments.stamp(found)
    monkeypatch.setattr(segments, "stamp", lambda found: same)
    octets = bytearray(file_of(folder).read_bytes())
    octets[-1] ^= 1
    file_of(folder).write_bytes(octets)
    assert get(folder, *uids) == [None] * len(uids)


def test_what_is_passed_over_is_not_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of which all is told at once; one of which a part is told stays for the next part."""
    uids, cache = in_segments(folder, monkeypatch, "told", lambda uid: b"%d" % uid + segments.END)
    held = cache._held
    for kept, wanted in ((0, uids), (0, uids[3:8]), (1, uids[-5:]), (1, uids[-9:-5])):
        texts = cache.texts("told", wanted)
        assert texts is not None
        assert len(held._loaded) == kept
        assert [place.first for place in held.file("told").look().places
                if place.head == held._passed["told"][0]] == [uids[0]]


@pytest.mark.parametrize("tail", [bytes(5), bytes(5000), b"\xff" * 5000, b"courierpy cache 2\n" * 9])
def test_garbage_behind_the_end(folder: Path, tail: bytes) -> None:
    """As a crash of the machine leaves it, with blocks that were never written."""
    put(folder, *range(1, 60))
    with file_of(folder).open("ab") as file:
        file.write(tail)
    assert right(folder, *range(1, 60)) == 59
    put(folder, 60)
    assert opened(folder).sound("kind") == ""
    assert right(folder, *range(1, 61)) == 60


@pytest.mark.parametrize("other", ["validity", "rules", "kind", "order", "version", "empty", "short"])
def test_a_file_of_something_else(folder: Path, other: str) -> None:
    put(folder, *range(1, 60))
    path = file_of(folder)
    data = path.read_bytes()
    cache = opened(folder, VALIDITY + (other == "validity"), RULES[::-1] if other == "rules" else RULES)
    if other == "kind":
        path = path.rename(file_of(folder, "other"))
    if other == "order":
        path.write_bytes(data[:20] + data[23:19:-1] + data[24:])
    if other == "version":
        path.write_bytes(data.replace(b"cache 2", b"cache 1"))
    if other in ("empty", "short"):
        path.write_bytes(data[:0 if other == "empty" else 30])
    kind = "other" if other == "kind" else "kind"
    uids = array("I", range(1, 60))
    assert cache.values(kind, uids) == [None] * 59
    assert cache.whole(kind, uids) is None
    assert list(cache.segments(kind)) == []
    assert cache.sound(kind) == "of another version, UIDVALIDITY or limits"
    cache.add(kind, 7, b"mine")
    cache.flush()
    assert cache.sound(kind) == ""
    assert cache.values(kind, array("I", [6, 7])) == [None, b"mine"]


def test_a_segment_counts_only_in_its_own_file(folder: Path) -> None:
    """Behind the header of another kind it has a wrong checksum, though it is whole."""
    put(folder, 1, 2, 3)
    put(folder, 9, kind="other")
    other = file_of(folder, "other").read_bytes()
    moved = file_of(folder).read_bytes()[segments.HEAD:]
    file_of(folder, "other").write_bytes(other[:segments.HEAD] + moved)
    assert get(folder, 1, 2, 3, 9, kind="other") == [None] * 4


def test_a_file_that_is_replaced_below_a_reader(folder: Path) -> None:
    session = opened(folder)
    uids = array("I", range(1, 60))
    put(folder, *uids)
    table = session._held.file("kind").look()
    first = file_of(folder).read_bytes()
    file_of(folder).unlink()
    put(folder, *range(100, 159))
    second = file_of(folder).read_bytes()
    assert len(first) != len(second) or first != second
    # the same size and the same inode: only the heads tell
    file_of(folder).write_bytes(second[:len(first)].ljust(len(first), b"\0"))
    session._held.file("kind").table = table
    table.key = segments.stamp(file_of(folder).stat())
    assert all(value in (None, value_of(uid)) for uid, value in
               zip(uids, session.values("kind", uids), strict=True))


def test_files_that_are_deleted_below_a_session(folder: Path) -> None:
    session = opened(folder)
    put(folder, *range(1, 60))
    assert None not in session.values("kind", array("I", range(1, 60)))
    shutil.rmtree(folder / "courierpyindex")
    assert session.values("kind", array("I", [1, 2])) == [None, None]
    session.add("kind", 1, value_of(1))
    session.flush()
    assert get(folder, 1, 2) == [value_of(1), None]


# -- what cannot be written

def test_values_are_kept_while_another_session_writes(folder: Path) -> None:
    put(folder, 1)
    fd = os.open(file_of(folder), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    session = opened(folder)
    for uid in range(2, 60):
        session.add("kind", uid, value_of(uid))
    session.flush()
    uids = array("I", range(1, 60))
    assert session.values("kind", uids) == [value_of(uid) for uid in uids]
    column = session.whole("kind", uids)
    assert column is not None
    assert column.values(0, 59) == [value_of(uid) for uid in uids]
    assert right(folder, *uids) == 1
    os.close(fd)
    session.flush()
    assert right(folder, *uids) == 59


def test_no_directory_can_be_made(folder: Path) -> None:
    (folder / "courierpyindex").write_bytes(b"")
    session = opened(folder)
    for uid in range(1, 60):
        session.add("kind", uid, value_of(uid))
    session.flush()
    assert session.values("kind", array("I", range(1, 60))) == [value_of(uid) for uid in range(1, 60)]
    # and they do not pile up
    for uid in range(60, 100):
        session.add("kind", uid, bytes(caches.PIECE))
    assert sum(map(len, session._fresh.get("kind", {}).values())) <= caches.HOLD + caches.PIECE


def in_child(work: Callable[[], None]) -> int:
    """The exit status, -9 for one that was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_disk_that_is_full(folder: Path) -> None:
    """A write that ends in the middle: the file is cut where it was whole, the values stay ours."""
    put(folder, *range(1, 60))
    size = file_of(folder).stat().st_size

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))
        session = opened(folder)
        for uid in range(60, 200):
            session.add("kind", uid, value_of(uid))
        session.flush()
        assert session.values("kind", array("I", range(60, 200))) == [value_of(uid) for uid in range(60, 200)]
        assert session.sound("kind") == ""

    assert in_child(work) == 0
    assert opened(folder).sound("kind") == ""
    assert right(folder, *range(1, 200)) <= 59
    put(folder, *range(1, 200))
    assert right(folder, *range(1, 200)) == 199


# -- a process that is killed

CHANGES = ("write", "ftruncate", "rename", "open", "mkdir", "unlink")


def dying(at: int, torn: bool) -> None:
    """From now on: the ``at``-th call that changes the disk is the last; half of a write is done."""
    count = 0

    def wrapped(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*args: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == at:
                if torn and name == "write":
                    data = bytes(args[1])  # type: ignore[call-overload]
                    real(args[0], data[:len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)
        return call

    for name in CHANGES:
        setattr(os, name, wrapped(name))


@pytest.mark.parametrize("torn", [False, True])
def test_a_kill_at_any_moment(folder: Path, torn: bool) -> None:
    """Appending, taking small segments in, and writing the file anew."""
    numbered(folder, *range(2000, 2500), uidnext=2500)
    kills = 0
    for at in range(1, 200):
        shutil.rmtree(folder / "courierpyindex", ignore_errors=True)
        put(folder, *range(1, 1000))

        def work() -> None:
            dying(at, torn)  # noqa: B023
            put(folder, *range(2000, 2010))
            put(folder, *range(2010, 2020))
            put(folder, *range(2020, 2500))

        status = in_child(work)
        assert status in (0, -9)
        kills += status == -9
        right(folder, *range(1, 1000), *range(2000, 2500))
        put(folder, *range(2000, 2500))
        assert opened(folder).sound("kind") == ""
        assert right(folder, *range(2000, 2500)) == 500
        if status == 0:
            break
    else:
        raise AssertionError("it never came to its end")
    assert kills > 10


def test_processes_that_append_at_once_and_are_killed(folder: Path) -> None:
    def work(start: int) -> None:
        for uid in range(start, 4000, 8):
            put(folder, uid)

    for _ in range(3):
        pids = []
        for start in range(1, 5):
            pid = os.fork()
            if pid == 0:
                try:
                    work(start)
                finally:
                    os._exit(0)
            pids.append(pid)
        for _ in range(40):
            right(folder, *range(1, 4000))
        for pid in pids[:2]:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        right(folder, *range(1, 4000))
        put(folder, *range(1, 4000))
        assert opened(folder).sound("kind") == ""
        assert right(folder, *range(1, 4000)) == 3999


# -- who may read, and what is not ours

def test_nobody_else_may_read(folder: Path) -> None:
    old = os.umask(0)
    try:
        put(folder, 1)
        Index(str(folder), "host").set_unclaimed(UidSet([(1, 1)]))
    finally:
        os.umask(old)
    assert (folder / "courierpyindex").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (folder / "courierpyindex").iterdir()} == {0o600}


def test_a_link_in_place_of_a_file_is_not_followed(folder: Path) -> None:
    put(folder, 1)
    target = folder / "precious"
    target.write_bytes(file_of(folder).read_bytes())
    file_of(folder).unlink()
    file_of(folder).symlink_to(target)
    before = target.read_bytes()
    assert get(folder, 1) == [None]
    put(folder, 2)
    assert target.read_bytes() == before


# -- memory

def test_memory_does_not_grow_with_the_column(folder: Path) -> None:
    cache = opened(folder)
    for uid in range(1, 41):
        for row in range(100):
            cache.add("text", 100 * uid + row, bytes([uid]) * 10_000)
    cache.flush()
    uids = array("I", range(100, 4100))
    tracemalloc.start()
    try:
        session = opened(folder)
        assert all(len(value or b"") == 10_000 for start in range(0, len(uids), 50)
                   for value in session.values("text", uids[start:start + 50]))
        assert sum(len(blob) for _, _, blob in session.segments("text")) == 40_000_000
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
        session.forget()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


# -- anything in any order

STEPS = st.lists(st.one_of(
    st.tuples(st.just("add"), st.integers(0, 1), st.lists(st.integers(1, 40), max_size=8)),
    st.tuples(st.just("get"), st.integers(0, 1), st.lists(st.integers(1, 40), max_size=8)),
    st.tuples(st.just("flush"), st.integers(0, 1), st.just([])),
    st.tuples(st.just("forget"), st.integers(0, 1), st.just([])),
    st.tuples(st.just("new"), st.integers(0, 1), st.just([])),
    st.tuples(st.just("cut"), st.integers(0, 3000), st.just([])),
    st.tuples(st.just("flip"), st.integers(0, 3000), st.just([])),
    st.tuples(st.just("delete"), st.just(0), st.just([])),
), max_size=30)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("places")


@settings(max_examples=150)
@given(steps=STEPS)
def test_two_sessions_do_anything(places: Path, steps: list[tuple[str, int, list[int]]]) -> None:
    folder = places / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    sessions = [opened(folder), opened(folder)]
    own: list[set[int]] = [set(), set()]
    path = file_of(folder)
    for step, which, numbers in steps:
        uids = array("I", sorted(set(numbers)))
        if step == "add":
            for uid in uids:
                sessions[which].add("kind", uid, value_of(uid))
            own[which].update(uids)
        elif step == "get":
            for uid, value in zip(uids, sessions[which].values("kind", uids), strict=True):
                assert value == value_of(uid) if uid in own[which] else value in (None, value_of(uid))
            column = sessions[which].whole("kind", uids)
            own[which].clear()             # flushed
            if column is not None:
                assert column.values(0, len(uids)) == [value_of(uid) for uid in uids]
        elif step == "new":
            sessions[which] = opened(folder)
            own[which].clear()
        elif step in ("flush", "forget"):
            getattr(sessions[which], step)()
            own[which].clear()
        elif path.exists():
            data = bytearray(path.read_bytes())
            if step == "flip" and which < len(data):
                data[which] ^= 0x10
                path.write_bytes(data)
            elif step == "cut":
                path.write_bytes(data[:which])
            elif step == "delete":
                path.unlink()
    everything = array("I", range(1, 41))
    last = opened(folder)
    for uid, value in zip(everything, last.values("kind", everything), strict=True):
        assert value in (None, value_of(uid))
        if value is None:
            last.add("kind", uid, value_of(uid))
    last.flush()
    assert opened(folder).values("kind", everything) == [value_of(uid) for uid in everything]
