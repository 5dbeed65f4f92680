"""Every command against every set of rights that lacks one: RFC 4314 4, and what Courier asks for."""
from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from courierpy.imap.commands.index import COMMANDS
from courierpy.imap.ext.aclunion import change_lists
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.store import Store
from tests.conftest import args_of, plain_environ

OWNERS = "lrswikxte"
# command -> the rights on the mailbox of which it needs all
ANYWHERE = {"STATUS INBOX.t (MESSAGES)": "r", "EXAMINE INBOX.t": "r",
            "GETMETADATA INBOX.t /shared/comment": "",
            'SETMETADATA INBOX.t (/shared/comment "x")': "", "APPEND INBOX.t {1+}\r\nx": "i",
            "MYRIGHTS INBOX.t": "", "SUBSCRIBE INBOX.t": "", "UNSUBSCRIBE INBOX.t": "", "SELECT INBOX": "",
            "COPY 1 INBOX.t": "i",
            "UID COPY 1 INBOX.t": "i", "MOVE 1 INBOX.t": "i", "UID MOVE 2 INBOX.t": "i",
            "REPLACE 1 INBOX.t {1+}\r\nx": "i", "UNSELECT": "", "CREATE INBOX.t.a": "k",
            "CREATE INBOX.t.b.c": "k",
            "RENAME INBOX.u INBOX.t.u": "k", "SELECT INBOX.t": "r"}
INSIDE = {"STORE 1 +FLAGS (\\Seen)": "s",
          "STORE 1 +FLAGS (\\Deleted)": "t", "STORE 1 +FLAGS (\\Flagged)": "w",
          "STORE 1 +FLAGS (kw)": "w", "UID STORE 1 -FLAGS (\\Seen)": "s", "FETCH 1 (FLAGS BODY[])": "",
          "SEARCH ALL": "", "SORT (DATE) UTF-8 ALL": "", "THREAD ORDEREDSUBJECT UTF-8 ALL": "",
          "COPY 1 INBOX": "", "EXPUNGE": "e", "UID EXPUNGE 1": "e", "MOVE 1 INBOX": "te",
          "UID MOVE 1 INBOX": "te",
          "REPLACE 1 INBOX {1+}\r\nx": "te", "UID REPLACE 1 INBOX {1+}\r\nx": "te", "CLOSE": ""}
AT_LAST = {"RENAME INBOX.t INBOX.v": "x", "DELETE INBOX.t": "x"}


@pytest.mark.parametrize("missing", [*OWNERS.replace("l", ""), ""])
def test_all_but_one(missing: str, tunnel: str, maildir: Path) -> None:
    for folder in (".t", ".u"):
        for part in ("cur", "new", "tmp"):
            (maildir / folder / part).mkdir(parents=True)
    for at in range(3):
        (maildir / ".t" / "cur" / f"170000000{at}.M1P1.host:2,").write_bytes(b"Subject: x\n\nx\n")
    letters = "".join(sorted(OWNERS.replace("k", "c").replace(missing.replace("k", "c") or " ", "")))
    (maildir / ".t" / "courierimapacl").write_text(f"owner a{letters}\n")
    commands = [*ANYWHERE, *(INSIDE if missing != "r" else ()), *AT_LAST]
    needs = {**ANYWHERE, **INSIDE, **AT_LAST}
    text = "".join(f"a{at} {command}\r\n" for at, command in enumerate(commands))
    done = subprocess.run(shlex.split(tunnel), input=f"{text}z LOGOUT\r\n".encode(), capture_output=True,
                          env=plain_environ(), check=True, timeout=60).stdout
    answers = {line.split(b" ", 1)[0]: line for line in done.split(b"\r\n") if line[:1] == b"a"}
    for at, command in enumerate(commands):
        refused = b"[NOPERM]" in answers[b"a%d" % at]
        assert refused == (missing != "" and missing in needs[command]), (command, answers[b"a%d" % at])


def test_commands_that_change_messages_name_rights() -> None:
    """Each that writes into the selected mailbox; STORE has one for each flag."""
    changing = [name for name, row in COMMANDS.items() if row[2] & 4]
    assert [name for name in changing if not row_rights(name)] == [b"STORE", b"UID STORE"]


def row_rights(name: bytes) -> str:
    return COMMANDS[name][3]


def test_lists_of_many_are_changed_by_two_looks_at_the_mailboxes(
        maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for what is meant, one for what is below."""
    store = Store(str(maildir), host="host")
    for at in range(20):
        store.create(f"INBOX.m{at}")
    told: list[bytes] = []
    session: Any = SimpleNamespace(
        folders=store, separator=".", by_alias=False, utf8=False, selected=None, write=told.append,
        settings=SimpleNamespace(flag=lambda name: False), mailbox=str.encode)
    looks: list[None] = []
    mailboxes = MaildirPlusPlus.mailboxes
    monkeypatch.setattr(MaildirPlusPlus, "mailboxes", lambda layout: looks.append(None) or mailboxes(layout))
    change_lists(session, args_of(b"a ACL STORE (INBOX.*) user=ann lr"))
    assert sum(b'"user=ann" "lr"' in line for line in told) == 20
    assert len(looks) == 2
