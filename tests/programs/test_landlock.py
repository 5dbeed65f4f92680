"""IMAP_LANDLOCK: a session reaches what it is for, and nothing else."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.admin import config
from courierpy.system import landlock
from courierpy.system.settings import Settings
from tests.conftest import REPO, plain_environ
from tests.programs.test_readonly import talk

pytestmark = pytest.mark.skipif(not landlock.version(), reason="the kernel has no Landlock of version 2")

PROBE = """
import os, sys
from courierpy.system import landlock
own, shown, other = sys.argv[1:]
assert landlock.confine([own], [shown]) == set()
def tries(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "done"
for name, what in {
    "write": lambda: open(own + "/tmp/a", "w").close(),
    "move": lambda: os.rename(own + "/tmp/a", own + "/cur/a"),
    "link": lambda: os.link(own + "/cur/a", own + "/new/a"), "cut": lambda: os.truncate(own + "/cur/a", 0),
    "remove": lambda: os.unlink(own + "/new/a"), "make": lambda: os.mkdir(own + "/.x"),
    "read": lambda: open(shown + "/m").read(), "null": lambda: open("/dev/null", "w").close(),
    "program": lambda: os.listdir("/usr"),
    "write what is shown": lambda: open(shown + "/m", "a").close(),
    "read the other": lambda: open(other + "/m").read(), "list the other": lambda: os.listdir(other),
    "write to the other": lambda: open(other + "/n", "w").close(),
    "move out": lambda: os.rename(own + "/cur/a", other + "/a"),
    "remove of the other": lambda: os.unlink(other + "/m"), "list all": lambda: os.listdir("/"),
}.items():
    print(name + ": " + tries(what))
print("again:", landlock.confine([own], []), landlock.confine([own, other], [shown]) == {other})
print("below:", landlock.confine([own + "/cur"], [shown + "/m"]))
print("other still:", tries(lambda: open(other + "/m").read()))
"""


def test_what_is_reached(tmp_path: Path) -> None:
    for name in ("own", "shown", "other"):
        for part in ("cur", "new", "tmp"):
            (tmp_path / name / part).mkdir(parents=True)
        (tmp_path / name / "m").write_text("text")
    words = [os.path.realpath(tmp_path / name) for name in ("own", "shown", "other")]
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, timeout=60,
                          check=True, env=plain_environ(), cwd=REPO)
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert (told.pop("again"), told.pop("below")) == ("set() True", "set()")
    allowed = {"write", "move", "link", "cut", "remove", "make", "read", "null", "program"}
    assert {name for name, word in told.items() if word == "done"} == allowed
    # a rename to another right is answered EXDEV, for which programs have a way round, or EACCES
    assert {word for name, word in told.items() if name not in allowed} \
        <= {"Permission denied", "Invalid cross-device link"}


REPLACED = """
import os, sys
from courierpy.system import landlock
own, file = sys.argv[1:]
assert landlock.confine([own], [file]) == set() == landlock.confine([own], [file])
os.rename(own + "/next", own + "/m")
assert landlock.confine([own], [file]) == set()        # what is in a directory is reached by it
print("confined", flush=True)
sys.stdin.readline()
print(landlock.confine([own], [file]) == {file})
"""


def test_what_is_replaced_is_out_of_reach(tmp_path: Path) -> None:
    """A right is one to the file that was there."""
    own, file = tmp_path / "own", tmp_path / "file"
    own.mkdir()
    for path in (own / "m", own / "next", file, tmp_path / "other"):
        path.write_text("text")
    with subprocess.Popen([sys.executable, "-c", REPLACED, os.path.realpath(own), os.path.realpath(file)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO,
                          env=plain_environ()) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "confined\n"
        os.replace(tmp_path / "other", file)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "True\n"


def tagged(said: bytes) -> list[tuple[bytes, bytes]]:
    """(tag, OK, NO or BAD) of each answer."""
    return re.findall(rb"^(\w+) (OK|NO|BAD) ", said, re.M)


def test_every_command_says_what_it_says_without(maildir: Path) -> None:
    work = maildir / ".Work"
    for part in ("cur", "new", "tmp"):
        (work / part).mkdir(parents=True)
    other = maildir.parent / "other"
    shutil.copytree(maildir, other)
    answers = tagged(talk(maildir))
    assert len(answers) > 100 and {word for _, word in answers} == {b"OK", b"NO", b"BAD"}
    assert tagged(talk(other, IMAP_LANDLOCK="YES")) == answers
    assert sorted(os.listdir(other)) == sorted(os.listdir(maildir))


def select(maildir: Path, name: str, **environ: str) -> bytes:
    said = f"a SELECT {name}\r\nb FETCH 1 BODY.PEEK[]\r\nz LOGOUT\r\n".encode()
    return subprocess.run([sys.executable, "-m", "courierpy.imapd", str(maildir)], input=said, check=True,
                          capture_output=True, timeout=60, env=plain_environ(**environ)).stdout


def test_a_link_to_elsewhere(maildir: Path, tmp_path: Path) -> None:
    """What lies on another disk is reached where the setting names that."""
    elsewhere = tmp_path / "disk" / "Archive"
    shutil.copytree(maildir, elsewhere)
    (elsewhere / "maildirfolder").touch()
    (maildir / ".Archive").symlink_to(elsewhere)
    assert b"\r\nb OK " in select(maildir, "INBOX.Archive")
    assert b"a NO " in select(maildir, "INBOX.Archive", IMAP_LANDLOCK="YES")
    assert b"\r\nb OK " in select(maildir, "INBOX.Archive", IMAP_LANDLOCK=str(tmp_path / "disk"))
    assert b"\r\nb OK " in select(maildir, "INBOX", IMAP_LANDLOCK="YES")


def test_an_index_elsewhere(maildir: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    place.mkdir(0o1777)
    place.chmod(0o1777)
    for _ in range(2):
        assert b"\r\nb OK " in select(maildir, "INBOX", IMAP_LANDLOCK="YES", IMAP_INDEXDIR=str(place))
    assert any(files for _, _, files in os.walk(place))


@pytest.mark.parametrize(("values", "told"), [
    ({}, ""), ({"IMAP_LANDLOCK": "NO"}, ""), ({"IMAP_LANDLOCK": "YES"}, ""),
    ({"IMAP_LANDLOCK": "/usr:/etc"}, ""), ({"IMAP_LANDLOCK": "mail"}, "not 'mail'"),
    ({"IMAP_LANDLOCK": "/usr:/nowhere-at-all"}, "/nowhere-at-all is not there"),
    ({"IMAP_LANDLOCK": "YES", "IMAP_SHAREDINDEXFILE": "/etc/index"}, "#shared."),
    ({"IMAP_LANDLOCK": "/usr", "IMAP_SHAREDINDEXFILE": "/etc/index"}, ""),
    ({"IMAP_LANDLOCK": "YES", "OUTBOX": ".Outbox"}, "setgid")])
def test_what_is_told_of_the_setting(values: dict[str, str], told: str) -> None:
    found = config._landlock(Settings(values))
    assert len(found) == bool(told)
    assert all(told in str(finding) for finding in found)


def test_who_may_have_the_process_next() -> None:
    assert Settings({"IMAP_REUSE": "uid"}).reuse == "uid"
    assert Settings({"IMAP_REUSE": "uid", "IMAP_LANDLOCK": "YES"}).reuse == "account"
    assert Settings({"IMAP_REUSE": "No", "IMAP_LANDLOCK": "YES"}).reuse == "no"
