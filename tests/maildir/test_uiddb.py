"""However the numbers came to be known, they are what the file says."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.maildir.formats import uiddb
from courierpy.maildir.formats.uiddb import UidDb, parse

VALIDITY = 700000001
# how many messages come, or which of those that are there go, or that somebody wants the lines in one run
steps = st.lists(st.one_of(st.tuples(st.just("come"), st.integers(0, 3)),
                           st.tuples(st.just("go"), st.integers(0, 9)),
                           st.tuples(st.just("read"), st.just(0))), max_size=12)


def rows(database: UidDb) -> list[tuple[int, bytes]]:
    """By all ways to them, which agree."""
    found = list(zip(database.uids, database.names(), strict=True))
    assert [database.name(row) for row in range(len(database))] == [name for _, name in found]
    assert [database.find(name) for _, name in found] == list(range(len(found)))
    return found


def content(database: UidDb) -> bytes:
    return b"".join(database.pieces())


def versions(history: list[tuple[str, int]]) -> list[tuple[UidDb, dict[int, bytes]]]:
    """Each with what is in it."""
    database, model = UidDb(VALIDITY, 1), dict[int, bytes]()
    made = [(database, model)]
    for what, number in history:
        model = dict(model)
        if what == "come":
            uids = range(database.uidnext, database.uidnext + number)
            names = [b"%d.x y" % uid if uid % 5 == 0 else b"%d.M%dP1.host" % (uid, uid) for uid in uids]
            database = database.extended(uids, names)
            model.update(zip(uids, names, strict=True))
        elif what == "read":
            assert database.text == content(database).partition(b"\n")[2]
        elif model:
            row = number % len(model)
            database = database.without([row])
            del model[sorted(model)[row]]
        made.append((database, model))
    return made


@given(steps)
def test_rows(history: list[tuple[str, int]]) -> None:
    for database, model in versions(history):
        assert rows(parse(content(database))) == sorted(model.items())
        assert rows(database) == sorted(model.items())


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_is_none_that_only_ends_so(order: int) -> None:
    names = [b"y", b"1.x y", b"2.x y y"][::order]
    database = UidDb.of(VALIDITY, 9, [*enumerate(names, 1)])
    assert [database.find(name) for name in names] == [0, 1, 2]
    assert database.find(b"x y") == database.find(b"x") == -1


@given(steps, st.data())
def test_what_was_known_changes_nothing(history: list[tuple[str, int]], data: st.DataObject) -> None:
    # each in a session of its own, as what one does with a version may change how it lies in memory
    before, now = (versions(history[:data.draw(st.integers(0, len(history)))])[-1][0] for _ in range(2))
    found, plain = parse(content(now), before=before), parse(content(now))
    assert rows(found) == rows(plain)
    assert (content(found), found.damaged) == (content(plain), plain.damaged)
    more = [found.uidnext, found.uidnext + 4]
    assert content(found.extended(more, [b"a", b"b"])) == content(plain.extended(more, [b"a", b"b"]))


whole = st.dictionaries(st.integers(1, 3000), st.sampled_from([b"a", b"b.M1P2.host", b"c,S=3"]), min_size=1,
                        max_size=200)


@given(whole, st.data())
def test_any_other_file_is_parsed_as_if_none_were_known(rows: dict[int, bytes], data: st.DataObject) -> None:
    """Lines went, in many places or few, others came, and anything may have been written over."""
    lines = [b"%d %d.%s\n" % (uid, uid, name) for uid, name in sorted(rows.items())]
    before = parse(b"1 %d 3001\n" % VALIDITY + b"".join(lines))
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=80))
    text = b"1 %d %d\n" % (VALIDITY, data.draw(st.sampled_from([1, 3001, 4000])))
    text += b"".join(line for at, line in enumerate(lines) if at not in gone)
    text += data.draw(st.sampled_from([b"", b"3001 x\n3002 y\n", b"3002 y\n3001 x\n", b"2999 x\n",
                                       b"3001 x"]))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.sampled_from([b"", b"", b"", b"1", b" ", b"\n", b"x"])) + text[at:]
    found, plain = parse(text, before=before), parse(text)
    assert (found.uids, found.lines, found.text, found.uidnext, found.damaged) == (
        plain.uids, plain.lines, plain.text, plain.uidnext, plain.damaged)


def test_what_is_the_same_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"%d %d.M1P1.host\n" % (uid, uid) for uid in range(1, 20_001)]
    before = parse(b"1 7 20001\n" + b"".join(lines))
    parsed: list[bytes] = []
    plain = uiddb._plain

    def counted(uidvalidity: int, uidnext: int, body: bytes, key: uiddb.Key | None) -> UidDb | None:
        parsed.append(body)
        return plain(uidvalidity, uidnext, body, key)

    monkeypatch.setattr(uiddb, "_plain", counted)
    for row in (19_990, 5000, 4999, 0):
        del lines[row]
    lines += b"20001 x\n", b"20002 y\n"
    found = parse(b"1 7 20003\n" + b"".join(lines), before=before)
    assert parsed == [b"20001 x\n20002 y\n"]
    assert found.text == b"".join(lines)
    assert found.uidnext == 20_003


def test_names_keep_what_looks_like_a_blank() -> None:
    """A file's name may end in any octet but LF."""
    database = parse(b"1 5 9\n1 a\r\n3 b\t\n4 c\x0bd\n6 \x0c\n")
    assert database.names() == [database.name(row) for row in range(len(database))]
    assert database.names()[:2] == [b"a\r", b"b\t"]
