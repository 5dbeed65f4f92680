"""One odd entry among good messages: these are served, whatever it is."""
from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.account import Account, account, text
from tests.realtime.windows import Window

pytestmark = pytest.mark.server
GOOD = 12
ODD = "Maildir/{}/1700000005.X1.host"
Made = Callable[[Account, str], bytes]


def denied(owner: Account, place: str) -> bytes:
    """A file that the user may not read: another's, where there is another."""
    path = owner.make(ODD.format(place) + (":2," if place == "cur" else ""), text(0))
    os.chmod(path, 0)
    if os.getuid() == 0:
        os.chown(path, 0, 0)
    return path


def _link(target: str, name: str = "") -> Made:
    def made(owner: Account, place: str) -> bytes:
        path = owner.home / (f"Maildir/{place}/{name}" if name else ODD.format(place))
        os.symlink(target.format(home=owner.home), path)
        return os.fsencode(path)
    return made


def _closed_door(owner: Account, place: str) -> bytes:
    """Behind a directory that cannot be entered."""
    owner.make("closed")
    os.chmod(owner.home / "closed", 0)
    if os.getuid() == 0:
        os.chown(owner.home / "closed", 0, 0)
    return _link("{home}/closed/x")(owner, place)


def _named(name: bytes) -> Made:
    return lambda owner, place: owner.make(b"Maildir/" + place.encode() + b"/" + name, text(0))


def _fifo(owner: Account, place: str) -> bytes:
    os.mkfifo(owner.home / ODD.format(place))
    return os.fsencode(owner.home / ODD.format(place))


def _socket(owner: Account, place: str) -> bytes:
    path = owner.home / f"Maildir/{place}/s"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return os.fsencode(path)


def _circle(owner: Account, place: str) -> bytes:
    os.symlink("b", owner.home / "a")
    os.symlink("a", owner.home / "b")
    return _link("{home}/a")(owner, place)


# cannot be read, and are messages all the same
UNREADABLE: dict[str, Made] = {"another's": denied, "link in a circle": _circle,
                               "link behind a closed door": _closed_door}
# are no messages
NOTHING: dict[str, Made] = {
    "dangling link": _link("/nonexistent"), "link through a file": _link("/etc/passwd/x"),
    "link with an endless name": _link("n" * 300), "link to a directory": _link("/"),
    "fifo": _fifo, "socket": _socket,
    "directory": lambda owner, place: owner.make(ODD.format(place))}
# are messages like others
READABLE: dict[str, Made] = {
    "name of 255 octets": _named(b"n" * 255), "name of 252 octets and flags": _named(b"n" * 252 + b":2,"),
    "name of 253 octets": _named(b"n" * 253), "name of 254 octets": _named(b"n" * 254),
    "line feed": _named(b"a\nb"), "only flags": _named(b":2,S"), "no time": _named(b"x"),
    "Latin-1": _named(b"\xe9:2,"), "flags twice": _named(b"1700000005.X1.host:2,S:2,F")}


@pytest.fixture
def owner() -> Iterator[Account]:
    with account() as made:
        made.folder()
        made.folder(".T")
        made.mail(GOOD)
        yield made


def ask(window: Window, command: str) -> tuple[list[bytes], bytes]:
    """(untagged responses, the tagged one)."""
    window.send(f"q {command}")
    found = [window.response()]
    while not found[-1].startswith(b"q "):
        found.append(window.response())
    return found[:-1], found[-1]


FETCHES = ["(FLAGS RFC822.SIZE INTERNALDATE)", "(ENVELOPE)", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
           "(BODYSTRUCTURE)", "(BODY.PEEK[])", "(BODY[])", "(RFC822.HEADER)", "(BODY.PEEK[1]<0.4>)"]
SEARCHES = ["SEARCH SUBJECT s", "SEARCH BODY body", "SEARCH HEADER X-Y z", "SEARCH NOT SUBJECT s",
            "SEARCH LARGER 3", "SORT (SUBJECT) UTF-8 ALL", "SORT (ARRIVAL SIZE DATE) UTF-8 TEXT body",
            "THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 SUBJECT s"]


def numbers(line: bytes) -> set[int]:
    return {int(number) for number in re.findall(rb"\d+", line)}


def found_good(window: Window) -> dict[int, int]:
    """UID -> number of the good message, by what can be read."""
    lines, _ = ask(window, "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    found = [re.search(rb"UID (\d+) .*Subject: s(\d+)", line, re.S) for line in lines]
    return {int(match[1]): int(match[2]) for match in found if match and int(match[2])}


def fetched(window: Window, what: str) -> tuple[set[int], set[int], list[bytes]]:
    """UIDs that have a FETCH line, those of them of which something is told besides, and the answers."""
    lines, done = ask(window, f"UID FETCH 1:* {what}")
    found = [match for line in lines if (match := re.match(rb"\* \d+ FETCH \(UID (\d+)(.)", line))]
    return ({int(match[1]) for match in found}, {int(match[1]) for match in found if match[2] == b" "},
            [*[line for line in lines if b" FETCH (" not in line], done])


@pytest.mark.parametrize("place", ["cur", "new"])
@pytest.mark.parametrize("kind", [*UNREADABLE, *NOTHING, *READABLE])
def test_one_among_good_ones(kind: str, place: str, owner: Account) -> None:
    path = (UNREADABLE | NOTHING | READABLE)[kind](owner, place)
    one_more = kind in READABLE and kind != "line feed" or kind in UNREADABLE
    unreadable = kind in UNREADABLE and one_more
    window = owner.window()
    done = window.do("SELECT INBOX")
    assert f"* {GOOD + one_more} EXISTS" in done
    good = found_good(window)
    assert sorted(good.values()) == list(range(1, GOOD + 1))
    for what in FETCHES:
        uids, told, answers = fetched(window, what)
        assert len(uids) == GOOD + one_more, what        # who is told of all but one might remove that
        assert told >= good.keys(), what
        assert len(told) == GOOD + (one_more and (not unreadable or "FLAGS" in what)), what
        assert [answer.split()[1:3] for answer in answers] == [
            *[[b"NO", b"[NOPERM]"]] * unreadable, [b"OK", b"FETCH"]], what
    for what in ("(FLAGS)", "(INTERNALDATE)"):           # needs no look into the file
        _, told, (answer,) = fetched(window, what)
        assert len(told) == GOOD + one_more
        assert answer.startswith(b"q OK")
    for command in SEARCHES:
        lines, answer = ask(window, f"UID {command}")
        assert answer.startswith(b"q OK"), command
        hits = numbers(lines[0]) & good.keys()
        assert len(hits) == (0 if "X-Y" in command or "NOT" in command else GOOD), command
    if unreadable:
        the_one, = fetched(window, "(FLAGS)")[0] - good.keys()
        assert numbers(ask(window, "UID SEARCH NOT SUBJECT s")[0][0]) == {the_one}
        assert numbers(ask(window, "UID SORT (SUBJECT) UTF-8 ALL")[0][0]) == {the_one, *good}
        assert ask(window, f"UID FETCH {the_one} (BODY.PEEK[])")[1].startswith(b"q NO [NOPERM]")
        assert sum(" cannot be read" in line for line in owner.logged.splitlines()) == 1
    long_name = kind.startswith("name of") and "252" not in kind
    lines, answer = ask(window, "UID STORE 1:* +FLAGS (\\Flagged word)")
    assert len(lines) >= GOOD
    assert answer.startswith(b"q NO [NOPERM]" if long_name or "252" in kind else b"q OK")
    flags = ask(window, "UID FETCH 1:* (FLAGS)")[0]
    assert sum(b"\\Flagged" in line and b"word" in line for line in flags) == GOOD + (
        one_more and not long_name and "252" not in kind)
    lines, answer = ask(window, "UID COPY 1:* INBOX.T")
    assert answer.startswith(b"q OK [COPYUID ")
    # a hard link to what cannot be read is had by its owner only
    assert any(line.startswith(b"* NO [NOPERM]") for line in lines) == (
        unreadable and (os.getuid() == 0 or "link" in kind))
    window.do("SELECT INBOX.T")
    assert sorted(found_good(window).values()) == list(range(1, GOOD + 1))
    window.do("SELECT INBOX")
    if unreadable:                                       # it can be put away, and removed
        assert ask(window, f"UID MOVE {the_one} INBOX.T")[1].startswith(b"q OK")
    else:
        assert ask(window, "UID MOVE 1:* INBOX.T")[1].startswith(b"q OK")
    window.do("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
    window.do("EXPUNGE")
    assert os.path.lexists(path) == (kind in NOTHING or kind == "line feed")        # which nobody touches


@pytest.mark.parametrize("selected", [False, True])
def test_a_name_that_a_message_in_cur_has(selected: bool, owner: Account) -> None:
    """Of another message in new/: both are there, the old one with its UID.  Another link to the same file,
    as programs leave it that move by a link, is no second message, nor is a copy of it."""
    window = owner.window()
    if selected:
        window.do("SELECT INBOX")
    one, two, three, *_ = sorted(os.listdir(owner.home / "Maildir/cur"))
    owner.make(f"Maildir/new/{one.partition(':')[0]}", text(99))
    os.link(owner.home / "Maildir/cur" / two, owner.home / "Maildir/new" / two)
    owner.make(f"Maildir/new/{three.partition(':')[0]}", (owner.home / "Maildir/cur" / three).read_bytes())
    window.do("NOOP" if selected else "SELECT INBOX")
    good = found_good(window)
    assert sorted(good.values()) == [*range(1, GOOD + 1), 99]
    assert [good[uid] for uid in sorted(good)][-1] == 99
    assert os.listdir(owner.home / "Maildir/new") == []
    assert len(os.listdir(owner.home / "Maildir/cur")) == GOOD + 1


def test_new_messages_are_told_of_without_a_complaint(owner: Account) -> None:
    """By NOTIFY: nobody asked for the one that may not be read.  RFC 5465 5.2."""
    window = owner.window()
    window.do("SELECT INBOX")
    window.do("NOTIFY SET (SELECTED (MessageNew (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge))")
    denied(owner, "cur")
    owner.make("Maildir/new/1700000099.X2.host", text(99))
    told: list[bytes] = []
    for _ in range(100):                                 # a watch may tell of one before the other
        told += ask(window, "NOOP")[0]
        if any(b"Subject: s99" in line for line in told):
            break
    assert any(line.startswith(b"* 14 FETCH") and b"Subject: s99" in line for line in told)
    assert not [line for line in told if line.startswith(b"* NO")]


@pytest.mark.parametrize("place", ["cur", "new"])
def test_a_link_to_itself(place: str, owner: Account) -> None:
    """With another name it leads nowhere: whether it is a message may change, not what the others are."""
    _link("itself", "itself")(owner, place)
    window = owner.window()
    window.do("SELECT INBOX")
    for command in (*(f"UID FETCH 1:* {what}" for what in FETCHES), "UID SEARCH SUBJECT s",
                    "UID SORT (SUBJECT) UTF-8 SUBJECT s", "UID STORE 1:* +FLAGS (\\Flagged)",
                    "UID COPY 1:* INBOX.T"):
        lines, answer = ask(window, command)
        assert answer.startswith((b"q OK", b"q NO [NOPERM]")), command
        if "SUBJECT s" in command:
            assert len(numbers(lines[0])) >= GOOD, command
    assert sorted(found_good(window).values()) == list(range(1, GOOD + 1))
    window.do("SELECT INBOX.T")
    assert sorted(found_good(window).values()) == list(range(1, GOOD + 1))
