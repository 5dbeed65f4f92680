"""A message that we cannot make sense of, by a fault of ours, costs no command over many its answer."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.imap import attributes
from courierpy.maildir.store import Store
from courierpy.message.mime import Limits
from courierpy.system import proc
from tests.conftest import MAIL, plain_environ

COUNT, ODD = 12, 5
ODD_MAIL = (b"From: BOOM <boom@example.org>\nTo: BOOM <boom@example.org>\nSubject: BOOM\nX-Odd: BOOM\n"
            b"Date: Mon, 1 Jan 2024 10:00:00 +0000 (BOOM)\nReferences: <BOOM@example.org>\n"
            b"Content-Type: text/html; charset=koi8-r; name=BOOM\n\n<b>needle</b>\n")
# raises for the odd message, unless it is taken as a plain text
PATCH = """
import importlib, sys
from courierpy.message.mime import Limits, Part

def is_odd(value):
    if isinstance(value, Part):
        return value.subkind == b"html"
    if isinstance(value, dict):
        return any(map(is_odd, value.values()))
    return "BOOM" in value if isinstance(value, str) else isinstance(value, bytes) and b"BOOM" in value

def broken(real):
    def function(*args):
        if any(map(is_odd, args)) and not any(isinstance(one, Limits) and not one.header for one in args):
            raise {error}("broken")
        return real(*args)
    return function

module = importlib.import_module("courierpy.message.{module}")
setattr(module, "{name}", broken(module.{name}))
"""
RUN = """
from courierpy import imapd
from courierpy.system import log
log.to_syslog = lambda *words: None
sys.argv = ["imapd", "{path}"]
imapd.run()
"""
FUNCTIONS = [("mime", "parse"), ("headers", "told"), ("headers", "values"), ("rendered", "envelope"),
             ("rendered", "leaf"), ("straight", "structure"), ("address", "parse"), ("address", "usual"),
             ("parameters", "content_type"),
             ("dateheader", "day"), ("dateheader", "moment"), ("subject", "base"), ("threads", "message_ids"),
             ("searchtext", "lines"), ("searchtext", "body"), ("sections", "place_in"), ("decode", "words")]
COMMANDS = ["FETCH 1:* (UID ENVELOPE BODYSTRUCTURE RFC822.SIZE)", "FETCH 1:* (ENVELOPE BODY BODY.PEEK[1])",
            "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-ODD SUBJECT)])",
            "FETCH 1:* (BODY.PEEK[1.MIME] BODY.PEEK[HEADER])",
            "SEARCH SUBJECT mail", "SEARCH FROM ann", "SEARCH TEXT example", "SEARCH BODY needle",
            "SEARCH HEADER X-ODD x",
            "SEARCH SENTSINCE 1-Jan-2020", "SORT (SUBJECT FROM TO DATE) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL",
            "THREAD ORDEREDSUBJECT UTF-8 ALL"]


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir(parents=True)
    for number in range(1, COUNT + 1):
        (tmp_path / "cur" / f"17{number:08}.M1P1.host:2,").write_bytes(
            ODD_MAIL if number == ODD else MAIL % (number, number, number))
    return tmp_path


def talk(maildir: Path, module: str, name: str) -> tuple[str, str]:
    """(all that was answered, the log) of a session in which this function fails for the odd message."""
    program = PATCH.format(module=module, name=name, error="KeyError") + RUN.format(path=maildir)
    lines = "".join(f"c{at} {command}\r\n" for at, command in enumerate(COMMANDS))
    done = subprocess.run([sys.executable, "-c", program],
                          input=f"a SELECT INBOX\r\n{lines}z LOGOUT\r\n".encode(),
                          capture_output=True, timeout=60, check=False, env=plain_environ(IMAP_LOGFILE=""))
    return done.stdout.decode("latin-1"), done.stderr.decode()


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_all_others_are_told(maildir: Path, module: str, name: str) -> None:
    said, logged = talk(maildir, module, name)
    for at, command in enumerate(COMMANDS):
        answer = said.partition(f"c{at} ")[0].rpartition(f"c{at - 1} ")[2]
        assert f"\r\nc{at} OK " in said, (command, answer[-300:], logged)
        if command.startswith("FETCH"):
            assert answer.count(" FETCH (") == COUNT
        elif command.startswith(("SORT", "THREAD")):
            told = set(map(int, re.findall(r"\d+", answer.rpartition("* ")[2])))
            assert told >= set(range(1, COUNT + 1))
    assert logged.count("cannot be parsed") == 1, logged
    assert f"uid {ODD} cannot be parsed, and is told as a plain text: KeyError('broken')" in logged


def test_its_values_are_those_of_a_plain_text(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from courierpy.message import mime, straight
    real = mime.parse

    def broken(data: bytes, limits: Limits) -> mime.Part:
        if limits.header and b"BOOM" in data:
            raise RecursionError
        return real(data, limits)

    monkeypatch.setattr(mime, "parse", broken)
    monkeypatch.setattr(straight, "structure", lambda *args: None)
    recall = attributes.Attributes(Store(str(maildir), host="host", index_at="").open("INBOX"), Limits())
    kinds = ["envelope", "structure", "find-body", "size"]
    uids = recall.folder.scan().messages.uids
    rows = dict(zip(kinds, recall.take(kinds, uids), strict=True))
    assert rows["structure"][ODD - 1] == (
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 15 1 NIL NIL NIL NIL)\0')
    assert rows["find-body"][ODD - 1] == b"\n<B>NEEDLE</B> \n"
    assert b'"BOOM"' in (rows["envelope"][ODD - 1] or b"")         # what could be read is told
    assert recall.reading.odd == {ODD}


def test_a_helper_tells_that_it_was_said(maildir: Path, monkeypatch: pytest.MonkeyPatch,
                                         capfd: pytest.CaptureFixture[str]) -> None:
    from courierpy.message import rendered

    def broken(known: dict[bytes, bytes], utf8: bool) -> bytes:
        return b"()" if not known else known[b"no such"]

    monkeypatch.setattr(rendered, "envelope", broken)
    monkeypatch.setattr(attributes, "MANY", dict.fromkeys(attributes.MANY, 1))
    monkeypatch.setattr(proc, "processors", lambda: 3)
    recall = attributes.Attributes(Store(str(maildir), host="host", index_at="").open("INBOX"), Limits())
    uids = recall.folder.scan().messages.uids
    assert recall.take(["envelope"], uids) == [[b"()\0"] * COUNT]
    assert recall.reading.odd == set(uids)
    recall.folder.cache.drop("envelope")
    assert recall.take(["envelope"], uids) == [[b"()\0"] * COUNT]
    assert capfd.readouterr().err.count("cannot be parsed") == COUNT


def test_where_a_plain_text_fails_too_it_has_no_text(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from courierpy.message import searchtext
    real = searchtext.body
    monkeypatch.setattr(searchtext, "body",
                        lambda root: real(root) if not root.data[:10].startswith(b"From: BOOM")
                        else 1 // 0)
    recall = attributes.Attributes(Store(str(maildir), host="host", index_at="").open("INBOX"), Limits())
    [texts] = recall.take(["find-body"], recall.folder.scan().messages.uids)
    assert [at + 1 for at, text in enumerate(texts) if text == b"\n\n"] == [ODD]
    assert recall.reading.odd == {ODD}


def test_what_the_disk_says_is_no_fault_of_a_message(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from courierpy.maildir.errors import DiskTrouble
    from courierpy.message import straight

    def broken(*args: object) -> bytes:
        raise DiskTrouble("no", OSError(5, "Input/output error"))

    monkeypatch.setattr(straight, "structure", broken)
    recall = attributes.Attributes(Store(str(maildir), host="host", index_at="").open("INBOX"), Limits())
    recall.folder.scan()
    with recall.reading.open(1) as opened, pytest.raises(DiskTrouble):
        opened.told(lambda message: message.structure_bytes(True))
    assert not recall.reading.odd
