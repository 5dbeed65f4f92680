"""A disk without room, and one that takes nothing: nobody is locked out, who removes mail has room again."""
from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.account import Account, account, tmpfs
from tests.maildir.test_entries import ask
from tests.pop3.client import Pop3d
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


def numbered(owner: Account, has_room: bool = False) -> None:
    """``has_room``: the last block of the uiddb, for a line more.  It has none where that file has another
    name too, and must be written anew."""
    window = owner.window()
    window.do("SELECT INBOX")
    window.do("LOGOUT")
    if not has_room:
        os.link(owner.maildir / "courierimapuiddb", owner.home / "copy")


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
        assert f"* {31 if 'one in new' in case else 30} EXISTS" in lines
    if "never" in case:                                  # one session says one UIDVALIDITY
        assert len({line for line in looked + opened if "UIDVALIDITY" in line}) == 1
    assert ask(window, "UID FETCH 1:* (ENVELOPE RFC822.SIZE BODYSTRUCTURE)")[1].startswith(b"q OK")
    assert ask(window, "UID SORT (SUBJECT) UTF-8 ALL")[1].startswith(b"q OK")
    assert ask(window, 'SUBSCRIBE "INBOX"')[1].startswith(b"q NO [OVERQUOTA]")
    assert ask(window, "STORE 1 +FLAGS (word)")[1].startswith(b"q NO [OVERQUOTA]")
    assert ask(window, "COPY 1 INBOX")[1].startswith(b"q NO [OVERQUOTA]")
    before = window.do("UID FETCH 1:* (FLAGS)")
    assert len(before) == (31 if "one in new" in case else 30)
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


def test_who_deletes_by_pop3_has_room_again(what: str, owner: Account) -> None:
    """Where not even the file of a lock can be made."""
    fill(owner, what)
    with Pop3d(owner.maildir, owner.words("courierpy.pop3d"), PYTHONPATH=owner.library) as client:
        assert client.line().startswith(b"+OK ")
        assert client.ask(b"DELE 5").startswith(b"+OK ")
        assert client.ask(b"QUIT").startswith(b"+OK ")
    assert not (owner.maildir / "cur/1700000005.M5P1.host:2,").exists()
    assert len(list((owner.maildir / "cur").iterdir())) == 29
    assert free(owner) > LARGE / 2 or what == "inodes"


def test_a_number_that_was_told_stays(what: str, owner: Account) -> None:
    """What comes while there is no room has its number from the order in which it came, and who has room
    first writes it."""
    numbered(owner)
    deliver(owner)
    owner.make("next", b"Subject: next\n\ny\n")
    fill(owner, what)
    windows = [owner.window(), owner.window()]
    for window in windows:
        assert "* 31 EXISTS" in window.do("SELECT INBOX")
        assert "* 31 FETCH (UID 31 ENVELOPE" in window.do("UID FETCH 31 (ENVELOPE)")[0]
    assert windows[0].do("NOOP") == []
    (owner.home / "next").rename(owner.maildir / "new/1800000001.N2P1.host")
    assert "* 32 EXISTS" in windows[1].do("NOOP")
    for file in owner.home.glob("ballast*"):
        file.unlink()
    for window in [*windows, owner.window()]:
        window.do("SELECT INBOX")
        told = ask(window, "UID FETCH 31:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[0]
        assert [re.findall(rb"UID (\d+) .*Subject: (\w+)", line, re.S) for line in told] == [
            [(b"31", b"new")], [(b"32", b"next")]][:len(told)]
        assert len(told) == 2


def test_a_number_that_was_told_is_given_to_another(owner: Account) -> None:
    """The session ends, as it cannot take back what it said."""
    numbered(owner)
    deliver(owner)
    fill(owner, "blocks")
    window, other = owner.window(), owner.window()
    assert "* 31 EXISTS" in window.do("SELECT INBOX")
    [file] = (owner.maildir / "cur").glob("1800000000*")
    away = owner.home / "away"
    file.rename(away)
    (owner.home / "ballast").unlink()
    owner.make("Maildir/new/1800000005.N5P1.host", b"Subject: other\n\nx\n")
    assert "* 31 EXISTS" in other.do("SELECT INBOX")
    away.rename(file)
    window.send("x NOOP")
    assert window.until("* BYE")[-1].startswith("* BYE [UNAVAILABLE] The mailbox was renumbered")


def test_a_line_that_has_room_behind_the_others(owner: Account) -> None:
    """Then what comes is numbered on a disk that is full, and stays so."""
    numbered(owner, has_room=True)
    deliver(owner)
    fill(owner, "blocks")
    window = owner.window()
    assert "* 31 EXISTS" in window.do("SELECT INBOX")
    assert b"\n31 1800000000." in (owner.maildir / "courierimapuiddb").read_bytes()
    for each in (window, owner.window()):
        each.do("EXAMINE INBOX")
        shown = each.do("UID FETCH 1:* (FLAGS)")
        assert [re.findall(r"UID (\d+)", line) for line in shown] == [[str(uid)] for uid in range(1, 32)]
    assert "Traceback" not in owner.logged


def test_the_index_makes_room() -> None:
    """What only saves work is worth less than a number."""
    with account(tmpfs("size=8m")) as owner:
        owner.folder()
        owner.mail(400)
        for file in (owner.maildir / "cur").iterdir():
            os.utime(file, (1_700_000_000, 1_700_000_000))     # not written just now
        window = owner.window()
        window.do("SELECT INBOX")
        window.do("FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
        window.close()
        os.link(owner.maildir / "courierimapuiddb", owner.home / "copy")
        kept = [file.name for file in (owner.maildir / "courierpyindex").iterdir()]
        assert [name for name in kept if name.startswith("cache.")]
        deliver(owner)
        fill(owner, "blocks")
        window = owner.window()
        assert "* 401 EXISTS" in window.do("SELECT INBOX")
        assert b" 1800000000." in (owner.maildir / "courierimapuiddb").read_bytes()
        assert ask(window, "SUBSCRIBE INBOX")[1].startswith(b"q OK")


def test_trash(what: str, owner: Account) -> None:
    """Who moves messages away to remove them may; they have numbers as soon as there is room."""
    window = owner.window()
    window.do("CREATE INBOX.Trash")
    window.do("SELECT INBOX.Trash")
    window.do("SELECT INBOX")
    window.do("STORE 9 +FLAGS (word)")
    os.link(owner.maildir / ".Trash/courierimapuiddb", owner.home / "copy")    # as in numbered()
    fill(owner, what)
    assert [line for line in window.do("UID MOVE 3:4 INBOX.Trash") if line.startswith("* ")] == [
        "* 3 EXPUNGE", "* 3 EXPUNGE", "* 28 EXISTS", "* 28 RECENT"]
    untagged, tagged = ask(window, "UID MOVE 8:9 INBOX.Trash")
    assert tagged.startswith(b"q NO [OVERQUOTA]")
    assert b"* 6 EXPUNGE" in untagged
    other = owner.window()
    assert "* 3 EXISTS" in other.do("SELECT INBOX.Trash")
    other.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    assert len([line for line in other.do("EXPUNGE") if line.endswith("EXPUNGE")]) == 3
    removed(window, owner)
    assert ask(window, "COPY 1 INBOX.Trash")[1].startswith(b"q OK [COPYUID ") or what == "inodes"
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


def test_numbers_that_no_disk_has(owner: Account, what: str) -> None:
    """In a mailbox that was never opened: what was told of one message is never another's."""
    fill(owner, what)
    window = owner.window()

    def told() -> tuple[str, dict[str, str]]:
        lines = window.do("SELECT INBOX")
        uidvalidity = next(line for line in lines if "UIDVALIDITY" in line)
        found = "\n".join(window.do("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        return uidvalidity, dict(re.findall(r"UID (\d+).*\n?Subject: (.*)", found))

    status = window.do("STATUS INBOX (UIDVALIDITY UIDNEXT)")[0]
    first, subjects = told()
    again, others = told()
    assert len(subjects) == 30
    assert (first, subjects) == (again, others)
    assert re.findall(r"UIDVALIDITY (\d+)", status) == re.findall(r"UIDVALIDITY (\d+)", first)
    window.do("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    window.do("EXPUNGE")
    later, left = told()
    assert later != first or subjects.items() >= left.items()
    assert "Traceback" not in owner.logged
