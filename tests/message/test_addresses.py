"""Address lists as they are in people's mail: none lost, none made up, no name glued to another."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.message import address
from courierpy.message.message import Message
from fuzz.oracles import groups_are_closed


def told(value: str) -> list[str]:
    """Each as ``name <local@host>``, groups as ``name:`` and ``;``."""
    found = []
    for name, route, local, host in address.parse(value.encode()):
        if local is None:
            found.append(";")
        elif host is None:
            found.append(f"{local.decode()}:")
        else:
            spec = f"<{route.decode() + ':' if route else ''}{local.decode()}@{host.decode()}>"
            found.append(f"{name.decode()} {spec}" if name is not None else spec)
    return found


@pytest.mark.parametrize(("value", "wanted"), [
    # what separates two is missing, or another one
    ('"Eve" <eve@x.org> "Dan" <dan@y.org>', ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ("Eve <eve@x.org> Dan <dan@y.org>", ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ("<eve@x.org><dan@y.org>", ["<eve@x.org>", "<dan@y.org>"]),
    ("eve@x.org dan@y.org\tliz@z.org", ["<eve@x.org>", "<dan@y.org>", "<liz@z.org>"]),
    ("eve@x.org (Eve) dan@y.org (Dan)", ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ("eve@x.org; dan@y.org;", ["<eve@x.org>", "<dan@y.org>"]),
    ("Eve <eve@x.org>; Dan <dan@y.org>", ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ('eve@x.org "Dan" <dan@y.org>', ["<eve@x.org>", "Dan <dan@y.org>"]),
    ("eve@x.org Dan <dan@y.org>", ["<eve@x.org>", "Dan <dan@y.org>"]),
    ("<eve@x.org> dan@y.org", ["<eve@x.org>", "<dan@y.org>"]),
    (",, eve@x.org,, ,dan@y.org,", ["<eve@x.org>", "<dan@y.org>"]),
    ("eve@x.org. dan@y.org", ["<eve@x.org.>", "<dan@y.org>"]),
    ("eve@x.org:dan@y.org: liz@z.org", ["<eve@x.org>", "<dan@y.org>", "<liz@z.org>"]),
    ("eve@x.org:25", ["<eve@x.org:25>"]),
    # angles, quotes, parentheses, brackets that nothing closes, or nothing opens
    ("Eve <eve@x.org", ["Eve <eve@x.org>"]), ("Eve eve@x.org>", ["Eve <eve@x.org>"]),
    ("Eve <eve@x.org, Dan <dan@y.org>", ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ("Eve <eve@x.org, dan@y.org", ["Eve <eve@x.org>", "<dan@y.org>"]),
    ("Eve <eve@x.org Dan <dan@y.org>", ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ("Eve <eve@x.org;dan@y.org>", ["Eve <eve@x.org>", "<dan@y.org>"]),
    ("Eve <eve@x.org dan@y.org>", ["Eve <eve@x.org>", "<dan@y.org>"]),
    ("Eve <<eve@x.org>>", ["Eve <eve@x.org>"]), ("<Eve <eve@x.org>>", ["Eve <eve@x.org>"]),
    ('"Eve <eve@x.org>', ["Eve <eve@x.org>"]), ('"Hill, Eve <eve@x.org>', ["Hill, Eve <eve@x.org>"]),
    ('dan@y.org, "Eve, liz@z.org', ["<dan@y.org>", "<Eve@>", "<liz@z.org>"]),
    ('Eve" <eve@x.org>, Dan <dan@y.org>', ['Eve" <eve@x.org>', "Dan <dan@y.org>"]),
    ('O"Neill <o@x.org>, "Dan" <dan@y.org>', ['O"Neill <o@x.org>', "Dan <dan@y.org>"]),
    ("(eve@x.org", ["<eve@x.org>"]), ("Eve ) <eve@x.org>", ["Eve <eve@x.org>"]),
    ("((Eve) <eve@x.org>", ["Eve <eve@x.org>"]), ("[eve <eve@x.org>", ["eve <eve@x.org>"]),
    # a name that holds an address, or stands behind one
    ("eve@x.org <dan@y.org>", ["eve@x.org <dan@y.org>"]),
    ('"eve@x.org" <dan@y.org>', ["eve@x.org <dan@y.org>"]),
    ("eve@x.org via List <list@y.org>", ["eve@x.org via List <list@y.org>"]),
    ("Eve eve@x.org <dan@y.org>", ["Eve eve@x.org <dan@y.org>"]),
    ("eve@x.org <dan@y.org>, liz@z.org", ["eve@x.org <dan@y.org>", "<liz@z.org>"]),
    ("Eve eve@x.org", ["Eve <eve@x.org>"]),
    ('"Eve" eve@x.org, Dan dan@y.org', ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ('"Eve"eve@x.org, dan@y.org', ["Eve <eve@x.org>", "<dan@y.org>"]),
    ("Eve <Hill <eve@x.org>>", ["Eve Hill <eve@x.org>"]),
    ("Eve [mailto:eve@x.org], Dan [MAILTO: dan@y.org ]", ["Eve <eve@x.org>", "Dan <dan@y.org>"]),
    ("eve@x.org [mailto:eve@x.org]", ["eve@x.org <eve@x.org>"]),
    # quotes around all of it, or with the next address between two of them
    ('"eve@x.org"', ["<eve@x.org>"]), ('"Eve Hill <eve@x.org>"', ["Eve Hill <eve@x.org>"]),
    ('Eve "<eve@x.org>", "dan@y.org"', ["Eve <eve@x.org>", "<dan@y.org>"]),
    ('"Eve @ Home"', ["<Eve @ Home@>"]),
    ('"Eve Hill <eve@x.org>, "Dan" <dan@y.org>', ["Eve Hill <eve@x.org>", "Dan <dan@y.org>"]),
    ('"Eve <eve@x.org>, Dan" <dan@y.org>', ["Eve <eve@x.org>, Dan <dan@y.org>"]),
    # encoded words that hold what parts addresses elsewhere
    ("=?utf-8?Q?Hill,_Eve?= <eve@x.org>, =?utf-8?Q?Dan:_(d);?= <dan@y.org>",
     ["=?utf-8?Q?Hill,_Eve?= <eve@x.org>", "=?utf-8?Q?Dan:_(d);?= <dan@y.org>"]),
    ("=?utf-8?Q?Hill,?= =?utf-8?Q?_Eve_<a>?= <eve@x.org>",
     ["=?utf-8?Q?Hill,?= =?utf-8?Q?_Eve_<a>?= <eve@x.org>"]),
    ("=?utf-8?Q?eve@x.org, Hill?= <dan@y.org>", ["=?utf-8?Q?eve@x.org, Hill?= <dan@y.org>"]),
    ("=?utf-8?Q?Eve?=, =?utf-8?Q?Dan?= <dan@y.org>", ["<=?utf-8?Q?Eve?=@>", "=?utf-8?Q?Dan?= <dan@y.org>"]),
    ("<eve@x.org> Eve", ["Eve <eve@x.org>"]), ("Eve <eve@x.org> Hill", ["Eve <eve@x.org>"]),
    ("Eve <eve@x.org> Hill, dan@y.org", ["Eve <eve@x.org>", "<dan@y.org>"]),
    # groups
    ("all: eve@x.org, Dan <dan@y.org>;", ["all:", "<eve@x.org>", "Dan <dan@y.org>", ";"]),
    ("nobody:;", ["nobody:", ";"]), ("nobody:;@x.org", ["nobody:", ";"]),
    ("nobody:; (none)", ["nobody:", ";"]),
    ("all: eve@x.org; and more, dan@y.org", ["all:", "<eve@x.org>", ";", "<dan@y.org>"]),
    ("all: eve@x.org; dan@y.org", ["all:", "<eve@x.org>", ";", "<dan@y.org>"]),
    ("all: eve@x.org", ["all:", "<eve@x.org>", ";"]),
    ("a: eve@x.org, b: dan@y.org;", ["a:", "<eve@x.org>", ";", "b:", "<dan@y.org>", ";"]),
    ("a:;b:;", ["a:", ";", "b:", ";"]), ('"a, b": eve@x.org;', ["a, b:", "<eve@x.org>", ";"]),
    # what RFC 5322 allows
    ("Eve (nee) Hill <eve (x) @ (y) x . org (z)>", ["Eve Hill <eve@x.org>"]),
    ("eve @ x . (c) org", ["c <eve@x.org>"]), ('"eve hill"@x.org', ["<eve hill@x.org>"]),
    ('""@x.org, dan@y.org', ["<@x.org>", "<dan@y.org>"]), ('Eve <""@x.org>', ["Eve <@x.org>"]),
    ('eve."h i".l@x.org', ["<eve.h i.l@x.org>"]), ("eve . hill@x.org", ["<eve.hill@x.org>"]),
    ("eve .hill@x.org", ["<eve.hill@x.org>"]), ("Eve <eve. hill@x.org>", ["Eve <eve.hill@x.org>"]),
    ('<eve. " h " .l@x.org>', ["<eve. h .l@x.org>"]),
    ("eve@[IPv6:1::2]", ["<eve@[IPv6:1::2]>"]),
    ("<@a.org, @b.org : eve@x.org>", ["<@a.org,@b.org:eve@x.org>"]),
    ('"Eve \\"E\\" Hill" <eve@x.org>', ['Eve "E" Hill <eve@x.org>']), ("E. Hill, Jr. <eve@x.org>",
                                                                       ["<E. Hill@>", "Jr. <eve@x.org>"]),
    # quotes around the address itself, an angle with nothing in it
    ("'eve@x.org'", ["<eve@x.org>"]), ("Eve <'eve@x.org'>", ["Eve <eve@x.org>"]),
    ("'eve@x.org', 'dan@y.org'", ["<eve@x.org>", "<dan@y.org>"]),
    ("O'Neill <o'neill@x.org>", ["O'Neill <o'neill@x.org>"]),
    ("'eve'@x.org", ["<'eve'@x.org>"]),
    ('Eve <"eve@x.org">', ["Eve <eve@x.org>"]), ('<"a@x.org">,<"b@x.org"', ["<a@x.org>", "<b@x.org>"]),
    ('"Eve" <"Eve Hill <eve@x.org>">', ["Eve Hill <eve@x.org>"]), ('Eve <"a@b">', ["Eve <a@b>"]),
    ("eve@x.org <>", ["<eve@x.org>"]), ('"Eve eve@x.org" <>, dan@y.org', ["Eve <eve@x.org>", "<dan@y.org>"]),
    # no addresses
    ("undisclosed recipients", ["<undisclosed recipients@>"]), ("root, eve", ["<root@>", "<eve@>"]),
    ("@x.org", []), ("@a.org:eve@x.org", ["<eve@x.org>"]), ("mailto:eve@x.org", ["<eve@x.org>"]),
    ("Eve <mailto:eve@x.org>", ["Eve <eve@x.org>"]), ("eve@hill@x.org", ["<eve@hill@x.org>"]), (",;,", []),
    ("Eve <>", ["Eve <@>"]), ("Eve <@x.org>", ["Eve <@x.org>"]),
])
def test_lists(value: str, wanted: list[str]) -> None:
    assert told(value) == wanted


def test_all_fields_of_a_name_count() -> None:
    data = b"".join(b"%s: %s%d@x.org\n" % (name, name.lower(), at) for at in (1, 2)
                    for name in (b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Bcc"))
    envelope = Message(data + b"\n").envelope_bytes()
    for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"):
        assert b'((NIL NIL "%s1" "x.org")(NIL NIL "%s2" "x.org"))' % (name, name) in envelope


def test_what_one_field_leaves_open_ends_with_it() -> None:
    message = Message(b'From: "Eve\nFrom: Dan <dan@y.org\nFrom:\nFrom: all: liz@z.org\nFrom: x@y.org\n\n')
    assert message.envelope_bytes().startswith(
        b'(NIL NIL ((NIL NIL "Eve" "")("Dan" NIL "dan" "y.org")(NIL NIL "all" NIL)(NIL NIL "liz" "z.org")'
        b'(NIL NIL NIL NIL)(NIL NIL "x" "y.org")) ')


def test_the_key_of_sort_is_the_first_address_of_all_fields() -> None:
    assert Message(b"To:\nTo: ,\nTo: Zoe <zoe@x.org>\nTo: a@b\n\n").first_mailbox(b"to") == "zoe"


NAMES = st.sampled_from(["", "Eve ", '"Hill, Eve" ', "Eve Q. Hill ", "=?utf-8?q?=C3=A9?= ", '"a@b" '])


@settings(max_examples=300)
@given(st.lists(st.tuples(NAMES, st.integers(0, 99),
                          st.sampled_from(["<{}>", "<{}", "{}", "< {} >", "<{}>>"])),
                min_size=1, max_size=6),
       st.lists(st.sampled_from([", ", ",", "; ", " ", "\t", " , , ", ",\n ", " (c) "]),
                min_size=6, max_size=6))
def test_no_address_is_lost_and_none_made_up(people: list[tuple[str, int, str]], between: list[str]) -> None:
    specs = [f"p{number}@h{number}.org" for _, number, _ in people]
    texts = [name + form.format(spec) for (name, _, form), spec in zip(people, specs, strict=True)]
    value = "".join(text + gap for text, gap in zip(texts, between, strict=False))
    found = [f"{local.decode()}@{host.decode()}" for _, _, local, host in address.parse(value.replace("\n",
                                                                                                      "").encode())
             if local is not None and host is not None]
    # a bare address before an angle, without a comma between, is its name
    expected = [spec for at, spec in enumerate(specs) if not (
        "<" not in people[at][2] and at + 1 < len(specs) and "<" in people[at + 1][2]
        and not people[at + 1][0] and not {",", ";"} & set(between[at]))]
    assert found == expected


JUNK = st.lists(st.sampled_from([b"a", b"b@c", b"@", b"<", b">", b",", b";", b":", b"(", b")", b'"', b"\\",
                                 b"[", b"]",
                                 b" ", b".", b"\xe9", b"mailto:", b"\n"]), max_size=30).map(b"".join)


@settings(max_examples=500)
@given(JUNK)
def test_groups_are_closed_and_mailboxes_are_there(value: bytes) -> None:
    groups_are_closed(address.parse(value))


@pytest.mark.parametrize(("unit", "odd"), [(b"a@b,", False), (b"\xe4,", True), (b"g:;", True),
                                           (b"a@b\n", False)])
def test_of_a_long_list_the_first_addresses_are_told(unit: bytes, odd: bool) -> None:
    found = address.parse(unit * (address.MOST + 1000))
    assert address.MOST <= len(found) <= address.MOST + 1
    assert found == address.parse(unit * 50_000)
    assert (address.usual(unit * 50_000) is None) == (odd or b"\n" in unit)


def test_an_odd_list_ends_behind_a_whole_address() -> None:
    """One that is read token by token is cut where no address is."""
    value = b"g: " + b", ".join(b"%d.%s@example.org" % (number, b"x" * 20) for number in range(20_000)) + b";"
    found = address.parse(value)
    assert found[0] == (None, None, b"g", None) and found[-1] == (None, None, None, None)
    assert len(value) > address.ODD_OCTETS
    assert len(found) > 3000
    assert {one[3] for one in found[1:-1]} == {b"example.org"}
