"""The real Dovecot and ours on one Maildir, by turns: numbers, keywords, flags, subscriptions, names."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPO, account_ids, fill, need, plain_environ

pytestmark = pytest.mark.peers

CONFIG = """
protocols = imap
base_dir = {home}/run
mail_location = maildir:{maildir}{layout}
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
ssl = no
log_path = /dev/stderr
libexec_dir = {root}/usr/lib/dovecot
mail_plugin_dir = {root}/usr/lib/dovecot/modules
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
}}
"""
TEXT = "Subject: mail\r\n\r\nHello.\r\n"


def libraries(root: str) -> str:
    """Where its libraries are: beside it, when it is unpacked somewhere."""
    own = [str(path) for path in Path(f"{root}/usr/lib").glob("*-linux-*")] if root else []
    return os.pathsep.join([f"{root}/usr/lib/dovecot", *own])


class Peer:
    """A Maildir that Dovecot's imap and our imapd serve, each on a pipe, PREAUTH."""

    def __init__(self, home: Path, root: str) -> None:
        self.home = home
        self.maildir = home / "Maildir"
        self.root = root
        self.prefix = "INBOX."
        self.separator = "."
        self.layout = ""
        self.environ: dict[str, str] = {}          # of ours

    def dovecot(self, *commands: str) -> str:
        uid, gid = account_ids()
        (self.home / "conf").write_text(CONFIG.format(
            home=self.home, maildir=self.maildir, layout=self.layout, uid=uid, gid=gid, root=self.root,
            separator=self.separator, prefix=self.prefix))
        self._give(uid, gid)            # it serves nobody's mail as root
        words = [f"{self.root}/usr/bin/doveconf", "-c", str(self.home / "conf"), "-m", "imap",
                 "-e", f"{self.root}/usr/lib/dovecot/imap"]
        return self._run(words, commands, plain_environ(USER="demo", HOME=str(self.home),
                                                        LD_LIBRARY_PATH=libraries(self.root)))

    def ours(self, *commands: str) -> str:
        self._give(os.getuid(), os.getgid())
        return self._run([sys.executable, "-m", "courierpy.imapd", str(self.maildir)], commands,
                         plain_environ(AUTHENTICATED="demo", **self.environ))

    def _give(self, uid: int, gid: int) -> None:
        for path in (self.maildir, *self.maildir.rglob("*")):
            os.chown(path, uid, gid)

    def _run(self, words: list[str], commands: tuple[str, ...], environ: dict[str, str]) -> str:
        # one command after the other: what is pipelined Dovecot may do side by side
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.home,
                                   env=environ)
        assert process.stdin is not None
        assert process.stdout is not None
        answer = ""
        for command in (*commands, "LOGOUT"):
            process.stdin.write(f"tag {command}\r\n".encode())
            process.stdin.flush()
            line = ""
            while not line.startswith("tag "):
                line = process.stdout.readline().decode()
                answer += line
                assert line, answer
            assert line.startswith("tag OK"), answer
        process.stdin.close()
        process.stdout.close()
        assert process.wait(60) == 0
        return answer

    def convert(self, *words: str) -> str:
        done = subprocess.run([sys.executable, "-c", "from courierpy.admin import run; run()", "convert",
                               *words, str(self.maildir)], capture_output=True, timeout=60, check=False,
                              env=plain_environ())
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """An empty Maildir; Dovecot as tests/install_clients unpacks it, or as it is installed."""
    unpacked = REPO / ".venv" / "clients" / "dovecot"
    root = str(unpacked) if unpacked.exists() else ""
    need(f"{root}/usr/lib/dovecot/imap")
    version = subprocess.run([f"{root}/usr/sbin/dovecot", "--version"], capture_output=True, check=True,
                             env=plain_environ(LD_LIBRARY_PATH=libraries(root))).stdout.decode()
    if not version.startswith("2.3."):
        pytest.skip(f"the settings are for Dovecot 2.3, this is {version.strip()}")
    # not pytest's own folder: the account must be able to enter it
    home = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    home.chmod(0o755)
    fill(home / "Maildir", 0)
    yield Peer(home, root)
    shutil.rmtree(home)


def append(folder: str, flags: str = "") -> str:
    return f"APPEND {folder} ({flags}) {{{len(TEXT)}+}}\r\n{TEXT}"


def look(*folders: str) -> list[str]:
    commands = ['LSUB "" *']
    for folder in folders:
        commands += [f"SELECT {folder}", "UID FETCH 1:* (FLAGS)"]
    return commands


def facts(answer: str) -> dict[str, list[str]]:
    """UIDs with flags, UIDVALIDITY, UIDNEXT and subscriptions as an answer shows them; \\Recent apart."""
    found = []
    for row in re.findall(r"FETCH \((.*UID.*)\)", answer):
        flags = sorted(re.findall(r"FLAGS \(([^)]*)\)", row)[0].replace("\\Recent", "").split())
        found.append(" ".join([*re.findall(r"UID (\d+)", row), *flags]))
    return {"messages": found, "validity": re.findall(r"\[UIDVALIDITY (\d+)", answer),
            "next": re.findall(r"\[UIDNEXT (\d+)", answer),
            "subscribed": sorted(re.findall(r'\* LSUB \([^)]*\) "." "?([^"\r]+)', answer))}


FOLDERS = ("INBOX", "INBOX.Sub", "INBOX.Sub.deep", "INBOX.&AOk-t&AOk-")


def fill_by_dovecot(peer: Peer) -> None:
    peer.dovecot(*(f"CREATE {folder}" for folder in FOLDERS[1:]),
                 append("INBOX", r"\Seen $Label1 Foo"), append("INBOX", "Bar"), append("INBOX", r"\Flagged"),
                 append("INBOX"), append(FOLDERS[3], r"Bar \Answered"), append("INBOX.Sub", "Bar"),
                 "SUBSCRIBE INBOX", "SUBSCRIBE INBOX.Sub.deep", f"SUBSCRIBE {FOLDERS[3]}",
                 "SELECT INBOX", r"STORE 2 +FLAGS (Zed \Draft)", r"STORE 3 +FLAGS (\Deleted)", "EXPUNGE")


def test_there_and_back(peer: Peer) -> None:
    fill_by_dovecot(peer)
    theirs = facts(peer.dovecot(*look(*FOLDERS)))
    assert theirs["messages"] == [r"1 $Label1 Foo \Seen", r"2 Bar Zed \Draft", "4", "1 Bar",
                                  r"1 Bar \Answered"]
    assert theirs["subscribed"] == sorted(["INBOX", "INBOX.Sub.deep", FOLDERS[3]])
    assert len(set(theirs["validity"])) == 4

    # 1. to us
    peer.convert("--from", "dovecot")
    assert facts(peer.ours(*look(*FOLDERS))) == theirs

    # 2. we change everything
    peer.ours("SELECT INBOX", "STORE 1 -FLAGS ($Label1 \\Seen)", "STORE 1 +FLAGS (\\Flagged Fresh)",
              "STORE 2 FLAGS (\\Deleted)", "EXPUNGE", append("INBOX", r"\Seen Fresh Foo"), append("INBOX"),
              "CREATE INBOX.&ANw-ber", append("INBOX.&ANw-ber", "Own"), "SUBSCRIBE INBOX.&ANw-ber",
              "UNSUBSCRIBE INBOX.Sub.deep", "SELECT INBOX", "COPY 1 INBOX.Sub")
    folders = (*FOLDERS, "INBOX.&ANw-ber")
    ours = facts(peer.ours(*look(*folders)))
    assert ours["messages"] == [r"1 Foo Fresh \Flagged", "4", r"5 Foo Fresh \Seen", "6", "1 Bar",
                                r"2 Foo Fresh \Flagged", r"1 Bar \Answered", "1 Own"]
    assert ours["validity"][:4] == theirs["validity"]

    # 3. and back, with the index that Dovecot had
    assert "removed dovecot.index" not in peer.convert("--to", "dovecot")
    assert facts(peer.dovecot(*look(*folders))) == ours

    # 4. Dovecot goes on, and it comes to us again
    peer.dovecot(append("INBOX", "Later"), "SELECT INBOX", "UID STORE 4 +FLAGS (Foo)",
                 "UID STORE 1 -FLAGS (Foo)", "SUBSCRIBE INBOX.Sub")
    theirs = facts(peer.dovecot(*look(*folders)))
    assert theirs["messages"][:5] == [r"1 Fresh \Flagged", "4 Foo", r"5 Foo Fresh \Seen", "6", "7 Later"]
    peer.convert("--from", "dovecot", "--replace")
    assert facts(peer.ours(*look(*folders))) == theirs


def test_the_first_look_takes_over(peer: Peer) -> None:
    """Nobody has to convert anything: the Maildir opens as it was."""
    fill_by_dovecot(peer)
    folders = FOLDERS[:3]
    theirs, ours = facts(peer.dovecot(*look(*folders))), facts(peer.ours(*look(*folders)))
    assert ours["messages"] == theirs["messages"]
    assert ours["messages"] == [r"1 $Label1 Foo \Seen", r"2 Bar Zed \Draft", "4", "1 Bar"]
    assert ours["validity"] == theirs["validity"]
    assert {"INBOX", "INBOX.Sub.deep"} <= set(ours["subscribed"])
    # from then on Courier's files are the truth
    peer.ours("SELECT INBOX", "STORE 1 -FLAGS (Foo)", append("INBOX", "New"))
    assert facts(peer.ours(*look("INBOX")))["messages"] == [
        r"1 $Label1 \Seen", r"2 Bar Zed \Draft", "4", "5 New"]


def test_dovecot_without_its_index(peer: Peer) -> None:
    """All that is handed over is in the files that are written, not in an index that was kept."""
    fill_by_dovecot(peer)
    peer.convert("--from", "dovecot")
    peer.ours("SELECT INBOX", "STORE 1 +FLAGS (Fresh)")
    ours = facts(peer.ours(*look(*FOLDERS)))
    peer.convert("--to", "dovecot")
    for path in list(peer.maildir.rglob("dovecot.*index*")):
        path.unlink()
    assert facts(peer.dovecot(*look(*FOLDERS))) == ours


def test_clients_that_ask_for_changes(peer: Peer) -> None:
    """The index stays: a client of Dovecot hears what we changed (RFC 7162 3.1.4)."""
    fill_by_dovecot(peer)
    before = peer.dovecot("SELECT INBOX", "UID STORE 4 +FLAGS (Foo)", "STATUS INBOX (HIGHESTMODSEQ)")
    known = re.findall(r"STATUS INBOX \(HIGHESTMODSEQ (\d+)", before)[0]
    peer.convert("--from", "dovecot")
    peer.ours("SELECT INBOX", r"UID STORE 2 -FLAGS (Zed)", append("INBOX", "New"))
    peer.convert("--to", "dovecot")
    answer = peer.dovecot("SELECT INBOX (CONDSTORE)", f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {known})")
    assert facts(answer)["messages"] == [r"2 Bar \Draft", "5 New"]


def test_a_maildir_that_dovecot_never_saw(peer: Peer) -> None:
    fill(peer.maildir, 3)
    peer.ours("CREATE INBOX.&AOk-t", "SUBSCRIBE INBOX.&AOk-t", append("INBOX.&AOk-t", "Kw"), "SELECT INBOX",
              r"STORE 2 +FLAGS (\Seen A B)", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
    ours = facts(peer.ours(*look("INBOX", "INBOX.&AOk-t")))
    assert ours["messages"] == [r"2 A B \Seen", "3", "1 Kw"]
    peer.convert("--to", "dovecot")
    assert facts(peer.dovecot(*look("INBOX", "INBOX.&AOk-t"))) == ours


def test_version_1(peer: Peer) -> None:
    """Dovecot reads an old uidlist and old subscriptions as we do."""
    peer.dovecot("CREATE INBOX.Sub")
    for path in list(peer.maildir.glob("dovecot*")):
        path.unlink()
    for name in ("cur/100.a:2,Sa", "cur/101.b:2,", "cur/102.c:odd:2,S", "new/103.d"):
        (peer.maildir / name).write_bytes(b"Subject: x\n\nx\n")
    (peer.maildir / "dovecot-uidlist").write_bytes(b"1 12345 90\n11 101.b\n22 100.a\n33 103.d\n44 102.c\n")
    (peer.maildir / "dovecot-keywords").write_bytes(b"0 Zero\n")
    (peer.maildir / "subscriptions").write_bytes(b"Sub\nINBOX\n")
    copy = peer.home / "copy"
    shutil.copytree(peer.maildir, copy)
    theirs = facts(peer.dovecot(*look("INBOX")))
    assert theirs["messages"] == ["11", r"22 Zero \Seen", "33", r"44 \Seen"]
    assert theirs["validity"] == ["12345"]
    for maildir in (copy, peer.maildir):        # before and after Dovecot made version 3 of it
        peer.maildir = maildir
        peer.convert("--from", "dovecot")
        assert facts(peer.ours(*look("INBOX"))) == theirs
    peer.convert("--to", "dovecot")
    assert (peer.maildir / "subscriptions").read_bytes() == b"Sub\nINBOX\n"
    assert facts(peer.dovecot(*look("INBOX"))) == theirs


def test_other_namespaces(peer: Peer) -> None:
    """No prefix, slashes between levels, names of directories in UTF-8."""
    peer.prefix, peer.separator, peer.layout = "", "/", ":UTF-8"
    names = ("Sub", "Sub/deep", "&AOk-t", "INBOX/kid")
    peer.dovecot(*(f"CREATE {name}" for name in names), *(f"SUBSCRIBE {name}" for name in names),
                 append("&AOk-t", "Kw"))
    theirs = facts(peer.dovecot(*look("&AOk-t")))
    assert len(theirs["subscribed"]) == 4
    peer.convert("--from", "dovecot", "--utf8")
    ours = facts(peer.ours(*look("INBOX.&AOk-t")))
    assert (ours["messages"], ours["validity"]) == (theirs["messages"], theirs["validity"])
    assert ours["subscribed"] == sorted(["INBOX.Sub", "INBOX.Sub.deep", "INBOX.&AOk-t", "INBOX.INBOX.kid"])
    peer.ours("UNSUBSCRIBE INBOX.Sub")
    peer.convert("--to", "dovecot", "--utf8")
    assert (peer.maildir / ".ét").is_dir()
    again = facts(peer.dovecot(*look("&AOk-t")))
    assert again["messages"] == theirs["messages"]
    assert again["subscribed"] == [name for name in theirs["subscribed"] if name != "Sub"]


def test_numbers_that_contradict(peer: Peer) -> None:
    """An index that knows another message by a number must go, or Dovecot shows its header."""
    fill(peer.maildir, 3)
    subjects = ("SELECT INBOX", "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    peer.dovecot(*subjects)
    peer.convert("--from", "dovecot")
    database = (peer.maildir / "courierimapuiddb").read_bytes()
    head, one, two, three = database.splitlines(True)
    swapped = b"".join([head, b"1" + two[1:], b"2" + one[1:], three])
    (peer.maildir / "courierimapuiddb").write_bytes(swapped)
    assert "removed dovecot.index" in peer.convert("--to", "dovecot", "--replace")
    found = re.findall(r"UID (\d+) BODY.*\r\nSubject: (.*)\r", peer.dovecot(*subjects))
    assert found == [("1", "mail 2"), ("2", "mail 1"), ("3", "mail 3")]
