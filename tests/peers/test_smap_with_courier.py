"""Commands of SMAP said to Courier's imapd and to ours: the same answers, each other's snapshots."""
from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.smap.client import OURS, Smap, fill, named_alike

pytestmark = pytest.mark.peers

COURIERS = "/usr/bin/imapd"
SCRIPT = r"""
NOOP
LIST
LIST INBOX
OPEN INBOX
FETCH 1-3 UID FLAGS SIZE INTERNALDATE KEYWORDS
FETCH 1 3 UID
FETCH 9 UID
FETCH 1 BLA
FETCH 3 CONTENTS.PEEK=ALL
FETCH 3 CONTENTS.PEEK=HEADERS
FETCH 3 CONTENTS.PEEK=HEADERS(subject,from)
FETCH 3 CONTENTS.PEEK=HEADERS(:envelope)
FETCH 3 CONTENTS.PEEK=RAWHEADERS
FETCH 3 CONTENTS.PEEK=BODY
FETCH 3 CONTENTS.PEEK=BODY[1.1]
FETCH 3 CONTENTS.PEEK=BODY.DECODED[1.1]
FETCH 3 CONTENTS.PEEK=ALL[1.2]
FETCH 3 CONTENTS.PEEK=HEADERS[1.1](CONTENT-TYPE)
FETCH 3 CONTENTS.PEEK=MIME(:MIME)
FETCH 3 CONTENTS.PEEK=BODY[7.7]
FETCH 3 CONTENTS.PEEK=BODY[1]
FETCH 3 CONTENTS.PEEK=RAWHEADERS[1](subject)
FETCH 3 CONTENTS.PEEK=MIME[1]
FETCH 1 CONTENTS.PEEK=BODY[1]
FETCH 1 CONTENTS.PEEK=ALL[1]
FETCH 1 CONTENTS.PEEK=HEADERS[1](:MIME)
FETCH 1 CONTENTS.PEEK=BODY[1.1]
FETCH 1 CONTENTS.PEEK=BODY[2]
FETCH 2 CONTENTS=BODY UID FLAGS
CREATE INBOX Sub
CREATE INBOX Sub
CREATE INBOX "q""q" "a.b/~:\"
MKDIR INBOX Dir
LIST INBOX "q""q"
RENAME INBOX "" INBOX Other
CREATE Top
OPEN INBOX Nope
STATUS FULL INBOX Nope
OPEN INBOX
STORE 1 FLAGS=SEEN,DELETED,MARKED,DRAFT,REPLIED
STORE 1 -FLAGS=SEEN,DELETED +FLAGS=SEEN
STORE 1 2 KEYWORDS=Foo,Bar
STORE 1 +KEYWORDS=Baz
STORE 1 -KEYWORDS=Foo
STORE 9 FLAGS=SEEN
STORE 1 FLAGS=BOGUS
COPY 1 INBOX Sub
COPY 1-2 "" INBOX Sub
COPY 9 "" INBOX Sub
STATUS FULL INBOX Sub
STATUS CHEAP INBOX Sub
SEARCH ALL SUBJECT hello
SEARCH ALL NOT SUBJECT "hello 1"
SEARCH UNMARKED FROM a
SEARCH 1-2 LARGER 10
SEARCH ALL BODY dot
SEARCH ALL REPLIED
SEARCH ALL UNSEEN
SEARCH
EXPUNGE 9
EXPUNGE 2
RENAME INBOX Sub "" INBOX Sub2
DELETE INBOX Sub2
DELETE INBOX
RMDIR INBOX Dir
RMDIR INBOX
MKDIR INBOX
ACL INBOX
GETACL INBOX
SETACL INBOX "" user=fred lr
SETACL INBOX "" user=fred +s
DELETEACL INBOX "" user=fred
SETACL INBOX "" user=fred lr group=x lrs user=joe
SETACL INBOX "" user=ann lr owner lr
SETACL INBOX "" -owner l
DELETEACL INBOX "" owner
DELETEACL INBOX "" administrators
DELETEACL INBOX "" user=fred group=x user=none
RENAME INBOX "" INBOX Other
SOPEN "" INBOX
NOOP
NOOP
STORE 1 +FLAGS=MARKED
NOOP
ADD
ADD FOLDER INBOX ""
ADD FLAGS=SEEN
ADD FLAGS=SEEN KEYWORDS=Foo
ADD KEYWORDS=
ADD KEYWORDS=Foo RCPTTO=joe@example.com
ADD "INTERNALDATE=Tue, 21 Jan 2003 20:57:48 -0500"
RSET
CLOSE
FETCH 1 UID
EXPUNGE
BLA
LOGOUT
""".strip().splitlines()


@pytest.fixture(autouse=True)
def courier() -> None:
    if not os.access(COURIERS, os.X_OK):
        pytest.skip("Courier's imapd is not installed")


def test_answer_by_answer(tmp_path: Path) -> None:
    answers = []
    for name, program in (("courier", (COURIERS,)), ("ours", OURS)):
        maildir = tmp_path / name
        fill(maildir)
        for number, path in enumerate(sorted((maildir / "cur").iterdir())):
            os.utime(path, (1764000000 + number,) * 2)
        with Smap(maildir, program) as client:
            answers.append([named_alike(client.do(line)) for line in SCRIPT])
    for line, theirs, ours in zip(SCRIPT, *answers, strict=True):
        assert ours == theirs, line


RIGHTS = r"""
CREATE INBOX Sub
SETACL INBOX "" -owner c
MKDIR INBOX Dir
CREATE INBOX Dir
SETACL INBOX "" -owner x
MKDIR INBOX Dir
RMDIR INBOX Dir
SETACL INBOX "" -owner i
ADD FOLDER INBOX
ADD FOLDER INBOX Sub
SETACL INBOX "" -owner ""
RMDIR INBOX Dir
ADD FOLDER INBOX
OPEN INBOX
SETACL INBOX "" owner -t
EXPUNGE 1
STATUS FULL INBOX
EXPUNGE
SETACL INBOX "" owner +t owner -e
EXPUNGE 1
EXPUNGE
SETACL INBOX "" owner +e
EXPUNGE 1
""".strip().splitlines()


def test_what_rights_forbid(tmp_path: Path) -> None:
    """In words of one's own."""
    answers = []
    for name, program in (("courier", (COURIERS,)), ("ours", OURS)):
        fill(tmp_path / name, 1)
        with Smap(tmp_path / name, program) as client:
            answers.append([(line, client.do(line).splitlines()[-1].split()[0]) for line in RIGHTS])
    assert answers[0] == answers[1]
    assert [line for line, word in answers[1] if word == b"-ERR"] == [
        "MKDIR INBOX Dir", "CREATE INBOX Dir", "RMDIR INBOX Dir", "ADD FOLDER INBOX",
        "EXPUNGE 1", "EXPUNGE 1", "EXPUNGE"]


MESSAGE = b"""Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=aa

--aa
Content-Type: message/rfc822

Subject: inner
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=bb

--bb

one
--bb
Content-Type: message/rfc822

Subject: innermost

two
--bb--
--aa--
"""


def test_messages_in_messages(tmp_path: Path) -> None:
    """IDs and parents of parts; sizes are those of MIME here, and Courier counts the line end before a
    boundary to an attached message."""
    answers: list[list[bytes]] = []
    for name, program in (("courier", (COURIERS,)), ("ours", OURS)):
        fill(tmp_path / name, 0)
        for number, text in enumerate((MESSAGE, MESSAGE.partition(b"aa\n")[2].rpartition(b"--aa--")[0])):
            (tmp_path / name / "cur" / f"170000000{number}.M1P1.host:2,").write_bytes(text)
        with Smap(tmp_path / name, program) as client:
            client.do("OPEN INBOX")
            answers.append([re.sub(rb"(LINES|SIZE)=\d+", rb"\1=*", client.do(f"FETCH {line}")) for line in (
                "1-2 CONTENTS.PEEK=MIME(Subject)", "1 CONTENTS.PEEK=HEADERS[1.1.0]",
                "1 CONTENTS.PEEK=HEADERS[1.1.0.2.0]", "1 CONTENTS.PEEK=BODY[1.1.0.1]",
                "2 CONTENTS.PEEK=HEADERS[1.0.2.0]", "1 CONTENTS.PEEK=HEADERS[1.1.1]")])
    assert answers[0] == answers[1]


def left(told: list[bytes], there: list[int]) -> list[int]:
    for line in told:
        for word in reversed(line.split()[2:]):
            low, _, high = word.partition(b"-")
            del there[int(low) - 1:int(high or low)]
    return there


def test_a_line_has_the_numbers_that_the_lines_before_it_left(tmp_path: Path) -> None:
    count = 250
    for name, program in (("courier", (COURIERS,)), ("ours", OURS)):
        fill(tmp_path / name, count)
        with Smap(tmp_path / name, program) as client:
            client.do("OPEN INBOX")
            client.do(" ".join(["STORE", *map(str, range(1, count, 2)), "FLAGS=DELETED"]))
            told = client.do("EXPUNGE").splitlines()[:-1]
        assert len(told) == 2
        assert left(told, list(range(1, count + 1))) == list(range(2, count + 1, 2)), name


@pytest.mark.parametrize(("one", "other"), [((COURIERS,), OURS), (OURS, (COURIERS,))], ids=["theirs", "ours"])
def test_snapshots_of_each_other(tmp_path: Path, one: tuple[str, ...], other: tuple[str, ...]) -> None:
    fill(tmp_path)
    with Smap(tmp_path, one) as client:
        client.do('SOPEN "" INBOX')
        client.do("STORE 2 KEYWORDS=Foo,Bar FLAGS=MARKED")
        match = re.search(rb'SNAPSHOT ("[^"]+")', client.do("NOOP"))
        assert match is not None
        client.do("EXPUNGE 1")
        client.do("STORE 2 FLAGS=SEEN")
    with Smap(tmp_path, other) as client:
        assert client.do(b"SOPEN " + match[1] + b" INBOX") == (
            b"* SNAPSHOTEXISTS " + match[1] + b'\n* EXPUNGE 1\n* FETCH 2 FLAGS=SEEN "KEYWORDS="\n'
            b"+OK Folder updated\n")
