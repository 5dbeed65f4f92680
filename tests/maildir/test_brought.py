"""What one message that comes costs a mailbox: little that grows with what is there."""
from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.maildir import transfer
from courierpy.maildir.bounds import Bounds
from courierpy.maildir.contents import look
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.index.columns import RECENT, RECENT_OCTETS, Index
from courierpy.maildir.mailboxdirectory import MailboxDirectory
from courierpy.maildir.store import Store
from courierpy.model.flags import FlagChange
from courierpy.model.uidset import UidSet
from tests.conftest import fill


def test_recent_messages_are_added(maildir: Path) -> None:
    fill(maildir, 0)
    index = Index(str(maildir), "host")
    for uid in (1, 2, 9, 5):
        index.set_unclaimed(UidSet([(uid, uid)]), more=True)
    assert index.unclaimed() == UidSet([(1, 2), (5, 5), (9, 9)])
    for uid in range(10, 3000):
        index.set_unclaimed(UidSet([(uid, uid)]), more=True)
        assert os.path.getsize(index.file(RECENT)) < RECENT_OCTETS + 32
    assert index.unclaimed() == UidSet([(1, 2), (5, 5), (9, 2999)])


NAMES = st.builds(bytes.__add__, st.sampled_from([b"1.M1P1.h", b"2.M2P1.h", b"3.x:y", b"4"]),
                  st.sampled_from([b"", b":2,", b":2,S", b":2,Sa"]))


@settings(max_examples=60)
@given(st.sets(NAMES), st.sets(st.sampled_from([b"1.M1P1.h", b"3.x", b"4"])))
def test_strangers_are_what_a_look_does_not_know(names: set[bytes], known: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), 0)
        for name in names:
            Path(os.fsdecode(os.path.join(os.fsencode(folder), b"cur", name))).touch()
        Path(folder, "cur", "9.directory").mkdir()
        Path(folder, "cur", "9.fifo").symlink_to("/nowhere")
        place = MailboxDirectory(folder, Store(folder).options)
        database = UidDb.of(1, 9, enumerate(sorted(known), 1))
        assert place.strangers(set(database.names())) == look(database, place.files())[2]


@pytest.mark.parametrize("left", [False, True], ids=["free", "left by one who is no more"])
def test_one_that_comes_alone_waits_for_nobody(left: bool, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is free: it is never where messages wait, and comes with its keywords."""
    maildir = tmp_path / "Mail"
    fill(maildir, 1)
    mailbox = Store(str(maildir), host="host").open("INBOX")
    monkeypatch.delattr(transfer, "_with_others")
    if left:
        with subprocess.Popen(["true"]) as gone:
            pass
        Path(maildir, "tmp", "courier.lock").write_text(f"{gone.pid}:{os.uname().nodename}")
    draft = mailbox.draft()
    draft.write(b"A: b\r\n\r\ntext\r\n")
    draft.keywords = frozenset([b"word"])
    before = os.listdir(maildir / "tmp")
    assert mailbox.append([draft])[1] == [2]
    assert len(before) == 1 + left
    assert os.listdir(maildir / "tmp") == []
    other = Store(str(maildir), host="host").open("INBOX")
    assert other.scan().messages.keywords == {2: frozenset([b"word"])}
    assert other.store([2], FlagChange("-", 0, frozenset([b"word"]))) == {2: (0, frozenset())}


def test_a_keyword_that_no_message_has_any_more_comes_beside_a_new_one() -> None:
    bounds = Bounds(0, 10, 10)
    assert bounds.tags("M", [frozenset([b"old"])], lambda: ()) == {}
    assert bounds.tags("M", [frozenset([b"OLD", b"new"])], lambda: (b"NEW",)) == {b"new": b"NEW"}
