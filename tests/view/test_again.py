"""A command that comes in the same octets again is answered by what is so now."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.imap import again
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame, Literal
from courierpy.maildir import lately
from tests.realtime.test_notify import Talk
from tests.realtime.windows import Window, deliver, over_pipe

ASKED = "STATUS INBOX.a (MESSAGES UIDNEXT UNSEEN)"


@pytest.fixture
def window(maildir: Path) -> Iterator[Window]:
    window = over_pipe(maildir)
    window.do("CREATE INBOX.a")
    yield window
    window.close()


def test_what_has_changed_is_told(window: Window, maildir: Path) -> None:
    told = []
    for number in range(3):
        told += window.do(ASKED)
        told += window.do(ASKED)
        deliver(maildir / ".a", f"{number}.M1P1.host")
    assert told == [f'* STATUS "INBOX.a" (MESSAGES {count} UIDNEXT {count + 1} UNSEEN {count})'
                    for count in (0, 0, 1, 1, 2, 2)]


def test_what_is_there_no_more_is_refused(window: Window, maildir: Path) -> None:
    window.do(ASKED)
    window.do("RENAME INBOX.a INBOX.b")
    window.send(f"x {ASKED}")
    assert window.line().startswith("x NO [NONEXISTENT]")
    window.do("RENAME INBOX.b INBOX.a")
    window.do(ASKED)
    (maildir / ".a" / "courierimapacl").write_text("owner l\n")
    window.send(f"y {ASKED}")
    assert window.line().startswith("y NO [NOPERM]")
    (maildir / ".a" / "courierimapacl").unlink()
    window.do(ASKED)


def test_the_tag_is_that_which_came(window: Window) -> None:
    window.do(ASKED)
    for tag, answer in {"A.7": "A.7 OK", "b\\c": "b BAD", "(": "* BAD", "é": "* BAD"}.items():
        window.send(f"{tag} {ASKED}")
        assert window.until(answer)
    window.send(f" {ASKED}")
    assert window.line().startswith("STATUS BAD")


def test_what_changed_in_the_selected_mailbox_is_told_behind_it(window: Window, maildir: Path) -> None:
    window.do("SELECT INBOX")
    assert len(window.do(ASKED)) == 1
    deliver(maildir, "more")
    assert [line.split()[-1] for line in window.do(ASKED)[1:]] == ["EXISTS", "RECENT"]
    assert len(window.do(ASKED)) == 1


def test_how_names_are_read_may_change(window: Window) -> None:
    """The same octets are another name then."""
    asked = "STATUS INBOX.&AOQ- (MESSAGES)"
    window.do("CREATE INBOX.&AOQ-")
    assert window.do(asked) == window.do(asked) == ['* STATUS "INBOX.&AOQ-" (MESSAGES 0)']
    window.do("ENABLE UTF8=ACCEPT")
    window.send(f"x {asked}")
    assert window.line().startswith("x NO [NONEXISTENT]")
    assert window.do('STATUS "INBOX.ä" (MESSAGES)') == ['* STATUS "INBOX.ä" (MESSAGES 0)']


def test_who_finds_what_is_kept(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next session of the same account that is spoken to in the same way, and nobody else."""
    monkeypatch.chdir(maildir)
    monkeypatch.setattr(again, "_last", None)
    monkeypatch.setattr(lately, "_whose", "ann")
    frame = Frame([b"t STATUS INBOX (MESSAGES)"], [])
    found = []
    utf8 = b"ENABLE UTF8=ACCEPT"
    for whose, enable in (("ann", b"NOOP"), ("ann", utf8), ("ann", b"NOOP"), ("bob", b"NOOP")):
        monkeypatch.setattr(lately, "_whose", whose)
        talk = Talk({})
        found.append(talk.session.again.find(frame) is not None)
        assert b"MESSAGES 3" in talk.say(b"STATUS INBOX (MESSAGES)")
        found.append(talk.session.again.find(frame) is not None)
        talk.say(enable)
        found.append(talk.session.again.find(frame) is not None)
        talk.close()
    assert found == [False, True, True, True, True, False, False, True, True, False, True, True]


def test_so_many_are_kept() -> None:
    kept = again.Kept()
    for number in range(again.MOST + 1):
        args = Args(Frame([b"a STATUS %d (MESSAGES)" % number], []))
        kept.keep(args, args)
    assert kept.find(Frame([b"b STATUS 1 (MESSAGES)"], [])) is None
    found = kept.find(Frame([b"b STATUS %d (MESSAGES)" % again.MOST], []))
    assert found is args and found.tag == b"b"
    assert kept.find(Frame([b"b STATUS %d (MESSAGES)" % again.MOST, b""], [Literal(1, False, b"x")])) is None
    for line in (b"a " + b"x" * (again.OCTETS + 1), b"  a STATUS 5 (MESSAGES)"):
        kept.keep(Args(Frame([line], [])), args)
        assert kept.find(Frame([line], [])) is None and kept.find(Frame([b"a"], [])) is None
