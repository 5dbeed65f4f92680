"""Every command against every set of rights that lacks one: RFC 4314 4, and what Courier asks for."""
from __future__ import annotations

import re
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
from tests.conftest import args_of, fill, plain_environ
from tests.view.test_shared import Site

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


MISSING = [*OWNERS.replace("l", ""), ""]


def folders(maildir: Path, entry: str, missing: str) -> None:
    """Mailboxes t with three messages, and u: ``entry`` has all rights on both, and lacks one on t."""
    for folder in (".t", ".u"):
        fill(maildir / folder, 0)
    for at in range(3):
        (maildir / ".t" / "cur" / f"170000000{at}.M1P1.host:2,").write_bytes(b"Subject: x\n\nx\n")
    for folder, rights in ((".t", OWNERS.replace(missing, "") if missing else OWNERS), (".u", OWNERS)):
        letters = "".join(sorted(rights.replace("k", "c")))
        (maildir / folder / "courierimapacl").write_text(f"{entry}{letters}\n")


def commands_of(missing: str) -> list[str]:
    """What is said to a mailbox on which this right is missing."""
    return [*ANYWHERE, *(INSIDE if missing != "r" else ()), *AT_LAST]


def held(commands: list[str], missing: str, answers: list[str]) -> None:
    needs = {**ANYWHERE, **INSIDE, **AT_LAST}
    for command, answer in zip(commands, answers, strict=True):
        assert ("[NOPERM]" in answer) == (missing != "" and missing in needs[command]), (command, answer)


@pytest.mark.parametrize("missing", MISSING)
def test_all_but_one(missing: str, tunnel: str, maildir: Path) -> None:
    folders(maildir, "owner a", missing)
    commands = commands_of(missing)
    text = "".join(f"a{at} {command}\r\n" for at, command in enumerate(commands))
    done = subprocess.run(shlex.split(tunnel), input=f"{text}z LOGOUT\r\n".encode(), capture_output=True,
                          env=plain_environ(), check=True, timeout=60).stdout.decode()
    answers = {line.split(" ", 1)[0]: line for line in done.split("\r\n") if line[:1] == "a"}
    held(commands, missing, [answers[f"a{at}"] for at in range(len(commands))])


@pytest.mark.parametrize("who", ["user=bob", "group=team"])
@pytest.mark.parametrize("missing", MISSING)
def test_all_but_one_of_what_others_share(missing: str, who: str, tmp_path: Path) -> None:
    """The same of who has them from the owner, by his name or by a group of his account."""
    site = Site(tmp_path)
    fill(tmp_path / "bob", 3)
    folders(tmp_path / "ann", f"owner aceilrstwx\n{who} ", missing)
    (tmp_path / "ann" / "courierimapacl").write_text(f"owner aceilrstwx\n{who} ceilrstwx\n")
    commands = commands_of(missing)
    said = [re.sub(r"INBOX\.(?=[tuv])", "#shared.ann.", command) for command in commands]
    found = site.say(*[f"a{at} {command}" for at, command in enumerate(said)], OPTIONS="group=team")
    held(commands, missing, [found[f"a{at}"][-1] for at in range(len(said))])


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
