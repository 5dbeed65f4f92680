"""Every command of SMAP, with what it answers."""
from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir.store import Store
from tests.smap.client import PARTS, PLAIN, Smap, fill


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Smap]:
    fill(tmp_path)
    with Smap(tmp_path) as made:
        yield made


def test_list_tells_one_level(client: Smap) -> None:
    assert client.do("LIST") == (b'* LIST "INBOX" "New Mail" FOLDER\n* LIST "INBOX" "Folders" DIRECTORY\n'
                                 b'* LIST "public" "Public Folders" DIRECTORY\n+OK LIST completed\n')
    assert client.do("LIST INBOX") == b"+OK LIST completed\n"
    for path in ("Sub", '"a ""b"" c"', "a.b/c\u00e9~:\\", "Dir Deep"):
        assert client.do(f"CREATE INBOX {path}") == b"+OK Folder created\n"
    told = client.do("LIST INBOX").decode().splitlines()
    assert set(told) == {'* LIST "Sub" "Sub" FOLDER', '* LIST "a ""b"" c" "a ""b"" c" FOLDER',
                         '* LIST "a.b/c\u00e9~:\\" "a.b/c\u00e9~:\\" FOLDER', '* LIST "Dir" "Dir" DIRECTORY',
                         "+OK LIST completed"}
    assert client.do("LIST INBOX Dir") == b'* LIST "Deep" "Deep" FOLDER\n+OK LIST completed\n'
    assert client.do("OPEN INBOX a.b/c\u00e9~:\\") == b"* EXISTS 0\n+OK Folder opened\n"
    assert client.do("LIST public") == client.do("LIST nothing") == b"+OK LIST completed\n"


def test_folders_come_and_go(client: Smap, tmp_path: Path) -> None:
    assert client.do("CREATE INBOX Sub") == b"+OK Folder created\n"
    assert client.do("CREATE INBOX Sub") == b"-ERR Cannot create folder: File exists\n"
    for wrong in ("CREATE", "CREATE INBOX", "CREATE Top", 'CREATE INBOX "" x', "MKDIR"):
        assert client.do(wrong) == b"-ERR Cannot create folder: Invalid argument\n"
    assert client.do("MKDIR INBOX Dir") == b"+OK Folder created\n"
    assert client.do("MKDIR INBOX").startswith(b"-ERR") and client.do("RMDIR INBOX").startswith(b"-ERR")
    assert client.do('RENAME INBOX Sub "" INBOX "q""q"') == b"+OK Folder renamed.\n"
    assert (tmp_path / '.q"q' / "cur").is_dir() and not (tmp_path / ".Sub").exists()
    assert client.do('RENAME INBOX Sub "" INBOX x') == \
        b"-ERR Cannot rename folder: No such file or directory\n"
    assert client.do('OPEN INBOX "q""q"').endswith(b"+OK Folder opened\n")
    assert client.do('RENAME INBOX "q""q" "" INBOX x') == b"-ERR Can't RENAME the currently-open folder\n"
    assert client.do('DELETE INBOX "q""q"') == b"-ERR Cannot delete currently-open folder.\n"
    assert client.do("CLOSE") == client.do("CLOSE") == b"+OK Folder closed\n"
    assert client.do('DELETE INBOX "q""q"') == b"+OK Folder deleted\n"
    assert client.do("DELETE INBOX x") == b"-ERR Cannot delete folder: No such file or directory\n"
    assert client.do("DELETE INBOX") == b"-ERR INBOX may not be deleted\n"
    assert client.do("RMDIR INBOX Dir") == b"+OK Folder deleted\n"
    assert client.do("OPEN INBOX Nope") == b"-ERR Cannot open the folder: No such file or directory\n"
    assert client.do("OPEN") == client.do("SOPEN") == b"-ERR Invalid folder: Invalid argument\n"


def test_one_that_may_not_be_read_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    fill(tmp_path)
    odd = tmp_path / "cur" / "1000000000.odd:2,"
    odd.symlink_to(odd.name)
    with Smap(tmp_path) as client:
        opened = re.search(rb"EXISTS (\d+)\n", client.do("OPEN INBOX"))
        assert opened is not None
        count = int(opened[1])
        for items in ("UID CONTENTS.PEEK=HEADERS(subject)", "CONTENTS=ALL", "FLAGS CONTENTS.PEEK=MIME"):
            told = client.do(f"FETCH 1-{count} {items}")
            assert told.endswith(b"-ERR Cannot retrieve message: Permission denied\n")
            seqs = set(re.findall(rb"FETCH (\d+)", told))
            assert seqs >= {b"%d" % seq for seq in range(2, count + 1)}, items
            if "CONTENTS=ALL" in items:
                assert b"1" not in seqs


def test_status(client: Smap) -> None:
    for kind in ("FULL", "cheap"):
        assert client.do(f"STATUS {kind} INBOX") == \
            b"* STATUS EXISTS=3 UNSEEN=1\n+OK Folder status retrieved\n"
    assert client.do("STATUS INBOX") == b"-ERR Cannot read folder status: Invalid argument\n"
    assert client.do("STATUS FULL INBOX Nope") == \
        b"-ERR Cannot read folder status: No such file or directory\n"


def test_attributes(client: Smap, tmp_path: Path) -> None:
    os.utime(next((tmp_path / "cur").glob("1700000000.*")), (1764000000, 1764000000))
    client.do("OPEN INBOX")
    assert client.do("FETCH 1 INTERNALDATE SIZE UID KEYWORDS FLAGS BOGUS") == (
        b'* FETCH 1 FLAGS=SEEN "KEYWORDS=" "UID=1700000000.M0P1.host" SIZE=%d '
        b'"INTERNALDATE=Mon, 24 Nov 2025 16:00:00 +0000"\n+OK Message retrieved.\n' % len(PLAIN % ((0,) * 4)))
    assert client.do("fetch 1 3 7-9 flags") == \
        b"* FETCH 1 FLAGS=SEEN\n* FETCH 3 FLAGS=REPLIED,SEEN\n+OK Message retrieved.\n"
    for nothing in ("FETCH", "FETCH 1", "FETCH 9 UID", "FETCH 0 UID", "FETCH ALL UID"):
        assert client.do(nothing) == b"+OK Message retrieved.\n"


def test_contents(client: Smap) -> None:
    client.do("OPEN INBOX")
    size = len(PARTS)
    assert client.do("FETCH 3 CONTENTS.PEEK=ALL") == \
        b"{%d/%d} FETCH 3 CONTENTS\n%s\n+OK Message retrieved.\n" % (size, size, PARTS)
    body = PARTS[PARTS.index(b"\n\n") + 2:]
    assert client.do("FETCH 3 CONTENTS.PEEK=BODY") == \
        b"{%d/%d} FETCH 3 CONTENTS\n%s\n+OK Message retrieved.\n" % (len(body), len(body), body)
    assert client.do("FETCH 3 CONTENTS.PEEK=HEADERS(to,SUBJECT)") == (
        b"{.0} FETCH 3 HEADERS\nTo: b@example.com, c@example.com\nSubject: hello two\n.\n"
        b"+OK Message retrieved.\n")
    assert client.do("FETCH 3 CONTENTS.PEEK=RAWHEADERS(subject)") == \
        b"{.0} FETCH 3 RAWHEADERS\nSubject: hello\n two\n.\n+OK Message retrieved.\n"
    assert b"MIME-Version" not in client.do("FETCH 3 CONTENTS.PEEK=HEADERS(:ENVELOPE)")
    assert b"MIME-Version: 1.0\nContent-Type: multipart" in client.do("FETCH 3 CONTENTS.PEEK=HEADERS(:MIME)")
    assert client.do("FETCH 3 CONTENTS.PEEK=BODY[1.1]") == \
        b"{14/14} FETCH 3 CONTENTS\ncaf=C3=A9\n.dot\n+OK Message retrieved.\n"
    assert client.do("FETCH 3 CONTENTS.PEEK=BODY.DECODED[1.1]") == \
        b"{10/14} FETCH 3 CONTENTS\ncaf\xc3\xa9\n.dot\n+OK Message retrieved.\n"
    assert client.do("FETCH 3 CONTENTS.PEEK=BODY.DECODED[1.2]") == \
        b"{6/8} FETCH 3 CONTENTS\n\0\1\2\3\4\5\n+OK Message retrieved.\n"
    assert client.do("FETCH 3 CONTENTS.PEEK=BODY[9]") == b"-ERR Cannot retrieve message: Invalid argument\n"
    assert client.do("FETCH 1-3 CONTENTS.PEEK=BOGUS") == b"+OK Message retrieved.\n"
    assert client.do("FETCH 3 CONTENTS.PEEK=MIME(content-transfer-encoding)") == (
        b'{.%d} FETCH 3 LINES=%d SIZE=%d "MIME.ID="\n.\n'
        b'{.85} FETCH 3 LINES=1 SIZE=14 "MIME.ID=1.1" "MIME.PARENT="\n'
        b"Content-Transfer-Encoding: quoted-printable\n.\n"
        b'{.74} FETCH 3 LINES=0 SIZE=8 "MIME.ID=1.2" "MIME.PARENT="\n'
        b"Content-Transfer-Encoding: base64\n.\n+OK Message retrieved.\n"
        % (size - len(body), body.count(b"\n"), len(body)))


def test_contents_make_a_message_seen(client: Smap) -> None:
    client.do("OPEN INBOX")
    assert b"FLAGS" not in client.do("FETCH 2 CONTENTS.PEEK=HEADERS(subject)")
    assert client.do("FETCH 2 CONTENTS=HEADERS(subject) FLAGS") == (
        b"{.0} FETCH 2 HEADERS\nSubject: hello 1\n.\n* FETCH 2 FLAGS=SEEN\n* FETCH 2 FLAGS=SEEN\n"
        b"+OK Message retrieved.\n")
    assert client.do("FETCH 2 CONTENTS=HEADERS(subject)") == \
        b"{.0} FETCH 2 HEADERS\nSubject: hello 1\n.\n+OK Message retrieved.\n"


def test_a_large_message_comes_in_pieces(client: Smap, tmp_path: Path) -> None:
    text = b"Subject: large\n\n" + b"".join(b"%09d\n" % number for number in range(200_000))
    (tmp_path / "new" / "1800000000.M1P1.host").write_bytes(text)
    client.do("OPEN INBOX")
    client.send(b"FETCH 4 CONTENTS.PEEK=ALL\n")
    assert client.process.stdout is not None
    head = client.process.stdout.readline()
    match = re.fullmatch(rb"\{(\d+)/%d\} FETCH 4 CONTENTS\n" % len(text), head)
    assert match is not None
    size, found = int(match[1]), []
    while size:
        found.append(client.process.stdout.read(size))
        size = int(client.process.stdout.readline().strip() or b"0")
    assert len(found) > 1 and b"".join(found) == text
    assert client.line() == b"+OK Message retrieved.\n"


def test_store(client: Smap) -> None:
    client.do("OPEN INBOX")
    assert client.do("STORE 1 FLAGS=SEEN,DELETED,MARKED,DRAFT,REPLIED") == \
        b"* FETCH 1 FLAGS=DRAFT,MARKED,REPLIED,SEEN,DELETED\n+OK Folder status updated\n"
    assert client.do("STORE 1 KEYWORDS=Foo,Bar") == \
        b'* FETCH 1 "KEYWORDS=Bar,Foo"\n+OK Folder status updated\n'
    assert client.do("STORE 1 -FLAGS=seen,DRAFT") == \
        b"* FETCH 1 FLAGS=MARKED,REPLIED,DELETED\n+OK Folder status updated\n"
    assert client.do("STORE 1 FLAGS=BOGUS") == b"* FETCH 1 FLAGS=\n+OK Folder status updated\n"
    assert client.do("STORE 1 +KEYWORDS=Baz -KEYWORDS=foo") == (
        b'* FETCH 1 "KEYWORDS=Bar,Baz,Foo"\n* FETCH 1 "KEYWORDS=Bar,Baz"\n+OK Folder status updated\n')
    assert client.do('STORE 2 "KEYWORDS=a ""b"""') == \
        b'* FETCH 2 "KEYWORDS=a__b_"\n+OK Folder status updated\n'
    assert client.do("STORE 1 KEYWORDS=") == b'* FETCH 1 "KEYWORDS="\n+OK Folder status updated\n'
    for nothing in ("STORE", "STORE 9 FLAGS=SEEN", "STORE 1 BLA"):
        assert client.do(nothing) == b"+OK Folder status updated\n"
    assert client.do('STORE 2 "INTERNALDATE=Tue, 21 Jan 2003 20:57:48 -0500"') == \
        b"+OK Folder status updated\n"
    assert client.do("FETCH 2 INTERNALDATE") == \
        b'* FETCH 2 "INTERNALDATE=Wed, 22 Jan 2003 01:57:48 +0000"\n+OK Message retrieved.\n'
    assert client.do("STORE 2 INTERNALDATE=bogus") == b"-ERR Syntax error.\n"


def test_copy_and_move(client: Smap, tmp_path: Path) -> None:
    client.do('CREATE INBOX "q""q"')
    client.do("OPEN INBOX")
    told = client.do('COPY 1-2 "" INBOX "q""q"').splitlines()
    names = [re.fullmatch(rb'\* COPY (\d) "NEWUID=([^"]+)"', line) for line in told[:2]]
    assert [name and name[1] for name in names] == [b"1", b"2"] and told[2:] == [b"+OK Messages copied."]
    there = {path.name.partition(":")[0] for path in (tmp_path / '.q"q' / "cur").iterdir()}
    assert {name[2].decode() for name in names if name is not None} == there
    moved = client.do('MOVE 2-3 "" INBOX "q""q"').splitlines()
    assert [line[:9] for line in moved] == [b"* COPY 2 ", b"* COPY 3 ", b"* EXPUNGE", b"+OK Messa"]
    assert moved[2] == b"* EXPUNGE 2-3"
    assert client.do('STATUS FULL INBOX "q""q"').startswith(b"* STATUS EXISTS=4 UNSEEN=2\n")
    assert client.do('COPY 9 "" INBOX') == b"+OK Messages copied.\n"
    for wrong in ("COPY 1 INBOX", 'COPY "" INBOX', "COPY"):
        assert client.do(wrong) == b"-ERR Syntax error.\n"
    assert client.do('COPY 1 ""') == b"-ERR Cannot copy messages: Invalid argument\n"
    assert client.do('MOVE 1 "" INBOX Nope') == b"-ERR Cannot copy messages: No such file or directory\n"


def test_search(client: Smap) -> None:
    client.do("OPEN INBOX")
    client.do("STORE 2 +FLAGS=MARKED")
    client.do("STORE 1 KEYWORDS=Foo")
    for criterion, found in (
            ("ALL SUBJECT hello", b"1-3"), ("all not subject \"hello 1\"", b"1 3"), ("MARKED FROM a", b"2"),
            ("UNMARKED FROM a", b"1 3"), ("1-2,3 SEEN", b"1 3"), ("ALL REPLIED", b"3"), ("ALL DRAFT", b""),
            ("ALL DELETED", b""), ("ALL BODY caf\u00c9", b"3"), ('ALL TEXT "a \\""b"', b"3"),
            ("ALL SINCE 01-Jan-2020", b"1-3"), ("ALL BEFORE 01-Jan-2020", b""), ("ALL LARGER 200", b"3"),
            ("ALL SENTON 22-Nov-2026", b"1-2"), ("ALL SENTSINCE 1-Jan-2027", b""),
            ("ALL SMALLER 200", b"1-2"), ('ALL HEADER MIME-Version ""', b"3"),
            ("ALL KEYWORD foo", b"1"), ("9 SEEN", b"")):
        line = b"* SEARCH %s\n" % found if found else b""
        assert client.do(f"SEARCH {criterion}") == line + b"+OK Search completed.\n", criterion
    for wrong in ("", " ALL", " SUBJECT x", " ALL NOT", " ALL UNSEEN", " ALL BEFORE x", " ALL LARGER x",
                  " x SEEN", " ALL SEEN x", " ALL NOT NOT SEEN"):
        assert client.do(f"SEARCH{wrong}") == b"-ERR SEARCH failed: Invalid argument\n", wrong


@pytest.mark.parametrize("count", [0, 1, 101])
def test_expunge_of_many_ranges(tmp_path: Path, count: int) -> None:
    fill(tmp_path, 2 * count + 1)
    with Smap(tmp_path) as client:
        client.do("OPEN INBOX")
        numbers = [str(2 * number) for number in range(1, count + 1)]
        told = client.do(" ".join(["STORE", *numbers, "+FLAGS=DELETED"])).splitlines()
        assert len(told) == count + 1
        told = client.do(" ".join(["EXPUNGE", *numbers])).splitlines()
        there = list(range(1, 2 * count + 2))
        for line in told[:-1]:         # each has the numbers that are left by those before it
            for number in reversed(line.split()[2:]):
                del there[int(number) - 1]
        assert there == list(range(1, 2 * count + 2, 2))
        assert client.do("EXPUNGE") == client.do("NOOP") == b"+OK Folder updated\n"
        assert client.do("STATUS FULL INBOX").startswith(b"* STATUS EXISTS=%d " % (count + 1))


def test_what_is_not_deleted_goes_only_where_that_may_be(client: Smap) -> None:
    client.do('SETACL INBOX "" owner -t')
    client.do("OPEN INBOX")
    assert client.do("EXPUNGE 1").startswith(b"-ERR Access denied")
    assert client.do("EXPUNGE") == b"+OK Folder updated\n"
    assert client.do("STATUS FULL INBOX").startswith(b"* STATUS EXISTS=3 ")


def test_expunge_of_what_is_deleted(client: Smap) -> None:
    client.do("OPEN INBOX")
    client.do("STORE 1 3 +FLAGS=DELETED")
    assert client.do("EXPUNGE") == b"* EXPUNGE 1 3\n+OK Folder updated\n"
    assert client.do("EXPUNGE 9") == b"+OK Folder updated\n"
    assert client.do("EXPUNGE x") == b"-ERR Syntax error.\n"


def test_what_others_do_is_told_by_noop(client: Smap, tmp_path: Path) -> None:
    client.do("OPEN INBOX")
    with Smap(tmp_path) as other:
        other.do("OPEN INBOX")
        other.do("STORE 2 FLAGS=MARKED KEYWORDS=Foo")
        other.do("EXPUNGE 1")
    (tmp_path / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: new\n\n")
    assert client.do("FETCH 2 FLAGS") == b"* FETCH 2 FLAGS=\n+OK Message retrieved.\n"
    assert client.do("NOOP") == (b'* EXPUNGE 1\n* EXISTS 3\n* FETCH 1 FLAGS=MARKED "KEYWORDS=Foo"\n'
                                 b"+OK Folder updated\n")


@pytest.mark.parametrize("enhanced", ["0", "1"])
def test_idle(tmp_path: Path, enhanced: str) -> None:
    fill(tmp_path)
    with Smap(tmp_path, IMAP_ENHANCEDIDLE=enhanced) as client:
        client.do("OPEN INBOX")
        assert client.do("IDLE") == b"+OK Entering idle mode...\n"
        (tmp_path / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: new\n\n")
        assert client.line() == b"* EXISTS 4\n"
        assert client.do("RESUME") == b"+OK Resumed...\n"
        assert client.do("RESUME") == b"-ERR Syntax error.\n"
        assert client.do("IDLE") == b"+OK Entering idle mode...\n"
        assert client.do("NOOP") == b"-ERR RESUME is required to follow IDLE\n"


def test_snapshots(client: Smap, tmp_path: Path) -> None:
    def snapshot(answer: bytes) -> bytes:
        match = re.fullmatch(rb'\* SNAPSHOT ("[^"]+")\n\+OK Folder updated\n', answer)
        assert match is not None, answer
        return match[1]

    assert client.do('SOPEN "" INBOX') == b"* EXISTS 3\n+OK Folder opened\n"
    first = snapshot(client.do("NOOP"))
    assert client.do("NOOP") == b"+OK Folder updated\n"
    client.do("STORE 1 KEYWORDS=Foo")
    second = snapshot(client.do("NOOP"))
    client.do("EXPUNGE 2")
    with Smap(tmp_path) as other:
        assert other.do(b"SOPEN " + second + b" INBOX") == (
            b"* SNAPSHOTEXISTS " + second + b"\n* EXPUNGE 2\n+OK Folder updated\n")
    with Smap(tmp_path) as other:
        assert other.do(b"SOPEN " + first + b" INBOX") == (
            b"* SNAPSHOTEXISTS " + first + b'\n* EXPUNGE 2\n* FETCH 1 FLAGS=SEEN "KEYWORDS=Foo"\n'
            b"+OK Folder updated\n")
    third = snapshot(client.do("NOOP"))
    kept = {f'"{path.name}"'.encode() for path in (tmp_path / "courierimapsnapshots").iterdir()}
    assert kept == {second, third}                     # it may not have heard of the third
    for unknown in (first, b'"../cur"', b'".."', b'"x"'):
        with Smap(tmp_path) as other:
            assert other.do(b"SOPEN " + unknown + b" INBOX") == b"* EXISTS 2\n+OK Folder opened\n"


def test_a_snapshot_that_is_damaged_is_none(client: Smap, tmp_path: Path) -> None:
    client.do('SOPEN "" INBOX')
    client.do("NOOP")
    path, = (tmp_path / "courierimapsnapshots").iterdir()
    whole = path.read_bytes()
    for damaged in (b"", b"2 " + whole[2:], whole[:-8], whole.replace(b"\n2:", b"\n1:"), b"\0" * 40):
        path.write_bytes(damaged)
        assert client.do(f'SOPEN "{path.name}" INBOX') == b"* EXISTS 3\n+OK Folder opened\n"
    path.write_bytes(whole)
    assert b"SNAPSHOTEXISTS" in client.do(f'SOPEN "{path.name}" INBOX')


def test_add(client: Smap, tmp_path: Path) -> None:
    client.do("CREATE INBOX Sub")
    assert client.do("ADD") == b"+OK So far, so good...\n"
    assert client.do('ADD FOLDER INBOX Sub ""') == b"+OK Will add to this folder\n"
    assert client.do('ADD FLAGS=SEEN KEYWORDS=aa "INTERNALDATE=Tue, 21 Jan 2003 20:57:48 -0500"') == \
        b"+OK INTERNALDATE set\n"
    assert client.do("ADD {.20}") == b"> Go ahead\n"
    client.send(b"Subject: x\r\n\r\n..dotted\r\n..\r\nli")
    told = client.do("ne\r\n.\r").splitlines()
    assert re.fullmatch(rb'\* ADD "UID=[^"]+"', told[0]) and told[1] == b"+OK Message saved"
    path, = (tmp_path / ".Sub" / "cur").iterdir()
    assert path.read_bytes() == b"Subject: x\n\n.dotted\n.\nline\n"
    client.do("OPEN INBOX Sub")
    assert client.do("FETCH 1 FLAGS KEYWORDS INTERNALDATE") == (
        b'* FETCH 1 FLAGS=SEEN "KEYWORDS=aa" "INTERNALDATE=Wed, 22 Jan 2003 01:57:48 +0000"\n'
        b"+OK Message retrieved.\n")
    assert client.do('ADD FOLDER INBOX "" {5/10}') == b"> Go ahead\n"
    told = client.do(b"A: b\n" + b"6\n" + b"\nx\0y\n\n").splitlines()
    assert told[1] == b"+OK Message saved"
    assert client.do('ADD FOLDER INBOX Nope ""') == b"+OK Will add to this folder\n"
    assert client.do("ADD {.20}") == b"-ERR Cannot save message: No such file or directory\n"
    assert client.do("RSET") == b"+OK Reset\n"
    assert client.do("ADD {.20}") == b"-ERR Name a FOLDER or RCPTTO first.\n"
    assert not [path for path in tmp_path.glob("**/tmp/1*") if "reader" not in path.name]


def test_another_command_ends_what_add_began(client: Smap) -> None:
    client.do('ADD FOLDER INBOX ""')
    assert client.do("NOOP") == b"+OK Folder updated\n"
    assert client.do("ADD {.20}") == b"-ERR Name a FOLDER or RCPTTO first.\n"


def test_a_message_is_sent(tmp_path: Path) -> None:
    fill(tmp_path)
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\ncat > {tmp_path}/sent\n'
                       f"test ! -e {tmp_path}/refuses || {{ echo sorry; exit 1; }}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with Smap(tmp_path, SENDMAIL=str(program)) as client:
        assert client.do("ADD MAILFROM=joe@example.com") == b"+OK MAIL FROM set\n"
        assert client.do("ADD RCPTTO=a@example.com RCPTTO=b@example.com") == b"+OK RCPT TO set\n"
        assert client.do("ADD NOTIFY=success,failure") == b"+OK NOTIFY set\n"
        assert client.do("ADD {.9}") == b"> Go ahead\n"
        assert client.do("A: b\n\nc\n.") == b"+OK Message sent\n"
        assert (tmp_path / "words").read_text().split() == [
            "-oi", "-f", "joe@example.com", "-N", "SUCCESS,FAILURE", "--", "a@example.com", "b@example.com"]
        assert (tmp_path / "sent").read_bytes() == b"X-IMAP-Sender: joe\nA: b\n\nc\n"
        for wrong in ("RCPTTO=-oQ/x", 'RCPTTO="a b"', "RCPTTO=", "MAILFROM=-x"):
            assert client.do(f'ADD "{wrong.replace(chr(34), "")}"') == b"-ERR This is no address.\n"
        (tmp_path / "refuses").touch()
        client.do('ADD FOLDER INBOX "" RCPTTO=a@example.com')
        assert client.do("ADD {.9}") == b"> Go ahead\n"
        assert b"sorry/Message send FAILED./" in client.do("A: b\n\nc\n.")
        assert client.do("STATUS FULL INBOX").startswith(b"* STATUS EXISTS=3 ")


def test_what_comes_to_the_outbox_is_sent(tmp_path: Path) -> None:
    """As over IMAP: by ADD, COPY and MOVE, to those whom it names; what has recipients, to these alone."""
    fill(tmp_path)
    Store(str(tmp_path)).create("INBOX.Out")
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/words\ncat > {tmp_path}/sent\n'
                       f"test ! -e {tmp_path}/refuses || {{ echo sorry; exit 1; }}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    count = "STATUS FULL INBOX Out"

    def words() -> list[str]:
        """Of the mail since the last time."""
        found = (tmp_path / "words").read_text().splitlines() if (tmp_path / "words").exists() else []
        (tmp_path / "words").unlink(missing_ok=True)
        return found

    with Smap(tmp_path, SENDMAIL=str(program), OUTBOX=".Out", IMAP_SAVELIMIT="2") as client:
        client.do('ADD FOLDER INBOX Out ""')
        assert client.do("ADD {.9}") == b"> Go ahead\n"
        assert client.do("A: b\n\nc\n.").endswith(b"+OK Message saved\n")
        assert (tmp_path / "sent").read_bytes() == b"X-IMAP-Sender: joe\nA: b\n\nc\n"
        assert words() == ["-oi -t -f joe@host"]
        client.do('ADD FOLDER INBOX Out "" RCPTTO=a@example.com')
        assert client.do("ADD {.9}") == b"> Go ahead\n"
        assert client.do("A: b\n\nc\n.").endswith(b"+OK Message saved\n")
        assert words() == ["-oi -f joe@host -- a@example.com"]
        assert b"EXISTS=2 " in client.do(count)
        client.do("OPEN INBOX")
        assert client.do('COPY 1 "" INBOX Out').endswith(b"+OK Messages copied.\n")
        assert client.do('MOVE 1 "" INBOX Out').endswith(b"+OK Messages copied.\n")
        assert words() == ["-oi -t -f joe@host"] * 2
        assert b"only one message" in client.do('COPY 1-2 "" INBOX Out').lower()
        (tmp_path / "refuses").touch()
        assert client.do('MOVE 1 "" INBOX Out').startswith(b"-ERR Unable to send E-mail message: sorry")
        client.do('ADD FOLDER INBOX Out ""')
        assert client.do("ADD {.9}") == b"> Go ahead\n"
        assert client.do("A: b\n\nc\n.").startswith(b"-ERR Unable to send E-mail message: sorry")
        assert b"EXISTS=4 " in client.do(count)
        assert client.do('COPY 1-2 "" INBOX').endswith(b"+OK Messages copied.\n")
        client.do("NOOP")
        assert client.do('COPY 1-3 "" INBOX') == b"-ERR One command saves no more than 2 messages here.\n"
    assert not [path for path in tmp_path.glob("**/tmp/1*") if "reader" not in path.name]


def test_no_mail_is_sent_where_there_is_no_program(tmp_path: Path) -> None:
    fill(tmp_path)
    with Smap(tmp_path, SENDMAIL=str(tmp_path / "none")) as client:
        client.do("ADD RCPTTO=a@example.com")
        assert client.do("ADD {.9}") == b"> Go ahead\n"
        told = client.do("A: b\n\nc\n.")
        assert re.fullmatch(rb"-ERR .*No such file or directory/Message send FAILED\./\n", told)


def test_lists_of_rights(client: Smap) -> None:
    default = b'* GETACL "owner" "aceilrstwx" "administrators" "aceilrstwx"'
    assert client.do("ACL INBOX") == b'* ACL "aceilrstwx"\n+OK ACLs retrieved\n'
    assert client.do("GETACL INBOX") == default + b"\n+OK ACLs retrieved\n"
    assert client.do('SETACL INBOX "" user=fred lr') == default + b' "user=fred" "lr"\n+OK Updated ACLs\n'
    assert client.do('SETACL INBOX "" user=fred +s') == default + b' "user=fred" "lrs"\n+OK Updated ACLs\n'
    assert client.do('SETACL INBOX "" user=fred -l') == default + b' "user=fred" "rs"\n+OK Updated ACLs\n'
    assert client.do('DELETEACL INBOX "" user=fred') == default + b"\n+OK Updated ACLs\n"
    assert client.do('SETACL INBOX "" user=fred lr group=x +lrs user=none') == (
        default + b' "user=fred" "lr" "group=x" "lrs"\n+OK Updated ACLs\n')
    minimum = b"* ACLMINIMUM owner al c e i p r s t w x\n-ERR ACL update failed\n"
    assert client.do('SETACL INBOX "" user=joe l owner lr') == minimum
    assert client.do('DELETEACL INBOX "" user=fred group=x user=none') == default + b"\n+OK Updated ACLs\n"
    assert client.do('DELETEACL INBOX "" owner') == minimum
    assert client.do('DELETEACL INBOX "" administrators') == b"-ERR ACL update failed\n"
    assert client.do('SETACL INBOX "" user=fred Q') == b"-ERR There is no such right.\n"
    assert client.do('SETACL INBOX ""') == client.do("DELETEACL INBOX") == b"-ERR Syntax error.\n"
    assert client.do("ACL") == client.do("GETACL Top") == b"-ERR Invalid folder: Invalid argument\n"
    assert client.do("ACL INBOX Nope") == b"-ERR Invalid folder: No such file or directory\n"


def test_rights_are_obeyed_and_change(client: Smap) -> None:
    client.do("CREATE INBOX Sub")
    client.do('OPEN INBOX')
    client.do('COPY 1-3 "" INBOX Sub')
    client.do("OPEN INBOX Sub")
    client.do('SETACL INBOX Sub "" -owner ei')
    told = client.do("EXPUNGE 1")
    assert told.startswith(b"-ERR Access denied for EXPUNGE") and b'(ACL "e" required)' in told
    assert client.do('COPY 1 "" INBOX Sub').startswith(b"-ERR Access denied for COPY")
    client.do('SETACL INBOX Sub "" -owner w')
    assert client.do("STORE 1 FLAGS=MARKED").startswith(b"-ERR Access denied for STORE")
    client.do('SETACL INBOX Sub "" -owner r')
    assert client.do("NOOP") == b"* BYE [NOPERM] You may not read this folder any more.\r\n"


def test_what_cannot_be_understood(client: Smap) -> None:
    for wrong in ("", "BLA", "CAPABILITY", "FETCH 1 UID", "STORE 1 FLAGS=SEEN", "EXPUNGE", "SEARCH ALL SEEN",
                  'COPY 1 "" INBOX', 'LIST "INBOX'):
        assert client.do(wrong) == b"-ERR Syntax error.\n", wrong
    assert client.do("NOOP") == b"+OK Folder updated\n"
    for _ in range(9):
        assert client.do(b"LIST \xff\0") == b"-ERR Syntax error.\n"
    assert client.do("x" * 100_000).startswith(b"* BYE ")


def test_a_session_that_only_reads(tmp_path: Path) -> None:
    fill(tmp_path)
    with Smap(tmp_path, IMAP_READONLY="1") as client:
        client.do('SOPEN "" INBOX')
        for change in ("STORE 2 FLAGS=SEEN", "EXPUNGE 1", 'MOVE 1 "" INBOX', "CREATE INBOX x",
                       "DELETE INBOX x", 'ADD FOLDER INBOX ""', 'SETACL INBOX "" anyone l',
                       'COPY 1 "" INBOX'):
            assert client.do(change) == b"-ERR This session only reads.\n", change
        assert b"FLAGS" not in client.do("FETCH 2 CONTENTS=HEADERS(subject)")
        assert client.do("NOOP") == b"+OK Folder updated\n"
    assert not (tmp_path / "courierimapsnapshots").exists()


def test_logout(client: Smap) -> None:
    client.send(b"LOGOUT\r\n")
    assert client.line() == b"* BYE Courier-SMAP server shutting down\n"
    assert client.line() == b"+OK LOGOUT completed\n"
    assert client.line() == b""


def test_the_log_tells_the_protocol(tmp_path: Path) -> None:
    fill(tmp_path)
    with Smap(tmp_path) as client:
        client.do("LOGOUT")
    assert "protocol=SMAP1" in client.errors and "LOGOUT, user=joe" in client.errors
