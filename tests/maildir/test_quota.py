"""maildirsize: its form, what counts, when it is counted again, and that each change of the store keeps it.

What counts was seen with Courier's deliverquota and maildirmake 5.0 (tests/peers has both side by side)."""
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from courierpy.maildir import quota as quotas
from courierpy.maildir import trash
from courierpy.maildir.draft import Draft
from courierpy.maildir.errors import QuotaExceeded
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.formats.maildirsize import Amount, Limits
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.quotacount import octets_in
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, SEEN, FlagChange
from courierpy.model.numbers import MOST

EMPTY = b"           0            0\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in (".", ".a", ".Trash"):
        for part in ("cur", "new", "tmp"):
            (tmp_path / "M" / folder / part).mkdir(parents=True)
    return tmp_path / "M"


def kept(maildir: Path, limits: bytes = b"1000000S,1000C", account: str = "") -> Store:
    """The Maildir as a session has it, with this first line."""
    (maildir / "maildirsize").write_bytes(limits + b"\n" + EMPTY)
    return Store(str(maildir), host="host", quota=account)


def lines(maildir: Path) -> list[bytes]:
    return (maildir / "maildirsize").read_bytes().splitlines()


def total(maildir: Path) -> tuple[int, int]:
    found = maildirsize.parse((maildir / "maildirsize").read_bytes())
    assert found is not None
    return found.there.octets, found.there.messages


def recounted(store: Store, maildir: Path) -> tuple[int, int]:
    quota = store.quota()
    assert quota is not None
    quota.recount_quietly()
    return total(maildir)


def draft(mailbox: Mailbox, octets: int, flags: int = 0) -> Draft:
    found = mailbox.draft()
    found.write(b"x" * octets)
    found.flags = flags
    return found


# -- the form

@pytest.mark.parametrize(("text", "octets", "messages", "plain"), [
    (b"1000S,5C", 1000, 5, True), (b"5C,1000S", 1000, 5, True), (b"5C", 0, 5, True), (b"", 0, 0, True),
    (b"0S", 0, 0, True), (b"0S,5C", 0, 5, True), (b"10x", 0, 0, False), (b"10S 5C", 10, 5, False),
    (b"3C,4C", 0, 4, True), (b"1e5S", 5, 0, False), (b"-5S", 5, 0, False), (b"12S,", 12, 0, False),
    (b"007S", 7, 0, True), (b"9" * 40 + b"S", MOST, 0, False), (b" 100S", 100, 0, True)])
def test_limits(text: bytes, octets: int, messages: int, plain: bool) -> None:
    assert maildirsize.limits(text) == Limits(octets, messages)
    assert maildirsize.is_limits(text) == plain


@pytest.mark.parametrize(("lines", "octets", "messages"), [
    (b"  5\n", 0, 0), (b"5 5 5\n", 5, 5), (b"x y\n", 0, 0), (b"\n", 0, 0), (b"5 x\n", 0, 0),
    (b"\t7\t8\n", 7, 8), (b"1e2 3\n", 0, 0), (b"9 9\n          -4           -1\n", 5, 8)])
def test_sum(lines: bytes, octets: int, messages: int) -> None:
    found = maildirsize.parse(b"100000S\n" + lines + EMPTY)
    assert found is not None
    assert found.there == Amount(octets, messages)


@pytest.mark.parametrize("data", [b"", b"100S", b"100S\n-1 0\n", b"100S\n0 -1\n", b"100S\n           1",
                                  b"100S\n" + b" " * 5114 + b"\n"])
def test_what_has_to_be_counted_again(data: bytes) -> None:
    assert maildirsize.parse(data) is None


def test_largest_file_that_is_believed() -> None:
    assert maildirsize.parse(b"100S\n" + b" " * 5113 + b"\n") is not None


def test_form() -> None:
    assert Amount(1065, 1).line() == b"        1065            1\n"
    assert Amount(-18, -1).line() == b"         -18           -1\n"
    assert Limits(10, 0).line() == b"10S\n"
    assert Limits(0, 5).line() == b"5C\n"
    assert Limits(10, 5).line() == b"10S,5C\n"


# -- what counts

@pytest.mark.parametrize(("name", "octets"), [
    (b"7,S=12x:2,", 12), (b"9,S=19:2,aT", 19), (b"9,S=19:2,aSTb", 19), (b"9,S=19:2,ST", -1),
    (b"1,S=:2,", 0), (b"18,S=3:2,:2,T", 3), (b"19,S=3:2,T:2,", -1), (b"20,S=3:2,T,foo", -1),
    (b"21,S=5,S=6:2,", 6), (b"2,S=5", 5), (b"23:2,S,S=44", 7), (b"24,S=0005:2,", 5), (b"25,S=-5:2,", 0),
    (b"28,s=5:2,", 7), (b"29:1,T", 7), (b"30:2,t", 7), (b"x,S=5;2,", 5), (b"S=5:2,", 7), (b",S=5:2,", 5),
    (b"34,S=4,W=5:2,T", -1), (b"37:2,D:2,T", 7), (b"39:2,,T", 7), (b"40:2,A1T", 7), (b"43,S=5:S=6", 5),
    (b"a:b,S=5:2,", 7), (b"a,S=5:1,S=7:2,T", -1), (b".h", -1)])
def test_what_a_name_counts(name: bytes, octets: int, tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)
    Path(os.fsdecode(directory + b"/" + name)).write_bytes(b"seven..")
    assert octets_in(directory, name) == octets


def test_what_is_no_file(maildir: Path) -> None:
    (maildir / "cur" / "file").write_bytes(b"x" * 77)
    (maildir / "cur" / "to-file:2,").symlink_to("file")
    (maildir / "cur" / "to-nothing:2,").symlink_to("nothing")
    (maildir / "cur" / "to-nothing,S=5:2,").symlink_to("nothing")
    store = kept(maildir)
    assert recounted(store, maildir) == (77 + 77 + 5, 3)


def test_folders_that_count(maildir: Path) -> None:
    for at, folder in enumerate((".", ".a", ".Trash", ".Trash.a", ".trash", "..b", "x", "shared/a/b")):
        for part in ("cur", "new", "tmp"):
            (maildir / folder / part).mkdir(parents=True, exist_ok=True)
            (maildir / folder / part / "1:2,").write_bytes(b"x" * 10 ** at)
    # two files each; not the trash, tmp/, and what is no folder
    assert recounted(kept(maildir), maildir) == (2 * (1 + 10 + 1000 + 10000 + 100000), 10)


# -- when it is counted again

def test_what_cannot_be_understood_is_no_limit_and_costs_no_count(maildir: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(quotas, "count", lambda root: counted.append(1) or Amount())
    for limits in (b"", b"0S", b"0S,5C", b"10x"):
        store = kept(maildir, limits)
        mailbox = store.open("INBOX")
        for _ in range(4):
            mailbox.append([draft(mailbox, 5)])
    assert len(counted) == 0


def test_over_quota_is_believed_for_a_quarter_of_an_hour(maildir: Path) -> None:
    store = kept(maildir, b"10S")
    quota = store.quota()
    assert quota is not None
    (maildir / "maildirsize").write_bytes(b"10S\n          10            1\n")
    with pytest.raises(QuotaExceeded):
        quota.admit(Amount(1, 1))
    os.utime(maildir / "maildirsize", (time.time() - 901,) * 2)
    quota.admit(Amount(1, 1))
    assert lines(maildir) == [b"10S", EMPTY[:-1]]
    # two lines of changes: somebody was here since
    (maildir / "maildirsize").write_bytes(b"10S\n          10            1\n" + EMPTY)
    quota.admit(Amount(10, 1))
    assert lines(maildir) == [b"10S", EMPTY[:-1]]


def test_files_that_went_unheard(maildir: Path) -> None:
    """cron's find -delete: who was full is not."""
    store = kept(maildir, b"10S")
    mailbox = store.open("INBOX")
    mailbox.append([draft(mailbox, 10)])
    with pytest.raises(QuotaExceeded):
        mailbox.append([draft(mailbox, 1)])
    for file in (maildir / "cur").iterdir():
        file.unlink()
    os.utime(maildir / "maildirsize", (time.time() - 901,) * 2)
    mailbox.append([draft(mailbox, 1)])
    assert total(maildir) == (1, 1)


@pytest.mark.parametrize("data", [b"100S", b"100S\n          -1            0\n", b"100S\n   3",
                                  b"100S\n" + b" " * 6000])
def test_damaged_file_is_made_anew(maildir: Path, data: bytes) -> None:
    store = kept(maildir)
    (maildir / "cur" / "1:2,").write_bytes(b"seven..")
    (maildir / "maildirsize").write_bytes(data)
    quota = store.quota()
    assert quota is not None
    found = quota.usage()
    assert found is not None
    assert (found.limits, found.there) == (Limits(100, 0), Amount(7, 1))
    assert lines(maildir) == [b"100S", b"           7            1"]
    (maildir / "maildirsize").write_bytes(data)
    if not data.endswith(b"\n"):
        quota.changed(Amount(5, 1))        # no line is added to a part of one
        assert lines(maildir) == [b"100S", b"           7            1"]


def test_where_mail_comes_all_the_time_nobody_is_refused(maildir: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    store = kept(maildir, b"10S")
    (maildir / "cur" / "1,S=20:2,").touch()
    quota = store.quota()
    assert quota is not None
    counts = []

    def count(root: bytes) -> Amount:
        counts.append(1)
        os.utime(maildir / "new", (len(counts), len(counts)))
        return Amount(20, 1)
    monkeypatch.setattr(quotas, "count", count)
    os.utime(maildir / "maildirsize", (1, 1))
    quota.admit(Amount(10, 1))
    quota.admit(Amount(11, 1))
    assert len(counts) == quotas.TRIES


def test_files_that_vanish_while_they_are_counted(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (maildir / "cur" / "1:2,").write_bytes(b"seven..")
    found = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*found(path), b"gone:2,", b"gone,S=4:2,T"])
    assert octets_in(os.fsencode(maildir / "cur"), b"gone:2,") == -1
    assert recounted(kept(maildir), maildir) == (7, 1)


# -- whose limits

def test_the_account_has_the_say(maildir: Path, caplog: pytest.LogCaptureFixture) -> None:
    (maildir / "cur" / "1,S=350:2,").touch()
    store = kept(maildir, b"400S", "300S")
    mailbox = store.open("INBOX")
    with pytest.raises(QuotaExceeded):
        mailbox.append([draft(mailbox, 1)])
    assert lines(maildir) == [b"300S", b"         350            1"]
    assert kept(maildir, b"400S", "nonsense").quota().usage().limits == Limits(400, 0)  # type: ignore[union-attr]
    # 0 is no limit
    assert kept(maildir, b"400S", "0S").quota().usage() is None  # type: ignore[union-attr]
    assert lines(maildir)[0] == b""


def test_quota_of_the_account_makes_the_file(maildir: Path) -> None:
    store = Store(str(maildir), host="host", quota="5C,100S")
    mailbox = store.open("INBOX")
    assert not (maildir / "maildirsize").exists()
    mailbox.append([draft(mailbox, 5)])
    assert lines(maildir) == [b"100S,5C", EMPTY[:-1], b"           5            1"]


def test_without_a_quota_nothing_is_loaded_or_written(maildir: Path) -> None:
    store = Store(str(maildir), host="host")
    mailbox = store.open("INBOX")
    mailbox.append([draft(mailbox, 5)])
    assert store.options.quota is None
    assert not (maildir / "maildirsize").exists()
    # it comes while the session is there
    (maildir / "maildirsize").write_bytes(b"6S\n           5            1\n")
    with pytest.raises(QuotaExceeded):
        store.open("INBOX").append([draft(mailbox, 5)])


def test_read_only_session_writes_nothing(maildir: Path) -> None:
    (maildir / "maildirsize").write_bytes(b"100S")
    store = Store(str(maildir), host="host", read_only=True)
    assert store.quota().usage() is not None  # type: ignore[union-attr]
    assert (maildir / "maildirsize").read_bytes() == b"100S"


# -- each change of the store

def test_every_change_keeps_the_sum(maildir: Path) -> None:
    store = kept(maildir)

    def check() -> tuple[int, int]:
        found = total(maildir)
        assert found == recounted(store, maildir)
        return found
    mailbox, other, free = map(store.open, ("INBOX", "INBOX.a", "INBOX.Trash"))
    mailbox.append([draft(mailbox, 5), draft(mailbox, 7, SEEN), draft(mailbox, 100, DELETED)])
    (maildir / "cur" / "1700000000.M1P1.host:2,").write_bytes(b"no size in its name")
    quota = store.quota()
    assert quota is not None
    quota.changed(Amount(19, 1))
    assert check() == (31, 3)
    uids = list(mailbox.scan().messages.uids)
    mailbox.copy(uids, other)
    assert check() == (62, 6)
    for _ in range(10):
        there = [new for _, new in mailbox.move(list(mailbox.scan().messages.uids), other)[1]]
        assert check() == (62, 6)
        other.scan()
        other.move(there, mailbox)
        assert check() == (62, 6)
    uids = list(mailbox.scan().messages.uids)
    mailbox.copy(uids, free)
    assert check() == (62, 6)
    mailbox.move(uids[:2], free)
    check()
    mailbox.store(uids, FlagChange("+", DELETED))
    assert check() == (31, 3)
    mailbox.store(uids[3:], FlagChange("=", SEEN))
    mailbox.store(uids[3:], FlagChange("=", SEEN, frozenset((b"word",))))
    check()
    mailbox.expunge(list(mailbox.scan().messages.uids))
    check()
    mailbox.remove(list(mailbox.scan().messages.uids))
    assert check() == (31, 3)
    store.rename("INBOX.Trash", "INBOX.b")
    assert check() == (74, 8)
    store.rename("INBOX.b", "INBOX.Trash")
    assert check() == (31, 3)
    store.rename("INBOX", "INBOX.c")
    assert check() == (31, 3)
    store.delete("INBOX.a")
    assert check() == (0, 0)


def test_emptied_folder(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = kept(maildir)
    mailbox = store.open("INBOX.a")
    mailbox.append([draft(mailbox, 5), draft(mailbox, 7)])
    later = time.time() + 3 * trash.DAY
    monkeypatch.setattr(time, "time", lambda: later)
    trash.empty(store, "a:1,Trash:1")
    assert lines(maildir)[1:] == [EMPTY[:-1], b"          12            2", b"         -12           -2"]


def test_refused_store_leaves_the_file_as_it_is(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = kept(maildir)
    mailbox = store.open("INBOX")
    mailbox.append([draft(mailbox, 5)])
    before = lines(maildir)
    rename = os.rename

    def refuse(source: bytes, target: bytes) -> None:
        if b"/cur/" in os.fsencode(target):
            raise OSError(5, "Input/output error")
        rename(source, target)
    monkeypatch.setattr(os, "rename", refuse)
    uids = list(mailbox.scan().messages.uids)
    for change in (lambda: mailbox.store(uids, FlagChange("+", DELETED)),
                   lambda: mailbox.move(uids, store.open("INBOX.Trash")),
                   lambda: mailbox.append([draft(mailbox, 5)])):
        with pytest.raises(quotas.StoreError):
            change()
    assert lines(maildir) == before


def test_many_changes_are_one_line(maildir: Path) -> None:
    store = kept(maildir)
    quota = store.quota()
    assert quota is not None
    quota.changed(*[Amount(1, 1)] * 3)
    assert len(lines(maildir)) == 5
    quota.changed(*[Amount(1, 1)] * 100)
    assert lines(maildir)[5:] == [b"         100          100"]


def test_line_goes_to_the_file_that_has_the_name(maildir: Path) -> None:
    """Another program counts between the question and the answer."""
    store = kept(maildir)
    mailbox = store.open("INBOX")
    waiting = draft(mailbox, 5)
    mailbox.admit(5, 1)
    (maildir / "fresh").write_bytes(b"1000000S,1000C\n" + EMPTY)
    os.rename(maildir / "fresh", maildir / "maildirsize")
    mailbox.append([waiting])
    assert total(maildir) == (5, 1)


def test_file_that_cannot_be_written_fails_no_command(maildir: Path) -> None:
    store = kept(maildir)
    quota = store.quota()
    assert quota is not None
    (maildir / "maildirsize").unlink()
    (maildir / "maildirsize").mkdir()
    quota.changed(Amount(5, 1))
    assert (maildir / "maildirsize").is_dir()


def test_file_that_cannot_be_read_keeps_nobody_from_mail(maildir: Path) -> None:
    (maildir / "maildirsize").mkdir()
    store = Store(str(maildir), host="host")
    mailbox = store.open("INBOX")
    mailbox.append([draft(mailbox, 5)])
    assert store.options.quota is not None
    assert store.options.quota.usage() is None
    (maildir / "maildirsize").rmdir()
    (maildir / "maildirsize").symlink_to("maildirsize")
    # the account's quota counts, and the file is one again
    mailbox = Store(str(maildir), host="host", quota="6S").open("INBOX")
    with pytest.raises(QuotaExceeded):
        mailbox.append([draft(mailbox, 5)])
    assert lines(maildir) == [b"6S", b"           5            1"]


def test_layouts_without_a_quota(tmp_path: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (tmp_path / "INBOX" / part).mkdir(parents=True)
    (tmp_path / "maildirsize").write_bytes(b"1S\n" + EMPTY)
    store = Store(str(tmp_path), host="host", choice="fs", quota="1S")
    assert store.quota() is None
