"""What is packed comes back; octets that nobody packed are refused."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.imap.grammar.numset import NumSet
from courierpy.imap.grammar.searchkeys import Key
from courierpy.model import packed

CLASSES = (Key, NumSet)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary() | st.text(
    st.characters())
values = st.recursive(plain, lambda inner: st.lists(inner) | st.lists(inner).map(tuple)
                      | st.builds(Key, st.binary(), inner) | st.frozensets(plain), max_leaves=20)


@given(values)
def test_what_is_packed_comes_back(value: Any) -> None:
    again = packed.unpack(packed.pack(value, CLASSES), CLASSES)
    assert again == value
    assert type(again) is type(value)


def test_kinds_are_kept() -> None:
    value = [True, 1, 1.0, b"1", "1", (), [], frozenset((1, b"1")), None]
    assert [type(each) for each in packed.unpack(packed.pack(value))] == [type(each) for each in value]
    numbers: NumSet = packed.unpack(packed.pack(NumSet(((1, 2), (4, 4)), True), CLASSES), CLASSES)
    assert numbers.ranges == ((1, 2), (4, 4)) and numbers.saved


def test_other_objects_are_none_of_its_business() -> None:
    with pytest.raises(TypeError, match="Key"):
        packed.pack(Key(b"ALL"))
    with pytest.raises(TypeError):
        packed.pack({1: 2})


@given(values, st.data())
def test_damage_is_another_value_or_refused(value: Any, data: st.DataObject) -> None:
    octets = bytearray(packed.pack(value, CLASSES))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        packed.unpack(bytes(octets[:data.draw(st.integers(0, len(octets)))]), CLASSES)
    except ValueError:
        return


def test_values_in_each_other_without_end() -> None:
    octets = packed.pack(None)
    for _ in range(packed.MAX_DEPTH + 1):
        octets = b"(" + len(octets).to_bytes(4, "big") + octets
    with pytest.raises(ValueError, match="deep"):
        packed.unpack(octets)


@given(st.lists(st.tuples(st.integers(-1, 1 << 40), st.integers(0, 5)), max_size=5))
def test_rows_of_numbers(rows: list[tuple[int, int]]) -> None:
    assert packed.rows("q", 2, packed.numbers("q", rows)) == rows


def test_rows_that_are_not_whole() -> None:
    with pytest.raises(ValueError):
        packed.rows("q", 2, packed.numbers("q", [(1, 2, 3)]))
    with pytest.raises(ValueError):
        packed.rows("q", 2, b"xyz")


def test_what_was_found_in_a_tree_of_keys_is_not_kept() -> None:
    key = Key(b"AND", [Key(b"NOT", Key(b"SEEN")), Key(b"ALL")])
    assert key.names == (b"ALL", b"AND", b"NOT", b"SEEN")
    again = packed.unpack(packed.pack(key, CLASSES), CLASSES)
    assert [each.name for each in again.each] == [b"AND", b"NOT", b"ALL", b"SEEN"]
