"""The record of a session that sleeps: what is known comes back, and damage does no harm."""
from __future__ import annotations

import array
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from courierpy.hibernate import sleeper
from courierpy.hibernate.record import MAGIC, PACKED, PLAIN, Damaged, Known, pack, unpack
from courierpy.imap.session import Session
from courierpy.maildir.store import Store
from courierpy.message import collation
from courierpy.model.messages import Messages
from courierpy.model.uidset import UidSet
from courierpy.system.conn import Conn
from courierpy.system.settings import Settings

keyword_sets = st.frozensets(st.from_regex(rb"[!-~]{1,8}", fullmatch=True), min_size=1, max_size=3)
names = st.text(st.characters(exclude_characters="\0="), min_size=1, max_size=10).filter(
    lambda word: word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == word
    if all(not 0xD800 <= ord(char) < 0xE000 for char in word) else False)
numbers = st.integers(0, (1 << 64) - 1)


@st.composite
def states(draw: st.DrawFn) -> Known:
    known = Known()
    known.started = draw(st.floats(allow_nan=False, allow_infinity=False))
    known.rcvd, known.sent, known.headers, known.body = (draw(numbers) for _ in range(4))
    known.errors = draw(st.integers(0, 255))
    known.tag = draw(st.from_regex(rb"[A-Za-z0-9.]{0,20}", fullmatch=True))
    known.cwd = draw(st.binary(max_size=20)).replace(b"\0", b"/")
    known.environ = draw(st.dictionaries(names, names, max_size=5))
    known.enabled = draw(st.sets(st.binary(max_size=8), max_size=2))
    known.kept = draw(st.dictionaries(st.binary(max_size=8), st.binary(max_size=30), max_size=3))
    known.untold = draw(st.sets(st.binary(max_size=8), max_size=2))
    known.objects = draw(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=30)), max_size=3))
    known.layers = draw(st.dictionaries(st.just("deflate"), st.binary(max_size=30)))
    if draw(st.booleans()):
        known.name, known.path = draw(names), "./." + draw(names)
        known.readonly = draw(st.booleans())
        known.uidvalidity, known.uidnext = draw(st.integers(0, (1 << 32) - 1)), draw(numbers)
        uids = sorted(draw(st.sets(st.integers(1, (1 << 32) - 1) | st.integers(1, 30), max_size=40)))
        some = st.sets(st.sampled_from(uids)) if uids else st.just(set[int]())
        known.messages = Messages(array.array("I", uids), bytes(draw(st.integers(0, 31)) for _ in uids),
                                  {uid: draw(keyword_sets) for uid in draw(some)})
        known.told_recent = UidSet.of(sorted(draw(some)))
        known.recent = known.told_recent | UidSet.of(sorted(draw(st.sets(st.integers(1, 100), max_size=3))))
        known.saved = UidSet.of(sorted(draw(st.sets(st.integers(1, 100), max_size=5))))
        known.words = draw(st.lists(st.binary(max_size=8), max_size=3))
    return known


@given(states())
def test_what_is_known_comes_back(known: Known) -> None:
    assert unpack(pack(known)) == known


def plain(known: Known) -> bytes:
    way, data = pack(known)[len(MAGIC):len(MAGIC) + 1], pack(known)[len(MAGIC) + 1:]
    assert way in (PLAIN, PACKED)
    return data if way == PLAIN else zlib.decompress(data)


@given(states(), st.data())
def test_damage_is_refused_or_is_another_state(known: Known, data: st.DataObject) -> None:
    """Nothing but Damaged is raised, and what is taken is consistent."""
    octets = bytearray(plain(known))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(octets)) | st.integers(0, len(octets)))
    try:
        rest = bytes(octets[:end])
        found = unpack(MAGIC + data.draw(st.sampled_from([PLAIN + rest, PACKED + zlib.compress(rest)])))
    except Damaged:
        return
    uids = list(found.messages.uids)
    assert len(uids) == len(found.messages.flags)
    assert uids == sorted(set(uids))
    assert set(found.messages.keywords) <= set(uids)


@given(st.binary(max_size=200))
@example(b"")
@example(MAGIC)
@example(b"courierpy 0\n" + b"x" * 50)
def test_no_octets_do_harm(octets: bytes) -> None:
    for each in (octets, MAGIC + octets, MAGIC + PLAIN + octets, MAGIC + PACKED + octets):
        with pytest.raises(Damaged):
            unpack(each)


@pytest.mark.parametrize("moment", ["nan", "inf", "-inf"])
def test_a_moment_that_is_none(moment: str) -> None:
    known = Known()
    known.tag, known.started = b"a", float(moment)
    with pytest.raises(Damaged):
        unpack(pack(known))


def test_a_record_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courierpy.hibernate.record.LIMIT", 1 << 20)
    known = Known()
    known.tag = b"a"
    known.environ = {"A": "x" * (2 << 20)}
    with pytest.raises(Damaged):
        unpack(pack(known))


def test_what_extensions_keep_is_theirs_again(maildir: Path) -> None:
    """The comparator that the client chose (RFC 5255 4.7) is active in the process that goes on."""
    known = Known()
    known.tag, known.kept = b"a", {b"COMPARATOR": b"i;octet", b"of a file that was taken out": b""}
    here = os.getcwd()
    os.chdir(maildir)
    try:
        settings = Settings({})
        session = Session(Conn(), settings, Store.of(settings), "demo")
        sleeper.restore(session, unpack(pack(known)))
        assert collation.active() is collation.OCTET
        assert sleeper.know(session, b"a", 0.0).kept == known.kept
    finally:
        os.chdir(here)
        collation.use(collation.UNICODE)


def test_large_views_are_small_records() -> None:
    known = Known()
    known.tag, known.name, known.path = b"a", "INBOX", "."
    uids = array.array("I", range(1, 100_001))
    del uids[::1000]
    known.messages = Messages(uids, bytes([1]) * len(uids), {})
    assert len(pack(known)) < 2000
    assert unpack(pack(known)) == known
    known.environ = {"A": "x" * 10_000}
    assert len(pack(known)) < 2000 and unpack(pack(known)) == known
