"""courierpy user and courierpy authtest: accounts of a userdb, and what modules say of them."""
from __future__ import annotations

import os
import pwd
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from courierpy.auth import Rejected, Request, TemporaryFailure, check
from tests.conftest import fill, plain_environ
from tests.programs.test_admin import start

MY_UID = str(os.getuid() or pwd.getpwnam("nobody").pw_uid)


class Userdb:
    """A userdb and a home directory beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "userdb"
        self.home = folder / "home"
        self.home.mkdir()
        self.settings = folder / "imapd"
        self.settings.write_text(f'USERDB="{self.path}"\nAUTHMODULES="authuserdb"\n')

    def user(self, *words: str, text: str = "") -> tuple[int, str, str]:
        done = start("courierpy", "user", "-C", str(self.settings), *words, text=text)
        return done.returncode, done.stdout, done.stderr

    def add(self, name: str, password: str = "first", *words: str) -> tuple[int, str, str]:
        return self.user("add", name, "--uid", MY_UID, "--home", str(self.home), *words, text=f"{password}\n")

    def accepts(self, name: str, password: str, kind: str = "login") -> bool:
        try:
            check(["authuserdb"], Request(kind, "imap", {"USERDB": str(self.path)}, user=name,
                                          password=password))
        except Rejected:
            return False
        return True

    def authtest(self, *words: str, text: str = "") -> tuple[int, str, str]:
        done = start("courierpy", "authtest", "-C", str(self.settings), *words, text=text)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def userdb(tmp_path: Path) -> Userdb:
    return Userdb(tmp_path)


def test_a_pipe_is_no_userdb(userdb: Userdb) -> None:
    os.mkfifo(userdb.path, 0o600)
    for words in (["list"], ["del", "ann"]):
        assert userdb.user(*words) == (1, "", f"courierpy user: {userdb.path}: not a regular file\n")
    with pytest.raises(TemporaryFailure, match="not a regular file"):
        userdb.accepts("ann", "first")


def test_add_passwd_del_list(userdb: Userdb) -> None:
    assert userdb.add("ann") == (0, f"{userdb.path}: ann added\n", "")
    assert stat.S_IMODE(userdb.path.stat().st_mode) == 0o600
    assert userdb.accepts("ann", "first")
    assert not userdb.accepts("ann", "other")
    more = ("--mail", "Mail/x", "--quota", "10S", "--options", "disableimap=0")
    assert userdb.add("bob", "b\u00e9 b", *more)[0] == 0
    assert userdb.accepts("bob", "b\u00e9 b")
    status, out, error = userdb.user("list")
    assert (status, error) == (0, "")
    assert out.splitlines() == [
        f"ann\tuid={MY_UID}|gid={MY_UID}|home={userdb.home}\tsystempw",
        f"bob\tuid={MY_UID}|gid={MY_UID}|home={userdb.home}|mail=Mail/x|quota=10S|options=disableimap=0"
        "\tsystempw"]
    changed = userdb.user("passwd", "ann", text="second\n")
    assert changed == (0, f"{userdb.path}: password of ann changed\n", "")
    assert not userdb.accepts("ann", "first")
    assert userdb.accepts("ann", "second")
    assert userdb.user("del", "bob")[0] == 0
    assert not userdb.accepts("bob", "b\u00e9 b")
    assert userdb.home.is_dir()


def test_a_new_password_replaces_every_form_of_the_old(userdb: Userdb) -> None:
    userdb.path.write_text(f"joe\tuid={MY_UID}|gid={MY_UID}|home={userdb.home}|imappw=$1$lablab$x|clearpw=old|"
                           "hmac-md5pw=abc|gecos=Joe\n")
    userdb.path.chmod(0o600)
    assert userdb.accepts("joe", "old")
    assert userdb.user("passwd", "joe", text="new\n")[0] == 0
    assert not userdb.accepts("joe", "old")
    assert userdb.accepts("joe", "new")
    assert "gecos=Joe" in userdb.path.read_text()
    assert "clearpw" not in userdb.path.read_text()
    assert userdb.user("passwd", "joe", "--clear", text="newer\n")[0] == 0
    assert "clearpw=newer" in userdb.path.read_text()


def test_what_others_wrote_stays(userdb: Userdb) -> None:
    before = b"# by hand\n\nodd line\nzoe\tuid=1|gid=1|home=/x|imappw=\xff\xfe\n#off\tuid=1\n"
    userdb.path.write_bytes(before)
    userdb.path.chmod(0o640)
    status, _, error = userdb.add("ann")
    assert status == 0
    assert "mode is 0600 now" in error
    assert userdb.path.read_bytes().startswith(before)
    assert userdb.user("del", "ann")[0] == 0
    assert userdb.path.read_bytes() == before
    assert [path.name for path in userdb.path.parent.glob("userdb*")] == ["userdb"]


def test_where_the_files_may_be_named(tmp_path: Path) -> None:
    settings, accounts = tmp_path / "imapd", tmp_path / "userdb"
    settings.write_text(f"USERDB={accounts}\n")
    accounts.write_text("ann\tuid=1|gid=1|home=/\n")
    for words in (["-C", str(settings), "list"], ["list", "-C", str(settings)],
                  ["-f", str(accounts), "list"], ["list", "-f", str(accounts)]):
        done = start("courierpy", "user", *words)
        assert (done.returncode, done.stdout.partition("\t")[0]) == (0, "ann"), done.stderr


@pytest.mark.parametrize("form", ["sha512_crypt", "sha256_crypt", "bcrypt", "argon2", "md5_crypt"])
def test_each_hash(form: str, userdb: Userdb) -> None:
    assert userdb.add("ann", "secret", "--hash", form)[0] == 0
    assert userdb.accepts("ann", "secret")
    assert "secret" not in userdb.path.read_text()


@pytest.mark.parametrize(("words", "text", "told"), [
    (["add", "ann"], "x\n", "there is such an account"), (["passwd", "anm"], "x\n", "did you mean ann?"),
    (["del", "zzz"], "", "courierpy user list"), (["add", "new"], "x\n", "--uid and --home are needed"),
    (["add", "new", "--uid", "0", "--home", "/x"], "x\n", "root's mail is never served"),
    (["add", "new", "--uid", "no_such_user", "--home", "/x"], "x\n", "name of a system user"),
    (["add", "new", "--uid", "5", "--home", "x"], "x\n", "begins with /"),
    (["add", "a|b", "--uid", "5", "--home", "/x"], "x\n", "must not be empty"),
    (["add", "#x", "--uid", "5", "--home", "/x"], "x\n", "comment"),
    (["add", "new", "--uid", "5", "--home", "/"], "", "no password was given"),
    (["add", "new", "--uid", "5", "--home", "/"], "a\tb\n", "control characters"),
    (["add", "new", "--uid", "5", "--home", "/", "--clear"], "a|b\n", "--clear")])
def test_what_cannot_be_changes_nothing(words: list[str], text: str, told: str, userdb: Userdb) -> None:
    userdb.add("ann")
    before = userdb.path.read_bytes()
    status, out, error = userdb.user(*words, text=text)
    assert (status, out) == (1, "")
    assert told in error.splitlines()[-1]
    assert userdb.path.read_bytes() == before


def test_a_userdb_that_is_a_link_or_a_directory(userdb: Userdb) -> None:
    userdb.path.symlink_to(userdb.home / "elsewhere")
    assert userdb.add("ann")[0] == 1
    userdb.path.unlink()
    userdb.path.mkdir()
    status, _, error = userdb.add("ann")
    assert status == 1
    assert "name one of them by -f" in error
    assert userdb.user("-f", str(userdb.path / "one"), "add", "ann", "--uid", MY_UID, "--home",
                       str(userdb.home), text="x\n")[0] == 0
    assert userdb.accepts("ann", "x")


def test_a_system_user_needs_no_more(userdb: Userdb) -> None:
    entry = pwd.getpwnam("nobody")
    assert userdb.user("add", "nobody", text="x\n")[0] == 0
    assert f"nobody\tuid={entry.pw_uid}|gid={entry.pw_gid}|home={entry.pw_dir}|" in userdb.path.read_text()


def test_on_a_terminal_it_is_asked_twice_and_not_shown(userdb: Userdb) -> None:
    words = ["-c", "from courierpy.admin import run; run()", "user", "-C", str(userdb.settings), "add", "ann",
             "--uid", MY_UID, "--home", str(userdb.home)]
    for second, done in (("other", False), ("geheim", True)):
        client = pexpect.spawn(sys.executable, words, timeout=30, env=plain_environ())
        client.expect("Password of ann: ")
        client.sendline("geheim")
        client.expect("Again: ")
        client.sendline(second)
        client.expect(pexpect.EOF)
        assert b"geheim" not in client.before
        assert userdb.path.exists() is done
    assert userdb.accepts("ann", "geheim")


# -- authtest

def test_what_each_module_says(userdb: Userdb) -> None:
    userdb.add("ann", "right")
    fill(userdb.home / "Maildir", 0)
    if os.getuid() == 0:
        os.chown(userdb.home / "Maildir", int(MY_UID), int(MY_UID))
    status, out, error = userdb.authtest("ann", "authuserdb", "authpwd", text="right\n")
    assert (status, error) == (0, "")
    assert "authuserdb: accepted\n" in out
    assert f"  uid: {MY_UID}\n" in out
    assert f"  home: {userdb.home}\n" in out
    assert "but:" not in out
    assert "authpwd: no such user" in out
    assert "right" not in out.replace("the password is right", "")
    status, out, _ = userdb.authtest("ann", text="wrong\n")
    assert (status, out) == (1, "authuserdb: wrong password\n")
    status, out, _ = userdb.authtest("zoe", text="x\n")
    assert (status, out) == (1, "authuserdb: no such user, or a wrong password\n")
    status, out, _ = userdb.authtest("-n", "ann")
    assert status == 0
    assert out.startswith("authuserdb: accepted\n")
    assert userdb.authtest("-n", "zoe")[:2] == (1, "authuserdb: no such user\n")


def test_the_words_of_couriers_authtest(userdb: Userdb, tmp_path: Path) -> None:
    """The password, and a new one, behind the name."""
    userdb.add("ann", "right")
    assert userdb.authtest("-s", "imap", "ann", "right")[0] == 0
    assert userdb.authtest("ann", "wrong")[:2] == (1, "authuserdb: wrong password\n")
    assert userdb.authtest("ann", "right", "authuserdb")[0] == 0
    status, _, error = userdb.authtest("ann", "right", "new")
    assert status == 3 and "passwords are not changed through it" in error
    assert userdb.authtest("ann", "a", "b", "c")[0] == 2
    base, rc = tmp_path / "users.db", tmp_path / "authsqliterc"
    with closing(sqlite3.connect(base)) as made, made:
        made.execute("CREATE TABLE passwd (id, clear, uid, gid, home, name)")
        made.execute("INSERT INTO passwd VALUES ('bob', 'old', ?, ?, ?, '')", (MY_UID, MY_UID, str(tmp_path)))
    rc.write_text(f"SQLITE_DATABASE {base}\nSQLITE_USER_TABLE passwd\nSQLITE_CLEAR_PWFIELD clear\n")
    rc.chmod(0o600)
    userdb.settings.write_text(userdb.settings.read_text() + f"AUTHSQLITERC={rc}\n")
    status, out, _ = userdb.authtest("bob", "old", "new", "authsqlite")
    assert status == 0 and "authsqlite: the password is changed\n" in out
    assert userdb.authtest("bob", "old", "authsqlite")[0] == 1
    assert userdb.authtest("bob", "new", "authsqlite")[0] == 0


def test_words_that_no_login_can_say(userdb: Userdb) -> None:
    """Octets that are no UTF-8, and controls, as names and as passwords of the command line."""
    userdb.add("ann", "right")
    before = userdb.path.read_bytes()
    for name in ("\udce9x", "a\x01"):
        status, out, error = userdb.add(name)
        assert (status, out) == (1, "") and "UTF-8 without control characters" in error
        assert userdb.authtest(name, "right")[:2] == (1, "authuserdb: no such user, or a wrong password\n")
    assert userdb.path.read_bytes() == before
    for words in (("\udce9x",), ("right", "\udce9x"), ("a\x01",)):
        status, out, error = userdb.authtest("ann", *words)
        assert (status, out) == (2, "") and error.startswith("courierpy: ann: a password ")


def test_what_would_fail_after_the_password(userdb: Userdb) -> None:
    userdb.add("ann", "x")
    assert "but: there is no Maildir at" in userdb.authtest("ann", text="x\n")[1]
    userdb.home.rmdir()
    assert "but: the home directory" in userdb.authtest("ann", text="x\n")[1]
    text = userdb.path.read_text()
    userdb.path.write_text(text.replace(f"uid={MY_UID}", "uid=x"))
    status, out, _ = userdb.authtest("ann", text="x\n")
    assert status == 1
    assert "cannot be served" in out


def test_modules_that_cannot_tell(userdb: Userdb) -> None:
    status, out, _ = userdb.authtest("ann", "authuserdbx", text="x\n")
    assert status == 3
    assert "no such auth module: authuserdbx" in out
    userdb.add("ann")
    userdb.path.chmod(0o644)
    status, out, _ = userdb.authtest("ann", "authuserdb", "authpwd", text="first\n")
    assert status == 3
    assert "mode must be 0600" in out
    assert "here a login ends" in out
    userdb.path.unlink()
    assert "it knows nobody" in userdb.authtest("ann", text="x\n")[1]
    assert userdb.authtest("ann")[0] == 2              # no password
