"""Dovecot's files: both versions, broken ones, names of folders, and the conversion both ways."""
from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.admin import convert
from courierpy.maildir.errors import Busy, StoreError
from courierpy.maildir.formats import dovecot
from courierpy.maildir.store import Store
from courierpy.model import utf7

VERSION_3 = (b"3 V1795570068 N3 Ga042c9269439066b574a000083ecc375\n"
             b"1 W20 S17 P0001.uidl:x :100.a,S=17\n"
             b"2 :101.b:2,Sa\n"
             b"7 Xunknown :102.c\n")


# -- dovecot-uidlist

def test_version_3() -> None:
    uidlist = dovecot.parse_uidlist(VERSION_3)
    assert uidlist is not None
    assert (uidlist.uidvalidity, uidlist.uidnext) == (1795570068, 8)      # N lags behind the lines
    assert uidlist.names == {b"100.a,S=17": 1, b"101.b": 2, b"102.c": 7}
    assert uidlist.fields == {b"100.a,S=17": b"W20 S17 P0001.uidl:x", b"102.c": b"Xunknown"}
    assert uidlist.text() == VERSION_3.replace(b" N3 ", b" N8 ").replace(b":2,Sa", b"")


def test_version_1() -> None:
    uidlist = dovecot.parse_uidlist(b"1 12345 90\n11 101.b\n22 100.a:2,S\n33 103.d e\n")
    assert uidlist is not None
    assert (uidlist.uidvalidity, uidlist.uidnext) == (12345, 90)
    assert uidlist.names == {b"101.b": 11, b"100.a": 22, b"103.d e": 33}
    assert uidlist.courier_text() == b"1 12345 90\n11 101.b\n22 100.a\n33 103.d e\n"


@pytest.mark.parametrize("data", [
    b"", b"\n", b"2 V5 N5\n1 :a\n", b"3 N5 Gx\n1 :a\n", b"3 V0 N1\n", b"1 5\n", b"1 5 6 7\n", b"1 x 6\n",
    b"3 V99999999999 N1\n", b"\x00" * 40, b"3V5 N5\n"])
def test_a_header_that_is_none(data: bytes) -> None:
    assert dovecot.parse_uidlist(data) is None


@pytest.mark.parametrize(("lines", "names", "uidnext"), [
    (b"5 :a\n2 :b\n", {b"a": 5, b"b": 2}, 9),                             # out of order
    (b"1 :a\n4 :b\n6 :a\n", {b"a": 6, b"b": 4}, 9),                       # the later line counts
    (b"1 :a\n1 :b\n", {b"a": 1}, 9),                                      # a number's second name
    (b"1 :a\n12 :b", {b"a": 1, b"b": 12}, 13),                            # no newline at the end
    (b"x\n\n :a\n0 :a\n-1 :a\n1 a\n3 :\n\xff\xfe\x00\n2 :b\n", {b"b": 2}, 9),
    (b"4294967295 :a\n99999999999999999999 :c\n2 :b\n", {b"b": 2}, 9),
    (b"1 :a:1,S\n2 :b:2,\n3 ::2,\n", {b"a": 1, b"b": 2, b":2,": 3}, 9),     # flags are no part of a name
    (b"1 :a\r\n", {b"a\r": 1}, 9),                                        # CR is a byte of a name
])
def test_odd_lines(lines: bytes, names: dict[bytes, int], uidnext: int) -> None:
    uidlist = dovecot.parse_uidlist(b"3 V5 N9\n" + lines)
    assert uidlist is not None
    assert (uidlist.names, uidlist.uidnext) == (names, uidnext)


@given(st.binary(max_size=200), st.sampled_from([b"", b"3 V5 N9 Gab\n", b"1 5 9\n"]))
def test_any_bytes(tail: bytes, head: bytes) -> None:
    uidlist = dovecot.parse_uidlist(head + tail)
    if uidlist is not None:
        uids = sorted(uidlist.names.values())
        assert len(set(uids)) == len(uids)
        assert uidlist.uidnext > max(uids, default=0)
        assert 0 < uidlist.uidvalidity < 1 << 32


BASES = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(b":\n"))


@given(st.dictionaries(BASES, st.integers(1, 1000), max_size=8), st.sampled_from([b"", b"Gabc"]))
def test_what_is_written_is_read(names: dict[bytes, int], header: bytes) -> None:
    unique = {name: uid for uid, name in {uid: name for name, uid in names.items()}.items()}
    written = dovecot.Uidlist(5, 1001, unique, dict.fromkeys(list(unique)[:2], b"W1 Pa:b"), header)
    read = dovecot.parse_uidlist(written.text())
    assert read is not None
    assert (read.names, read.fields, read.header) == (written.names, written.fields, header)
    assert (read.uidvalidity, read.uidnext) == (5, 1001)
    spaceless = {name: uid for name, uid in unique.items() if not name.startswith(b" ")}
    again = dovecot.parse_uidlist(dovecot.Uidlist(5, 1001, spaceless).courier_text())
    assert again is not None
    assert again.names == spaceless


def test_two_lists() -> None:
    one = dovecot.Uidlist(5, 4, {b"a": 1, b"b": 3})
    assert not one.contradicts(dovecot.Uidlist(5, 9, {b"a": 1, b"c": 8}))
    assert one.contradicts(dovecot.Uidlist(5, 9, {b"a": 2}))
    assert one.contradicts(dovecot.Uidlist(5, 9, {b"c": 3}))
    assert one.contradicts(dovecot.Uidlist(6, 4, {}))
    more = one.with_more(dovecot.Uidlist(5, 9, {b"a": 2, b"c": 3, b"d": 8}, {b"a": b"W1"}, b"Gx"))
    assert more.names == {b"a": 1, b"b": 3, b"d": 8}
    assert (more.uidnext, more.fields, more.header) == (9, {b"a": b"W1"}, b"Gx")
    assert one.with_more(dovecot.Uidlist(6, 9, {b"d": 8}, {}, b"Gx")).text() == b"3 V5 N4\n1 :a\n3 :b\n"


# -- dovecot-keywords

def test_keywords(tmp_path: Path) -> None:
    file = tmp_path / "dovecot-keywords"
    assert dovecot.read_keywords(str(file)) == {}
    file.write_bytes(b"0 $Label1\n25 Z\n26 beyond\nx y\n3\n4 bad word\n5 b\xc3\xa9\n7 z\n1 tail")
    table = dovecot.read_keywords(str(file))
    assert table == {0: b"$Label1", 25: b"Z", 7: b"Z", 1: b"tail"}        # z and Z are one keyword
    assert dovecot.words_of(b"1.x:2,FSabhz", table) == {b"$Label1", b"tail", b"Z"}
    assert dovecot.words_of(b"1.x:2,Sc", table) == frozenset()
    assert dovecot.words_of(b"1.x", table) == frozenset()


def test_letters() -> None:
    table = {0: b"Foo", 1: b"Bar"}
    assert dovecot.with_words(b"1.x:2,PSb", frozenset({b"foo"}), table) == b"1.x:2,PSa"
    assert dovecot.with_words(b"1.x", frozenset({b"Bar", b"Foo"}), table) == b"1.x:2,ab"
    assert dovecot.with_words(b"1.x", frozenset({b"Other"}), table) == b"1.x"
    assert dovecot.with_words(b"1.x:2,Sab", frozenset(), table) == b"1.x:2,S"


def test_numbers_of_keywords() -> None:
    assert dovecot.assign({0: b"Old", 3: b"Used"}, {b"used": 1, b"New": 5}) == (
        {0: b"Old", 1: b"New", 3: b"Used"}, [])
    full = {number: b"k%d" % number for number in range(26)}
    uses = {b"k%d" % number: 1 for number in range(25)}
    # k25 is in nobody's use: its number goes to the keyword that most messages have
    assert dovecot.assign(full, {**uses, b"rare": 1, b"often": 2}) == ({**full, 25: b"often"}, [b"rare"])


# -- subscriptions and names

def test_subscriptions(tmp_path: Path) -> None:
    assert dovecot.subscriptions(str(tmp_path)) is None
    file = tmp_path / "subscriptions"
    file.write_bytes(b"V\t2\n\nSub\nSub\tdeep\nINBOX\n&AOk-t\nbad..name\n\n")
    assert dovecot.subscriptions(str(tmp_path)) == ["Sub", "Sub.deep", "", "ét"]
    # a folder that still has Dovecot's directory is subscribed to by that name
    (tmp_path / ".&AOk-t").mkdir()
    (tmp_path / ".INBOX.kid").mkdir()
    file.write_bytes(b"a/b\nINBOX.kid\nINBOX.other\nR&-D\n&bad\n&AOk-t\nSub\nSub\nlast")
    assert dovecot.subscriptions(str(tmp_path)) == [
        "a.b", "INBOX.kid", "other", "R&D", "&bad", "&AOk-t", "Sub", "last"]


def test_subscriptions_keep_their_version() -> None:
    rows = [[b"INBOX"], [b"a", b"b"]]
    assert dovecot.subscriptions_text(rows, None, b".") == b"V\t2\n\nINBOX\na\tb\n"
    assert dovecot.subscriptions_text(rows, b"V\t2\n\nold\n", b".") == b"V\t2\n\nINBOX\na\tb\n"
    assert dovecot.subscriptions_text(rows, b"old\n", b".") == b"INBOX\na.b\n"
    assert dovecot.subscriptions_text(rows, b"old\n", b"/") == b"INBOX\na/b\n"


@pytest.mark.parametrize(("theirs", "ours"), [
    (b"&AOk-t.Sub", "ét.Sub".encode()), (b"R&-D", b"R&D"), (b"&2DzfjA-", "🎌".encode()),
    (b"plain", b"plain")])
def test_names(theirs: bytes, ours: bytes) -> None:
    assert (dovecot.courier_name(theirs), dovecot.dovecot_name(ours)) == (ours, theirs)
    # twice is once
    assert (dovecot.courier_name(ours), dovecot.dovecot_name(theirs)) == (ours, theirs)


@pytest.mark.parametrize("name", [
    b"&AOk", b"a&b", b"&-AOk-", b"&AGE-", b"&AAo-", b"&AAA-", b"&2D0-", b"\xff", b"&AOk-\xc3\xa9", b"&A-"])
def test_names_that_are_left(name: bytes) -> None:
    assert dovecot.courier_name(name) == name


@given(st.text(st.characters(exclude_characters="./", exclude_categories=("Cs",)), min_size=1, max_size=30))
def test_names_are_as_on_the_wire(name: str) -> None:
    theirs = utf7.encode(name)
    if dovecot.courier_name(name.encode()) == name.encode():              # does not look encoded itself
        assert dovecot.dovecot_name(name.encode()) == theirs
        if "\n" not in name and "\0" not in name:
            assert dovecot.courier_name(theirs) == name.encode()


def test_last_uidvalidity(tmp_path: Path) -> None:
    assert dovecot.last_uidvalidity(str(tmp_path)) == 0
    for text, value in (("6b063997", 0x6b063997), ("6b063997\n", 0x6b063997), ("x", 0), ("", 0), ("6b06", 0)):
        (tmp_path / "dovecot-uidvalidity").write_text(text)
        assert dovecot.last_uidvalidity(str(tmp_path)) == value


# -- takeover

def test_takeover(tmp_path: Path) -> None:
    present = {b"101.b": b"101.b:2,Sa", b"102.c:odd": b"102.c:odd:2,b", b"103.d": b"../new/103.d"}
    assert dovecot.takeover(str(tmp_path), present) is None
    (tmp_path / "dovecot-uidlist").write_bytes(VERSION_3 + b"9 :103.d\n")
    taken = dovecot.takeover(str(tmp_path), present)
    assert taken is not None
    assert (taken[0].uidvalidity, taken[0].uidnext, taken[1]) == (1795570068, 10, {})
    (tmp_path / "dovecot-keywords").write_bytes(b"0 Foo\n1 Bar\n")
    taken = dovecot.takeover(str(tmp_path), present)
    assert taken is not None
    assert taken[0].names == {b"100.a,S=17": 1, b"101.b": 2, b"102.c:odd": 7, b"103.d": 9}
    assert taken[1] == {b"101.b": {b"Foo"}, b"102.c:odd": {b"Bar"}}


def test_takeover_of_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "dovecot-uidlist").mkdir()
    with pytest.raises(StoreError):
        dovecot.takeover(str(tmp_path), {})
    (tmp_path / "dovecot-uidlist").rmdir()
    (tmp_path / "dovecot-uidlist").write_bytes(b"9 of the future\n")
    assert dovecot.takeover(str(tmp_path), {}) is None


# -- the dotlock

def test_dotlock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    file = tmp_path / "dovecot-uidlist.lock"
    with dovecot.Dotlock(str(tmp_path / "dovecot-uidlist")):
        assert file.read_text() == f"{os.getpid()}:{os.uname().nodename}"
    assert not file.exists()
    # held: by a process that lives, and by one of another host
    monkeypatch.setattr(dovecot, "PATIENCE", 0.05)
    for owner in (f"{os.getppid()}:{os.uname().nodename}", f"{os.getpid()}:elsewhere", ""):
        file.write_text(owner)
        with pytest.raises(Busy), dovecot.Dotlock(str(tmp_path / "dovecot-uidlist")):
            pass
        assert file.read_text() == owner
    # stale: of another host but old, and of a dead process
    os.utime(file, (1, 1))
    with dovecot.Dotlock(str(tmp_path / "dovecot-uidlist")):
        pass
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    file.write_text(f"{pid}:{os.uname().nodename}")
    with dovecot.Dotlock(str(tmp_path / "dovecot-uidlist")):
        pass
    assert not file.exists()


def test_dotlock_that_was_overruled(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    file = tmp_path / "subscriptions.lock"
    with dovecot.Dotlock(str(tmp_path / "subscriptions")):
        file.write_text("1:elsewhere")
    assert file.read_text() == "1:elsewhere"


# -- courierpy convert

def message(folder: Path, name: str, where: str = "cur") -> None:
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / where / name).write_bytes(b"Subject: x\n\nbody\n")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A Maildir as Dovecot leaves it."""
    maildir = tmp_path / "Maildir"
    message(maildir, "100.a:2,Sab")
    message(maildir, "101.b:2,")
    message(maildir, "102.c", "new")
    (maildir / "dovecot-uidlist").write_bytes(b"3 V1795570068 N6 Gabc\n2 P7 :100.a\n3 :101.b\n5 :102.c\n")
    (maildir / "dovecot-keywords").write_bytes(b"0 Foo\n1 $Label1\n")
    (maildir / "dovecot-uidvalidity").write_bytes(b"6b063fff")
    (maildir / "dovecot.index.log").write_bytes(b"x")
    (maildir / "subscriptions").write_bytes(b"V\t2\n\n&AOk-t\nSub\n")
    message(maildir / ".&AOk-t", "200.a:2,a")
    (maildir / ".&AOk-t" / "dovecot-uidlist").write_bytes(b"3 V1795570069 N2\n9 :200.a\n")
    (maildir / ".&AOk-t" / "dovecot-keywords").write_bytes(b"0 Foo\n")
    return maildir


def contents(maildir: Path) -> dict[str, bytes]:
    return {str(path.relative_to(maildir)): path.read_bytes() for path in sorted(maildir.rglob("*"))
            if path.is_file()}


def test_from_dovecot(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(served)
    assert convert.main(["--from", "dovecot", "--dry-run", str(served)]) == 0
    assert contents(served) == before
    assert "would be: INBOX: taken over: UIDVALIDITY 1795570068, UIDNEXT 6" in capsys.readouterr().out
    assert convert.main(["--from", "dovecot", str(served)]) == 0
    assert ".&AOk-t: renamed to .ét\n" in capsys.readouterr().out
    after = contents(served)
    assert after["courierimapuiddb"] == b"1 1795570068 6\n2 100.a\n3 101.b\n5 102.c\n"
    assert after["courierimapkeywords/:list"] == b"$Label1\nFoo\n\n100.a:0 1\n"
    assert after[".ét/courierimapuiddb"] == b"1 1795570069 10\n9 200.a\n"
    assert after[".ét/courierimapkeywords/:list"] == b"Foo\n\n200.a:0\n"
    assert after["courierimapsubscribed"] == "INBOX.ét\nINBOX.Sub\n".encode()
    assert after["courierpy-uidvalidity"] == b"%d\n" % 0x6b063fff
    assert after["courierpy-pop3uidls"] == b"7 100.a\n000000036b063994 101.b\n000000056b063994 102.c\n"
    assert ".ét/courierpy-pop3uidls" not in after
    # the store opens it so
    tree = Store(str(served), host="host")
    snapshot = tree.open("INBOX").scan()
    assert (snapshot.uidvalidity, snapshot.uidnext) == (1795570068, 6)
    assert list(snapshot.messages.uids) == [2, 3, 5]
    assert tree.subscriptions() == ["INBOX.ét", "INBOX.Sub"]
    assert tree.uidvalidities.next() == 0x6b064000
    # Courier's files are the truth now
    capsys.readouterr()
    before = contents(served)
    assert convert.main(["--from", "dovecot", str(served)]) == 0
    assert contents(served) == before
    assert "has Courier's files already" in capsys.readouterr().out


def test_dovecot_served_it_again(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert.main(["--from", "dovecot", str(served)])
    (served / "courierimapsubscribed").write_bytes(b"INBOX.Sub\n#shared.x\n")
    (served / "cur" / "100.a:2,Sab").rename(served / "cur" / "100.a:2,Sb")
    message(served, "103.d:2,a")
    with (served / "dovecot-uidlist").open("ab") as file:
        file.write(b"6 :103.d\n")
    before = contents(served)
    assert convert.main(["--from", "dovecot", str(served)]) == 1
    assert contents(served) == before
    assert "though Dovecot gave numbers since" in capsys.readouterr().out
    (served / "courierimapkeywords" / "101.b").write_bytes(b"Old\n")       # an update of Courier's time
    assert convert.main(["--from", "dovecot", "--replace", str(served)]) == 0
    after = contents(served)
    assert after["courierimapuiddb"] == b"1 1795570068 7\n2 100.a\n3 101.b\n5 102.c\n6 103.d\n"
    assert sorted(after["courierimapkeywords/:list"].partition(b"\n\n")[0].split()) == [b"$Label1", b"Foo"]
    assert "courierimapkeywords/101.b" not in after
    assert after["courierimapsubscribed"] == "INBOX.ét\nINBOX.Sub\n#shared.x\n".encode()


def test_rights_are_not_taken_over(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (served / ".&AOk-t" / "dovecot-acl").write_bytes(b"user=bob lrs\n")
    assert convert.main(["--from", "dovecot", str(served)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines if "not taken over: dovecot-acl" in line] == ["INBOX.ét"]


def test_other_uidls_of_dovecots(served: Path) -> None:
    for form in ("%v", "%08Xv", "%m", "%u %v", "%ü"):
        with pytest.raises(SystemExit):
            convert.main(["--from", "dovecot", "--uidl", form, str(served)])
    convert.main(["--from", "dovecot", "--uidl", "%v.%4u%%%f", str(served)])
    assert contents(served)["courierpy-pop3uidls"] == (
        b"7 100.a\n1795570068.   3%101.b 101.b\n1795570068.   5%102.c 102.c\n")


def test_uidls_go_to_dovecot(served: Path) -> None:
    """Those that were told here, but not those that Dovecot makes itself."""
    convert.main(["--from", "dovecot", str(served)])
    message(served, "104.e:2,")
    (served / "courierimapuiddb").write_bytes(b"1 1795570068 8\n2 100.a\n3 101.b\n5 102.c\n7 104.e\n")
    (served / "courierpop3dsizelist").write_bytes(
        b"/3 9 77\n100.a:2,S 9 5:77:0\n101.b:2, 9 6:77:0\n102.c:2, 9 7:77:0\n104.e:2, 9 8:77:0\n")
    assert convert.main(["--to", "dovecot", str(served)]) == 0
    assert contents(served)["dovecot-uidlist"] == (
        b"3 V1795570068 N8 Gabc\n2 P7 :100.a\n3 :101.b\n5 :102.c\n7 PUID8-77 :104.e\n")
    (served / "courierpy-pop3uidls").unlink()              # as it is after a time with Courier
    assert convert.main(["--to", "dovecot", str(served)]) == 0
    assert contents(served)["dovecot-uidlist"] == (
        b"3 V1795570068 N8 Gabc\n2 P7 :100.a\n3 PUID6-77 :101.b\n5 PUID7-77 :102.c\n7 PUID8-77 :104.e\n")


def test_to_dovecot(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert.main(["--from", "dovecot", str(served)])
    (served / "cur" / "100.a:2,Sab").rename(served / "cur" / "100.a:2,FSab")
    (served / "cur" / "101.b:2,").unlink()
    message(served, "104.e:2,P")
    message(served, "105.f:2,ac")                      # Courier has no number for it
    (served / "courierimapuiddb").write_bytes(b"1 1795570068 8\n2 100.a\n5 102.c\n7 104.e\n")
    (served / "courierimapkeywords" / "100.a").write_bytes(b"foo\n")
    (served / "courierimapkeywords" / "102.c").write_bytes(b"New\n")
    (served / "courierimapkeywords" / "104.e").write_bytes(b"New\n$Label1\n")
    (served / "courierimapsubscribed").write_bytes("INBOX\nINBOX.ét\nINBOX.x.y\n#shared.z\n".encode())
    before = contents(served)
    assert convert.main(["--to", "dovecot", "--dry-run", str(served)]) == 1
    assert contents(served) == before
    assert convert.main(["--to", "dovecot", str(served)]) == 1
    assert "not in the Maildir, left out: #shared.z" in capsys.readouterr().out
    after = contents(served)
    assert after["dovecot-uidlist"] == (b"3 V1795570068 N8 Gabc\n2 P7 :100.a\n3 :101.b\n5 :102.c\n7 :104.e\n")
    assert after["dovecot-keywords"] == b"0 Foo\n1 $Label1\n2 New\n"
    assert sorted(os.listdir(served / "cur")) == ["100.a:2,FSa", "102.c:2,c", "104.e:2,Pbc", "105.f:2,a"]
    assert os.listdir(served / "new") == []
    assert after["subscriptions"] == b"V\t2\n\nINBOX\n&AOk-t\nx\ty\n"
    assert after[".&AOk-t/dovecot-uidlist"] == b"3 V1795570069 N10\n9 :200.a\n"
    assert "dovecot.index.log" in after
    for name in ("courierimapuiddb", "courierimapkeywords/100.a", "courierimapkeywords/:list"):
        assert after[name] == before[name]
    assert not [name for name in after if name.endswith(".lock")]


def test_a_colon_in_a_name(tmp_path: Path) -> None:
    """Dovecot's name of the message ends before the first colon, Courier's before the last."""
    message(tmp_path, "102.c:odd:2,S")
    (tmp_path / "dovecot-uidlist").write_bytes(b"3 V5 N9\n4 W7 :102.c\n")
    assert convert.main(["--from", "dovecot", str(tmp_path)]) == 0
    assert contents(tmp_path)["courierimapuiddb"] == b"1 5 9\n4 102.c:odd\n"
    assert convert.main(["--from", "dovecot", str(tmp_path)]) == 0
    assert convert.main(["--to", "dovecot", str(tmp_path)]) == 0
    assert contents(tmp_path)["dovecot-uidlist"] == b"3 V5 N9\n4 W7 :102.c\n"


def test_numbers_that_contradict(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert.main(["--from", "dovecot", str(served)])
    (served / "courierimapuiddb").write_bytes(b"1 1795570068 8\n2 100.a\n3 101.b\n6 102.c\n")
    before = contents(served)["dovecot-uidlist"]
    assert convert.main(["--to", "dovecot", str(served)]) == 1
    assert contents(served)["dovecot-uidlist"] == before
    assert "contradict" in capsys.readouterr().out
    assert convert.main(["--to", "dovecot", "--replace", str(served)]) == 0
    after = contents(served)
    assert after["dovecot-uidlist"] == (
        b"3 V1795570068 N8 Gabc\n2 P7 :100.a\n3 :101.b\n6 P000000056b063994 :102.c\n")
    # its index would tell another message's header for a number
    assert "dovecot.index.log" not in after
    assert "removed dovecot.index.log" in capsys.readouterr().out


def test_more_keywords_than_letters(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert.main(["--from", "dovecot", str(served)])
    (served / "courierimapkeywords" / "100.a").write_bytes(b"".join(b"k%02d\n" % n for n in range(20)))
    (served / "courierimapkeywords" / "101.b").write_bytes(b"".join(b"k%02d\n" % n for n in range(10, 30)))
    capsys.readouterr()
    assert convert.main(["--to", "dovecot", str(served)]) == 1
    assert "no letter left for k26, k27, k28, k29\n" in capsys.readouterr().out
    table = dovecot.read_keywords(str(served / "dovecot-keywords"))
    assert len(table) == 26
    shown = {dovecot.words_of(os.fsencode(entry), table) for entry in os.listdir(served / "cur")}
    assert frozenset(b"k%02d" % n for n in range(20)) in shown
    assert frozenset(b"k%02d" % n for n in range(10, 26)) in shown


def test_utf8_directories_and_names_that_are_taken(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main(["--from", "dovecot", "--utf8", str(served)]) == 0
    assert (served / ".&AOk-t" / "courierimapuiddb").exists()
    message(served / ".ét", "1.x:2,")
    assert convert.main(["--from", "dovecot", str(served)]) == 1
    assert ".&AOk-t: not renamed: there is a .ét already" in capsys.readouterr().out
    assert (served / ".&AOk-t").exists()


def test_what_is_no_maildir(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = os.getcwd()
    assert convert.main(["--to", "dovecot", str(tmp_path / "none"), str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("courierpy: ") == 2
    assert os.getcwd() == here


def test_the_owner_owns_what_is_written(served: Path) -> None:
    if os.getuid():
        pytest.skip("not root: cannot give a Maildir away")
    for path in (served, *served.rglob("*")):
        os.chown(path, 65534, 65534)
    assert convert.main(["--from", "dovecot", str(served)]) == 0
    assert convert.main(["--to", "dovecot", str(served)]) == 0
    assert {path.stat().st_uid for path in served.rglob("*")} == {65534}
    assert os.geteuid() == 0


def killed_at(step: int, words: list[str]) -> bool:
    """Convert in a child that is killed before its change number ``step``; False when it came to the end."""
    pid = os.fork()
    if pid == 0:
        left = step

        def counted(name: str) -> None:
            real = getattr(os, name)

            def change(*args: object, **more: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **more)
            setattr(os, name, change)

        for name in ("rename", "link", "unlink", "mkdir", "write"):
            counted(name)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            convert.main(words)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("side", ["--from", "--to"])
def test_killed_at_any_moment(side: str, served: Path, tmp_path: Path) -> None:
    if side == "--to":
        convert.main(["--from", "dovecot", str(served)])
        (served / "courierimapkeywords" / "101.b").write_bytes(b"New\nFoo\n")
        (served / "courierimapkeywords" / "102.c").write_bytes(b"New\n")
    else:
        # as if an earlier Courier had left an update
        (served / "courierimapkeywords").mkdir()
        (served / "courierimapkeywords" / "101.b").write_bytes(b"New\n")
    whole = tmp_path / "whole"
    shutil.copytree(served, whole)
    assert convert.main([side, "dovecot", str(whole)]) == 0
    wanted = contents(whole)
    truth = {"--from": ("dovecot-uidlist", "dovecot-keywords", "subscriptions"),
             "--to": ("courierimapuiddb", "courierimapkeywords/:list", "courierimapsubscribed")}[side]
    kept = {name: contents(served)[name] for name in truth}
    step = 0
    while True:
        maildir = tmp_path / f"step{step}"
        shutil.copytree(served, maildir)
        killed = killed_at(step, [side, "dovecot", str(maildir)])
        found = contents(maildir)
        assert {name: found[name] for name in truth} == kept
        assert sum("/cur/" in f"/{name}" or "/new/" in f"/{name}" for name in found) == 4
        assert convert.main([side, "dovecot", str(maildir)]) == 0
        found = contents(maildir)
        assert {name: data for name, data in found.items() if "/tmp/" not in f"/{name}"} == wanted
        shutil.rmtree(maildir)
        if not killed:
            break
        step += 1
        assert step < 500
    assert step > 20
