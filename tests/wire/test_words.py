"""The words of the grammar: sets, names, strings, items, keys."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.imap import fetch, search
from courierpy.imap.ext import sort
from courierpy.imap.grammar import dates, fetchitems, out, searchkeys
from courierpy.imap.grammar.args import Args, tag_of
from courierpy.imap.grammar.numset import NumSet, compact
from courierpy.imap.grammar.pattern import Pattern
from courierpy.imap.grammar.searchkeys import Key
from courierpy.model import utf7
from courierpy.model.flags import DELETED, SEEN
from courierpy.model.replies import Bad, No
from courierpy.model.section import Section
from tests.conftest import args_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def args(line: bytes, utf8: bool = False) -> Args:
    found = args_of(b"t X " + line, utf8)
    found.sp()
    return found


# -- number sets

@given(st.lists(st.integers(1, 500), min_size=1, max_size=30))
def test_compact_names_the_numbers_in_order(numbers: list[int]) -> None:
    parsed = NumSet.parse(compact(numbers))
    assert [n for low, high in parsed.ranges for n in range(low, high + 1)] == numbers


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8))
def test_resolve_is_the_union(pairs: list[tuple[int, int]]) -> None:
    text = b",".join(b"%d:%d" % pair for pair in pairs)
    ranges = NumSet.parse(text).resolve(60)
    wanted = {n for low, high in pairs for n in range(min(low, high), max(low, high) + 1)}
    assert {n for low, high in ranges for n in range(low, high + 1)} == wanted
    assert all(one[1] + 1 < two[0] for one, two in zip(ranges, ranges[1:], strict=False))


def test_star() -> None:
    assert NumSet.parse(b"5:*").resolve(3) == [(3, 5)]
    assert NumSet.parse(b"*").resolve(7) == [(7, 7)]
    assert NumSet.parse(b"1:*").resolve(0) == []


def test_the_saved_result() -> None:
    """RFC 5182 3: alone, or the last of a set."""
    saved = NumSet.parse(b"$")
    assert (saved.ranges, saved.saved, bytes(saved)) == ((), True, b"$")
    assert bytes(NumSet.parse(b"4,7:*,$")) == b"4,7:*,$"
    assert saved != NumSet(()) and saved == NumSet((), True)


@pytest.mark.parametrize("text", [b"0", b"1:", b":1", b"1,,2", b"", b"a", b"4294967296", b"1:2:3", b"$,1",
                                  b"1$", b",$", b"1,$,$", b"$:1"])
def test_bad_sets(text: bytes) -> None:
    with pytest.raises(Bad):
        NumSet.parse(text)


# -- modified UTF-7

@given(NAMES)
def test_utf7_there_and_back(name: str) -> None:
    encoded = utf7.encode(name)
    assert encoded.isascii()
    assert utf7.decode(encoded) == name


@given(st.binary(max_size=20))
def test_utf7_takes_only_what_it_would_write(data: bytes) -> None:
    try:
        name = utf7.decode(data)
    except ValueError:
        return
    assert utf7.encode(name) == data


def test_utf7_of_the_rfc() -> None:
    assert utf7.decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-") == "~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e"


@given(st.binary(max_size=10))
def test_undecodable_names_are_reversible(data: bytes) -> None:
    name = data.decode("utf-8", "surrogateescape")
    assert utf7.decode(utf7.encode(name)).encode("utf-8", "surrogateescape") == data


# -- strings

@given(st.binary(max_size=40))
def test_strings_come_back(data: bytes) -> None:
    found = args(out.string(data).replace(b"}\r\n", b"+}\r\n", 1))
    assert found.string() == data.replace(b"\0", b"\x80")
    if b"\0" not in data:
        assert args(out.astring(data).replace(b"}\r\n", b"+}\r\n", 1)).astring() == data


@pytest.mark.parametrize(("line", "name"), [
    (b"inbox", "INBOX"), (b"Inbox.a", "INBOX.a"), (b"inboxes", "inboxes"),
    (b"INBOX.Tilde~x", "INBOX.Tilde~x"),
    (b"INBOX.Br[ack]ets", "INBOX.Br[ack]ets"), (b'"INBOX.a \\"b\\\\"', 'INBOX.a "b\\'), (b"NIL", "NIL"),
    (b"{7+}\r\nINBOX.x", "INBOX.x"), (b"INBOX.&AOk-", "INBOX.\u00e9"), (b'"INBOX.\xc3\xa9"', "INBOX.\u00e9")])
def test_mailbox_names(line: bytes, name: str) -> None:
    found = args(line)
    assert found.mailbox() == name
    found.end()


@pytest.mark.parametrize("line", [b"INBOX.&bad", b"INBOX.x&y", b"&", b"&AOk", b"&AOl-", b"{4}\r\na\xff.b"])
def test_names_that_are_no_modified_utf7_are_taken_and_refused(line: bytes) -> None:
    found = args(line)
    with pytest.raises(No):
        found.mailbox()
    found.end()


@pytest.mark.parametrize("line", [b'"open', b"", b"\xff", b'"\xff"'])
def test_bad_mailbox_names(line: bytes) -> None:
    with pytest.raises(Bad):
        args(line).mailbox()


@pytest.mark.parametrize(("line", "tag"), [
    (b"a NOOP", b"a"), (b"a", b"a"), (b"a ()(", b"a"), (b" \ta x", b"a"), (b"a.1-\xff", b"a.1-"), (b"", b"*"),
    (b"(a NOOP", b"*"), (b"+ a", b"*"), (b"\"a\" b", b"*"), (b"a{5", b"a"), (b"x" * 200, b"x" * 200),
    (b"x" * 201, b"*"), (b"x" * 1000, b"*")])
def test_the_tag_of_what_cannot_be_read(line: bytes, tag: bytes) -> None:
    assert tag_of(line) == tag


def test_flags() -> None:
    assert args(b"(\\seen $A \\Deleted $a)").flags() == (SEEN | DELETED, frozenset({b"$A"}))
    assert args(b"\\Seen \\Deleted").flags() == (SEEN | DELETED, frozenset())
    assert args(b"()").flags() == (0, frozenset())
    for line in (b"(\\Recent)", b"(\\Foo)", b"(a%b)", b'("x")', b"", b"(a"):
        with pytest.raises(Bad):
            args(line).flags()


# -- dates

def test_dates() -> None:
    assert dates.parse_datetime(b" 4-Jan-2024 14:00:00 +0100") == 1704373200
    assert dates.parse_datetime(b"04-jan-2024 13:00:00 +0000") == 1704373200
    for text in (b"4-Foo-2024 14:00:00 +0100", b"31-Feb-2024 00:00:00 +0000", b"04-Jan-2024 25:00:00 +0000"):
        with pytest.raises(ValueError):
            dates.parse_datetime(text)


# -- items of FETCH

@pytest.mark.parametrize(("line", "labels"), [
    (b"FAST", [b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"]),
    (b"(UID BODY.PEEK[1.2.MIME])", [b"UID", b"BODY[1.2.MIME]"]),
    (b"BODY[HEADER.FIELDS (From \"To\")]<3.4>", [b'BODY[HEADER.FIELDS ("From" "To")]<3>']),
    (b"body[header]", [b"BODY[HEADER]"]), (b"BODY [TEXT]", [b"BODY[TEXT]"]), (b"BODY", [b"BODY"])])
def test_items(line: bytes, labels: list[bytes]) -> None:
    found = args(line)
    assert [item.label for item in fetchitems.parse(found, fetch.ITEMS.find)] == labels
    found.end()


@pytest.mark.parametrize("line", [b"BODY[0]", b"BODY[MIME]", b"BODY[1.", b"BODY[]<>", b"FOO", b"()",
                                  b"(FAST)",
                                  b"BODY[HEADER.FIELDS ()]", b"BODY.PEEK", b"BODY[1.2.3.x]"])
def test_bad_items(line: bytes) -> None:
    with pytest.raises(Bad):
        found = args(line)
        fetchitems.parse(found, fetch.ITEMS.find)
        found.end()


def test_section_values() -> None:
    item = fetchitems.parse(args(b"BODY.PEEK[1.2.HEADER.FIELDS.NOT (X)]<0.9>"), fetch.ITEMS.find)[0]
    assert item.value == (Section((1, 2), b"HEADER.FIELDS.NOT", (b"X",)), (0, 9))
    assert not item.sees


# -- keys of SEARCH

def test_search_tree() -> None:
    key = searchkeys.parse(args(b"CHARSET UTF-8 OR (SEEN 1:3) NOT SUBJECT {3+}\r\n\xe2\x82\xac SMALLER 5"),
                           search.KEYS.find)
    assert key == Key(b"AND", [
        Key(b"OR", (Key(b"AND", [Key(b"SEEN"), Key(b"SEQSET", NumSet(((1, 3),)))]),
                    Key(b"NOT", Key(b"SUBJECT", "\u20ac")))), Key(b"SMALLER", 5)])


@pytest.mark.parametrize("line", [b"", b"FOO", b"OR SEEN", b"NOT", b"(SEEN", b"SUBJECT", b"SINCE 2024-01-02",
                                  b"LARGER x", b"HEADER x", b"(" * 200 + b"ALL" + b")" * 200])
def test_bad_searches(line: bytes) -> None:
    with pytest.raises(Bad):
        found = args(line)
        searchkeys.parse(found, search.KEYS.find)
        found.end()


def test_unknown_charset() -> None:
    with pytest.raises(No) as caught:
        searchkeys.parse(args(b"CHARSET x-klingon ALL"), search.KEYS.find)
    assert (caught.value.code or b"").startswith(b"BADCHARSET")


# -- patterns

@pytest.mark.parametrize(("pattern", "name", "fits"), [
    ("*", "INBOX.a.b", True), ("%", "INBOX.a", False), ("INBOX.%", "INBOX.a", True),
    ("INBOX.%", "INBOX.a.b", False), ("inbox.*", "INBOX.a", True), ("INBOX%", "INBOX", True),
    ("*a*b", "INBOX.xaxb", True), ("INBOX.a", "INBOX.A", False), ("%*%", "a.b.c", True), ("", "x", False)])
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert Pattern(pattern).matches(name) is fits


def test_many_wildcards_are_no_trouble() -> None:
    assert not Pattern("%a*" * 500 + "z").matches("a" * 2000)
    assert Pattern("INBOX." + "%" * 500_000).matches("INBOX.a")        # minutes, if each looks for a *


# -- output

@given(st.lists(st.tuples(st.integers(0, 31), st.frozensets(st.sampled_from([b"$a", b"b", b"C"])),
                          st.integers(0, 1))))
def test_the_flags_of_many_are_those_of_each(many: list[tuple[int, frozenset[bytes], int]]) -> None:
    bits, words, recent = zip(*many, strict=True) if many else ((), (), ())
    assert out.flag_lists(bits, words, bytes(recent)) == [
        out.flag_list(one, each, bool(new)) for one, each, new in many]
    assert out.flag_lists(bits, None, bytes(recent)) == [
        out.flag_list(one, (), bool(new)) for one, _, new in many]


# -- sort criteria

def test_a_criterion_that_comes_again_costs_no_sort() -> None:
    line = b"(SUBJECT REVERSE SUBJECT REVERSE DATE" + b" SUBJECT DATE" * 1000 + b")"
    assert sort._criteria(args(line)) == [(b"SUBJECT", False), (b"DATE", True)]
