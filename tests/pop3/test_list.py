"""courierpop3dsizelist: what Courier writes is read, and written as Courier does."""
from __future__ import annotations

import pytest

from courierpy.maildir.formats import pop3list
from courierpy.maildir.formats.pop3list import by_number, parse, uidl
from courierpy.maildir.names import base

NOW = 1795815670
# as Courier's pop3d wrote it
COURIERS = b"""\
/3 9 1795815670
nodigits:2, 29 1:1795815670:0
999.M9P1.host:2, 23 2:1795815670:0
1000.M4P1.host:2,T 24 3:1795815670:0
1000.M5P1.host,S=25:2,S 29 4:1795815670:0
1001.empty.host 0 5:1795815670:0
1002.u.host:2,FS 25 6:1795815670:1
1003.b.host:2, 60 7:1795815670:0
1004.with space.host,W=3:2,R 26 8:1795815670:0
"""
# in Courier's order, whatever the order of the directory
ORDERED = [b"-5.x:2,", b"5:2,S", b"6!x", b"+7.q:2,", b" 8.r:2,", b"01000.c:2,", b"1000,S=3:2,",
           "1000.\u00e4:2,".encode(), b"1000.A:2,", b"1000.B:2,", b"1000.a", b"1000.a,S=1:2,", b"1000.a-:2,",
           b"1000.a:2,", b"1000.ab:2,", b"1000.~:2,", b"1000:2,", b"99999999999999999999.z:2,"]


def names(data: bytes) -> list[bytes]:
    return [line.rsplit(b" ", 2)[0] for line in data.splitlines()[1:]]


def told(data: bytes) -> dict[bytes, bytes]:
    return {name: uidl(line) for name, line in parse(data, NOW).lines.items()}


def test_what_courier_wrote_comes_back_byte_for_byte() -> None:
    found = parse(COURIERS, 1)
    assert (found.uidnext, found.uidvalidity, len(found.lines)) == (9, 1795815670, 8)
    assert found.render(by_number(reversed(names(COURIERS)))) == COURIERS


def test_new_messages_are_numbered_as_by_courier() -> None:
    found = parse(b"/3 10 777\n300.c:2, 9 1:777:0\n200.b:2,S 9 5:777:0\n100.a:2, 9 3:777:0\n"
                  b"999.gone:2, 9 4:777:0\n1000.d:2, 9999 9:700:1\n", NOW)
    files = by_number([b"100.a:2,", b"200.b:2,", b"300.c:2,", b"1000.d:2,", b"50.new:2,"])
    found.number(b"50.new:2,", 11, False)
    assert found.render(files) == (
        b"/3 11 777\n50.new:2, 11 10:777:0\n100.a:2, 9 3:777:0\n200.b:2, 9 5:777:0\n300.c:2, 9 1:777:0\n"
        b"1000.d:2, 9999 9:700:1\n")


@pytest.mark.parametrize(("data", "uidls", "header"), [
    (b"/2 10 777\n300.c:2, 9 1:777\n100.a 9 3:0\n", {b"300.c": b"UID1-777", b"100.a": b"UID3"}, (10, 777)),
    (b"/2 10\n300.c 9 3:4\n", {b"300.c": b"UID3-4"}, (10, NOW)),
    (b"/3 10 7\n300.c 9 1:7:1\n100.a 9 3:7\n", {b"300.c": b"UID1-7", b"100.a": b"UID3-7"}, (10, 7)),
    (b"/3 10 777 \r\n300.c 9 7:777:1\r\n", {b"300.c": b"UID7-777"}, (10, 777)),
    (b"/3 10 777\n400.x y:2, 9 1:5:0", {b"400.x y": b"UID1-5"}, (10, 777)),
    # as Courier: of these the header counts alone
    (b"/1 10 777\n300.c:2, 9 1:777\n", {}, (10, 777)),
    (b"/0 10 777\n300.c:2, 9\n", {}, (10, 777)),
    (b"/4 10 777\n300.c:2, 9 1:777:1\n", {}, (10, 777)),
    # and of these nothing
    (b"300.c:2, 9\n100.a:2, 8", {}, (1, NOW)),
    (b"", {}, (1, NOW)),
    (b"\n/3 10 777\n50.new:2,S 10 8:777:1\n", {}, (1, NOW)),
    (b"\0" * 100, {}, (1, NOW))])
def test_other_versions_and_damage(data: bytes, uidls: dict[bytes, bytes], header: tuple[int, int]) -> None:
    found = parse(data, NOW)
    assert (found.uidnext, found.uidvalidity) == header
    assert told(data) == uidls


@pytest.mark.parametrize("line", [
    b"300.c 9 0:777:0", b"300.c 9 -1:777:0", b"300.c 9 1:777:0 x", b"300.c 9 :777:0", b"300.c 9 x:y:z",
    b"300.c 9", b"300.c", b" ", b"300.c 9 99999999999999999999:1:0", b"300.c 9 1:99999999999999999999:0"])
def test_a_line_that_is_none_is_passed_over(line: bytes) -> None:
    data = b"/3 10 777\n" + line + b"\n100.a:2, 9 3:777:0\n"
    assert told(data) == {b"100.a": b"UID3-777"}


def test_no_number_is_given_twice() -> None:
    assert parse(b"/3 2 777\n300.c 9 7:777:0\n1.a 9 9:700:0\n", NOW).uidnext == 8
    assert parse(b"/3 0 0\n", NOW).uidnext == 1
    assert parse(b"/3 0 0\n", NOW).uidvalidity == NOW
    assert told(b"/3 9 7\n1.a 9 3:7:0\n2.b 9 3:7:0\n3.c 9 3:8:0\n") == {b"1.a": b"UID3-7", b"3.c": b"UID3-8"}
    assert 0 < len(uidl((b"", b"", b"9" * 18, b"9" * 18, b"0"))) <= 70


def test_the_order_is_couriers() -> None:
    for start in range(len(ORDERED)):
        assert by_number(ORDERED[start:] + ORDERED[:start]) == ORDERED
    modern = [b"%d.M%dP1.host,S=5:2,S" % (1700000000 + at % 7, at) for at in range(40)]
    assert by_number(modern) == sorted(modern, key=lambda file: base(file) + b":")


def test_a_file_that_cannot_be_read_is_not_gone(tmp_path: object) -> None:
    assert pop3list.read(str(tmp_path)) is None
