"""Mailboxes that accounts share by IMAP_SHAREDINDEXFILE: names, rights, and what must not be seen."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir.sharedindex import SharedIndex
from tests.account import Account, account
from tests.conftest import account_ids, fill, plain_environ
from tests.realtime.windows import Window, over_program


class Site:
    """Maildirs of ann, bob and a group with carl; bob is who looks."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name, count in (("ann", 2), ("bob", 1), ("carl", 0), ("dot", 0)):
            fill(home / name, count)
        for folder in ("ann/.Pub", "ann/.Pub.In", "ann/.Hidden", "carl/.News"):
            for part in ("cur", "new", "tmp"):
                (home / folder / part).mkdir(parents=True)
        (home / "index").write_text(
            f"# who shares\n\nann\t7\t7\t{home}\t./ann\nstaff\t*\tgroup # more\nbob\t7\t7\t{home}\tbob\n"
            f"d.o/t\t7\t7\t{home}\tdot\ngone\t7\t7\t{home}\tnowhere\nnoone\t0\t0\t{home}\tcarl\nodd line\n"
            f"lost\t*\tnofile\n")
        (home / "group").write_text(f"carl\t7\t7\t{home}/carl\t.\nagain\t*\tgroup\n")
        self.allow("ann/.Pub", "bob lrswi")
        self.allow("ann/.Pub.In", "bob lr")
        self.allow("carl/.News", "bob lr")
        self.allow("dot", "bob lr")
        self.environ = {"IMAP_SHAREDINDEXFILE": str(home / "index")}

    def allow(self, folder: str, *entries: str) -> None:
        lines = [f"user={entry}\n" for entry in entries]
        (self.home / folder / "courierimapacl").write_text("owner aceilrstwx\n" + "".join(lines))

    def start(self, user: str, **environ: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "courierpy.imapd", str(self.home / user)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=plain_environ(AUTHENTICATED=user, **self.environ, **environ))

    def say(self, *commands: str, user: str = "bob", **environ: str) -> dict[str, list[str]]:
        """Tag -> all lines up to the answer, of commands that begin with their tags."""
        with self.start(user, **environ) as process:
            text = "".join(f"{command}\r\n" for command in commands) + "z LOGOUT\r\n"
            out, _ = process.communicate(text.encode(), timeout=60)
        answers: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in out.decode().split("\r\n"):
            lines.append(line)
            tag = line.partition(" ")[0]
            if tag not in ("*", "+", ""):
                answers[tag], lines = lines, []
        return answers


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def names(lines: list[str]) -> list[str]:
    return [line.partition('"." ')[2].strip('"') for line in lines if line.startswith(("* LIST", "* LSUB"))]


def test_names(site: Site) -> None:
    found = site.say('a LIST "" *', 'b LIST "" #shared.*', 'c LIST "" #shared.%', 'd LIST "" #shared.%.%',
                     'e LIST #shared.ann *', 'f LIST "" #shared', "g NAMESPACE",
                     'h LIST "" #shared.* RETURN (MYRIGHTS)')
    assert names(found["a"]) == ["INBOX"]
    assert names(found["b"]) == ["#shared.ann.Pub", "#shared.ann.Pub.In", "#shared.staff.carl.News",
                                 "#shared.d o t", "#shared.staff.carl", "#shared.ann", "#shared.staff"]
    assert names(found["c"]) == ["#shared.d o t", "#shared.ann", "#shared.staff"]
    assert names(found["d"]) == ["#shared.ann.Pub", "#shared.staff.carl"]
    assert names(found["e"]) == ["#shared.ann.Pub", "#shared.ann.Pub.In", "#shared.ann"]
    assert names(found["f"]) == []
    assert found["g"][-2] == '* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))'
    assert [line for line in found["h"] if "MYRIGHTS" in line] == [
        '* MYRIGHTS "#shared.ann.Pub" lrswi', '* MYRIGHTS "#shared.ann.Pub.In" lr',
        '* MYRIGHTS "#shared.staff.carl.News" lr', '* MYRIGHTS "#shared.d o t" lr']


def test_munged_names(site: Site) -> None:
    site.environ["IMAP_SHAREDMUNGENAMES"] = "1"
    found = site.say('a LIST "" #shared.d%', 'b SELECT "#shared.d\\\\:o\\\\;t"')
    assert names(found["a"]) == ["#shared.d\\\\:o\\\\;t"]
    assert found["b"][-1].startswith("b OK [READ-ONLY]")


@pytest.mark.parametrize("options", ["sharedgroup=ed", "disableshared=1"])
def test_options_of_the_account(options: str, site: Site) -> None:
    (site.home / "indexed").write_text(f"ed\t7\t7\t{site.home}\tann\n")
    found = site.say('a LIST "" #shared.*', "b GETACL INBOX", OPTIONS=options)
    assert names(found["a"]) == (["#shared.ed.Pub", "#shared.ed.Pub.In", "#shared.ed"]
                                 if options.startswith("shared") else [])
    assert found["b"][-1].startswith("b OK" if options.startswith("shared") else "b NO [NOPERM]")


def test_what_may_not_be_seen_is_as_what_is_not_there(site: Site) -> None:
    commands = ["SELECT {}", "EXAMINE {}", "STATUS {} (MESSAGES)", "GETACL {}", "SETACL {} x l",
                "DELETEACL {} x", "LISTRIGHTS {} x", "MYRIGHTS {}", "DELETE {}", "RENAME {} INBOX.x",
                "RENAME {} #shared.ann.Pub.x",
                "APPEND {} {{1+}}\r\nx", "CREATE {}.x", "CREATE {}", 'GETMETADATA {} /shared/comment',
                'SETMETADATA {} (/shared/comment "x")', "SUBSCRIBE {}", 'LIST "" {}',
                'LIST "" {} RETURN (STATUS (MESSAGES))',
                "GETQUOTAROOT {}", "ESEARCH IN (mailboxes {}) ALL", "ACL STORE {} x l"]
    every = [command.format(name)
             for name in ("#shared.ann.Hidden", "#shared.ann.Missin") for command in commands]
    found = site.say("s SELECT INBOX", *[f"a{at} {command}" for at, command in enumerate(every)],
                     "c1 SELECT INBOX", "c2 COPY 1 #shared.ann.Hidden", "c3 COPY 1 #shared.ann.Missin")
    for at, command in enumerate(commands):
        hidden, missing = found[f"a{at}"], found[f"a{at + len(commands)}"]
        said = [re.sub(r"^a\d+", "a", line.replace("Missin", "Hidden")) for line in missing]
        assert [re.sub(r"^a\d+", "a", line) for line in hidden if "CLOSED" not in line] == said, command
    assert found["c2"][-1][3:] == found["c3"][-1][3:]
    assert found["c2"][-1].startswith("c2 NO [TRYCREATE]")


def test_work_in_a_shared_mailbox(site: Site) -> None:
    found = site.say(
        "a SELECT INBOX", "b COPY 1 #shared.ann.Pub", "c COPY 1 #shared.ann.Pub",
        "d SELECT #shared.ann.Pub", "e STORE 1 +FLAGS (\\Seen \\Deleted kw)", "f EXPUNGE",
        "g APPEND #shared.ann.Pub (\\Seen \\Deleted) {1+}\r\nx", "h NOOP", "i CREATE #shared.ann.Pub.x",
        "j DELETE #shared.ann.Pub", "k RENAME #shared.ann.Pub INBOX.x", "l SUBSCRIBE #shared.ann.Pub",
        'm LSUB "" *', 'n LSUB "" #shared.*', "o MOVE 1 INBOX", "p COPY 1 INBOX",
        "q STATUS #shared.ann.Pub (MESSAGES)",
        'r SETMETADATA #shared.ann.Pub (/private/comment "x")',
        't SETMETADATA #shared.ann.Pub (/shared/comment "x")')
    assert re.match(r"b OK \[COPYUID \d+ 1 1\]", found["b"][-1])
    assert re.match(r"c OK \[COPYUID \d+ 1 2\]", found["c"][-1])
    assert '* OK [MYRIGHTS "lrswi"] ACL' in found["d"]
    assert "* OK [PERMANENTFLAGS (\\* \\Draft \\Answered \\Flagged \\Seen)] Limited" in found["d"]
    assert any(line.startswith("* 1 FETCH (FLAGS (\\Seen") and "Deleted" not in line for line in found["e"])
    refused = {"f": "NOPERM", "i": "NOPERM", "j": "INUSE", "k": "INUSE", "o": "NOPERM", "r": "NOPERM"}
    assert {tag: lines[-1].split("]")[0].partition("[")[2] for tag, lines in found.items()
            if lines[-1][2:4] == "NO"} == refused
    assert "* 3 EXISTS" in found["g"] + found["h"]
    assert names(found["m"]) == []
    assert names(found["n"]) == ["#shared.ann.Pub"]
    assert '* STATUS "#shared.ann.Pub" (MESSAGES 3)' in found["q"]
    assert sum(1 for _ in (site.home / "ann/.Pub/cur").iterdir()) == 3
    assert not any("T" in file.name.partition(":2,")[2] for file in (site.home / "ann/.Pub/cur").iterdir())
    assert (site.home / "bob/courierimapsubscribed").read_text() == "#shared.ann.Pub\n"
    owner = site.say("a GETMETADATA INBOX.Pub /shared/comment", user="ann")
    assert '* METADATA "INBOX.Pub" (/shared/comment "x")' in owner["a"]


def test_private_entries_of_others(site: Site) -> None:
    site.say('a SETMETADATA INBOX.Pub (/private/comment "mine" /shared/comment "ours")', user="ann")
    found = site.say("a GETMETADATA #shared.ann.Pub (DEPTH infinity) (/private /shared)")
    assert "mine" not in "".join(found["a"])
    assert "ours" in "".join(found["a"])


def test_rename_and_delete_with_rights(site: Site) -> None:
    site.allow("ann/.Pub", "bob lrswicx")
    site.allow("carl/.News", "bob lrcx")
    found = site.say("a CREATE #shared.ann.Pub.new", "b RENAME #shared.ann.Pub.new #shared.ann.Pub.other",
                     "c RENAME #shared.ann.Pub.other #shared.staff.carl.News.x",
                     "d DELETE #shared.ann.Pub.other",
                     "e CREATE INBOX.x", "f RENAME INBOX.x #shared.ann.Pub.x", "g DELETE #shared.ann")
    assert [found[tag][-1][2:4] for tag in "abcdefg"] == ["OK", "OK", "NO", "OK", "OK", "NO", "NO"]
    assert "Cannot move a folder to a different account." in found["c"][-1]
    assert "[NONEXISTENT]" in found["g"][-1]
    assert not (site.home / "ann/.Pub.other").exists()


def test_what_is_made_deep_needs_the_right_of_what_is_there(site: Site) -> None:
    found = site.say("a CREATE #shared.ann.Pub.a.b.c", "b CREATE #shared.ann.x.y",
                     "c CREATE #shared.ann.Hidden.x.y")
    assert [found[tag][-1][2:4] for tag in "abc"] == ["NO"] * 3
    assert not [path.name for path in (site.home / "ann").iterdir() if path.name.count(".") > 2]
    site.allow("ann/.Pub", "bob lrc")
    assert site.say("a CREATE #shared.ann.Pub.a.b.c")["a"][-1].startswith("a OK")
    assert (site.home / "ann/.Pub.a.b.c").exists()


def test_who_is_of_the_administrators_may_all(site: Site) -> None:
    found = site.say("a SELECT #shared.ann.Hidden", "b APPEND #shared.ann.Hidden (\\Flagged) {3+}", "abc",
                     "c STORE 1 +FLAGS (\\Deleted)", "d EXPUNGE", "e SETACL #shared.ann.Hidden carl lr",
                     "f CREATE #shared.ann.Hidden.new", "g RENAME #shared.ann.Hidden.new #shared.ann.other",
                     "h DELETE #shared.ann.other", "i DELETE #shared.ann.Pub",
                     "j MYRIGHTS #shared.ann.Pub.In", OPTIONS="group=administrators")
    assert [found[tag][-1][2:4] for tag in "abcdefghij"] == ["OK"] * 10
    assert found["j"][-2] == '* MYRIGHTS "#shared.ann.Pub.In" "lrswikxteacd"'


def test_lists_are_changed_by_who_may(site: Site) -> None:
    """Of Courier's ACL2: by patterns too, levels besides; and who may not is told so of what he sees."""
    site.allow("ann/.Pub", "bob lra")
    (site.home / "ann/.Pub.In").rename(site.home / "ann/.Pub.no.In")
    (site.home / "ann/.Pub.no.In" / "courierimapacl").unlink()
    found = site.say("a ACL STORE (#shared.ann*) anyone l", "b ACL STORE #shared.staff.carl.News anyone l",
                     "c ACL DELETE #shared.ann.Hidden anyone", "d ACL SET #shared.staff anyone l")
    form = r'\* LIST \((.*)\) "." "(#[^"]*)" .*\("user=bob" "alr"\).*\("anyone" "l"\)\)\)\)'
    lines = [re.fullmatch(form, line) for line in found["a"] if line.startswith("* LIST")]
    assert [line and line.groups() for line in lines] == [
        ("\\HasChildren", "#shared.ann.Pub"), ("\\HasNoChildren", "#shared.ann.Pub.no.In"),
        ("\\Noselect \\HasChildren", "#shared.ann.Pub.no")]
    assert [line for line in found["a"] if "ACLFAILED" in line] == [
        '* ACLFAILED "#shared.ann" NO Access denied for ACL STORE on #shared.ann (ACL "a" required)']
    for tag, word, name in (("b", "STORE", "#shared.staff.carl.News"), ("d", "SET", "#shared.staff")):
        assert found[tag] == [
            f'* ACLFAILED "{name}" NO Access denied for ACL {word} on {name} (ACL "a" required)',
            f"{tag} OK ACL {word} completed."]
    assert found["c"] == ["c OK ACL DELETE completed."]


def test_who_is_shut_out_hears_nothing_more(site: Site) -> None:
    with site.start("bob") as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def until(tag: bytes) -> list[bytes]:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            while not lines[-1].startswith(tag):
                assert lines[-1]
                lines.append(process.stdout.readline())
            return lines

        process.stdin.write(b"a SELECT #shared.ann.Pub\r\n")
        until(b"a OK")
        site.allow("ann/.Pub", "bob lr")
        process.stdin.write(b"b STORE 1:* +FLAGS (\\Seen)\r\n")
        said = until(b"b ")
        assert said[-1].startswith(b"b NO [NOPERM]")
        assert b"* OK [PERMANENTFLAGS ()] No permanent flags permitted\r\n" in said
        assert b'* OK [MYRIGHTS "lr"] ACL\r\n' in said
        site.allow("ann/.Pub", "bob l")
        (site.home / "ann/.Pub/new/1700000000.M1P1.host").write_bytes(b"Subject: secret\n\nx\n")
        process.stdin.write(b"c NOOP\r\n")
        assert until(b"* BYE") == [b"* BYE [NOPERM] You may not read this mailbox any more.\r\n"]
        process.stdin.close()
        process.wait(60)


def test_the_index(tmp_path: Path) -> None:
    (tmp_path / "i").write_text("a\t1\t1\t/home/a\nb\t1\t1\t/home/b\t./M\ng\t*\tg\na\t1\t1\t/other\n\nx\t1\n")
    (tmp_path / "g").write_text("c\t1\t1\t/home/c\t/abs\ng\t*\ti\n")
    index = SharedIndex(str(tmp_path / "i"), False)
    assert [*index.accounts()] == [("a", "/home/a/Maildir"), ("b", "/home/b/M"), ("g.c", "/abs")]
    assert index.find("a.x.y") == ("a", "/home/a/Maildir")
    assert index.find("g.c.x") == ("g.c", "/abs")
    assert index.find("g.g.g.c") == index.find("g") == index.find("none") == index.find("") is None
    (tmp_path / "i").write_text("z\t1\t1\t/home/z\n# a longer line than it was, of another size\n" * 3)
    assert index.find("z") == ("z", "/home/z/Maildir")
    (tmp_path / "i").unlink()
    assert [*index.accounts()] == []


GROUP = 42420


@pytest.fixture
def guest() -> Iterator[Account]:
    with account() as found:
        yield found


class Two:
    """Two users with a group in common, and the Maildir of the first, which that group may write to."""

    def __init__(self, guest: Account) -> None:
        self.guest = guest
        self.owner = account_ids()[0] - 1
        self.team = guest.home.parent / "team"
        guest.folder()
        for folder in (self.team, self.team / ".Pub"):
            fill(folder, 1)
            (folder / "courierimapacl").write_text("owner aceilrstwx\nuser=demo ceilrstwx\n")
        self.index = guest.home.parent / "index"
        self.index.write_text(f"team\t{self.owner}\t{GROUP}\t{self.team}\t.\n")
        for top, _, files in os.walk(self.team):
            for path, mode in ((top, 0o2770), *((os.path.join(top, name), 0o660) for name in files)):
                os.chown(path, self.owner, GROUP)
                os.chmod(path, mode)

    def window(self, user: str, **environ: str) -> Window:
        uid, gid = account_ids()
        others, maildir = {"--clear-groups": f"--groups={GROUP}"}, self.guest.maildir
        if user == "team":
            others |= {f"--reuid={uid}": f"--reuid={self.owner}", f"--regid={gid}": f"--regid={GROUP}"}
            maildir = self.team
        words = [others.get(word, word) for word in self.guest.words("courierpy.imapd")]
        return over_program([*words, str(maildir)], self.guest.log, PYTHONPATH=self.guest.library,
                            AUTHENTICATED=user, IMAP_UMASK="007", IMAP_SHAREDINDEXFILE=str(self.index),
                            **environ)


@pytest.mark.skipif(os.getuid() != 0, reason="not root: there are no two users")
def test_two_users_of_one_group(guest: Account) -> None:
    """What one of them writes the other reads, renames and adds to: messages, numbers, keywords, index."""
    two = Two(guest)
    owner, reader = two.window("team"), two.window("demo")
    own, other = "INBOX.Pub", "#shared.team.Pub"
    try:
        for turn, (window, name) in enumerate(((reader, other), (owner, own), (reader, other)), 1):
            window.do(f"APPEND {name} {{{15 + 3}+}}\r\nSubject: from {turn}\r\n\r")
            window.do(f"SELECT {name}")
            window.do(f"STORE 1:* +FLAGS (\\Flagged word{turn})")
            found = "\n".join(window.do("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
            assert found.count("\\Flagged") == turn + 1
            assert all(f"from {number}" in found for number in range(1, turn + 1)), found
            assert all(f"word{number}" in found for number in range(1, turn + 1)), found
            window.do("CLOSE")
        owner.do("RENAME INBOX.Pub INBOX.Moved")
        assert "* 4 EXISTS" in reader.do("SELECT #shared.team.Moved")
        reader.do("CREATE #shared.team.Moved.Made")
        reader.do("APPEND #shared.team.Moved.Made (new) {4+}\r\nA: b")
        owner.do("SELECT INBOX.Moved.Made")
        owner.do("STORE 1 +FLAGS (\\Deleted word)")
        owner.do("EXPUNGE")
    finally:
        owner.close()
        reader.close()
    assert "ERR" not in guest.logged, guest.logged
    for top, _, files in os.walk(two.team / ".Moved"):
        for name in files:
            seen = os.stat(os.path.join(top, name))
            assert (seen.st_gid, seen.st_mode & 0o77) == (GROUP, 0o60), name


@pytest.mark.skipif(os.getuid() != 0, reason="not root: there are no two users")
def test_what_one_of_a_group_expunges_is_kept_for_both(guest: Account) -> None:
    """Who expunges, deletes or changes rights first shuts nobody out."""
    two = Two(guest)
    owner, reader = (two.window(user, IMAP_EXPUNGE_KEEP="7") for user in ("team", "demo"))
    (two.team / "courierimapacl").write_text("owner aceilrstwx\nuser=demo aceilrstwx\n")
    try:
        reader.do("APPEND #shared.team.Pub {4+}\r\nA: b")
        for window, name in ((reader, "#shared.team.Pub"), (owner, "INBOX.Pub")):
            window.do(f"SELECT {name}")
            window.do("STORE 1 +FLAGS (\\Deleted word)")
            window.do("EXPUNGE")
            window.do("CLOSE")
        for window, name in ((reader, "#shared.team"), (owner, "INBOX")):
            for below in ("Low", "Low.level"):
                window.do(f"CREATE {name}.{below}")
            window.do(f"APPEND {name}.Low {{4+}}\r\nA: b")
            window.do(f"DELETE {name}.Low")
            window.do(f"SETACL {name}.Low.level joe lr")
            window.do(f"DELETE {name}.Low.level")
    finally:
        owner.close()
        reader.close()
    assert "ERR" not in guest.logged, guest.logged
    kept = [*two.team.glob(".Pub/courierpyexpunged/*"), *two.team.glob("courierpydeleted/*/*/cur/*")]
    assert len(kept) == 2 * 2 + 2
    for found in (*kept, *(above for file in kept for above in file.parents if two.team in above.parents)):
        seen = found.stat()
        assert (seen.st_gid, seen.st_mode & 0o077) == (GROUP, 0o70 if found.is_dir() else 0o60), found


@pytest.mark.skipif(os.getuid() != 0, reason="not root: there are no two users")
def test_list_writes_no_lists(guest: Account) -> None:
    """Inherited rights are computed: where nothing can be written, too."""
    two = Two(guest)
    for folder in (".Pub.Deep", ".Pub.Deep.er", ".Low.level"):
        fill(two.team / folder, 0)
    os.unlink(two.team / ".Pub" / "courierimapacl")
    for top, *_ in os.walk(two.team):
        os.chown(top, two.owner, GROUP)
        os.chmod(top, 0o550)
    reader = two.window("demo")
    try:
        found = reader.do('LIST "" "#shared.*" RETURN (MYRIGHTS)')
        assert sorted(line.split()[2] for line in found if line.startswith("* MYRIGHTS")) == [
            f'"#shared.team{name}"' for name in ("", ".Low.level", ".Pub", ".Pub.Deep", ".Pub.Deep.er")]
    finally:
        reader.close()
    assert guest.logged.count("ERR") + guest.logged.count("WARN") <= 1
    assert [*two.team.rglob("courierimap*acl*")] == [two.team / "courierimapacl"]
