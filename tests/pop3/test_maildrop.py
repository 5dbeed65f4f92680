"""The maildrop on disk: what stays, what goes, what goes wrong."""
from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir import errors
from courierpy.maildir.formats import pop3list, pop3uidls
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, FLAGGED, FlagChange
from courierpy.pop3 import maildrop, session
from courierpy.pop3.maildrop import Maildrop
from tests.pop3.client import MAILS, Pop3d, fill


@pytest.fixture
def maildir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    fill(tmp_path, "one", "crlf", "open")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def uidls(only_reads: bool = False) -> list[bytes | None]:
    found = Maildrop(Store(), only_reads)
    found.close()
    return [entry.uidl for entry in found.entries]


def flags(maildir: Path) -> list[str]:
    return [path.name.rpartition(":")[2] for path in sorted((maildir / "cur").iterdir())]


def deliver(maildir: Path, name: str, text: bytes = b"Subject: x\n\nx\n") -> None:
    (maildir / "new" / name).write_bytes(text)


def test_uidls_stay_whatever_flags_change(maildir: Path) -> None:
    before = uidls()
    assert len(set(before)) == 3 and None not in before
    box = Store().open("INBOX")
    box.store(box.scan().messages.uids[:2], FlagChange("+", FLAGGED))
    assert flags(maildir) == ["2,F", "2,F", "2,"]
    text = (maildir / pop3list.NAME).read_bytes()
    assert uidls() == before
    assert (maildir / pop3list.NAME).read_bytes() == text          # as Courier, which leaves it then
    deliver(maildir, "1.first.host")
    assert uidls()[1:] == before


def test_dovecots_uidls_stay(maildir: Path) -> None:
    names = sorted(path.name.partition(":")[0] for path in maildir.glob("[cn][ue][rw]/*"))
    (maildir / "dovecot-uidlist").write_text(f"3 V1795570068 N9\n4 :{names[0]}\n8 W9 Pown :{names[2]}\n")
    first = uidls()
    assert (first[0], first[2]) == (b"000000046b063994", b"own")
    assert first[1] is not None and first[1].startswith(b"UID")
    (maildir / "dovecot-uidlist").unlink()
    assert uidls() == first


def test_dovecots_uidls_are_not_taken_when_others_were_told(maildir: Path) -> None:
    told = uidls()
    name = next((maildir / "cur").iterdir()).name.partition(":")[0]
    (maildir / "dovecot-uidlist").write_text(f"3 V1795570068 N9\n4 :{name}\n")
    assert uidls() == told
    assert not (maildir / pop3uidls.NAME).exists()


def test_no_uidl_is_told_where_the_kept_ones_cannot_be_read(maildir: Path) -> None:
    (maildir / pop3uidls.NAME).mkdir()
    assert uidls() == [None, None, None]
    assert not (maildir / pop3list.NAME).exists()
    (maildir / pop3uidls.NAME).rmdir()
    assert None not in uidls()


def test_no_uidl_comes_twice_after_all_was_deleted(maildir: Path) -> None:
    seen = set(uidls())
    for turn in range(3):
        for path in (maildir / "cur").iterdir():
            path.unlink()
        deliver(maildir, f"17000000{turn}0.M1P1.host")
        (found,) = uidls()
        assert found not in seen
        seen.add(found)


def test_sizes_are_those_that_are_sent_and_couriers_stay_in_its_list(maildir: Path) -> None:
    for name, mail in MAILS.items():
        deliver(maildir, f"1700000100.M{len(mail)}P1.{name}", mail)
    large = b"Subject: large\n\n" + b".x\r\n.\ny\r" * (1 << 17) + b"end"
    deliver(maildir, "1700000200.M1P1.large", large)
    for _ in range(2):                 # counted, and as kept
        with Pop3d(maildir) as client:
            assert client.line().startswith(b"+OK")
            listed = dict(row.split() for row in client.rows(b"LIST"))
            for number, size in listed.items():
                reply = client.ask(b"RETR " + number)
                assert reply == b"+OK %s octets follow.\r\n" % size
                rows = []
                while (row := client.line()) != b".\r\n":
                    rows.append(row[1:] if row.startswith(b".") else row)
                assert sum(map(len, rows)) == int(size)
    courier = {line.split(b" ")[0].split(b":")[0]: int(line.split(b" ")[1])
               for line in (maildir / pop3list.NAME).read_bytes().splitlines()[1:]}
    assert courier[b"1700000200.M1P1.large"] == len(large) + large.count(b"\n")


def test_a_list_that_courier_made_is_kept(maildir: Path) -> None:
    for path in (maildir / "new").iterdir():
        path.rename(maildir / "cur" / (path.name + ":2,"))
    files = sorted(path.name for path in (maildir / "cur").iterdir())
    text = "/3 50 777\n" + "".join(f"{name} 5{at} {at + 1}{at}:77{at}:0\n" for at, name in enumerate(files))
    (maildir / pop3list.NAME).write_text(text)
    assert uidls() == [b"UID10-770", b"UID21-771", b"UID32-772"]
    assert (maildir / pop3list.NAME).read_text() == text
    os.unlink(maildir / "cur" / files[0])
    deliver(maildir, "1800000000.new")
    assert uidls() == [b"UID21-771", b"UID32-772", b"UID50-777"]
    assert (maildir / pop3list.NAME).read_text() == (
        "/3 51 777\n" + "".join(text.splitlines(True)[2:]) + "1800000000.new:2, 17 50:777:0\n")


def test_only_quit_deletes(maildir: Path) -> None:
    for end in ("close", "kill", "term"):
        with Pop3d(maildir) as client:
            assert client.line().startswith(b"+OK")
            assert client.ask(b"DELE 1") == b"+OK Deleted.\r\n"
            if end == "kill":
                client.process.kill()
            elif end == "term":
                client.process.terminate()
                assert client.line() == b"-ERR [SYS/TEMP] The server is shut down.\r\n"
        assert len(list((maildir / "cur").iterdir())) == 3, end
        assert {"close": "INFO: DISCONNECTED, ", "kill": "INFO: LOGIN, ",
                "term": "NOTICE: Disconnected during shutdown by signal, "}[end] in client.errors
    assert client.process.returncode == 0


def test_silence_deletes_nothing(maildir: Path) -> None:
    """Who says nothing is let go, not before ten minutes, and without the UPDATE state.  RFC 1939 3."""
    assert session.READ_TIMEOUT >= 600
    hasty = (sys.executable, "-c", "from courierpy.pop3 import session; session.READ_TIMEOUT = 0.5; "
             "from courierpy.pop3d import run; run()")
    with Pop3d(maildir, hasty) as client:
        assert client.line().startswith(b"+OK")
        assert client.ask(b"DELE 1") == b"+OK Deleted.\r\n"
        assert client.line() == b""
        client.process.wait(60)
    assert len(list((maildir / "cur").iterdir())) == 3
    assert "INFO: TIMEOUT" in client.errors


def test_what_is_deleted_goes_for_good_and_out_of_the_quota_once(maildir: Path) -> None:
    """What IMAP's trash is for does not count here; one that is \\Deleted is out of the sum already."""
    size = maildir / "maildirsize"
    size.write_bytes(b"9000C\n           0            0\n")
    box = Store().open("INBOX")
    box.store(box.scan().messages.uids[:1], FlagChange("+", DELETED))
    box.close()
    before = size.read_bytes()
    with Pop3d(maildir, IMAP_MOVE_EXPUNGE_TO_TRASH="1") as client:
        assert client.line().startswith(b"+OK")
        for number in (b"1", b"2"):
            assert client.ask(b"DELE " + number) == b"+OK Deleted.\r\n"
        assert client.ask(b"QUIT") == b"+OK Bye-bye.\r\n"
    assert size.read_bytes() == before + b"%12d %12d\n" % (-len(MAILS["crlf"]), -1)
    assert [path.name.partition(":")[0] for path in (maildir / "cur").iterdir()] == ["1700000003.M3P1.host"]
    assert not (maildir / ".Trash").exists()


def test_log_lines_are_couriers(maildir: Path) -> None:
    who = r"user=joe, ip=\[192.0.2.1\], port=\[7\]"
    with Pop3d(maildir, POP3_LOG_DELETIONS="1", POP3_TLS="1") as client:
        assert client.line() == b"+OK logged in.\r\n"
        client.rows(b"TOP 1 0")
        client.rows(b"RETR 1")
        client.ask(b"DELE 1")
        assert client.ask(b"QUIT") == b"+OK Bye-bye.\r\n"
        assert client.line() == b""
    lines = client.errors.splitlines()
    assert re.fullmatch(f"INFO: LOGIN, {who}, stls=1", lines[0])
    assert re.fullmatch(rf'INFO: DELETED, {who}, filename="?cur/1700000001.M1P1.host:2\S*', lines[1])
    assert re.fullmatch(rf"INFO: LOGOUT, {who}, top=12, retr=24, rcvd=\d+, sent=\d+, time=\d+, stls=1",
                        lines[2])
    assert len(lines) == 3


def test_a_message_that_is_read_is_seen_and_top_reads_none(maildir: Path) -> None:
    with Pop3d(maildir) as client:
        client.line()
        client.rows(b"TOP 1 9")
        client.rows(b"RETR 2")
        client.ask(b"NOOP")
        assert flags(maildir) == ["2,", "2,S", "2,"]


def test_messages_that_vanish_or_cannot_be_read(maildir: Path) -> None:
    with Pop3d(maildir) as client:
        client.line()
        first, second = sorted((maildir / "cur").iterdir())[:2]
        first.unlink()
        second.unlink()
        second.mkdir()
        gone = b"-ERR Can't open the message file - it's gone!\r\n"
        assert client.ask(b"RETR 1") == gone
        assert client.ask(b"TOP 1 0") == gone
        assert client.ask(b"RETR 2").startswith(b"-ERR [SYS/PERM] ")
        assert client.rows(b"RETR 3")
        assert client.ask(b"STAT").startswith(b"+OK 3 ")
        assert client.ask(b"DELE 1") == b"+OK Deleted.\r\n"
        assert client.ask(b"QUIT") == b"+OK Bye-bye.\r\n"
    assert client.errors.count("ERR: ") == 3
    assert "Traceback" not in client.errors


def test_one_that_imap_expunges_is_gone_and_numbers_stay(maildir: Path) -> None:
    with Pop3d(maildir) as client:
        client.line()
        before = client.rows(b"UIDL")
        box = Store().open("INBOX")
        box.join()
        box.remove(box.scan().messages.uids[:1])
        assert client.ask(b"RETR 1").startswith(b"-ERR ")
        assert client.rows(b"UIDL") == before
        deliver(maildir, "1800000000.new")
        assert client.ask(b"STAT").startswith(b"+OK 3 ")
        assert client.rows(b"RETR 2")
        box.close()


def test_imap_hears_of_what_pop3_deletes(maildir: Path) -> None:
    box = Store().open("INBOX")
    box.join()
    uids = list(box.scan().messages.uids)
    with Pop3d(maildir) as client:
        client.line()
        client.ask(b"DELE 2")
        client.ask(b"QUIT")
    assert list(box.scan().messages.uids) == [uids[0], uids[2]]
    with box.finder.open(uids[1]) as file:         # it was not told yet
        assert file.whole() == MAILS["crlf"]
    box.close()


def test_reading_only(maildir: Path) -> None:
    before = uidls()
    files = sorted((maildir / "cur").iterdir())
    assert uidls(only_reads=True) == before
    os.unlink(maildir / pop3list.NAME)
    with Pop3d(maildir, IMAP_READONLY="1") as client:
        assert client.line() == b"+OK logged in, only for reading.\r\n"
        assert client.ask(b"UIDL").startswith(b"-ERR [SYS/TEMP] ")
        assert client.ask(b"UIDL 1").startswith(b"-ERR [SYS/TEMP] ")
        assert client.rows(b"RETR 1")
        assert client.ask(b"DELE 1").startswith(b"-ERR [SYS/PERM] ")
        assert client.ask(b"QUIT") == b"+OK Bye-bye.\r\n"
    assert sorted((maildir / "cur").iterdir()) == files
    assert not (maildir / pop3list.NAME).exists()


def test_a_list_that_cannot_be_written_announces_nothing_new(maildir: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    before = uidls()
    deliver(maildir, "1800000000.new")

    def full(*words: object, **more: object) -> None:
        raise errors.DiskFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(maildrop, "replace", full)
        assert uidls() == [*before, None]
    assert uidls()[:3] == before
    assert None not in uidls()


def test_a_list_that_cannot_be_read_is_not_made_anew(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = uidls()
    text = (maildir / pop3list.NAME).read_bytes()

    def sick(folder: str) -> bytes:
        raise errors.DiskTrouble(folder, OSError(5, "Input/output error"))

    with monkeypatch.context() as patch:
        patch.setattr(pop3list, "read", sick)
        assert uidls() == [None, None, None]
    assert (maildir / pop3list.NAME).read_bytes() == text
    assert uidls() == before


def test_lines_of_a_session_that_came_between_are_kept(maildir: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session numbers a message while this one counts."""
    uidls()
    deliver(maildir, "1800000000.a")
    look, found = Maildrop._look, []

    def looked(self: Maildrop) -> object:
        mine = look(self)
        if not found:
            found.append(0)
            deliver(maildir, "1800000001.b")
            found.append(uidls())
        return mine

    with monkeypatch.context() as patch:
        patch.setattr(Maildrop, "_look", looked)
        mine = uidls()
    other = found[1]
    assert mine == other[:4]
    assert uidls() == other
