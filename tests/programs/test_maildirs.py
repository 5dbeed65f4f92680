"""The tools that work on Maildirs: purge, touch, folders, path, dump, df, and whose Maildirs they take."""
from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from courierpy.admin import maildirs, main, quota
from courierpy.auth import TemporaryFailure, authuserdb, listing
from courierpy.imap import attributes, internaldates
from courierpy.maildir.store import Store
from courierpy.message.mime import Limits
from courierpy.model.flags import FLAGGED, FlagChange
from tests.conftest import account_ids, fill

TOOLS = {"purge": ["-d", "1", "-f"], "touch": ["-t"], "folders": [], "path": [], "dump": [], "df": [],
         "check": [], "unexpunge": ["-a"], "expire": ["-X", "7d", "-v"]}
DAY = 86400
DATED = b"From: a@b\nDate: Mon, 1 Jan 2018 10:00:00 +0000\nSubject: x\n\n"
SENT = 1514800800                      # of that Date


def deliver(maildir: Path, number: int, days: int, octets: int = 0, flags: str = "") -> Path:
    """A message that came so many days ago (and a little)."""
    name = maildir / "cur" / f"{1700000000 + number}.M{number}P1.host:2,{flags}"
    name.write_bytes(DATED + b"x" * octets)
    when = time.time() - days * DAY - 60
    os.utime(name, (when, when))
    return name


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """INBOX has messages of 1, 10, 20 and 30 days, of 1, 2, 3 and 4 KiB; Work has none."""
    root = tmp_path / "M"
    fill(root, 0)
    for number, days in enumerate((1, 10, 20, 30), 1):
        deliver(root, number, days, number * 1024 - len(DATED), {2: "F", 4: "T"}.get(number, ""))
    Store(str(root)).create("INBOX.Work")
    return root


def run(capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[str], str]:
    """(exit status, lines, what went wrong)."""
    status = main(["courierpy", *map(str, words)])
    said = capfd.readouterr()
    return status, said.out.splitlines(), said.err


def there(maildir: Path) -> list[int]:
    """The days of the messages in INBOX."""
    files = [*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()]
    return sorted(int((time.time() - file.stat().st_mtime) // DAY) for file in files)


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """What there is, and when it changed."""
    return {str(one.relative_to(root)): (found.st_ino, found.st_mtime_ns, found.st_size)
            for one in (root, *root.rglob("*")) for found in [one.lstat()]}


# -- purge

@pytest.mark.parametrize(("words", "left"), [
    (["-d", "20"], [1, 10]), (["-d", "20", "-x"], [1, 10, 30]), (["-d", "20", "-i"], [20, 30]),
    (["-d", "20", "-x", "-i"], [20]), (["-k", "2"], [1, 10]), (["-b", "3072", "-x"], [1, 10, 30]),
    (["-m", "1"], [1, 10, 20, 30]), (["-d", "30", "-k", "2"], [1, 10]), (["-d", "1", "-s"], [10]),
    (["-d", "1", "-o"], [1, 10, 20]), (["-d", "100", "-X"], [1, 10, 20, 30]), (["-d", "100", "--sent"], []),
    (["-d", "20", "-n"], [1, 10, 20, 30])])
def test_what_goes(words: list[str], left: list[int], maildir: Path,
                   capfd: pytest.CaptureFixture[str]) -> None:
    before = tree(maildir)
    status, lines, error = run(capfd, "purge", *words, "--mailbox", "INBOX", maildir)
    assert (status, error) == (0, "")
    assert there(maildir) == left
    went = 4 - len(left) if "-n" not in words else 2
    word = "would go" if "-n" in words else "removed"
    assert [line for line in lines if f"{went} of 4 messages {word}" in line] == lines[:1] or not went
    if "-n" in words:
        assert tree(maildir) == before


def test_purge_is_an_expunge_for_sessions(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Who has the mailbox open sees it go, and reads it until it was told."""
    (maildir / "maildirsize").write_bytes(b"1000000S\n       10240            3\n")
    folder = Store(str(maildir)).open("INBOX")
    folder.join()
    uids = list(folder.scan().messages.uids)
    status, (line,), _ = run(capfd, "purge", "-J", "-d", "20", "-f", maildir, "--mailbox", "INBOX")
    assert (status, json.loads(line)) == (0, {
        "maildir": str(maildir), "user": None, "mailbox": "INBOX", "messages": 4, "removed": 2,
        "octets": 7168, "dry": False})
    assert list(folder.scan().messages.uids) == uids[:2]
    with folder.finder.open(uids[2]) as file:
        assert file.size == 3072
    folder.told()
    folder.close()
    assert quota.main(["-q", "--over", "1", str(maildir)]) == 0
    assert sum(int(line.split()[1]) for line in (maildir / "maildirsize").read_text().splitlines()[1:]) == 2


def test_purge_of_mailboxes(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    deliver(maildir / ".Work", 9, 50)
    status, lines, _ = run(capfd, "purge", "-d", "5", "--mailbox", "W*", "-v", maildir)
    assert (status, there(maildir), len(lines)) == (0, [1, 10, 20, 30], 2)
    assert not list((maildir / ".Work" / "cur").glob("1*"))
    status, lines, error = run(capfd, "purge", "-d", "5", "--mailbox", "Nope", maildir)
    assert (status, lines, "Nope: there is no such mailbox" in error) == (os.EX_NOINPUT, [], True)


@pytest.mark.parametrize("words", [["-f", "M"], ["-d", "3", "M"], ["-d", "-3", "-f", "M"], ["-d", "3", "-f"]])
def test_wrong_words_of_purge(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "purge", *words)[0] == os.EX_USAGE


# -- touch

def test_times_by_the_date(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    near = deliver(maildir, 7, 0)
    os.utime(near, (SENT + 80000, SENT + 80000))
    folder = Store(str(maildir)).open("INBOX")
    uids = folder.scan().messages.uids
    assert len({*internaldates.told(attributes.Attributes(folder, Limits()), uids)}) == 5
    folder.cache.flush()
    no_date = maildir / "new" / "1700000009.M9P1.host"
    no_date.write_bytes(b"Subject: x\n\n")
    before = tree(maildir)
    assert run(capfd, "touch", "-t", "-n", maildir)[1] == [
        f"{maildir}: INBOX: 4 of 6 messages would get the time of their Date"]
    assert tree(maildir) == before
    assert run(capfd, "touch", "-t", maildir)[0] == 0
    assert {file.stat().st_mtime for file in (maildir / "cur").iterdir()} == {SENT, SENT + 80000}
    assert no_date.stat().st_mtime > SENT + DAY
    assert json.loads(run(capfd, "touch", "-t", "-J", "--mailbox", "INBOX", maildir)[1][0])["changed"] == 0
    folder = Store(str(maildir)).open("INBOX")
    folder.scan()
    assert len({*internaldates.told(attributes.Attributes(folder, Limits()), uids)}) == 2


# -- folders, path, dump, df

def test_folders(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = Store(str(maildir))
    store.open("INBOX").scan()
    store.create("INBOX.Sent")
    store.subscribe("INBOX.Work", True)
    store.subscribe("INBOX.Gone", True)
    before = tree(maildir)
    status, lines, error = run(capfd, "folders", "-J", maildir)
    rows = {row["mailbox"]: row for row in map(json.loads, lines)}
    assert (status, error, list(rows)) == (0, "", ["INBOX", "INBOX.Sent", "INBOX.Work"])
    assert (rows["INBOX"]["messages"], rows["INBOX"]["uidnext"]) == (4, 5)
    assert rows["INBOX.Sent"]["use"] == ["\\Sent"]
    assert [row["subscribed"] for row in rows.values()] == [False, False, True]
    assert run(capfd, "folders", "-v", maildir)[:2] == (
        1, [f"{maildir}: INBOX.Gone: subscribed, and not there"])
    assert [line.split("\t")[0] for line in run(capfd, "folders", maildir)[1]] == list(rows)
    assert tree(maildir) == before


@pytest.mark.parametrize(("words", "status", "told"), [
    ([], 0, ["{}"]), (["INBOX"], 0, ["{}"]), (["INBOX.Work"], 0, ["{}/.Work"]), ([".Work"], 0, ["{}/.Work"]),
    (["Work", "Nope", "INBOX"], 1, ["{}/.Work", "{}"]), (["-s", "Nope", "INBOX"], 1, []),
    (["-U", "Work"], 0, ["{}"]), (["-M", "Work"], 0, ["{}/.Work/courierpyindex"]),
    (["-p", "{}/.Work/cur/1"], 0, ["INBOX.Work"]), (["-p", ".Work"], 0, ["INBOX.Work"]),
    (["-D", "Work"], 0, ["{}/.Work"]),
    (["-A", "Work"], 0, ["{}/.Work", "{}/.Work/courierpyindex", "{}"]),
    (["-p", "{}"], 0, ["INBOX"]), (["-p", "/elsewhere"], 1, []), (["-7", "&AOQ-x"], 0, ["{}/.äx"])])
def test_paths(words: list[str], status: int, told: list[str], maildir: Path,
               capfd: pytest.CaptureFixture[str]) -> None:
    Store(str(maildir)).create("INBOX.äx")
    letters = [word for word in words if word.startswith("-")]
    names = [word.format(maildir) for word in words if not word.startswith("-")]
    found = run(capfd, "path", *letters, maildir, *names)
    assert found[:2] == (status, [one.format(maildir) for one in told])
    assert ("there is no such mailbox" in found[2]) == (status == 1)
    rows = [json.loads(line) for line in run(capfd, "path", "-j", *letters, maildir, *names)[1]]
    assert {one.format(maildir) for one in told} <= {value for row in rows for value in row.values()}
    assert bool(rows) == bool(told)


def test_there_are_no_scripts(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, lines, error = run(capfd, "path", "-S", maildir)
    assert (status, lines, "no Sieve" in error) == (1, [], True)
    assert run(capfd, "path", "-S", "-q", maildir) == (1, [], "")


def test_dump(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Store(str(maildir)).open("INBOX")
    uids = folder.scan().messages.uids
    modseqs = folder.number_changes()
    folder.scan()
    folder.store(uids[:1], FlagChange("+", FLAGGED))
    highest = modseqs.history.highest
    folder.close()
    fill(maildir, 1)
    before = tree(maildir)
    status, lines, error = run(capfd, "dump", "-J", maildir)
    head, *rows = map(json.loads, lines)
    assert (status, error, head["messages"], head["unnumbered"]) == (0, "", 5, 1)
    assert [(row["uid"], row["flags"]) for row in rows] == [(1, "F"), (2, "F"), (3, ""), (4, "T"), (None, "")]
    assert (rows[0]["modseq"], rows[3]["octets"], rows[4]["modseq"]) == (highest, 4096, None)
    said = run(capfd, "dump", "--uid", "3", maildir)[1]
    assert said[2].startswith('ENVELOPE ("Mon, 1 Jan 2018 10:00:00 +0000" "x" ')
    assert said[3].startswith('BODYSTRUCTURE ("text" "plain"')
    assert run(capfd, "dump", "--seq", "3", maildir)[1] == said
    assert run(capfd, "dump", "-c", "-q", maildir)[0] == 0
    assert run(capfd, "dump", "--uid", "9", maildir)[0] == 1
    assert tree(maildir) == before


def test_df(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(maildir.parent / "N", 1)
    status, lines, error = run(capfd, "df", "-J", "--top", "1", maildir, maildir.parent / "N")
    system, top = map(json.loads, lines)
    assert (status, error, system["maildirs"], top["maildir"]) == (0, "", 2, str(maildir))
    assert 0 < system["used"] <= system["octets"]
    assert top["messages"] == 3                # what is \\Deleted does not count
    assert len(run(capfd, "df", "-m", maildir)[1]) == 2


# -- whose Maildirs

@pytest.mark.parametrize("tool", TOOLS)
def test_one_that_is_broken_stops_no_other(tool: str, maildir: Path, capfd: pytest.CaptureFixture[str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, a line for each."""
    monkeypatch.chdir(maildir.parent)
    (maildir.parent / "file").touch()
    (maildir.parent / "empty").mkdir()
    (maildir.parent / "loop").symlink_to("loop")
    for bad in ("none", "file", "empty", "loop", "x" * 300, "with\nline"):
        status, _, error = run(capfd, tool, *TOOLS[tool], bad)
        (line,) = error.splitlines()
        assert line.startswith("courierpy: ") and bad.replace("\n", "\\n") in line
        assert status in (os.EX_NOINPUT, os.EX_TEMPFAIL)
    if tool != "path":                 # which takes one
        status, lines, error = run(capfd, tool, *TOOLS[tool], "none", maildir, "file")
        assert (status, len(error.splitlines())) == (os.EX_NOINPUT, 2)
        assert lines or tool in ("dump", "check")


@pytest.mark.parametrize(("tool", "words", "told"), [
    ("dump", [], 6), ("purge", ["-d", "20", "-f"], 1), ("touch", ["-t"], 2), ("check", [], 0)])
def test_a_link_in_a_circle_keeps_no_other_from_it(tool: str, words: list[str], told: int, maildir: Path,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    odd = maildir / "cur" / "1700000009.M9P1.host:2,"
    odd.symlink_to(odd.name)
    status, lines, _ = run(capfd, tool, *words, "--mailbox", "INBOX", maildir)
    assert len(lines) == told or tool == "check"
    if tool == "purge":
        assert (status, there_without(odd)) == (0, [1, 10])
    elif tool == "touch":
        assert "4 of 5 messages" in lines[1]
    elif tool == "dump":
        assert status == 0 and sum(odd.name in line for line in lines) == 1


def there_without(odd: Path) -> list[int]:
    odd.unlink()
    return there(odd.parent.parent)


def given(maildir: Path) -> tuple[int, int]:
    """To the test account, which may go there; its uid and gid."""
    if os.getuid() == 0:
        for one in (maildir, *maildir.rglob("*")):
            os.chown(one, *account_ids())
        for above in list(maildir.parents)[:4]:
            above.chmod(above.stat().st_mode | 0o055)
    return account_ids()


def accounts(home: Path, maildir: Path) -> Path:
    """Settings with the accounts ann, bob@example.org, whose Maildir is not there, and eve@example.org."""
    fill(home / "eve", 2)
    uid, gid = given(maildir)
    given(home / "eve")
    rows = {"ann": maildir, "bob@example.org": home / "none", "eve@example.org": home / "eve"}
    (home / "userdb").write_text("".join(
        f"{name}\tuid={uid}|gid={gid}|home={home}|mail={mail}|quota=9C\n" for name, mail in rows.items()))
    (home / "userdb").chmod(0o600)
    (home / "conf").write_text(f'USERDB="{home}/userdb"\nAUTHMODULES="authuserdb"\n')
    return home / "conf"


def test_all_accounts(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    conf = accounts(maildir.parent, maildir)
    status, lines, error = run(capfd, "quota", "-C", conf, "-a", "-J", "-f")
    assert status == os.EX_NOINPUT             # others were done
    assert [(row["user"], row["messages"]) for row in map(json.loads, lines)] == [("ann", 3),
                                                                                 ("eve@example.org", 2)]
    assert "none: No such file" in error
    status, lines, _ = run(capfd, "quota", "-C", conf, "-u", "eve@example.org", "-u", "joe", "-J")
    assert (status, len(lines)) == (os.EX_NOUSER, 1)
    assert len(run(capfd, "quota", "-C", conf, "-a", "-d", "example.org")[1]) == 3
    owners = {file.stat().st_uid for name in (maildir, maildir.parent / "eve") for file in name.rglob("*")}
    assert len(owners) == 1                    # what was written is the user's


@pytest.mark.skipif(os.getuid() != 0, reason="only root has others' Maildirs to work on")
def test_a_child_is_the_user(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the user may not open, root does not open for him."""
    conf = accounts(maildir.parent, maildir)
    (maildir / "cur").chmod(0)
    os.chown(maildir / "cur", 0, 0)
    status, lines, error = run(capfd, "dump", "-C", conf, "-u", "ann")
    assert (status, lines) == (os.EX_NOPERM, [])
    assert "Permission denied" in error


def test_lists_of_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TemporaryFailure, match="authpipe has no list"):
        listing.names(["authpipe"], {})
    with pytest.raises(TemporaryFailure, match="it is not there"):
        listing.names(["authuserdb"], {"USERDB": str(tmp_path / "none")})
    # the one that etc/imapd names, where nobody made it
    monkeypatch.setattr(authuserdb, "DEFAULT", str(tmp_path / "none"))
    assert listing.names(["authuserdb"], {"USERDB": str(tmp_path / "none")}) == []
    assert listing.names(["authuserdb"], {}) == []
    assert "root" not in listing.names(["authpwd"], {})


@pytest.mark.parametrize(("answer", "names"), [
    (b"ann\t1\t1\t/h\t\t\nbob\t2\t2\t/b\t\t\n.\n", ["ann", "bob"]), (b".\n", []),
    (b"ann\t1\t1\t/h\t\t\n", None), (b"FAIL\n", None)])
def test_list_of_authdaemond(answer: bytes, names: list[str] | None, tmp_path: Path) -> None:
    where = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(where)
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                assert client.recv(100) == b"ENUMERATE\n"
                client.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        if names is None:
            with pytest.raises(TemporaryFailure, match="not whole"):
                listing.names(["authdaemon"], {"AUTHDAEMON_SOCKET": where})
        else:
            assert listing.names(["authdaemon"], {"AUTHDAEMON_SOCKET": where}) == names
        thread.join(60)


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capfd, "version", "-J")[1][0])
    assert {"courierpy", "python", "libraries", "extensions"} <= set(found)
    assert "IDLE" in found["extensions"]
    assert any(line.startswith("libraries: ") for line in run(capfd, "version", "-v")[1])


def test_names_on_a_command_line(maildir: Path) -> None:
    store = Store(str(maildir))
    for word in ("Work", ".Work", "INBOX.Work", "inbox.Work"):
        assert maildirs.spelled(store, word) == "INBOX.Work"
    assert maildirs.chosen(store, ["*"]) == ["INBOX.Work"]
    assert maildirs.chosen(store, []) == ["INBOX", "INBOX.Work"]
