"""Mailboxes that are shared by the rights of files (``shared.``): names, the user's own flags, posting."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir.formats import sharedmaildirs
from tests.account import Account, account
from tests.conftest import fill
from tests.realtime.windows import Window, over_pipe

MAIL = b"Subject: %s\n\nbody\n"


def make(path: Path, mode: int = 0o755) -> None:
    for part in ("", "cur", "new", "tmp"):
        (path / part).mkdir(parents=True, exist_ok=True)
        (path / part).chmod(mode)


class Site:
    """``team``: a Maildir that is shared, with Pub of two messages and Pub.In; ``reader``: another's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.team, self.reader = home / "team", home / "reader"
        make(self.team)
        make(self.team / ".Pub")
        make(self.team / ".Pub.In")
        for number, subject in enumerate((b"one", b"two"), 1):
            self.post(f"{1700000000 + number}.M{number}P1.host", subject)
        fill(self.reader, 1)
        (self.reader / "shared-maildirs").write_bytes(b"team\t%s\nnone\t%s/none\nodd\n" % (
            os.fsencode(self.team), os.fsencode(home)))
        self.windows: list[Window] = []

    @property
    def pub(self) -> Path:
        return self.team / ".Pub"

    @property
    def copy(self) -> Path:
        return self.reader / "shared-folders" / "team" / "Pub"

    def post(self, name: str, subject: bytes = b"posted", folder: str = ".Pub") -> Path:
        """As its owner gets mail."""
        file = self.team / folder / "tmp" / name
        file.write_bytes(MAIL % subject)
        return file.rename(self.team / folder / "new" / name)

    def window(self, **environ: str) -> Window:
        self.windows.append(over_pipe(self.reader, **environ))
        return self.windows[-1]

    def renamed(self, number: int, letters: str) -> None:
        """The owner has other flags."""
        file = next((self.pub / "cur").glob(f"{1700000000 + number}.*"))
        file.rename(file.with_name(file.name.partition(":")[0] + f":2,{letters}"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    for window in found.windows:
        window.close()


def refused(window: Window, command: str) -> str:
    """The answer to a command that must not succeed."""
    window.number += 1
    window.send(f"t{window.number} {command}")
    last = window.until(f"t{window.number} ")[-1]
    assert " NO " in last, last
    return last.partition(" NO ")[2]


def names(lines: list[str]) -> list[str]:
    return sorted(line.partition('"." ')[2].strip('"') for line in lines)


def code(lines: list[str], name: str) -> str:
    return next(found[1] for line in lines if (found := re.search(rf"\[{name} ([^]]+)", line)))


def answer(window: Window, command: str) -> str:
    window.number += 1
    window.send(f"t{window.number} {command}")
    return window.until(f"t{window.number} ")[-1]


def test_names(site: Site) -> None:
    client = site.window()
    assert names(client.do('LIST "" *')) == [
        "INBOX", "shared", "shared.team", "shared.team.Pub", "shared.team.Pub.In"]
    assert client.do('LIST "" shared')[0].startswith("* LIST (\\Noselect \\HasChildren)")
    assert names(client.do('LIST "" %')) == ["INBOX", "shared"]
    assert names(client.do('LIST "" shared.%')) == ["shared.team"]
    assert names(client.do('LIST "" shared.team.%')) == ["shared.team.Pub"]
    assert names(client.do("LIST shared.team *")) == ["shared.team", "shared.team.Pub", "shared.team.Pub.In"]
    assert client.do("NAMESPACE") == ['* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))']
    for name in ("shared", "shared.team", "shared.none.x", "shared.team.Pub.", "shared.team.No",
                 "shared..Pub", "shared.none", "shared.te/am.Pub", "shared...", "shared.team..Pub",
                 "shared.team.Pub/cur"):
        assert "NONEXISTENT" in refused(client, f"SELECT {name}"), name


def test_looking_makes_nothing(site: Site) -> None:
    """STATUS and LIST subscribe to nothing, and leave no trace."""
    client = site.window()
    before = sorted(site.reader.iterdir())
    counts = client.do("STATUS shared.team.Pub (MESSAGES RECENT UIDNEXT UNSEEN)")
    client.do('LIST "" * RETURN (STATUS (MESSAGES UIDVALIDITY) MYRIGHTS SPECIAL-USE SUBSCRIBED)')
    client.do("STATUS shared.team.Pub (UIDVALIDITY)")
    client.do("GETQUOTAROOT shared.team.Pub")
    assert client.do("GETMETADATA shared.team.Pub /shared/comment") == [
        '* METADATA "shared.team.Pub" (/shared/comment NIL)']
    assert counts == ['* STATUS "shared.team.Pub" (MESSAGES 2 RECENT 2 UIDNEXT 3 UNSEEN 2)']
    assert {path.name for path in site.reader.iterdir()} - {path.name for path in before} <= {
        "courierpy-uidvalidity", "courierpy-promised", "courierpyindex", "courierimapuiddb",
        "courierimapkeywords"}
    assert not (site.reader / "shared-folders").exists()
    assert client.do('LSUB "" *') == []


@pytest.mark.parametrize("way", ["SELECT", "SUBSCRIBE"])
def test_the_uidvalidity_that_is_told_is_that_of_the_copy(site: Site, way: str) -> None:
    """Told to all sessions, kept by the first copy, and given to no other."""
    def told(window: Window) -> str:
        found = re.search(r"UIDVALIDITY (\d+)", window.do("STATUS shared.team.Pub (UIDVALIDITY)")[0])
        assert found is not None
        return found[1]

    client, other = site.window(), site.window()
    before = told(client)
    assert told(other) == before
    client.do("STATUS shared.team.Pub.In (UIDVALIDITY)")
    client.do(f"{way} shared.team.Pub")
    assert told(other) == before
    assert code(other.do("SELECT shared.team.Pub"), "UIDVALIDITY") == before
    assert other.do("UID SEARCH ALL") == ["* SEARCH 1 2"]
    assert [path.name for path in (site.reader / "courierpy-promised").iterdir()] == ["team.Pub.In"]
    for window in (client, other):
        window.do("SELECT INBOX")
    client.do("UNSUBSCRIBE shared.team.Pub")
    after = told(client)
    assert int(after) > int(before)
    assert code(other.do("SELECT shared.team.Pub"), "UIDVALIDITY") == after


@pytest.mark.parametrize("damaged", ["99999999999", "0", "x"])
def test_a_uidvalidity_that_is_none_is_told_to_nobody(site: Site, damaged: str) -> None:
    (site.reader / "courierpy-promised").mkdir()
    os.symlink(damaged, site.reader / "courierpy-promised" / "team.Pub")
    client, other = site.window(), site.window()
    first, again, third = (window.do("STATUS shared.team.Pub (MESSAGES UIDVALIDITY)")
                           for window in (client, client, other))
    assert first == again == third
    number = code(client.do("SELECT shared.team.Pub"), "UIDVALIDITY")
    assert f"UIDVALIDITY {number})" in first[0] and 0 < int(number) < 1 << 32


def test_a_uidvalidity_that_cannot_be_kept(site: Site) -> None:
    """It is that of the session, and no copy has it before."""
    (site.reader / "courierpy-promised").write_bytes(b"")
    client = site.window()
    first, again = (client.do("STATUS shared.team.Pub (MESSAGES UIDVALIDITY)") for _ in range(2))
    assert first == again
    assert code(client.do("SELECT shared.team.Pub"), "UIDVALIDITY") in first[0]


def test_rights_are_told_of_what_was_never_opened(site: Site) -> None:
    client = site.window()
    assert client.do("MYRIGHTS shared.team.Pub.In") == ['* MYRIGHTS "shared.team.Pub.In" "lrswixted"'] or \
        os.getuid() != 0
    for command in ("GETACL {}", "SETACL {} ann lr", "DELETEACL {} ann", "LISTRIGHTS {} ann"):
        assert "NOPERM" in refused(client, command.format("shared.team.Pub"))
    assert client.do("ACL STORE (shared.*) user=ann lr") == [
        f'* ACLFAILED "{name}" NO Access denied for ACL STORE on {name} (ACL "a" required)'
        for name in ("shared.team.Pub", "shared.team.Pub.In", "shared.team")]
    # levels above all mailboxes have no rights to be told
    told = client.do('LIST (ACL MYRIGHTS) "" shared.*')
    assert [line.partition('"." ')[2].partition(" (")[0] for line in told] == [
        '"shared.team.Pub"', '"shared.team.Pub.In"', '"shared.team"']
    assert not site.copy.parent.exists()


def test_what_has_new_mail_is_marked(site: Site) -> None:
    client = site.window(IMAP_CHECK_ALL_FOLDERS="1")

    def flags() -> dict[str, str]:
        found = (re.match(r'\* LIST \(\\(\w+).*"shared.team.(.*)"', line)
                 for line in client.do('LIST "" shared.team.*'))
        return {match[2]: match[1] for match in found if match is not None}

    assert flags() == {"Pub": "Marked", "Pub.In": "Unmarked"}
    client.do("SELECT shared.team.Pub")
    client.do("STORE 1:* +FLAGS (\\Seen)")
    assert flags() == {"Pub": "Unmarked", "Pub.In": "Unmarked"}
    client.do("CLOSE")
    site.post("1700000009.M9P1.host")
    assert flags() == {"Pub": "Marked", "Pub.In": "Unmarked"}


def test_flags_are_the_users_own(site: Site) -> None:
    client = site.window()
    told = client.do("SELECT shared.team.Pub")
    assert "* 2 EXISTS" in told
    assert '* OK [MYRIGHTS "lrswixted"] ACL' in told
    assert client.do("STORE 1 +FLAGS (\\Seen \\Flagged word)")[-1] == \
        "* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent word))"
    assert "one" in "".join(client.do("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]"))
    assert {file.name for file in (site.pub / "cur").iterdir()} == {
        "1700000001.M1P1.host:2,", "1700000002.M2P1.host:2,"}
    assert {(file.name, os.readlink(file)) for file in (site.copy / "cur").iterdir()
            if not file.name.startswith(".")} == {
        (f"170000000{number}.M{number}P1.host:2,{letters}",
         str(site.pub / "cur" / f"170000000{number}.M{number}P1.host:2,"))
        for number, letters in ((1, "FS"), (2, ""))}
    assert os.readlink(site.copy / "shared") == str(site.pub)
    other = site.window()
    assert "* 0 RECENT" in other.do("SELECT shared.team.Pub")
    assert other.do("FETCH 1 (UID FLAGS)") == ["* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen word))"]
    assert other.do("SEARCH UNSEEN KEYWORD word") == ["* SEARCH"]
    assert other.do("SEARCH UNSEEN") == ["* SEARCH 2"]
    other.do("SELECT shared.team.Pub.In")
    assert other.do("SEARCH UNSEEN") == ["* SEARCH"]


def test_what_others_do(site: Site) -> None:
    """The owner's flags change nothing here; what is posted comes, and what is gone goes."""
    client = site.window()
    client.do("SELECT shared.team.Pub")
    client.do("STORE 1 FLAGS.SILENT (\\Answered)")
    site.renamed(1, "FST")
    assert client.do("FETCH 1 (UID FLAGS RFC822.SIZE)") == [
        "* 1 FETCH (UID 1 FLAGS (\\Answered \\Recent) RFC822.SIZE 22)"]
    assert client.do("NOOP") == []
    site.renamed(1, "")
    assert "body" in "".join(client.do("FETCH 1 BODY[TEXT]"))
    client.do("NOOP")
    site.post("1700000003.M3P1.host")
    assert "* 3 EXISTS" in client.do("NOOP")
    next((site.pub / "cur").glob("1700000002.*")).unlink()
    assert client.do("NOOP") == ["* 2 EXPUNGE", "* 2 EXISTS", "* 2 RECENT"]
    assert client.do("UID FETCH 1:* UID") == ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 3)"]
    assert client.do("STATUS shared.team.Pub (MESSAGES UIDNEXT)") == [
        '* STATUS "shared.team.Pub" (MESSAGES 2 UIDNEXT 4)']
    assert not list((site.copy / "cur").glob("1700000002.*"))


def test_posting(site: Site) -> None:
    client = site.window()
    (site.pub / "cur").chmod(0o750)
    done = answer(client, "APPEND shared.team.Pub (\\Seen word) {3+}\r\nabc")
    assert re.search(r"OK \[APPENDUID \d+ 3\]", done)
    client.do("SELECT INBOX")
    done = answer(client, "COPY 1 shared.team.Pub")
    validity = done.split()[3]
    assert done.split()[4:6] == ["1", "4]"]
    assert "COPYUID" in answer(client, "COPY 1 shared.team.Pub")
    moved = client.do("MOVE 1 shared.team.Pub")
    assert f"COPYUID {validity} 1 6" in moved[0]
    assert "* 1 EXPUNGE" in moved
    told = client.do("SELECT shared.team.Pub")
    assert "* 6 EXISTS" in told
    assert code(told, "UIDVALIDITY") == validity
    assert client.do("UID FETCH 3 (FLAGS BODY.PEEK[])")[0].startswith("* 3 FETCH (UID 3 FLAGS (\\Seen")
    posted = [file for file in (site.pub / "cur").iterdir() if not file.name.startswith("17000000")]
    assert len(posted) == 4
    assert {(file.stat().st_mode & 0o777, file.is_symlink()) for file in posted} == {(0o640, False)}
    assert sorted(file.name.partition(":2,")[2] for file in posted) == ["", "", "", "S"]
    assert not list((site.pub / "tmp").iterdir())
    # back: files of one's own
    assert re.search(r"COPYUID \d+ 1 \d+", answer(client, "COPY 1 INBOX"))
    assert any("COPYUID" in line for line in client.do("MOVE 2:3 INBOX"))
    assert len(list((site.pub / "cur").iterdir())) == 4
    assert len(list((site.copy / "cur").glob("1*"))) == 4
    inbox = [file for file in (site.reader / "cur").iterdir() if file.name.startswith("1")]
    assert len(inbox) == 3
    assert not any(file.is_symlink() for file in inbox)
    client.do("SELECT INBOX")
    assert [line for line in client.do("FETCH 1:* FLAGS") if "word" in line]


def test_expunge(site: Site) -> None:
    client, other = site.window(), site.window()
    for window in (client, other):
        window.do("SELECT shared.team.Pub")
    client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert client.do("EXPUNGE")[0] == "* 1 EXPUNGE"
    assert [file.name for file in (site.pub / "cur").iterdir()] == ["1700000002.M2P1.host:2,"]
    # who was not told yet reads it still
    assert "one" in "".join(other.do("FETCH 1 BODY.PEEK[]"))
    assert "* 1 EXPUNGE" in other.do("NOOP")


def test_subscriptions_are_copies(site: Site) -> None:
    client = site.window()
    client.do("SUBSCRIBE shared.team.Pub")
    client.do("SUBSCRIBE INBOX")
    assert (site.copy / "cur").is_dir()
    assert names(client.do('LSUB "" *')) == ["INBOX", "shared.team.Pub"]
    assert names(client.do('LSUB "" shared.*')) == ["shared.team.Pub"]
    assert (site.reader / "courierimapsubscribed").read_bytes() == b"INBOX\n"
    assert "NONEXISTENT" in refused(client, "SUBSCRIBE shared.team.No")
    client.do("SELECT shared.team.Pub")
    assert "INUSE" in refused(client, "UNSUBSCRIBE shared.team.Pub")
    client.do("UNSELECT")
    client.do("UNSUBSCRIBE shared.team.Pub")
    client.do("UNSUBSCRIBE shared.team.Pub")
    assert names(client.do('LSUB "" *')) == ["INBOX"]
    assert not site.copy.exists()
    # DELETE is the same: what is shared stays
    client.do("SUBSCRIBE shared.team.Pub")
    client.do("DELETE shared.team.Pub")
    assert not site.copy.exists()
    assert len([*(site.pub / "new").iterdir(), *(site.pub / "cur").iterdir()]) == 2
    assert not [entry for entry in (site.reader / "tmp").iterdir() if "deleted" in entry.name]


def test_what_only_its_owner_may(site: Site) -> None:
    client = site.window()
    client.do("SUBSCRIBE shared.team.Pub")
    for command in ("CREATE shared.team.New", "CREATE shared.team.Pub.New", "CREATE shared.New.x",
                    "RENAME shared.team.Pub shared.team.Other", "RENAME shared.team.Pub INBOX.x",
                    "RENAME INBOX shared.team.x", "GETACL shared.team.Pub", "SETACL shared.team.Pub ann lr",
                    "DELETEACL shared.team.Pub ann"):
        refused(client, command)
    assert sorted(path.name for path in site.team.iterdir()) == [".Pub", ".Pub.In", "cur", "new", "tmp"]
    assert client.do("MYRIGHTS shared.team.Pub") == ['* MYRIGHTS "shared.team.Pub" "lrswixted"']
    assert client.do("NOOP") == []


def test_changes_are_numbered(site: Site) -> None:
    client, other = site.window(), site.window()
    start = int(code(client.do("SELECT shared.team.Pub (CONDSTORE)"), "HIGHESTMODSEQ"))
    other.do("SELECT shared.team.Pub")
    other.do("STORE 2 +FLAGS (\\Seen)")
    site.post("1700000003.M3P1.host")
    told = client.do("NOOP")
    assert any(re.fullmatch(r"\* 2 FETCH \(UID 2 FLAGS \(\\Seen\S*.*\) MODSEQ \(\d+\)\)", line)
               or re.fullmatch(r"\* 2 FETCH \(FLAGS \(\\Seen.*MODSEQ \(\d+\)\)", line) for line in told), told
    changed = client.do(f"FETCH 1:* (UID) (CHANGEDSINCE {start})")
    assert [line.split()[1] for line in changed] == ["2", "3"]


def test_the_mail_of_who_shares_is_gone(site: Site) -> None:
    """What cannot be read at the moment takes nothing of the user's."""
    client = site.window()
    client.do("SELECT shared.team.Pub")
    client.do("STORE 1:2 FLAGS.SILENT (\\Flagged)")
    client.do("UNSELECT")
    site.pub.rename(site.home / "away")
    assert "NOPERM" in refused(client, "SELECT shared.team.Pub")
    assert names(client.do('LSUB "" *')) == ["shared.team.Pub"]
    assert client.do('LIST "" shared.team.*')[1:] == [
        '* LIST (\\Noselect \\HasChildren) "." "shared.team.Pub"']
    (site.home / "away").rename(site.pub)
    client.do("SELECT shared.team.Pub")
    assert client.do("UID FETCH 1:* FLAGS") == [
        f"* {number} FETCH (UID {number} FLAGS (\\Flagged))" for number in (1, 2)]
    site.pub.rename(site.home / "away")
    client.send("x NOOP")
    assert client.line().startswith("* BYE")
    again = site.window()
    again.do("UNSUBSCRIBE shared.team.Pub")
    assert not site.copy.exists()


def test_disableshared(site: Site) -> None:
    client = site.window(OPTIONS="disableshared=1")
    assert names(client.do('LIST "" *')) == ["INBOX"]
    assert names(client.do('LIST "" shared.*')) == []
    for command in ("SELECT", "STATUS {} (MESSAGES)"):
        line = command.format("shared.team.Pub") if "{}" in command else f"{command} shared.team.Pub"
        assert "NONEXISTENT" in refused(client, line)
    assert not (site.reader / "shared-folders").exists()


@pytest.fixture
def guest() -> Iterator[Account]:
    with account() as found:
        yield found


@pytest.mark.skipif(os.getuid() != 0, reason="not root: whoever shares the files is the same user")
def test_who_may_only_read(guest: Account) -> None:
    """Of the rights of files: a reader has flags of his own, a guest in a directory with the sticky bit
    removes what is his."""
    site = Site(guest.home.parent / "site")
    site.home.chmod(0o755)
    for folder, mode in ((".Pub", 0o755), (".Pub.In", 0o1777)):
        for part in ("cur", "new", "tmp"):
            (site.team / folder / part).chmod(mode)
    make(site.team / ".Secret", 0o700)
    for file in [*(site.pub / "new").iterdir()]:
        file.rename(site.pub / "cur" / f"{file.name}:2,")
    file = site.post("1700000009.M1P1.host", folder=".Pub.In")
    file.rename(site.team / ".Pub.In/cur" / f"{file.name}:2,")
    guest.folder()
    guest.make("Maildir/shared-maildirs", b"team\t%s\n" % os.fsencode(site.team))
    client = guest.window()
    assert names(client.do('LIST "" *')) == [
        "INBOX", "shared", "shared.team", "shared.team.Pub", "shared.team.Pub.In"]
    told = client.do("SELECT shared.team.Pub")
    assert '* OK [MYRIGHTS "lrswxd"] ACL' in told, told
    assert "* OK [PERMANENTFLAGS (\\* \\Draft \\Answered \\Flagged \\Seen)] Limited" in told
    client.do("STORE 1 +FLAGS (\\Seen word)")
    for command in ("EXPUNGE", "APPEND shared.team.Pub {1+}\r\nx", "COPY 1 shared.team.Pub", "MOVE 1 INBOX",
                    "SELECT shared.team.Secret", "SUBSCRIBE shared.team.Secret"):
        refused(client, command)
    assert "* 1 EXISTS" in client.do("SELECT shared.team.Pub.In")
    assert "APPENDUID" in answer(client, "APPEND shared.team.Pub.In {3+}\r\nown")
    client.do("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    # what may not be removed stays, and is said to
    client.number += 1
    client.send(f"t{client.number} EXPUNGE")
    said = client.until(f"t{client.number} ")
    assert "* 2 EXPUNGE" in said
    assert " NO " in said[-1]
    assert [file.name for file in (site.team / ".Pub.In/cur").iterdir()] == ["1700000009.M1P1.host:2,"]
    client.number += 1
    client.send(f"t{client.number} MOVE 1 INBOX")
    said = client.until(f"t{client.number} ")
    assert not any("EXPUNGE" in line for line in said)
    assert client.do("STATUS INBOX (MESSAGES)") == ['* STATUS "INBOX" (MESSAGES 0)']


def test_the_quota_is_the_owners(site: Site) -> None:
    size = site.team / "maildirsize"
    size.write_bytes(b"1000C\n           0            2\n")
    client = site.window()
    client.do("SELECT shared.team.Pub")
    answer(client, "APPEND shared.team.Pub {3+}\r\nabc")
    client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")         # of the user's own: it counts still
    assert len(size.read_bytes().splitlines()) == 3
    client.do("EXPUNGE")
    assert [line.split()[-1] for line in size.read_bytes().splitlines()[1:]] == [b"2", b"1", b"-1"]
    size.write_bytes(b"2C\n           0            2\n")
    assert "OVERQUOTA" in refused(client, "APPEND shared.team.Pub {3+}\r\nabc")
    assert not list((site.pub / "tmp").iterdir())


@pytest.mark.parametrize("data, found", [
    (b"a\t/x\nb\t/y z\n", {b"a": b"/x", b"b": b"/y z"}), (b"a\t/x\na\t/y", {b"a": b"/x"}),
    (b"a /x\nb \t /y#z\nc\t/d #e\n", {b"a": b"/x", b"b": b"/y", b"c": b"/d "}),
    (b"#a /x\n\n\t/x\n a /x\na#b /x\na.b\t/x\na/b\t/x\na\tx\na\n", {}), (b"", {}),
    (b"\xff\t/\xff\r\n", {b"\xff": b"/\xff\r"})])
def test_the_list(data: bytes, found: dict[bytes, bytes]) -> None:
    assert sharedmaildirs.parse(data) == found


def test_changes_of_the_list() -> None:
    change = sharedmaildirs.changed
    data = change(change(b"odd\n", b"a", b"/x"), b"b", b"/y")
    assert data == b"odd\na\t/x\nb\t/y\n"
    assert change(data, b"a", b"/z") == b"odd\nb\t/y\na\t/z\n"
    assert change(change(data, b"a", None), b"none", None) == b"odd\nb\t/y\n"
    assert change(b"a  /x\n# a\n", b"a", b"/z") == b"# a\na\t/z\n"
