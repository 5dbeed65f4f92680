"""imapd -r, IMAP_READONLY: nothing in the Maildir is another one afterwards, whatever is asked."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.imap.commands.index import COMMANDS
from tests.conftest import plain_environ

ARGUMENTS = {
    "APPEND": ["INBOX {4+}\r\nabcd", "INBOX (\\Seen) {4+}\r\nabcd {4+}\r\nabcd"], "SELECT": ["INBOX"],
    "CREATE": ["INBOX.new", "INBOX.new2 (USE (\\Sent))"], "DELETE": ["INBOX.Work"],
    "RENAME": ["INBOX INBOX.x", "INBOX.Work INBOX.x"], "SUBSCRIBE": ["INBOX.Work"], "EXAMINE": ["INBOX"],
    "UNSUBSCRIBE": ["INBOX"], "STORE": ["1:* +FLAGS (\\Deleted word)"], "UID STORE": ["1:* FLAGS (\\Seen)"],
    "FETCH": ["1:* (FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY[])"], "UID FETCH": ["1:* BODY[TEXT]"],
    "SEARCH": ["TEXT mail", "RETURN (SAVE) ALL"], "SORT": ["(SUBJECT) UTF-8 ALL"],
    "THREAD": ["REFERENCES UTF-8 ALL"], "COPY": ["1 INBOX.Work"], "UID COPY": ["1 INBOX.Work"],
    "MOVE": ["1 INBOX.Work"], "UID MOVE": ["1 INBOX.Work"], "UID EXPUNGE": ["1:*"],
    "STATUS": ["INBOX (MESSAGES UIDNEXT)", "INBOX.Work (MESSAGES SIZE HIGHESTMODSEQ)"],
    "LIST": ['"" *', '"" * RETURN (STATUS (MESSAGES))'], "LSUB": ['"" *'], "ENABLE": ["CONDSTORE"]}
LEFT_OUT = {"LOGOUT", "LOGIN", "IDLE", "COMPRESS", "UNAUTHENTICATE"}


def tree(top: Path) -> dict[str, tuple[object, ...]]:
    """All that there is, by its path: kind, inode, size, times, octets."""
    found: dict[str, tuple[object, ...]] = {}
    for here, directories, files in os.walk(top):
        for name in (".", *directories, *files):
            path = Path(here, name)
            look = path.lstat()
            data = path.read_bytes() if path.is_file() else b""
            found[os.path.relpath(path, top)] = (look.st_mode, look.st_ino, look.st_nlink, look.st_mtime_ns,
                                                 data)
    return found


def talk(maildir: Path, *options: str, **environ: str) -> bytes:
    """What an imapd answers to every command of the table, some with several arguments."""
    lines = ["s SELECT INBOX"]
    for word in sorted({name.decode() for name in COMMANDS} - LEFT_OUT):
        lines += [f"{word.replace(' ', '_')} {word} {rest}".rstrip() for rest in ARGUMENTS.get(word, [""])]
        lines += [f"n{len(lines)} NOOP", f"s{len(lines)} SELECT INBOX"]
    said = "\r\n".join([*lines, "i IDLE", "DONE", "z LOGOUT", ""]).encode()
    done = subprocess.run([sys.executable, "-m", "courierpy.imapd", *options, str(maildir)], input=said,
                          capture_output=True, timeout=120, check=True,
                          env=plain_environ(AUTHENTICATED="demo", **environ))
    assert done.stdout.splitlines()[-1].startswith(b"z OK "), done.stdout[-1000:]
    assert b"SERVERBUG" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("known", [False, True])
def test_the_maildir_is_as_it_was(maildir: Path, known: bool) -> None:
    """One that no session has seen yet, and one with UIDs, an index, and mail that came since."""
    work = maildir / ".Work"
    for part in ("cur", "new", "tmp"):
        (work / part).mkdir(parents=True)
    (work / "new" / "1.M1P1.host").write_bytes(b"Subject: one\n\nmail\n")
    (maildir / "tmp" / "old").write_bytes(b"garbage")
    os.utime(maildir / "tmp" / "old", (1, 1))
    os.chmod(maildir / "tmp" / "old", 0o600)
    if known:
        subprocess.run([sys.executable, "-m", "courierpy.imapd", str(maildir)], check=True, timeout=60,
                       input=b"a SELECT INBOX\r\nb FETCH 1:* ENVELOPE\r\nc SELECT INBOX.Work\r\nd LOGOUT\r\n",
                       capture_output=True, env=plain_environ(AUTHENTICATED="demo"))
    (maildir / "new" / "99.M99P1.host").write_bytes(b"Subject: late\n\nmail\n")
    before = tree(maildir)
    said = talk(maildir, "-r")
    assert b"Ready, only for reading." in said
    assert b"[READ-WRITE]" not in said
    assert tree(maildir) == before
    assert b"only for reading" in talk(maildir, IMAP_READONLY="1", IMAP_INDEXDIR=str(maildir / "index"))
    assert tree(maildir) == before


def test_nothing_else_is_forbidden(tmp_path: Path) -> None:
    """Where a session has ended the process writes again; what is no file of a disk it always may."""
    program = ("import os, sys\nfrom courierpy.system import readonly\nreadonly.begin()\n"
               "open('/dev/null', 'w').close()\nopen(f'/proc/self/fd/1', 'w').close()\n"
               "os.memfd_create('x')\nopen(__import__('os').__file__).close()\n"
               "path = os.path.join(sys.argv[1], 'x')\n"
               "for act in (lambda: open(path, 'w'), lambda: os.mkdir(path),"
               " lambda: os.open(path, os.O_CREAT),"
               " lambda: os.rename(sys.argv[1], path), lambda: os.utime(sys.argv[1]),"
               " lambda: os.link(sys.argv[2], path), lambda: os.unlink(sys.argv[2]),"
               " lambda: os.open(os.fsencode(sys.argv[2]), os.O_RDWR)):\n"
               "    try:\n        act()\n    except OSError as error:\n"
               "        assert error.errno == 30, error\n"
               "    else:\n        raise SystemExit('it did')\n"
               "readonly.end()\nopen(path, 'w').close()\nos.unlink(path)\n")
    (tmp_path / "there").write_bytes(b"")
    subprocess.run([sys.executable, "-c", program, str(tmp_path), str(tmp_path / "there")], check=True,
                   timeout=60, env=plain_environ())
