"""A disk without room, and one that takes nothing: nobody is locked out, who removes mail has room again."""
from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.account import Account, account, tmpfs
from tests.maildir.test_entries import ask
from tests.realtime.windows import Window

pytestmark = pytest.mark.server
LARGE = 200_000                    # octets of message 5


def fill(owner: Account, what: str) -> None:
    """To the last octet, or the last inode."""
    if what == "inodes":
        try:
            for number in range(100_000):
                os.close(os.open(owner.home / f"ballast{number}", os.O_WRONLY | os.O_CREAT))
        except OSError:
            return
    fd = os.open(owner.home / "ballast", os.O_WRONLY | os.O_CREAT)
    for size in (65536, 4096, 1):
        try:
            while True:
                os.write(fd, b"x" * size)
        except OSError:
            continue
    os.close(fd)


def free(owner: Account) -> int:
    found = os.statvfs(owner.home)
    return found.f_bavail * found.f_frsize


@pytest.fixture(params=["blocks", "inodes"])
def what(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def owner() -> Iterator[Account]:
    with account(tmpfs("size=2m,nr_inodes=400")) as made:
        made.folder()
        made.mail(30)
        with (made.maildir / "cur/1700000005.M5P1.host:2,").open("ab") as file:
            file.write(b"z" * 70 + b"\n" * (LARGE - 70))
        yield made


def numbered(owner: Account) -> None:
    window = owner.window()
    window.do("SELECT INBOX")
    window.do("LOGOUT")


def deliver(owner: Account) -> None:
    owner.make("Maildir/new/1800000000.N1P1.host", b"Subject: new\n\nx\n")


def removed(window: Window, owner: Account, uid: int = 5, how: str = "EXPUNGE") -> None:
    """The large message goes, and is told."""
    window.do(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
    told = window.do(how)
    assert any(line.endswith(" EXPUNGE") for line in told)


@pytest.mark.parametrize("case", ["nothing new", "one in new", "another has it open", "another, one in new",
                                  "never opened", "never opened, all in new"])
def test_room_can_be_made(case: str, what: str, owner: Account) -> None:
    if "never" not in case:
        numbered(owner)
    if "all in new" in case:
        for file in (owner.maildir / "cur").iterdir():
            file.rename(owner.maildir / "new" / file.name.partition(":")[0])
    others = []
    if "another" in case:
        others = [owner.window()]
        others[0].do("SELECT INBOX")
    if "one in new" in case:
        deliver(owner)
    fill(owner, what)
    window = owner.window()
    assert re.search(r"MESSAGES \d+ .*UNSEEN \d+", window.do("STATUS INBOX (MESSAGES UNSEEN UIDVALIDITY)")[0])
    looked = window.do("EXAMINE INBOX")
    opened = window.do("SELECT INBOX")
    for lines in (looked, opened):
        assert any(re.fullmatch(r"\* 3[01] EXISTS", line) for line in lines)
    if "never" in case:                                  # one session says one UIDVALIDITY
        assert len({line for line in looked + opened if "UIDVALIDITY" in line}) == 1
    assert ask(window, "UID FETCH 1:* (ENVELOPE RFC822.SIZE BODYSTRUCTURE)")[1].startswith(b"q OK")
    assert ask(window, "UID SORT (SUBJECT) UTF-8 ALL")[1].startswith(b"q OK")
    assert ask(window, 'SUBSCRIBE "INBOX"')[1].startswith(b"q NO [OVERQUOTA]")
    assert ask(window, "STORE 1 +FLAGS (word)")[1].startswith(b"q NO [OVERQUOTA]")
    assert ask(window, "COPY 1 INBOX")[1].startswith(b"q NO [OVERQUOTA]")
    before = window.do("UID FETCH 1:* (FLAGS)")
    assert len(before) in (30, 31)
    removed(window, owner)
    window.do("NOOP")
    assert free(owner) > LARGE / 2 or what == "inodes"
    if what == "inodes":
        window.do("UID STORE 1:28 +FLAGS.SILENT (\\Deleted)")
        window.do("EXPUNGE")
    window.do("CREATE INBOX.x")
    deliver(owner)
    assert any(re.fullmatch(r"\* \d+ EXISTS", line) for line in window.do("NOOP")) or "one in new" in case
    last = window.do("UID FETCH 1:* (FLAGS)")
    for other in others:
        assert any(line.endswith(" EXPUNGE") for line in other.do("NOOP"))
    again = owner.window()
    shown = again.do("SELECT INBOX")
    assert f"* {len(last)} EXISTS" in shown
    assert {line for line in opened if "UIDVALIDITY" in line} <= set(shown)
    assert again.do("UID FETCH 1:* (UID)") == [re.sub(r" FLAGS \(.*?\)\)", ")", line) for line in last]
    assert not [name for name in os.listdir(owner.maildir / "tmp") if name.endswith("_expunged")]
    assert "Traceback" not in owner.logged


def test_close_makes_room(what: str, owner: Account) -> None:
    numbered(owner)
    deliver(owner)
    fill(owner, what)
    window = owner.window()
    window.do("SELECT INBOX")
    window.do("UID STORE 3:5 +FLAGS.SILENT (\\Deleted)")
    window.do("CLOSE")
    assert "* 28 EXISTS" in window.do("SELECT INBOX")


def test_a_folder_can_be_removed(what: str, owner: Account) -> None:
    """Its UIDVALIDITY is remembered when there is room."""
    window = owner.window()
    window.do("CREATE INBOX.x")
    window.do("SELECT INBOX.x")
    owner.make("Maildir/.x/cur/1700000000.M1P1.host:2,", b"x" * LARGE)
    window.do("SELECT INBOX.x")
    window.do("UNSELECT")
    fill(owner, what)
    os.unlink(owner.maildir / "courierpy-uidvalidity")
    fill(owner, what)
    window.do("DELETE INBOX.x")
    assert (owner.maildir / "courierpy-uidvalidity").exists()
    window.do("CREATE INBOX.y")


@pytest.mark.parametrize("case", ["nothing new", "one in new", "never opened"])
def test_a_disk_that_takes_nothing(case: str, owner: Account) -> None:
    if case != "never opened":
        numbered(owner)
    if case == "one in new":
        deliver(owner)
    subprocess.run(["mount", "-o", "remount,ro", str(owner.home)], check=True, timeout=60)
    window = owner.window()
    assert "MESSAGES 3" in window.do("STATUS INBOX (MESSAGES)")[0]
    lines, done = ask(window, "SELECT INBOX")
    assert done.startswith(b"q OK [READ-ONLY]")
    assert b"* 30 EXISTS" in lines
    for _ in range(2):
        assert not any(line.endswith("EXPUNGE") for line in window.do("NOOP"))
    assert len(window.do("UID FETCH 1:* (ENVELOPE)")) == 30
    assert ask(window, "STORE 1 +FLAGS (\\Seen)")[1].startswith(b"q NO")
    assert "Traceback" not in owner.logged
