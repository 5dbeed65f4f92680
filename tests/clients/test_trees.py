"""Trees of mailboxes that other programs made, served by us while their owners go on using them."""
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.clients.conftest import flags, offlineimap, run
from tests.clients.test_programs import screen
from tests.conftest import fill, need, plain_environ

pytestmark = pytest.mark.clients
TEXT = "Subject: %s\r\nMessage-ID: <%s@x>\r\n\r\ntext\r\n"
STYLES = {"Verbatim": ("fs", "/", "Work/New"), "Legacy": ("legacy", "/", "Work/.New")}


def say(root: Path, *commands: str, **environ: str) -> str:
    """What our imapd answers over a pipe; every command must be answered OK."""
    text = "".join(f"t{at} {command}\r\n" for at, command in enumerate((*commands, "LOGOUT")))
    done = subprocess.run([sys.executable, "-m", "courierpy.imapd", str(root)], input=text.encode(),
                          check=True, capture_output=True, timeout=60,
                          env=plain_environ(AUTHENTICATED="demo", **environ))
    answer = done.stdout.decode()
    assert re.findall(r"^t\d+ (\S+)", answer, re.M) == ["OK"] * (len(commands) + 1), answer
    return answer


def append(mailbox: str, subject: str) -> str:
    text = TEXT % (subject, subject)
    return f'APPEND "{mailbox}" {{{len(text)}+}}\r\n{text}'


def listed(answer: str) -> set[str]:
    return set(re.findall(r'^\* LIST \((?![^)]*Noselect)[^)]*\) "." "([^"]*)"', answer, re.M))


def far_side(maildir: Path) -> None:
    """Mailboxes in mailboxes, one with a name that is not ASCII."""
    for box in (".Sub", ".Work", ".Work.Projects.deep", ".Grüße"):
        fill(maildir / box, 1)


def mailbox(root: Path, subject: str) -> str:
    """Where below ``root`` the one message of this subject is."""
    (found,) = [path.parent for path in root.rglob("cur") if subject in flags(path.parent)]
    return str(found.relative_to(root))


def mbsync(near: Path, inbox: Path, style: str, tunnel: str) -> Callable[[], str]:
    """mbsync, which copies between ``near`` and what the tunnel leads to; to call it gives its output."""
    near.mkdir()
    rc = near.parent / "rc"
    rc.write_text(f"""IMAPStore far
Tunnel "{tunnel}"
PathDelimiter .
Path INBOX.

MaildirStore near
Path {near}/
Inbox {inbox}
SubFolders {style}

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
    return lambda: run([need("mbsync"), "-c", str(rc), "-a"], near.parent)


@pytest.mark.parametrize("style", STYLES)
def test_mbsync(style: str, tunnel: str, maildir: Path, tmp_path: Path) -> None:
    layout, sep, made = STYLES[style]
    far_side(maildir)
    near = tmp_path / "Mail"
    sync = mbsync(near, near / "Inbox", style, tunnel)
    sync()
    answer = say(near, 'LIST "" *')
    assert "ALERT" not in answer
    assert listed(answer) == {"INBOX", "Sub", "Work", f"Work{sep}Projects{sep}deep", "Gr&APwA3w-e"}
    assert say(near, 'LIST "" *', IMAP_LAYOUT=layout).count("* LIST") == answer.count("* LIST")
    # a flag, a message, a new mailbox by us; both sides have them after the next synchronisation
    say(near, "SELECT INBOX", r"STORE 1 +FLAGS (\Flagged)", append("INBOX", "by-us"), f"CREATE Work{sep}New",
        append(f"Work{sep}New", "in-new"), "SUBSCRIBE Work")
    assert (near / made / "cur").is_dir()
    sync()
    assert {"by-us", "mail 1", "mail 2", "mail 3"} == set(flags(maildir))
    assert [name for name, letters in flags(maildir).items() if "F" in letters] == ["mail 1"]
    assert mailbox(maildir, "in-new") == ".Work.New"
    # mbsync gives it a name of its own: the message is there once, with its text
    answer = say(near, "SELECT INBOX", "SEARCH SUBJECT by-us", "UID FETCH 1:* (FLAGS)")
    assert len(re.findall(r"^\* SEARCH (\d+)\r$", answer, re.M)) == 1
    assert "* 4 EXISTS" in answer
    # a message expunged and one moved by us, one from the far side
    (maildir / "new" / "1700009998.M1P1.host").write_bytes(b"Subject: from-far\n\nx\n")
    say(near, "SELECT INBOX", r"STORE 2 +FLAGS (\Deleted)", "EXPUNGE", "MOVE 1 Work", "LIST \"\" *")
    sync()
    sync()
    assert {"by-us", "mail 3", "from-far"} == set(flags(maildir))
    assert set(flags(maildir / ".Work")) == {"mail 1"}
    answer = say(near, "SELECT INBOX", "SELECT Work", f"DELETE Work{sep}New", 'LIST "" *')
    assert "* 3 EXISTS" in answer
    assert "* 2 EXISTS" in answer
    assert listed(answer) == {"INBOX", "Sub", "Work", f"Work{sep}Projects{sep}deep", "Gr&APwA3w-e"}
    names = {path for path in near.rglob("*") if path.is_dir() and "courier" in path.name}
    assert all(path.parent.name == "cur" for path in names)


@pytest.mark.parametrize("style", STYLES)
def test_mbsync_whose_inbox_is_the_directory_itself(style: str, tunnel: str, maildir: Path,
                                                    tmp_path: Path) -> None:
    """It needs the setting: auto shows a maildir++ there, and names the others."""
    layout, sep, made = STYLES[style]
    far_side(maildir)
    near = tmp_path / "Mail"
    sync = mbsync(near, near, style, tunnel)
    sync()
    answer = say(near, 'LIST "" *')
    assert listed(answer) == {"INBOX"}
    assert "[ALERT] Maildirs that are not shown, as they are none of the layout maildir++" in answer
    answer = say(near, 'LIST "" *', "SELECT INBOX", r"STORE 1 +FLAGS (\Flagged)", append("INBOX", "by-us"),
                 f"CREATE Work{sep}New", append(f"Work{sep}New", "in-new"), IMAP_LAYOUT=layout)
    assert "ALERT" not in answer
    assert listed(answer) == {"INBOX", "Sub", "Work", f"Work{sep}Projects{sep}deep", "Gr&APwA3w-e"}
    assert (near / made / "cur").is_dir()
    sync()
    assert {"by-us", "mail 1", "mail 2", "mail 3"} == set(flags(maildir))
    assert [name for name, letters in flags(maildir).items() if "F" in letters] == ["mail 1"]
    assert mailbox(maildir, "in-new") == ".Work.New"
    (maildir / "new" / "1700009998.M1P1.host").write_bytes(b"Subject: from-far\n\nx\n")
    sync()
    answer = say(near, "SELECT INBOX", "SEARCH SUBJECT from-far", IMAP_LAYOUT=layout)
    assert "* 5 EXISTS" in answer
    assert len(re.findall(r"^\* SEARCH (\d+)\r$", answer, re.M)) == 1


@pytest.mark.parametrize(("sep", "made"), [("/", "INBOX/Work/New"), ("", "INBOX.Work.New")])
def test_offlineimap(sep: str, made: str, tunnel: str, maildir: Path, tmp_path: Path) -> None:
    far_side(maildir)
    near = tmp_path / "Mail"
    sync = offlineimap(tmp_path, near, f"preauthtunnel = {tunnel}\n", f"sep = {sep}\n" if sep else "")
    sync()
    dot = sep or "."
    answer = say(near, 'LIST "" *')
    assert "ALERT" not in answer
    below = ("Sub", "Work", f"Work{dot}Projects{dot}deep", "Gr&APwA3w-e")
    assert listed(answer) == {"INBOX", *(f"INBOX{dot}{name}" for name in below)}
    # its threads write the messages in any order
    answer = say(near, "SELECT INBOX", "FETCH 1 BODY.PEEK[HEADER]", r"STORE 1 +FLAGS (\Flagged)",
                 append("INBOX", "by-us"), f"CREATE INBOX{dot}Work{dot}New",
                 append(f"INBOX{dot}Work{dot}New", "in-new"))
    first = re.search(r"^Subject: (mail \d)\r$", answer, re.M)
    assert first is not None, answer
    assert (near / made / "cur").is_dir()
    sync()
    sync()
    assert {"by-us", "mail 1", "mail 2", "mail 3"} == set(flags(maildir))
    assert [name for name, letters in flags(maildir).items() if "F" in letters] == [first[1]]
    assert mailbox(maildir, "in-new") == ".Work.New"
    answer = say(near, "SELECT INBOX", "SEARCH SUBJECT by-us")
    assert "* 4 EXISTS" in answer
    assert len(re.findall(r"^\* SEARCH (\d+)\r$", answer, re.M)) == 1


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt_s_own_tree(program: str, tmp_path: Path) -> None:
    """It saves into a new mailbox beside those that are there, and reads what we put into one of ours."""
    near = tmp_path / "Mail"
    fill(near / "inbox", 3)
    fill(near / "Work" / "old", 1)
    rc = tmp_path / "rc"

    def mutt(keys: str, folder: str) -> None:
        rc.write_text(f'set folder="{near}"\nset spoolfile="=inbox"\nset mbox_type=Maildir\nset quit=yes\n'
                      "set confirmappend=no\nset confirmcreate=no\nset delete=yes\nset move=no\n"
                      "set resolve=no\n"
                      f'set header_cache=""\nset sleep_time=0\nset charset="utf-8"\npush "{keys}"\n')
        client = screen([need(program), "-n", "-F", str(rc), "-f", folder], tmp_path)
        client.expect(pexpect.EOF)

    mutt("<first-entry><copy-message>=Work/été<enter><flag-message><quit>", "=inbox")
    answer = say(near, 'LIST "" *', "SELECT INBOX", "FETCH 1 FLAGS")
    assert listed(answer) == {"INBOX", "Work/old", "Work/&AOk-t&AOk-"}
    assert "* 3 EXISTS" in answer
    assert r"\Flagged" in answer
    say(near, "CREATE Work/n&AOk-", append("Work/n&AOk-", "ours"), "RENAME Work/old elsewhere/old")
    assert sorted(str(path.parent.relative_to(near)) for path in near.rglob("cur")) == [
        "Work/né", "Work/été", "elsewhere/old", "inbox"]
    mutt("<first-entry><flag-message><quit>", "=Work/né")
    assert flags(near / "Work" / "né") == {"ours": "F"}
