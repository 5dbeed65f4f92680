"""The lists of rights of one Maildir, read and written by Courier's programs and by us."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import fill, need, plain_environ

pytestmark = pytest.mark.peers


def session(program: str, maildir: Path, *commands: str) -> str:
    """One session of "courier" or "ours" from a shell; its whole answer."""
    words = ([need("/usr/bin/imapd"), str(maildir)] if program == "courier"
             else [sys.executable, "-m", "courierpy.imapd", str(maildir)])
    text = "".join(f"a{number} {command}\r\n" for number, command in enumerate(commands))
    done = subprocess.run(words, input=(text + "z LOGOUT\r\n").encode(), capture_output=True, timeout=60,
                          check=False, cwd=maildir.parent,
                          env=plain_environ(AUTHENTICATED="demo", IMAP_ACL="1", IMAP_USELOCKS="1",
                                            HOSTNAME="host", IMAP_BROKENUIDV="1"))
    answer = done.stdout.decode()
    assert "z OK" in answer, answer + done.stderr.decode()
    return answer


def maildiracl(*words: str) -> tuple[int, list[str]]:
    done = subprocess.run([need("/usr/bin/maildiracl"), *words], capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode().splitlines()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    maildir = tmp_path / "Maildir"
    fill(maildir, 1)
    return maildir


STEPS = ["SETACL INBOX ann lrs", "SETACL INBOX -bob w", "SETACL INBOX ann +d", "CREATE INBOX.a",
         "SETACL INBOX.a anyone lr", "SETACL INBOX.a owner lraci", "CREATE INBOX.a.b", "DELETEACL INBOX ann",
         "SETACL INBOX.a owner lr", "DELETEACL INBOX.a owner", "SETACL INBOX.a -anyone l",
         "DELETEACL INBOX.a administrators", "SETACL INBOX.a -anyone w", "SETACL INBOX.a -demo a"]


def test_the_same_steps_write_the_same_files(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "Maildir"
    fill(other, 1)
    answers = [session(program, maildir, *STEPS) for program, maildir in (("courier", home), ("ours", other))]
    found = [re.findall(r"^a\d+ (?:OK|NO)", answer, re.M) for answer in answers]
    assert found[0] == found[1]
    for folder in (".", ".a", ".a.b"):
        theirs, ours = (maildir / folder / "courierimapacl" for maildir in (home, other))
        assert theirs.read_bytes() == ours.read_bytes()


def test_each_reads_what_the_other_wrote(home: Path) -> None:
    session("ours", home, *STEPS[:7], "SETACL INBOX.a group=g lr")
    assert maildiracl("-list", str(home), "INBOX.a") == (0, [
        "owner\tacilr", "administrators\taceilrstwx", "user=ann\telrstx", "-user=bob\tw", "anyone\tlr",
        "group=g\tlr"])
    assert maildiracl("-compute", str(home), "INBOX.a", "user=bob")[1] == ["lr"]
    maildiracl("-set", str(home), "INBOX.a", "user=carl", "lrw")
    maildiracl("-set", str(home), "INBOX.a", "-user=carl", "w")
    maildiracl("-delete", str(home), "INBOX.a", "anyone")
    told = session("ours", home, "GETACL INBOX.a", "MYRIGHTS INBOX.a", "GETACL INBOX.a.b")
    assert '* ACL "INBOX.a" "owner" "lrikac" "administrators" "lrswikxteacd" "ann" "lrsxted" "-bob" "w" ' \
           '"group=g" "lr" "carl" "lrw" "-carl" "w"\r\n' in told
    assert '* MYRIGHTS "INBOX.a" "lrikac"' in told
    assert '* ACL "INBOX.a.b" "owner" "lrikac" ' in told


UNION = ["CREATE INBOX.a", "ACL STORE INBOX.a owner lr", "ACL STORE INBOX.a owner -a",
         "ACL STORE INBOX.a -owner l", "ACL SET INBOX.a owner aclert user=bob d", "ACL DELETE INBOX.a owner",
         "ACL DELETE INBOX.a user=x", "ACL DELETE INBOX.a administrators", "ACL STORE INBOX.a -anyone w",
         "ACL STORE INBOX.a administrators lr", "ACL STORE INBOX.a -administrators r",
         "ACL STORE INBOX.a -user=demo a", "ACL STORE INBOX.a user=bob lrd",
         "ACL SET (INBOX.*) owner aclert administrators aceilrstwx anyone l", 'LIST (ACL) "" INBOX.a',
         "ACL STORE INBOX.a -owner +a", "ACL STORE INBOX.a -owner a", "ACL SET INBOX.a owner lr",
         "ACL STORE INBOX.a -anyone +l", "ACL STORE INBOX.a -user=demo +a", "ACL STORE INBOX.a owner lr",
         "ACL SET INBOX.a owner aclert", "CREATE INBOX.a.b.c", "ACL STORE INBOX.a.b user=eve lr",
         "ACL STORE (INBOX.a*) user=eve +s", "ACL DELETE INBOX.a.b owner", "ACL DELETE INBOX.a.b user=eve"]


def test_the_same_is_told_of_lists(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "Maildir"
    fill(other, 1)
    found = [sorted(line for line in session(program, maildir, *UNION).splitlines()
                    if line.startswith("* ") and '"INBOX.a' in line)
             for program, maildir in (("courier", home), ("ours", other))]
    assert found[0] == found[1]
    assert len(found[0]) == 39


def test_a_list_without_administrators(home: Path) -> None:
    """They are there all the same, and are written where it is changed."""
    for program, word in (("courier", "ann"), ("ours", "bob")):
        (home / "courierimapacl").write_text("owner aceilrstwx\nuser=x lr\n")
        assert '"administrators"' in session(program, home, "GETACL INBOX", f"SETACL INBOX {word} lr")
        assert (home / "courierimapacl").read_text() == (
            f"owner aceilrstwx\nuser=x lr\nadministrators aceilrstwx\nuser={word} lr\n")


@pytest.mark.parametrize("who", [
    ["owner"], ["user=ann"], ["user=bob"], ["user=bob", "group=g"], ["anyone"], ["administrators"],
    ["user=zed"], ["group=administrators"], ["anonymous"], ["owner", "user=bob"]])
def test_rights_come_to_the_same(who: list[str], home: Path) -> None:
    from courierpy.maildir.formats.acl import AccessList
    data = b"owner aceilrstwx\n-owner x\nuser=ann lrs\n-user=ann s\ngroup=g lrw\n-group=g l\n" \
           b"user=bob aitl\n-administrators lr\n-anyone s\n"
    (home / "courierimapacl").write_bytes(data)
    code, lines = maildiracl("-compute", str(home), "INBOX", *who)
    assert code == 0
    ours = AccessList.parse(data).rights({*who, "anyone", "anonymous"})
    assert sorted(ours) == sorted(lines[0].replace("c", "k"))


def test_levels_of_courier(home: Path) -> None:
    """LIST of Courier writes lists of levels that are no mailboxes; we read them, and take them over."""
    session("courier", home, "SETACL INBOX ann l", "CREATE INBOX.x.y", 'LIST "" *', "DELETEACL INBOX ann")
    assert (home / "courierimaphieracl" / "x").exists()
    assert '"ann" "l"' in session("ours", home, "CREATE INBOX.x", "GETACL INBOX.x")
    assert (home / ".x" / "courierimapacl").exists()
    assert not (home / "courierimaphieracl" / "x").exists()


def test_the_tools_do_the_same(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "Maildir"
    fill(other, 1)
    steps = [["-set", "INBOX.a", "user=ann", "lrs"], ["-set", "INBOX.a", "-user=bob", "w"],
             ["-set", "INBOX.a", "user=ann", "+t"], ["-set", "INBOX", "owner", "lr"],
             ["-delete", "INBOX.a", "user=none"], ["-set", "INBOX.a", "user=x y", "l"], ["-list", "INBOX.a"],
             ["-compute", "INBOX.a", "user=ann"], ["-compute", "INBOX.a", "owner"], ["-list", "INBOX.none"]]
    found = []
    for maildir, tool in ((home, [need("/usr/bin/maildiracl")]),
                          (other, [sys.executable, "-m", "courierpy", "maildiracl"])):
        for part in ("cur", "new", "tmp"):
            (maildir / ".a" / part).mkdir(parents=True)
        for action, *rest in steps:
            done = subprocess.run([*tool, action, str(maildir), *rest], capture_output=True, timeout=60,
                                  check=False, env=plain_environ())
            found.append((done.returncode != 0, done.stdout))
    assert found[:len(steps)] == found[len(steps):]
    assert (home / ".a/courierimapacl").read_bytes() == (other / ".a/courierimapacl").read_bytes()
