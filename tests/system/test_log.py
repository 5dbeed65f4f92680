"""Lines of the log: their form, and that no client can write a part of one."""
from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.system import log, logforms
from tests.conftest import plain_environ

HEAD = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \S+ imapd\[\d+\]: "
SAY = ("import os, sys\nfrom courierpy.system import log\n"
       "log.start('imapd', os.environ)\nlog.JOURNAL = os.environ.get('DOOR', log.JOURNAL)\n"
       "log.info('one, user=x'); log.err('two'); log.debug('three')\n")


def say(stderr: int, **environ: str) -> None:
    subprocess.run([sys.executable, "-c", SAY], stderr=stderr, env=plain_environ(**environ), check=True,
                   timeout=60)


@pytest.mark.parametrize("text", ["joe", "joe@example.com", "j.o-e_+%'x", "jörg"])
def test_harmless_words_are_as_they_are(text: str) -> None:
    assert log.quoted(text) == log.quoted(text.encode()) == text


@pytest.mark.parametrize(("text", "shown"), [
    ("", '""'), ("a b", '"a b"'), ("x, ip=[::1]", r'"x\x2c ip=\x5b::1\x5d"'), ('a"b\\', r'"a\x22b\x5c"'),
    ("a\r\nINFO: b", r'"a\x0d\x0aINFO: b"'), ("\x1b[2J", r'"\x1b\x5b2J"'), ("\u202e", r'"\xe2\x80\xae"'),
    (b"\xff\0", r'"\xff\x00"'), ("y" * 200, "y" * 128 + "..."), (" " * 200, '"' + " " * 128 + '"...')])
def test_other_words_are_quoted_and_cut(text: str | bytes, shown: str) -> None:
    assert log.quoted(text) == shown


@given(st.one_of(st.text(), st.binary()))
def test_no_word_holds_what_parts_fields(word: str | bytes) -> None:
    shown = log.quoted(word)
    assert shown.isprintable()
    assert not set(shown) & set(",[]")
    assert len(shown) <= 4 * 4 * log.MAX_WORD + 5
    assert re.fullmatch(r'[^"]+|"[^"]*"(\.\.\.)?', shown)


def test_who() -> None:
    assert log.who("::1", "7") == "ip=[::1], port=[7]"
    assert log.who("::1", "7", "joe") == "user=joe, ip=[::1], port=[7]"
    assert log.who("::1", "N/A", "", method="PLAIN") == 'user="", method=PLAIN, ip=[::1], port=[N/A]'
    assert log.who("1], user=[", "7").count("]") == 2


def test_a_file_gets_time_host_and_program(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        say(file.fileno())
    one, two, three = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(HEAD + "one, user=x", one)
    assert re.fullmatch(HEAD + "ERR: two", two)
    assert re.fullmatch(HEAD + "DEBUG: three", three)


def test_a_terminal_too() -> None:
    ours, theirs = os.openpty()
    say(theirs)
    assert re.fullmatch(HEAD + "one, user=x", os.read(ours, 4096).decode().splitlines()[0])
    os.close(ours)
    os.close(theirs)


def piped(**environ: str) -> list[str]:
    """The lines that a pipe gets."""
    ours, theirs = os.pipe()
    say(theirs, **environ)
    found = os.read(ours, 4096).decode().splitlines()
    os.close(ours)
    os.close(theirs)
    return found


@pytest.mark.parametrize("name", ["LOG_FORMAT", "IMAP_LOG"])
@pytest.mark.parametrize("form", ["", "courier", "nonsense"])
def test_a_pipe_gets_the_words_of_courierlogger(name: str, form: str) -> None:
    assert piped(**{name: form}) == ["INFO: one, user=x", "ERR: two", "DEBUG: three"]


def test_the_older_name_counts_where_the_newer_says_nothing() -> None:
    assert re.fullmatch(HEAD + "one, user=x", piped(IMAP_LOG="lines", LOG_FORMAT="")[0])
    assert piped(IMAP_LOG="lines", LOG_FORMAT="courier")[0] == "INFO: one, user=x"


def test_json() -> None:
    one, two, three = (json.loads(line) for line in piped(LOG_FORMAT="JSON"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", one.pop("ts"))
    assert isinstance(one.pop("pid"), int)
    assert one.pop("host")
    assert one == {"level": "info", "program": "imapd", "msg": "one", "user": "x"}
    assert (two["level"], two["msg"], three["level"]) == ("error", "two", "debug")


def test_logfmt() -> None:
    one, two, _ = piped(LOG_FORMAT="logfmt")
    assert re.fullmatch(r"ts=\S+ level=info host=\S+ program=imapd pid=\d+ msg=one user=x", one)
    assert two.endswith(" msg=two")


FIELDS = {"ts": "t", "host": "h", "program": "imapd", "pid": "1"}


@pytest.mark.parametrize(("text", "message", "fields"), [
    ("LOGIN, user=joe, ip=[::1], port=[7], protocol=IMAP", "LOGIN",
     {"user": "joe", "ip": "::1", "port": "7", "protocol": "IMAP"}),
    ("LOGOUT, user=joe, ip=[::1], port=[7], headers=0, body=12, time=3", "LOGOUT",
     {"user": "joe", "ip": "::1", "port": "7", "headers": 0, "body": 12, "time": 3}),
    (f"LOGIN FAILED, {log.who('::1', '7', 'a, ip=[9.9.9.9]')}", "LOGIN FAILED",
     {"user": "a, ip=[9.9.9.9]", "ip": "::1", "port": "7"}),
    ("LOGIN FAILED, " + log.who("::1", "N/A", b"a\r\n\xff"), "LOGIN FAILED",
     {"user": "a\r\n\\xff", "ip": "::1", "port": "N/A"}),
    ("settings read again", "settings read again", {}), ("", "", {}),
    ("x, y, user=5", "x, y", {"user": "5"}), ("a, pid=9, msg=z", "a", {"pid_": "9", "msg_": "z"}),
    # of a name that a client chose: only the last of a name counts, and no address without brackets
    ("./.x, user=you, ip=9.9.9.9: No such file, user=joe, ip=[::1], port=[7]",
     "./.x, user=you, ip=9.9.9.9: No such file", {"user": "joe", "ip": "::1", "port": "7"}),
    ("./.x, user=you, user=joe, ip=[::1], port=[7]", "./.x", {"user": "joe", "ip": "::1", "port": "7"}),
    ("./.x, ip=9.9.9.9", "./.x, ip=9.9.9.9", {}),
    (f"x, body={'1' * 5000}", "x", {"body": "1" * 5000})])
def test_fields(text: str, message: str, fields: dict[str, object]) -> None:
    found = json.loads(logforms.as_json("INFO", FIELDS, text))
    assert found == {**FIELDS, "pid": 1, "level": "info", "msg": message, **fields}
    # logfmt says the same: a value is bare, or a JSON string
    line = logforms.as_logfmt("INFO", FIELDS, text)
    pairs = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)', line)
    said = {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}
    assert said == {name: str(value) for name, value in found.items()}


@given(st.text(), st.one_of(st.text(), st.binary()))
def test_each_line_can_be_read_and_is_one(text: str, word: str | bytes) -> None:
    clean = "".join(char if char.isprintable() else "." for char in text)      # as log does it before
    said = f"{clean}, {log.who('::1', '7', word)}"
    found = json.loads(logforms.as_json("ERR", FIELDS, said))
    assert (found["ip"], found["port"]) == ("::1", "7")
    assert "\n" not in (line := logforms.as_logfmt("ERR", FIELDS, said))
    assert " ip=::1 port=7" in line


def test_the_journal_gets_fields(tmp_path: Path) -> None:
    stream, theirs = socket.socketpair()
    found = os.fstat(theirs.fileno())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door, stream, theirs:
        door.bind(str(tmp_path / "journal"))
        say(theirs.fileno(), JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}", DOOR=str(tmp_path / "journal"))
        fields = dict(line.split("=", 1) for line in door.recv(4096).decode().splitlines())
        assert fields.pop("SYSLOG_PID").isdecimal()
        assert fields == {"PRIORITY": "6", "SYSLOG_FACILITY": "2", "SYSLOG_IDENTIFIER": "imapd",
                          "MESSAGE": "one, user=x"}
        assert b"PRIORITY=3\n" in door.recv(4096)
        # a journal that cannot be reached that way hears by its stream
        say(theirs.fileno(), JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}", DOOR=str(tmp_path / "none"))
        assert stream.recv(4096) == b"<6>one, user=x\n<3>two\n<7>three\n"
        # the variable of a service whose descriptor 2 is another one
        say(theirs.fileno(), JOURNAL_STREAM="1:1")
        assert stream.recv(4096).startswith(b"INFO: one")


def test_the_journal_is_reached_from_where_it_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                          ) -> None:
    """A login process sees no file once it serves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "journal"))
        monkeypatch.setattr(log, "JOURNAL", str(tmp_path / "journal"))
        monkeypatch.setattr(log, "_journal", None)
        before = log.kept()
        try:
            log.restore(("journal", "imaplogin", ""))
            log.connect()
            (tmp_path / "journal").unlink()
            log.info("LOGIN FAILED")
        finally:
            log.restore(before)
        assert b"\nSYSLOG_IDENTIFIER=imaplogin\n" in door.recv(4096, socket.MSG_DONTWAIT)


def test_lines_end_in_whom_they_are_about(capfd: pytest.CaptureFixture[str]) -> None:
    before = log.kept()
    try:
        log.about(log.who("::1", "7", "joe"))
        log.restore(("courier", *log.kept()[1:]))
        log.err("./.x, user=you, ip=[::9], port=[1]: No such file")
        log.info(f"LOGOUT, {log.who('::1', '7', 'joe')}, time=1")
        log.err("y" * 5000)
        # a client knows its own words, and may put them before or behind another's
        own = log.who("::1", "7", "joe")
        log.err(f"./.ip=[::9] {own}: No such file")
        log.err(f"./.{own} ip=[::9], port=[1]: No such file")
        log.err(f"{own}{own}")
    finally:
        log.restore(before)
    one, two, three, *forged = capfd.readouterr().err.splitlines()
    assert one.endswith(": No such file, user=joe, ip=[::1], port=[7]")
    assert one.count("ip=[") == 1
    assert two == "INFO: LOGOUT, user=joe, ip=[::1], port=[7], time=1"
    assert three.endswith("y, user=joe, ip=[::1], port=[7]")
    assert len(three) < log.MAX_LINE + 20
    assert [line.count("ip=[") for line in forged] == [1, 1, 1]
    assert all(line.endswith(", user=joe, ip=[::1], port=[7]") for line in forged)
