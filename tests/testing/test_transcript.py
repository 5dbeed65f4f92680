"""What a relay makes of octets: names of commands, and a text of what was said."""
from __future__ import annotations

import pytest

from courierpy.testing.relay import matches
from courierpy.testing.transcript import HEAD, MOST_TURNS, TAIL, Commands, Transcript

SAID = (b"a LOGIN {3+}\r\nann {6+}\r\nsecret\r\nb SELECT INBOX\r\nc UID FETCH 1 (FLAGS)\r\n"
        b"d APPEND INBOX {14+}\r\ne FETCH 1 ALL\n\r\nf IDLE\r\nDONE\r\ng noop\r\n")
NAMES = ["LOGIN", "SELECT", "UID FETCH", "APPEND", "IDLE", "NOOP"]


def test_names_whole_and_octet_by_octet() -> None:
    assert Commands().feed(SAID) == NAMES
    commands = Commands()
    assert [name for octet in SAID for name in commands.feed(bytes([octet]))] == NAMES
    assert commands.between


@pytest.mark.parametrize("cut", range(len(SAID)))
def test_names_in_two_pieces(cut: int) -> None:
    commands = Commands()
    assert commands.feed(SAID[:cut]) + commands.feed(SAID[cut:]) == NAMES


def test_a_literal_that_is_refused_never_comes() -> None:
    commands = Commands()
    assert commands.feed(b"a APPEND INBOX {100}\r\n") == ["APPEND"]
    commands.answered(b"* 1 EXISTS\r\na NO [TOOBIG] too long\r\n")
    assert commands.feed(b"b NOOP\r\n") == ["NOOP"]


def test_a_literal_that_is_wanted_is_passed_over() -> None:
    commands = Commands()
    commands.feed(b"a APPEND INBOX {10}\r\n")
    commands.answered(b"+ go on\r\n")
    assert commands.feed(b"x FETCH 1\n\r\nb NOOP\r\n") == ["NOOP"]
    assert commands.last == "NOOP"


def test_commands_of_pop3() -> None:
    commands = Commands(untagged=True)
    assert commands.feed(b"USER ann {5}\r\nretr 1\r\nQU") == ["USER", "RETR"]
    assert commands.feed(b"IT\r\n") == ["QUIT"] and commands.between


def test_a_command_is_meant_by_its_name_or_by_none() -> None:
    assert matches("", "NOOP") and matches("FETCH", "FETCH") and matches("FETCH", "UID FETCH")
    assert matches("UID FETCH", "UID FETCH")
    assert not matches("UID FETCH", "FETCH") and not matches("FETCH", "STORE")


def test_the_text_names_connection_and_side_of_each_line() -> None:
    transcript = Transcript()
    first, second = transcript.connection(), transcript.connection()
    transcript.add(first, "S", b"* OK ready\r\n")
    transcript.add(first, "C", b"a NO")
    transcript.add(first, "C", b"OP\r\n")
    transcript.add(second, "S", b"* OK \xff\x00\x1b[2J\r\n* 1 EXISTS\r\n")
    transcript.note(first, "cut")
    assert transcript.text() == ("1 S: * OK ready\n1 C: a NOOP\n"
                                 "2 S: * OK \\xff\\x00\\x1b[2J\n2 S: * 1 EXISTS\n1 -: cut\n")


def test_what_is_long_is_kept_in_part() -> None:
    transcript = Transcript()
    for _ in range(100):
        transcript.add(1, "S", b"x" * 10_000)
    text = transcript.text()
    assert text.count("x") == HEAD + TAIL
    assert f"[{1_000_000 - HEAD - TAIL} octets]" in text
    for turn in range(2 * MOST_TURNS):
        transcript.add(1, "CS"[turn % 2], b"y\r\n")
    assert transcript.text().startswith(f"[{MOST_TURNS + 1} turns before]\n")
    assert transcript.text().count("\n") == MOST_TURNS + 1
