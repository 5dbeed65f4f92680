"""The real Courier imapd and ours on one Maildir, by turns, and on copies, side by side."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import fill, need, plain_environ
from tests.realtime.windows import over_pipe

pytestmark = pytest.mark.peers


def session(program: str, maildir: Path, commands: list[str]) -> str:
    """One PREAUTH session of "courier" or "ours"; its whole answer."""
    words = ([need("/usr/bin/imapd"), str(maildir)] if program == "courier"
             else [sys.executable, "-m", "courierpy.imapd", str(maildir)])
    text = "".join(f"a{number} {command}\r\n" for number, command in enumerate(commands))
    done = subprocess.run(words, input=(text + "z LOGOUT\r\n").encode(), capture_output=True, timeout=60,
                          check=False, cwd=maildir.parent,
                          env=plain_environ(AUTHENTICATED="demo", IMAP_KEYWORDS="1", IMAP_ACL="0",
                                            IMAP_USELOCKS="1", HOSTNAME="host", IMAP_EMPTYTRASH=""))
    answer = done.stdout.decode()
    assert "z OK" in answer, answer + done.stderr.decode()
    return answer


def facts(answer: str) -> dict[str, list[str]]:
    """UIDs with flags, UIDVALIDITY and subscriptions as an answer shows them; \\Recent apart."""
    found = []
    for uid, flags in re.findall(r"FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)", answer):
        words = sorted(word for word in flags.split() if word != "\\Recent")
        found.append(f"{uid} {' '.join(words)}")
    return {"messages": found, "validity": re.findall(r"UIDVALIDITY (\d+)", answer),
            "subscribed": sorted(re.findall(r'LSUB \(\\HasNoChildren\) "\." "([^"]+)"', answer))}


LOOK = ["SELECT INBOX", "UID FETCH 1:* (FLAGS)", 'LSUB "" *']


@pytest.mark.parametrize("first", ["courier", "ours"])
def test_by_turns(first: str, tmp_path: Path) -> None:
    second = "ours" if first == "courier" else "courier"
    maildir = tmp_path / "Maildir"
    fill(maildir, 5)
    session(first, maildir, ["SELECT INBOX", r"STORE 2 +FLAGS (\Flagged $Label1 Later)", "CREATE INBOX.Sub",
                             "SUBSCRIBE INBOX.Sub", r"STORE 4 +FLAGS (\Deleted)", "EXPUNGE"])
    (maildir / "new" / "1700000099.M1P1.host").write_bytes(b"Subject: late\n\nx\n")
    one = facts(session(first, maildir, LOOK))
    two = facts(session(second, maildir, LOOK))
    assert one == two
    assert one["messages"] == ["1 ", "2 $Label1 Later \\Flagged", "3 ", "5 ", "6 "]
    assert one["subscribed"] == ["INBOX.Sub"]
    # and back: what the second changes the first sees
    session(second, maildir, ["SELECT INBOX", "STORE 2 -FLAGS (Later)", r"STORE 1 +FLAGS (\Seen New)",
                              "COPY 1 INBOX.Sub"])
    one = facts(session(first, maildir, LOOK))
    assert one == facts(session(second, maildir, LOOK))
    assert one["messages"][:2] == ["1 New \\Seen", "2 $Label1 \\Flagged"]
    sub = [facts(session(program, maildir, ["SELECT INBOX.Sub", "UID FETCH 1:* (FLAGS)"]))
           for program in (first, second)]
    assert sub[0] == sub[1]
    assert sub[0]["messages"] == ["1 New \\Seen"]


def test_uiddb_is_byte_identical(tmp_path: Path) -> None:
    databases = []
    for program in ("courier", "ours"):
        maildir = tmp_path / program / "Maildir"
        fill(maildir, 3)
        for name in ("abc.host", "20.x", "3.y", "1700000001.M1P1.host,S=9:2,S"):
            (maildir / "cur" / name).write_bytes(b"Subject: x\n\n")
        (maildir / "courierimapuiddb").write_bytes(b"1 795000000 7\n5 abc.host\n6 gone.host\n")
        session(program, maildir, ["SELECT INBOX"])
        (maildir / "new" / "1600000000.M1P1.host").write_bytes(b"Subject: early\n\nx\n")
        session(program, maildir, ["SELECT INBOX", r"UID STORE 5 +FLAGS (\Deleted)", "EXPUNGE", "NOOP"])
        databases.append((maildir / "courierimapuiddb").read_bytes())
    assert databases[0] == databases[1]


def test_names_of_folders(tmp_path: Path) -> None:
    maildir = tmp_path / "Maildir"
    fill(maildir, 1)
    wanted = ['"INBOX.a:b"', '"INBOX.a\\\\b"', "INBOX.T*x", '"INBOX. lead"', "INBOX.&AOk-", "INBOX.d.e"]
    session("courier", maildir, [f"CREATE {name}" for name in wanted[::2]])
    session("ours", maildir, [f"CREATE {name}" for name in wanted[1::2]])
    lists = []
    for program in ("courier", "ours"):
        answer = session(program, maildir, ['LIST "" *'])
        lists.append(sorted(re.findall(r'^\* LIST \([^)]*\) "\." (.*?)\r?$', answer, re.M)))
    assert lists[0] == lists[1]
    assert len(lists[0]) == len(wanted) + 2         # INBOX and the missing level INBOX.d


def test_the_maildir_belongs_to_us(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("not root: cannot give a Maildir away")
    answers = []
    for program in ("courier", "ours"):
        maildir = tmp_path / program
        fill(maildir, 0)
        shutil.chown(maildir, 65534, 65534)
        words = (["/usr/bin/imapd"] if program == "courier" else [sys.executable, "-m", "courierpy.imapd"])
        need("/usr/bin/imapd")
        done = subprocess.run([*words, str(maildir)], input=b"", capture_output=True, check=False,
                              env=plain_environ(AUTHENTICATED="demo"), timeout=60)
        answers.append((done.stdout.rstrip(b"\r\n"), done.returncode))
    (theirs, their_code), (ours, our_code) = answers
    assert our_code == their_code
    assert ours.startswith(theirs)                  # whose it is comes behind what Courier says
    assert b"belongs to uid 65534, gid 65534" in ours[len(theirs):]


def test_changes_by_courier_get_their_number(tmp_path: Path) -> None:
    """A client comes back by QRESYNC, and finds what was done by Courier meanwhile."""
    maildir = tmp_path / "Maildir"
    fill(maildir, 5)
    told = session("ours", maildir, ["ENABLE QRESYNC", "SELECT INBOX"])
    validity, before = (re.findall(rf"{word} (\d+)", told)[0] for word in ("UIDVALIDITY", "HIGHESTMODSEQ"))
    session("courier", maildir, ["SELECT INBOX", r"STORE 2 +FLAGS (\Flagged)", "STORE 4 +FLAGS (Later)",
                                 r"STORE 3 +FLAGS (\Deleted)", "EXPUNGE", "COPY 1 INBOX"])
    resync = f"SELECT INBOX (QRESYNC ({validity} {before}))"
    told = session("ours", maildir, ["ENABLE QRESYNC", resync, "NOOP"])
    assert "* VANISHED (EARLIER) 3\r\n" in told
    assert re.findall(r"FETCH \(UID (\d+) FLAGS \(([^)]*)\)", told.replace(" \\Recent", "").replace(
        "\\Recent", "")) == [("2", "\\Flagged"), ("4", "Later"), ("6", "")]
    after = re.findall(r"HIGHESTMODSEQ (\d+)", told)[0]
    assert int(after) > int(before)
    told = session("ours", maildir, ["ENABLE QRESYNC", f"SELECT INBOX (QRESYNC ({validity} {after}))"])
    assert "VANISHED" not in told and "FETCH" not in told


def test_courier_beside_a_session_that_numbers(tmp_path: Path) -> None:
    """While it is open: both sessions tell one number, and the numbers rise."""
    maildir = tmp_path / "Maildir"
    fill(maildir, 3)
    one, two = over_pipe(maildir), over_pipe(maildir)
    for window in (one, two):
        window.do("ENABLE QRESYNC")
        window.do("SELECT INBOX")
    known = 0
    for change in (r"+FLAGS (\Seen)", "+FLAGS (Later)", "-FLAGS (Later)", r"-FLAGS (\Seen)"):
        session("courier", maildir, ["SELECT INBOX", f"STORE 2 {change}"])
        told = [[line.replace(" \\Recent", "").replace("\\Recent", "") for line in window.do("NOOP")
                 if " FETCH " in line] for window in (one, two)]
        assert told[0] == told[1] and len(told[0]) == 1, told
        number = int(re.findall(r"MODSEQ \((\d+)\)", told[0][0])[0])
        assert number > known
        known = number
    one.close(), two.close()
