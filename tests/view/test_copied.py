"""What a session has copied is spared by the magic trash, also where it has slept meanwhile."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from courierpy.imap import ext
from courierpy.imap.ext import magictrash
from courierpy.model.uidset import UidSet
from courierpy.system.settings import Settings


def session(value: str = "1") -> Any:
    selected = SimpleNamespace(followers=[])
    return SimpleNamespace(settings=Settings({magictrash.SETTING: value}), selected=selected,
                           need_selected=lambda: selected)


def test_a_session_that_slept_knows_what_it_copied() -> None:
    before, after = session(), session()
    for uids in ([1, 2, 3], [7], [4]):
        magictrash.EXTENSION.table("on_copied")[b""](before, uids)
    follower, = before.selected.followers
    follower.gone(before, [2])
    key, octets = follower.packed()
    ext.find("woken", key)(after, octets)
    assert after.selected.followers[0].uids == UidSet.of([1, 3, 4, 7])


def test_where_it_is_off_nothing_is_kept() -> None:
    one = session("0")
    magictrash.EXTENSION.table("on_copied")[b""](one, [1])
    assert one.selected.followers == []


@pytest.mark.parametrize("octets", [b"\1\0\0\0", b"123"])
def test_a_record_that_none_has_written(octets: bytes) -> None:
    with pytest.raises(ValueError):
        ext.find("woken", magictrash.COPIED)(session(), octets)
