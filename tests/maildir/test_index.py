"""Columns, the log of numbers, and where they lie: what is not whole is not believed."""
from __future__ import annotations

import os
import shutil
import time
from array import array
from pathlib import Path

import pytest

from courierpy.maildir.formats.uiddb import UidDb, stamp
from courierpy.maildir.index import columns as indexes
from courierpy.maildir.index.columns import SMALL, Columns, Head, Index, Stamps, place
from courierpy.maildir.store import Store
from courierpy.model.messages import Messages
from tests.conftest import account_ids, fill
from tests.maildir.test_cache import dying, in_child

VALIDITY = 700000001
NAMES = [(1, b"one"), (2, b"two.with=odd,letters"), (0x80000005, b"high"), (0xFFFFFFFD, b"highest")]


def columns(rows: list[tuple[int, bytes]] = NAMES) -> Columns:
    """With numbers as large as a file system may have them."""
    stamps = Stamps(-5, 2 ** 64 - 1, 2 ** 62, 0, (2 ** 64 - 2, 1700000000123456789, 99))
    head = Head(stamps, VALIDITY, 0xFFFFFFFE, len(rows), 3, 1)
    odd = {rows[0][0]: b"one:2,Sa", rows[-1][0]: b"highest:3,odd\xff"}
    words = {rows[1][0]: frozenset([b"$a", b"b"]), rows[0][0]: frozenset([b"b"]), rows[2][0]: frozenset()}
    database = UidDb.of(VALIDITY, 0xFFFFFFFE, rows)
    flags = bytes(row % 32 for row in range(len(rows)))
    return Columns(head, database, Messages(database.uids, flags, words), odd)


def same(found: Columns, wanted: Columns) -> bool:
    def told(columns: Columns) -> tuple[object, ...]:
        head, database = columns.head, columns.database
        assert database.has_lines()
        return (head.stamps, head.uidvalidity, head.uidnext, head.count, head.unseen, head.first_unseen,
                database.uids, database.lines, columns.messages.flags, columns.odd,
                {uid: words for uid, words in columns.messages.keywords.items() if words})

    return told(found) == told(wanted)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "Maildir"
    fill(path, 0)
    return path


def opened(folder: Path) -> Index:
    return Index(str(folder), "host")


# -- columns

def test_columns(folder: Path) -> None:
    opened(folder).save(columns())
    found = opened(folder).load()
    assert found is not None
    assert same(found, columns())
    head = opened(folder).head()
    assert head is not None
    assert (head.count, head.uidnext, head.stamps) == (4, 0xFFFFFFFE, columns().head.stamps)
    assert os.listdir(folder / "tmp") == []


def test_columns_that_are_cut_or_changed(folder: Path) -> None:
    opened(folder).save(columns())
    path = folder / "courierpyindex" / "columns"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert opened(folder).load() is None
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        found = opened(folder).load()
        if at < len(whole) - 4 * len(NAMES):
            assert found is None
        else:                          # only where lines begin is not known
            assert found is not None
            assert not found.database.has_lines()
        head = opened(folder).head()           # whose checksum is its own
        assert head is None or head.stamps == columns().head.stamps and head.count == 4
    path.write_bytes(whole[:12] + whole[15:11:-1] + whole[16:])         # another machine's order
    assert opened(folder).load() is None
    path.write_bytes(whole + b"more")
    assert opened(folder).load() is None


def numbered(folder: Path) -> UidDb:
    """The numbers as the index has them, of a uiddb that is there."""
    path = folder / "courierimapuiddb"
    path.write_bytes(b"".join(columns().database.pieces()))
    kept = columns()
    kept.head.stamps.database = stamp(str(folder))
    opened(folder).save(kept)
    found = opened(folder).load()
    assert found is not None
    return found.database


def test_where_lines_begin_is_read_with_them(folder: Path) -> None:
    found = numbered(folder)
    assert not found.lines
    assert found.fill(str(folder / "courierimapuiddb"))
    assert (found.lines, found.names()) == (columns().database.lines, [name for _, name in NAMES])


@pytest.mark.parametrize("gone", [True, False])
def test_where_lines_begin_is_found_where_the_index_is_another_by_then(folder: Path, gone: bool) -> None:
    found = numbered(folder)
    if gone:
        shutil.rmtree(folder / "courierpyindex")
    else:
        opened(folder).save(columns(NAMES[1:]))
    assert not found.has_lines()
    opened(folder).save(Columns(columns().head, found, columns().messages, {}))       # not what is not known
    assert gone is not (folder / "courierpyindex" / "columns").exists()
    assert found.fill(str(folder / "courierimapuiddb"))
    assert (found.lines, found.names()) == (columns().database.lines, [name for _, name in NAMES])


def test_a_kill_while_columns_are_saved(folder: Path) -> None:
    opened(folder).save(columns())
    other = columns([(uid, b"name%d" % uid) for uid in range(1, 400)])
    for at in range(1, 20):
        def work() -> None:
            dying(at, torn=True)  # noqa: B023
            opened(folder).save(other)

        status = in_child(work)
        found = opened(folder).load()
        assert found is not None
        assert same(found, columns() if status else other)
        if status == 0:
            break
    else:
        raise AssertionError("it never came to its end")
    assert at > 3


# -- the log of numbers

def database(*uids: int, uidnext: int = 0) -> UidDb:
    return UidDb.of(VALIDITY, uidnext or uids[-1] + 1, [(uid, b"name.%d,x" % uid) for uid in uids])


def test_the_log_remembers_what_is_gone(folder: Path) -> None:
    index = opened(folder)
    index.remember(database(1, 2, 3))
    index.remember(database(2, 3, 5))
    index.remember(database(2, 3, 5))
    index.remember(database(5, 9))
    assert opened(folder).recall() == (VALIDITY, 10, {b"name.%d,x" % uid: uid for uid in (1, 2, 3, 5, 9)})
    assert (folder / "courierpyindex" / "uids").read_bytes().count(b"\n= ") == 3


def test_a_log_that_is_cut_anywhere(folder: Path) -> None:
    index = opened(folder)
    index.remember(database(1, 2, 3))
    path = folder / "courierpyindex" / "uids"
    first = path.read_bytes()
    index.remember(database(1, 2, 3, 500, 501))
    whole = path.read_bytes()
    assert whole.startswith(first)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = opened(folder).recall()
        if size < len(first):
            assert found is None               # its header may be wrong too
        else:
            assert found is not None
            assert found[0] == VALIDITY
            assert found[1] in (4, 501, 502)
            # a name that was cut is none
            assert found[2].items() <= {b"name.%d,x" % uid: uid for uid in (1, 2, 3, 500, 501)}.items()
        opened(folder).remember(database(1, 2, 3, 500, 501, 502))
        assert opened(folder).recall() == (
            VALIDITY, 503, {b"name.%d,x" % uid: uid for uid in (1, 2, 3, 500, 501, 502)})


def test_a_kill_while_the_log_is_written(folder: Path) -> None:
    everything = {b"name.%d,x" % uid: uid for uid in range(1, 60)}
    for at in range(1, 40):
        shutil.rmtree(folder / "courierpyindex", ignore_errors=True)
        opened(folder).remember(database(1, 2, 3))

        def work() -> None:
            dying(at, torn=True)  # noqa: B023
            for last in range(4, 60, 5):
                opened(folder).remember(database(*range(1, last + 1)))

        status = in_child(work)
        found = opened(folder).recall()
        assert found is not None
        assert found[0] == VALIDITY
        assert found[2].items() <= everything.items()
        assert found[1] > max(found[2].values())
        opened(folder).remember(database(*range(1, 60)))
        assert opened(folder).recall() == (VALIDITY, 60, everything)
        if status == 0:
            break
    else:
        raise AssertionError("it never came to its end")
    assert at > 10


@pytest.mark.parametrize("tail", [bytes(100), bytes(5000), b"\xff" * 100, b"77 name.7", b"= 0000"])
def test_garbage_behind_the_log(folder: Path, tail: bytes) -> None:
    opened(folder).remember(database(1, 2, 3))
    path = folder / "courierpyindex" / "uids"
    with path.open("ab") as file:
        file.write(tail)
    found = opened(folder).recall()
    assert found is not None
    assert found[2] == {b"name.%d,x" % uid: uid for uid in (1, 2, 3)}
    opened(folder).remember(database(1, 2, 3, 4))
    assert opened(folder).recall() == (VALIDITY, 5, {b"name.%d,x" % uid: uid for uid in (1, 2, 3, 4)})


def test_a_log_whose_octets_changed_gives_no_wrong_number(folder: Path) -> None:
    index = opened(folder)
    index.remember(database(1, 2, 3))
    index.remember(database(1, 2, 3, 5))
    path = folder / "courierpyindex" / "uids"
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        found = opened(folder).recall()
        assert found is None or found[0] == VALIDITY and found[2].items() <= {
            b"name.%d,x" % uid: uid for uid in (1, 2, 3, 5)}.items()


# -- a session and the index

def many(folder: Path) -> Path:
    fill(folder, SMALL + 20)
    for name in os.listdir(folder / "new"):
        (folder / "new" / name).rename(folder / "cur" / f"{name}:2,")
    past = 1_700_000_000
    for part in ("cur", "new"):
        os.utime(folder / part, (past, past))
    return folder


def visit(folder: Path, index_at: str = "") -> array[int]:
    opened = Store(str(folder), host="host", index_at=index_at).open("INBOX")
    opened.scan()
    time.sleep(0.03)                           # what was written just now may change and show no other time
    uids = opened.scan().messages.uids
    opened.cache.add("kind", uids[0], b"value")
    opened.close(wait=True)
    return uids


def test_a_maildir_without_an_index_is_served_the_same(folder: Path) -> None:
    uids = visit(many(folder))
    assert sorted(os.listdir(folder / "courierpyindex")) == ["cache.kind", "columns", "uids"]
    assert visit(folder) == uids
    shutil.rmtree(folder / "courierpyindex")
    (folder / "courierpyindex").write_bytes(b"")      # and none can be made
    assert visit(folder) == uids
    assert visit(folder) == uids


# -- elsewhere

@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """As an administrator makes it."""
    path = tmp_path / "indexes"
    path.mkdir()
    path.chmod(0o1777)
    return path


def test_an_index_elsewhere(folder: Path, shared: Path) -> None:
    visit(many(folder), str(shared))
    mine = shared / str(os.geteuid())
    where = mine / str(folder).replace("/", "%2F")
    assert place(str(folder), str(shared)) == str(where)
    assert sorted(os.listdir(where)) == ["cache.kind", "columns", "uids"]
    assert not (folder / "courierpyindex").exists()
    assert mine.stat().st_mode & 0o777 == where.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in where.iterdir()} == {0o600}
    found = Index(str(folder), "host", str(where)).load()
    assert found is not None
    assert found.head.count == SMALL + 20


def test_garbage_of_a_crash_elsewhere_goes(folder: Path, shared: Path) -> None:
    visit(many(folder), str(shared))
    where = Path(place(str(folder), str(shared)))
    (where / "1600000000.M1P1_index.host").write_bytes(b"x")
    os.utime(where / "1600000000.M1P1_index.host", (1_600_000_000, 1_600_000_000))
    (where / "9600000000.M1P1_index.host").write_bytes(b"x")           # somebody writes it now
    Index(str(folder), "host", str(where)).save(columns())
    assert sorted(os.listdir(where)) == ["9600000000.M1P1_index.host", "cache.kind", "columns", "uids"]


def untouched(folder: Path, shared: Path) -> None:
    """Sessions work, and put nothing there."""
    uids = visit(many(folder), str(shared))
    assert list(uids) == list(range(1, SMALL + 21))
    assert visit(folder, str(shared)) == uids


def test_a_directory_that_is_not_there(folder: Path, tmp_path: Path,
                                       capfd: pytest.CaptureFixture[str]) -> None:
    untouched(folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert "has no index" in capfd.readouterr().err


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_directory_where_anybody_can_rename(folder: Path, shared: Path, mode: int) -> None:
    shared.chmod(mode)
    untouched(folder, shared)
    assert [path for path in shared.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_place_that_others_can_write_to(folder: Path, shared: Path, mode: int) -> None:
    mine = shared / str(os.geteuid())
    mine.mkdir()
    mine.chmod(mode)
    untouched(folder, shared)
    assert list(mine.iterdir()) == []


def test_a_link_in_our_place(folder: Path, shared: Path, tmp_path: Path) -> None:
    """Made by another user beforehand, to a directory of ours or of his."""
    target = tmp_path / "target"
    target.mkdir(0o700)
    (shared / str(os.geteuid())).symlink_to(target)
    untouched(folder, shared)
    assert list(target.iterdir()) == []


def test_a_place_that_another_user_made(folder: Path, shared: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make directories of other users")
    mine = shared / str(os.geteuid())
    where = Path(place(str(many(folder)), str(shared)))
    where.mkdir(parents=True)
    index = Index(str(folder), "host", str(where))
    index._ours = True                         # as the attacker writes it
    index.save(columns())
    os.chmod(mine, 0o700)
    os.chown(mine, *account_ids())
    uids = visit(folder, str(shared))
    assert list(uids) == list(range(1, SMALL + 21))
    assert os.listdir(where) == ["columns"]
    again = Index(str(folder), "host", str(where)).load()
    assert again is None


def test_a_removed_folder_leaves_nothing_elsewhere(folder: Path, shared: Path) -> None:
    tree = Store(str(folder), host="host", index_at=str(shared))
    tree.create("INBOX.sub")
    sub = tree.open("INBOX.sub")
    sub.scan()
    sub.cache.add("kind", 1, b"value")
    sub.cache.flush()
    assert os.path.isdir(sub.index.path)
    tree.delete("INBOX.sub")
    assert not os.path.exists(sub.index.path)
    sub.cache.add("kind", 1, b"value")
    sub.close()
    assert not os.path.exists(sub.index.path)


def test_long_paths_have_short_names() -> None:
    assert len(os.path.basename(place("/x" * 500, "/base"))) == 64
    assert place("/a/b%c", "") == ""
    assert indexes.place("/a%2Fb", "/base") != indexes.place("/a/b", "/base")
