"""deliverquota, courierpy quota and maildirmake -q: Courier's words and exit codes, and what they leave."""
from __future__ import annotations

import imaplib
import io
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

from courierpy.admin import deliverquota, maildirmake, quota
from courierpy.maildir.formats import maildirsize
from tests.conftest import account_ids, serving
from tests.programs.test_maildirs import given

MAIL = b"Subject: x\n\nhello\n"
WARNING = b"From: postmaster@example.org\nSubject: nearly full\n\nPlease delete.\n"


@pytest.fixture
def maildir(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    assert maildirmake.main(["-q", "1000S,50C", str(tmp_path / "M")]) == 0
    capfd.readouterr()
    return tmp_path / "M"


class Input:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def deliver(monkeypatch: pytest.MonkeyPatch, *words: str | Path, mail: bytes = MAIL) -> int:
    monkeypatch.setattr(sys, "stdin", Input(mail))
    try:
        return deliverquota.main([*map(str, words)])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


def there(maildir: Path) -> tuple[int, int]:
    found = maildirsize.parse((maildir / "maildirsize").read_bytes())
    assert found is not None
    return found.there.octets, found.there.messages


def test_maildirmake_sets_limits(maildir: Path) -> None:
    assert (maildir / "maildirsize").read_bytes() == b"1000S,50C\n           0            0\n"
    (maildir / "cur" / "1,S=7:2,").touch()
    assert maildirmake.main(["-q", "70C,1S", str(maildir)]) == 0
    assert (maildir / "maildirsize").read_bytes() == b"1S,70C\n           7            1\n"


def test_maildirmake_warns_of_what_is_no_quota(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert maildirmake.main(["-q", "10x", str(tmp_path / "M")]) == 0
    assert "quota string '10x' not parseable" in capfd.readouterr().err
    assert sorted(os.listdir(tmp_path / "M")) == ["cur", "new", "tmp"]


def test_delivery(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deliver(monkeypatch, maildir) == 0
    (file,) = (maildir / "new").iterdir()
    assert file.read_bytes() == MAIL
    assert re.fullmatch(r"\d{10}\.M\d+P\d+V[0-9A-F]{16}I[0-9A-F]{16}_\d+\.[^,:]+,S=18", file.name)
    assert there(maildir) == (18, 1)
    assert os.listdir(maildir / "tmp") == []


def test_delivery_that_has_no_room(maildir: Path, monkeypatch: pytest.MonkeyPatch,
                                   capfd: pytest.CaptureFixture[str]) -> None:
    assert deliver(monkeypatch, maildir, mail=b"x" * 1001) == 77
    assert capfd.readouterr().err == "Mail quota exceeded.\n"
    assert os.listdir(maildir / "new") == os.listdir(maildir / "tmp") == []
    # the limit is another one from now on
    assert deliver(monkeypatch, maildir, "2000S", mail=b"x" * 1001) == 0
    assert (maildir / "maildirsize").read_bytes().startswith(b"2000S\n")
    assert deliver(monkeypatch, maildir, "nonsense") == 0
    assert "WARN: quota string 'nonsense' not parseable" in capfd.readouterr().err


def test_delivery_to_a_folder(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = maildir / ".a"
    assert deliver(monkeypatch, folder) == 75
    assert not folder.exists()
    assert deliver(monkeypatch, "-c", folder) == 0
    assert (folder / "maildirfolder").exists()
    assert not (folder / "maildirsize").exists()
    assert deliver(monkeypatch, folder) == 0
    assert there(maildir) == (36, 2)
    assert deliver(monkeypatch, "-c", maildir / ".Trash", mail=b"x" * 5000) == 0
    assert there(maildir) == (36, 2)
    assert deliver(monkeypatch, "-c", maildir.parent / "fresh") == 0
    assert len(os.listdir(maildir.parent / "fresh" / "new")) == 1


@pytest.mark.parametrize("words", [[], ["-w", "abc", "M"], ["-w", "101", "M"], ["-x", "M"],
                                   ["M", "1S", "more"]])
def test_wrong_words_of_deliverquota(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert deliver(monkeypatch, *words) == 73


def test_warning_is_at_a_state_and_once_a_day(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = maildir.parent / "warning"
    text.write_bytes(WARNING)
    words = ("-w", "80", "-W", text)

    def warned() -> list[bytes]:
        found = [path.read_bytes() for path in (maildir / "new").iterdir()]
        return [mail for mail in found if b"nearly full" in mail]
    assert deliver(monkeypatch, *words, "-c", maildir / ".a", "10000S", mail=b"x" * 7990) == 0
    assert not warned()
    # the limit was lowered: nobody crosses it, and yet it is told, in INBOX
    assert deliver(monkeypatch, *words, maildir / ".a", "9500S", mail=b"x") == 0
    (mail,) = warned()
    assert re.fullmatch(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\n"
                        rb"Message-Id: <[^<>@]+@[^<>@]+>\n" + re.escape(WARNING), mail)
    assert there(maildir) == (7991 + len(mail), 3)
    assert deliver(monkeypatch, *words, maildir, mail=b"x") == 0
    assert len(warned()) == 1
    os.utime(maildir / "quotawarn", (time.time() - 86401,) * 2)
    assert deliver(monkeypatch, *words, maildir, mail=b"x" * (9500 - there(maildir)[0])) == 0
    # full or not, it comes
    assert len(warned()) == 2
    os.utime(maildir / "quotawarn", (time.time() - 86401,) * 2)
    assert deliver(monkeypatch, *words, maildir, mail=b"x") == 77
    assert len(warned()) == 2


def test_no_warning_without_a_quota_or_a_text(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deliver(monkeypatch, "-w", "0", "-W", maildir / "none", maildir) == 0
    (maildir / "maildirsize").unlink()
    (maildir.parent / "text").write_bytes(WARNING)
    assert deliver(monkeypatch, "-w", "0", "-W", maildir.parent / "text", maildir) == 0
    assert len(os.listdir(maildir / "new")) == 2


def report(capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[str], str]:
    """(exit status, lines, what went wrong)."""
    status = quota.main([*map(str, words)])
    said = capfd.readouterr()
    return status, said.out.splitlines(), said.err


def test_report(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (maildir / "maildirsize").write_bytes(b"2000S,50C\n        1025           10\n")
    assert report(capfd, maildir) == (0, [
        "     Quota  % Used       Used  Resource  Root",
        f"         2      51          2  STORAGE   {maildir}",
        f"        50      20         10  MESSAGE   {maildir}"], "")
    status, (line,), _ = report(capfd, "-J", maildir)
    assert (status, json.loads(line)) == (0, {
        "maildir": str(maildir), "user": None, "octets": 1025, "octets_limit": 2000,
        "messages": 10, "messages_limit": 50, "percent": 51})
    assert report(capfd, "--over", "52", maildir) == (0, [], "")
    assert report(capfd, "-q", "--over", "51", maildir) == (1, [], "")
    assert len(report(capfd, "--over", "51", maildir)[1]) == 3


def test_count_again(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (maildir / "cur" / "1,S=7:2,").touch()
    before = (maildir / "maildirsize").read_bytes()
    status, _, told = report(capfd, "-f", "-n", maildir)
    assert (status, "0 octets in 0 messages were kept, there are 7 in 1" in told) == (0, True)
    assert (maildir / "maildirsize").read_bytes() == before
    assert report(capfd, "-f", "-q", maildir) == (0, [], "")
    assert there(maildir) == (7, 1)


def test_limits(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (maildir / "cur" / "1,S=7:2,").touch()
    assert report(capfd, "--set", "5C", "-q", maildir) == (0, [], "")
    assert (maildir / "maildirsize").read_bytes() == b"5C\n           7            1\n"
    status, lines, _ = report(capfd, "--set", "none", maildir)
    assert (status, [line.split() for line in lines[1:]]) == (0, [
        ["-", "1", "STORAGE", str(maildir)], ["-", "1", "MESSAGE", str(maildir)]])
    assert not (maildir / "maildirsize").exists()


def test_one_that_is_not_there_stops_no_other(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, lines, told = report(capfd, maildir / "none", maildir)
    assert (status, len(lines), "none: No such file" in told) == (os.EX_NOINPUT, 3, True)


@pytest.mark.parametrize("words", [[], ["--set", "10x", "M"], ["--set", "", "M"], ["--over", "x", "M"]])
def test_wrong_words_of_quota(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        quota.main(words)


def test_of_an_account(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = maildir.parent
    uid, gid = given(maildir)
    (home / "userdb").write_text(f"ann\tuid={uid}|gid={gid}|home={home}|mail=M|quota=3C\n")
    (home / "userdb").chmod(0o600)
    (home / "conf").write_text(f'USERDB="{home}/userdb"\nAUTHMODULES="authuserdb"\n')
    status, lines, told = report(capfd, "-C", home / "conf", "-u", "ann", "-u", "bob")
    assert (status, lines[-1]) == (os.EX_NOUSER, "         3       0          0  MESSAGE   ann")
    assert "bob: there is no such account" in told
    status, _, told = report(capfd, "-C", home / "conf", "-u", "ann", "--set", "7C")
    assert (status, "its account has a quota" in told) == (os.EX_TEMPFAIL, True)


@pytest.mark.server
@pytest.mark.parametrize("mode", ["fork", "doorway"])
def test_a_quota_comes_from_the_account(mode: str) -> None:
    """Each session has the one of its own account, as it is then: nothing is started again."""
    with serving(mode) as server:
        userdb = server.home / "userdb"
        (row,) = userdb.read_text().splitlines()
        name, _, fields = row.partition("\t")
        (server.home / "Other").mkdir()
        for part in ("cur", "new", "tmp"):
            (server.home / "Other" / part).mkdir()
        for path in (server.home / "Other", *(server.home / "Other").iterdir()):
            os.chown(path, *account_ids())

        def accounts(quota: str) -> None:
            userdb.write_text(f"{name}\t{fields}{quota}\nother\t{fields}|mail=Other\n")

        def told(user: str) -> tuple[list[bytes], str]:
            """(what GETQUOTAROOT says, what comes of an APPEND)."""
            with imaplib.IMAP4("127.0.0.1", server.port, timeout=60) as client:
                client.login(user, "demo")
                root, found = client.getquotaroot("INBOX")[1]
                return [*root, *found], client.append("INBOX", "", "", MAIL)[0]
        accounts("|quota=1000C")
        root, done = told(name)
        assert root[0] == b'"INBOX" "ROOT"'
        assert re.fullmatch(rb'"ROOT" \(MESSAGE \d+ 1000\)', root[1])
        assert done == "OK"
        assert told("other") == ([b'"INBOX"', None], "OK")
        accounts("|quota=1C")
        root, done = told(name)
        assert re.fullmatch(rb'"ROOT" \(MESSAGE \d+ 1\)', root[1])
        assert done == "NO"
        assert told("other") == ([b'"INBOX"', None], "OK")
