"""Courier's tools for accounts and certificates, by their names, words and exit statuses."""
from __future__ import annotations

import base64
import hashlib
import pwd
import stat
from pathlib import Path

import passlib.hash
import pytest

from courierpy.admin import (
    authenumerate,
    authpasswd,
    makeuserdb,
    mkimapdcert,
    mkpop3dcert,
    pw2userdb,
    userdb,
    userdbpw,
)
from courierpy.auth import hmacstate, passwords


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "userdb"
    path.write_text("# accounts\njoe\tuid=1000|gid=1000|home=/home/joe|options=disableshared=1,x=y\n"
                    "bob@x\tuid=1001|gid=1001|home=/home/bob|mail=Mail\nodd\n")
    path.chmod(0o600)
    return path


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    import io
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_fields_are_set_and_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-f", str(file)]
    assert userdb.main([*words, "joe", "set", "uid=7", "mail=/m"]) == 0
    assert userdb.main([*words, "bob@x", "unset", "mail", "none"]) == 0
    assert userdb.main([*words, "new", "set", "uid=8"]) == 0
    given(monkeypatch, "secret\n")
    assert userdb.main([*words, "new", "set", "systempw", "gid=9"]) == 0
    assert userdb.main([*words, "nobody", "del"]) == userdb.main([*words, "nobody", "unset", "uid"]) == 0
    assert file.read_text() == (
        "# accounts\njoe\tuid=7|gid=1000|home=/home/joe|options=disableshared=1,x=y|mail=/m\n"
        "bob@x\tuid=1001|gid=1001|home=/home/bob\nodd\nnew\tuid=8|systempw=secret|gid=9\n")
    assert userdb.main([*words, "joe", "del"]) == 0
    assert "joe" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_is_made_for_the_first(tmp_path: Path) -> None:
    assert userdb.main(["-f", str(tmp_path / "new"), "joe", "set", "uid=1"]) == 0
    assert (tmp_path / "new").read_text() == "joe\tuid=1\n"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_what_there_is_is_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert userdb.main(["-show", "-f", str(file)]) == 0
    assert capsys.readouterr().out == "joe\nbob@x\n"
    assert userdb.main(["-show", "-f", str(file), "bob@x"]) == 0
    assert capsys.readouterr().out == "uid=1001\ngid=1001\nhome=/home/bob\nmail=Mail\n"
    assert userdb.main(["-show", "-f", str(file), "nobody"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("words", "status"), [
    ([], 1), (["joe"], 1), (["joe", "foo", "a=b"], 1), (["joe", "set"], 1), (["joe", "unset"], 1),
    (["joe", "del", "uid"], 1), (["-show", "joe", "bob"], 1), (["joe", "set", "a=b|c"], 22),
    (["joe", "set", "a\tb=c"], 22), (["joe", "set", "a=b\nroot\tuid=0"], 22), (["joe", "set", "=x"], 22),
    (["#joe", "set", "a=b"], 22), (["jo\te", "set", "a=b"], 22)])
def test_wrong_words_of_userdb(words: list[str], status: int, file: Path) -> None:
    before = file.read_text()
    show = words[:1] == ["-show"]
    assert userdb.main([*words[:show], "-f", str(file), *words[show:]]) == status
    assert file.read_text() == before


@pytest.mark.parametrize("secret", ["secret", "a" * 64, "b" * 65, "j\u00f6"])
@pytest.mark.parametrize("kind", hmacstate.KINDS)
def test_states_for_cram(kind: str, secret: str, monkeypatch: pytest.MonkeyPatch,
                         capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, f"{secret}\n")
    assert userdbpw.main([f"-hmac-{kind}"]) == 0
    states = capsys.readouterr().out.strip()
    answer = passwords.cram_answer(kind, secret, b"<1@x>")
    assert passwords.cram_matches(kind, "", states, b"<1@x>", answer)
    if secret == "secret" and kind == "md5":       # as Courier's tool says it
        assert states == "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56"


@pytest.mark.parametrize("words", [[], ["-md5"]])
def test_a_hash_for_a_userdb(words: list[str], monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, "secret\n")
    assert userdbpw.main(words) == 0
    found = capsys.readouterr().out.strip()
    assert found.startswith("$1$") and passlib.hash.md5_crypt.verify("secret", found)


@pytest.mark.parametrize("kind", authpasswd.TYPES)
def test_hashes_that_logins_know(kind: str, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, "secret\nsecret\n")
    assert authpasswd.main([kind] if kind else []) == 0
    found = capsys.readouterr().out.strip()
    assert passwords.verify(found, "secret") and not passwords.verify(found, "other")
    if kind == "sha256":
        assert found == "{SHA256}" + base64.b64encode(hashlib.sha256(b"secret").digest()).decode()


@pytest.mark.parametrize(("words", "text"), [
    ([], "secret\n"), ([], "secret\nother\n"), ([], ""), ([], "\n\n"), (["rot13"], "secret\nsecret\n")])
def test_no_hash(words: list[str], text: str, monkeypatch: pytest.MonkeyPatch,
                 capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, text)
    assert authpasswd.main(words) == 1
    assert capsys.readouterr().out == ""


def test_accounts_are_listed(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "imapd"
    settings.write_text(f"AUTHMODULES=authuserdb\nUSERDB={file}\n")
    joe, bob = "joe\t1000\t1000\t/home/joe\t", "bob@x\t1001\t1001\t/home/bob\tMail"
    for words, lines in (([], [joe, bob]), (["-s"], [bob]), (["-s", "-o"], [bob + "\t"]),
                         (["-o"], [joe + "\tdisableshared=1,x=y", bob + "\t"])):
        assert authenumerate.main(["-C", str(settings), *words]) == 0
        assert capsys.readouterr().out.splitlines() == lines
    assert authenumerate.main(["-x"]) == 1
    settings.write_text(f"AUTHMODULES=authuserdb\nUSERDB={file}.no\n")
    assert authenumerate.main(["-C", str(settings)]) == 1
    assert capsys.readouterr().out == ""


def test_a_userdb_is_looked_at(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert makeuserdb.main(["-f", str(file)]) == 0
    assert capsys.readouterr() == ("", "")
    file.write_text(file.read_text() + "x\tuid=abc|gid=1\n7=\tjoe\n")
    assert makeuserdb.main(["-f", str(file)]) == 1
    assert "x: uid, home: missing" in capsys.readouterr().err
    file.chmod(0o644)
    assert makeuserdb.main(["-f", str(file)]) == 1
    assert makeuserdb.main(["-x"]) == 1


def test_accounts_of_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    assert pw2userdb.main([]) == 0
    rows = capsys.readouterr().out.splitlines()
    entry = pwd.getpwuid(0)
    assert f"0=\t{entry.pw_name}" in rows
    row, = [row for row in rows if row.startswith(f"{entry.pw_name}\t")]
    assert f"uid=0|gid={entry.pw_gid}|home={entry.pw_dir}|" in row


@pytest.mark.parametrize(("tool", "name"), [(mkimapdcert, "mkimapdcert"), (mkpop3dcert, "mkpop3dcert")])
def test_a_certificate_is_made_once(tool: object, name: str, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    settings, path = tmp_path / "ssl", tmp_path / "made.pem"
    settings.write_text(f"TLS_CERTFILE={path}\n")
    words = ["-C", str(settings)]
    assert tool.main(words) == 0  # type: ignore[attr-defined]
    text = path.read_text()
    assert "PRIVATE KEY" in text and "BEGIN CERTIFICATE" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tool.main(words) == 1  # type: ignore[attr-defined]
    assert capsys.readouterr().err == f"{name}: {path} already exists.\n"
    assert path.read_text() == text


def test_what_editors_and_packages_leave_is_no_account(tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """In a directory of userdb files; the last line of one counts without an end."""
    place = tmp_path / "userdb"
    place.mkdir()
    for name in ("one", "one~", "#one#", ".one", "one.bak", "one.lock", "one.tmp", "one.rpmnew",
                 "one.rpmsave", "one.dpkg-old", "one.dpkg-new", "one.ucf-dist", "b.example"):
        (place / name).write_text(f"{name}\tuid=1|gid=1|home=/h")
        (place / name).chmod(0o600)
    settings = tmp_path / "imapd"
    settings.write_text(f"AUTHMODULES=authuserdb\nUSERDB={place}\n")
    assert authenumerate.main(["-C", str(settings)]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["b.example", "one"]
