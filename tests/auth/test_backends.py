"""Accounts in directories and databases: Courier's files of words, what becomes of queries, SQLite whole."""
from __future__ import annotations

import os
import socket
import sqlite3
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from courierpy.auth import (
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    authldap,
    authmysql,
    authpgsql,
    authsqlite,
    check,
    listing,
    passwords,
    protocol,
    rcfile,
    sound,
    sql,
)

MD5 = "$1$ab$oKsM6dtDD2L1bKowOBX.7."


def test_words_of_a_file() -> None:
    """As Courier's samples have them: comments that seem to go on, blanks, tabs, a value over lines."""
    text = ("##NAME: LOCATION:1\n# MYSQL_OLD x \\\nMYSQL_SERVER\t\tlocalhost  \nMYSQL_PASSWORD a b # c\n"
            "MYSQL_SELECT_CLAUSE\tSELECT a,\t\\\n\t\tb \\   \n  FROM t\nMYSQL_SERVER other\n MYSQL_PORT 1\n"
            "MYSQL_EMPTY\n\nPGSQL_CONNECTION   \\\n  host=h \\\n\tport=1\nMYSQL_LAST x")
    assert rcfile.parse(text) == {
        "MYSQL_SERVER": "localhost", "MYSQL_PASSWORD": "a b # c", "MYSQL_SELECT_CLAUSE": "SELECT a, b FROM t",
        "PGSQL_CONNECTION": "host=h port=1", "MYSQL_LAST": "x"}
    assert rcfile.parse("A b \\") == {"A": "b"}
    assert rcfile.parse("A \\") == {}


def test_a_file_that_others_can_read_or_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "authldaprc"
    with pytest.raises(TemporaryFailure, match="No such file"):
        rcfile.words(str(path))
    path.write_text("LDAP_URI ldap://a\n")
    for mode in (0o604, 0o602, 0o644):
        path.chmod(mode)
        with pytest.raises(TemporaryFailure, match="others can read or write it"):
            rcfile.words(str(path))
    path.chmod(0o640)                  # the group is that of the daemon, as Courier installs it
    assert rcfile.words(str(path)) == {"LDAP_URI": "ldap://a"}
    path.write_text("LDAP_URI ldap://another\n")
    assert rcfile.words(str(path)) == {"LDAP_URI": "ldap://another"}
    with pytest.raises(TemporaryFailure, match="Is a directory"):
        rcfile.words(str(tmp_path))


VALUES = {"local_part": "o'b", "domain": "x.org", "service": "imap"}


@pytest.mark.parametrize(("text", "query", "parameters"), [
    ("SELECT 1 WHERE a='$(local_part)'", "SELECT 1 WHERE a=%s", ["o'b"]),
    ("WHERE a='$(local_part)@$(domain)' AND b = $(service)", "WHERE a=%s AND b = %s", ["o'b@x.org", "imap"]),
    ("a LIKE 'x%' OR b LIKE '%$(domain)'", "a LIKE 'x%%' OR b LIKE %s", ["%x.org"]),
    ("'it''s $(domain)' || '$' || 'it''s'", "%s || '$' || 'it''s'", ["it's x.org"]),
    ("CONCAT('a\\'', '\\'$(domain)', \"b$(service)\", \"c\")", "CONCAT('a\\'', %s, %s, \"c\")",
     ["'x.org", "bimap"]),
    ("`a b` = '$(domain)'", "`a b` = %s", ["x.org"])])
def test_a_variable_becomes_a_parameter(text: str, query: str, parameters: list[str]) -> None:
    assert sql.substituted(text, authmysql.DIALECT, VALUES) == (query, parameters)


def test_each_dialect_has_its_quotes() -> None:
    for dialect, text, query, parameters in (
            (authpgsql.DIALECT, "'\\' || \"it's\" || '$(domain)'", "'\\' || \"it's\" || %s", ["x.org"]),
            (authpgsql.DIALECT, "a = E'\\'$(domain)' OR name='\\'", "a = %s OR name='\\'", ["'x.org"]),
            (authsqlite.DIALECT, "a LIKE '%' AND b=\"$(domain)\"", "a LIKE '%' AND b=?", ["x.org"])):
        assert sql.substituted(text, dialect, VALUES) == (query, parameters)
    for dialect, text, why in (
            (authpgsql.DIALECT, 'SELECT "$(domain)"', "is a name"),
            (authmysql.DIALECT, "SELECT `$(domain)`", "is a name"),
            (authmysql.DIALECT, "a = $(password)", r"\$\(password\) is not known"),
            (authmysql.DIALECT, "a = '$(newpass)'", "is not known"),
            (authmysql.DIALECT, "a = 'b", "has no end"),
            (authmysql.DIALECT, "a = 'b\\'", "has no end")):
        with pytest.raises(TemporaryFailure, match=why):
            sql.substituted(text, dialect, VALUES)


def test_the_query_of_a_table() -> None:
    words = {"MYSQL_USER_TABLE": "mail.users", "MYSQL_CRYPT_PWFIELD": "crypt", "DEFAULT_DOMAIN": "x.org",
             "MYSQL_AUXOPTIONS_FIELD": "CONCAT('a=%',a)", "MYSQL_WHERE_CLAUSE": "host='%' AND d='$(domain)'"}
    table = sql.Table(authmysql.DIALECT, words)
    assert table.query("joe", "imap") == (
        "SELECT id, crypt, '', uid, gid, home, '', '', name, CONCAT('a=%%',a) FROM mail.users WHERE id = %s "
        "AND (host='%%' AND d=%s)", ["joe@x.org", "x.org"])
    assert table.query("joe@y.org", "imap")[1] == ["joe@y.org", "y.org"]
    assert table.enumeration()[0] == ("SELECT id, uid, gid, home, '', CONCAT('a=%%',a) FROM mail.users WHERE "
                                      "(host='%%' AND d=%s)")
    for missing, why in (("USER_TABLE", "USER_TABLE is not set"), ("CRYPT_PWFIELD", "no password")):
        fewer = {name: word for name, word in words.items() if name != f"MYSQL_{missing}"}
        with pytest.raises(TemporaryFailure, match=why):
            sql.Table(authmysql.DIALECT, fewer).query("joe", "imap")


def test_where_the_servers_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def mysql(**words: str) -> dict[str, object]:
        table = sql.Table(authmysql.DIALECT, {f"MYSQL_{name}": word for name, word in words.items()})
        return {name: value for name, value in authmysql.arguments(table).items()
                if name in ("host", "port", "unix_socket", "ssl")}

    here = tmp_path / "socket"
    here.touch()
    monkeypatch.setattr(authmysql, "SOCKETS", (str(tmp_path / "none"), str(here)))
    assert mysql() == mysql(SERVER="localhost", PORT="0") == {"unix_socket": str(here)}
    assert mysql(SERVER="db", SSL_CACERT="/ca") == {"host": "db", "port": 3306, "ssl": {"ca": "/ca"}}
    assert mysql(PORT="3307") == {"host": "localhost", "port": 3307}
    assert mysql(SERVER="db", SOCKET="/s") == {"unix_socket": "/s"}
    table = sql.Table(authpgsql.DIALECT, {
        "PGSQL_CONNECTION": "host=h connect_timeout=1", "PGSQL_DATABASE": "mail",
        "PGSQL_CHARACTER_SET": "LATIN1"})
    arguments = authpgsql.arguments(table)
    assert (arguments["dbname"], arguments["client_encoding"]) == ("mail", "LATIN1")
    assert "connect_timeout" not in arguments
    table = sql.Table(authpgsql.DIALECT, {"PGSQL_HOST": "h", "PGSQL_USERNAME": "u"})
    assert authpgsql.arguments(table)["host"] == "h"
    assert authpgsql.arguments(table)["connect_timeout"] == sql.SECONDS


ROWS = (("joe@x.org", None, "secret", 5, 6, "/home/joe", None, "10S", "Joe\nUID=0", "group=a,disablepop3=1"),
        ("o'brien@x.org", MD5, None, 5, 6, "/home/ob", "/mail/ob", None, None, None),
        ("ü\\@x.org", MD5, "", "5", "6", b"/home/ue", "", "", "", ""),
        ("broken@x.org", MD5, "", None, 6, "/home/b", "", "", "", ""),
        ("line@x.org", MD5, "", 5, 6, "/home/l", "", "", "", "x=1\nHOME=/"),
        ("twice@x.org", MD5, "", 5, 6, "/home/t", "", "", "", ""),
        ("twice@x.org", MD5, "", 7, 6, "/home/t", "", "", "", ""),
        ("same@x.org", MD5, "", 7, 6, "/home/s", "", "", "", ""),
        ("same@x.org", MD5, "", 7, 6, "/home/s", "", "", "", ""))
TABLE = ("SQLITE_DATABASE {0}/users.db\nSQLITE_USER_TABLE passwd\nSQLITE_CRYPT_PWFIELD crypt\n"
         "SQLITE_CLEAR_PWFIELD clear\nSQLITE_MAILDIR_FIELD maildir\nSQLITE_QUOTA_FIELD quota\n"
         "SQLITE_AUXOPTIONS_FIELD options\nDEFAULT_DOMAIN x.org\n")
CLAUSES = ("SQLITE_DATABASE {0}/users.db\nDEFAULT_DOMAIN x.org\nSQLITE_SELECT_CLAUSE SELECT id, crypt, "
           "clear, uid, gid, \\\n home, maildir, quota, name, options FROM passwd \\\n"
           " WHERE id = \"$(local_part)@$(domain)\"\n"
           "SQLITE_ENUMERATE_CLAUSE SELECT id, uid, gid, home, maildir, options FROM passwd \\\n"
           "WHERE quota <> ''\n")


@pytest.fixture(params=[TABLE, CLAUSES], ids=["table", "clauses"])
def rc(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with closing(sqlite3.connect(tmp_path / "users.db")) as base, base:
        base.execute("CREATE TABLE passwd (id, crypt, clear, uid, gid, home, maildir, quota, name, options)")
        base.executemany(f"INSERT INTO passwd VALUES ({','.join('?' * 10)})", ROWS)
    path = tmp_path / "rc"
    path.write_text(request.param.format(tmp_path))
    path.chmod(0o600)
    yield path


def ask(rc: Path, user: str, password: str = "password", kind: str = "login", **more: str) -> Account:
    environ = {"AUTHSQLITERC": str(rc)}
    return check(["authsqlite"], Request(kind, "imap", environ, user=user, password=password, **more))


def test_accounts_of_a_table(rc: Path) -> None:
    account = ask(rc, "joe", "secret")
    assert (account.address, account.uid, account.gid, account.home, account.maildir, account.quota) == (
        "joe@x.org", 5, 6, "/home/joe", "", "10S")
    assert (account.option("group"), account.option("disablepop3"), account.passwd2) == ("a", "1", "secret")
    assert ask(rc, "joe@x.org", "", "pre").passwd2 == "secret"             # for SCRAM
    assert ask(rc, "o'brien").maildir == "/mail/ob"
    assert ask(rc, "ü\\@x.org").home == "/home/ue"
    assert ask(rc, "same").uid == 7
    for user, password in (("joe", "wrong"), ("joe", ""), ("o'brien", ""), ("nobody", "password"), ("", "x"),
                           ("' OR 1=1 --", "password"), ("%", "password"), ("joe@x.org\0", "secret"),
                           ("joe@y.org", "secret"), ("\udcff", "password")):
        with pytest.raises(Rejected):
            ask(rc, user, password)
    with pytest.raises(Unservable, match="broken@x.org: uid, gid or home"):
        ask(rc, "broken")
    with pytest.raises(Rejected) as refused:
        ask(rc, "broken", "wrong")
    assert refused.type is Rejected
    with pytest.raises(TemporaryFailure, match="2 different rows"):
        ask(rc, "twice")


def test_a_new_password(rc: Path) -> None:
    """By the table, and by a query that is written out; of that account alone."""
    if "SELECT_CLAUSE" in rc.read_text():
        rc.write_text(rc.read_text() + "SQLITE_CHPASS_CLAUSE UPDATE passwd SET crypt = '$(newpass_crypt)', "
                      "clear = '$(newpass)' WHERE id = '$(local_part)@$(domain)'\n")
    before = ask(rc, "same@x.org")
    request = Request("login", "imap", {"AUTHSQLITERC": str(rc)}, user="o'brien@x.org", password="password")
    assert check(["authsqlite"], request).address == "o'brien@x.org"
    crypt = "$1$saltsalt$" + "x" * 22
    authsqlite.change(request, "new ' \" $(domain)", crypt)
    account = ask(rc, "o'brien@x.org", "new ' \" $(domain)")
    assert (account.passwd, account.passwd2) == (crypt, "new ' \" $(domain)")
    with pytest.raises(Rejected):
        ask(rc, "o'brien@x.org")
    assert ask(rc, "same@x.org").passwd == before.passwd
    request.user = "nobody@x.org"
    with pytest.raises(TemporaryFailure, match="no row was changed"):
        authsqlite.change(request, "x", crypt)


def test_cram_by_the_clear_password_of_a_table(rc: Path) -> None:
    for password, right in (("secret", True), ("wrong", False)):
        challenge = b64encode(b"<1@x>").decode()
        answer = passwords.cram_answer("md5", password, b"<1@x>")
        response = b64encode(f"joe@x.org {answer}".encode()).decode()
        request = Request("cram-md5", "imap", {"AUTHSQLITERC": str(rc)}, challenge=challenge,
                          response=response)
        if right:
            assert check(["authsqlite"], request).address == "joe@x.org"
        else:
            with pytest.raises(Rejected):
                check(["authsqlite"], request)


def test_no_value_is_a_line_of_the_protocol(rc: Path) -> None:
    """A name that users change by themselves could else make them root."""
    told = protocol.render_account(ask(rc, "joe", "secret"), False)
    assert b"NAME=Joe\n" in told
    assert told.count(b"UID=") == 1
    with pytest.raises(Unservable, match="a line ends in its options"):
        protocol.render_account(ask(rc, "line"), False)


def test_an_enumeration(rc: Path) -> None:
    found = [account.address for account in authsqlite.accounts({"AUTHSQLITERC": str(rc)})]
    assert listing.names(["authsqlite"], {"AUTHSQLITERC": str(rc)}) == list(dict.fromkeys(found))
    with pytest.raises(TemporaryFailure, match="none: No such file"):
        listing.names(["authsqlite"], {"AUTHSQLITERC": str(rc.with_name("none"))})
    if "SELECT_CLAUSE" in rc.read_text():
        assert found == ["joe@x.org"]
    else:
        assert sorted(found) == sorted(str(row[0]) for row in ROWS if row[3] is not None)


def test_a_database_that_is_away_or_of_another_kind_is_temporary(rc: Path) -> None:
    base = rc.with_name("users.db")
    aside = base.with_name("aside")
    base.rename(aside)
    with pytest.raises(TemporaryFailure, match="authsqlite: unable to open"):
        ask(rc, "joe", "secret")
    assert not base.exists()           # nor is one made
    base.write_bytes(b"no database at all" * 100)
    with pytest.raises(TemporaryFailure, match="authsqlite: file is not a database"):
        ask(rc, "joe", "secret")
    aside.rename(base)                 # the next login finds it
    assert ask(rc, "joe", "secret").uid == 5
    text = rc.read_text()
    for word, why in (("SQLITE_WHERE_CLAUSE no such = 1\n", "syntax error"),):
        if "SELECT_CLAUSE" not in text:
            rc.write_text(text + word)
            with pytest.raises(TemporaryFailure, match=why):
                ask(rc, "joe", "secret")
    rc.write_text("SQLITE_DATABASE " + str(base) + "\nSQLITE_SELECT_CLAUSE SELECT 1\n")
    with pytest.raises(TemporaryFailure, match="gives 1 columns"):
        ask(rc, "joe", "secret")


# -- the directory

WORDS = {"LDAP_URI": "ldap://a, ldap://b", "LDAP_BASEDN": "o=x", "LDAP_MAIL": "mail",
         "LDAP_CRYPTPW": "userPassword", "LDAP_MAILDIR": "mailbox",
         "LDAP_AUXOPTIONS": "shared=sharedgroup,disableimap,team=group",
         "LDAP_UID": "uidNumber", "LDAP_GID": "gidNumber", "LDAP_MAILROOT": "/var/mail"}
ENTRY = {"mail": [b"j@x.org", b"Joe@x.org"], "homedirectory": [b"joe"], "uidnumber": [b"5"],
         "gidnumber": [b"6"], "cn": [b"Joe"], "shared": [b"a"], "disableimap": [b"FALSE"],
         "team": [b"b", b"c"], "mailbox": [b"./M"]}


def test_what_a_stranger_says_is_a_value_in_a_filter() -> None:
    directory = authldap.Directory({**WORDS, "LDAP_FILTER": "(objectClass=person)"})
    assert directory.filter_of("mail", "joe@x.org") == "(&(objectClass=person)(mail=joe@x.org))"
    assert directory.filter_of("mail", ")(uid=*\\\0 ü,") == (
        r"(&(objectClass=person)(mail=\29\28uid=\2a\5c\00\20\c3\bc\2c))")
    mapped = authldap.Directory({**WORDS, "LDAP_EMAILMAP": "(&(userid=@user@)(realm=@realm@))"})
    assert mapped.handle_filter("*@realm@x.org") == r"(&(userid=\2a@realm)(realm=x.org))"
    assert mapped.handle_filter("@realm@@x.org") == "(&(userid=@realm@)(realm=x.org))"
    assert mapped.handle_filter("joe") is None


def test_an_entry_becomes_an_account() -> None:
    account = authldap.Directory(WORDS).account(ENTRY, "joe@x.org")
    assert (account.address, account.uid, account.gid, account.home, account.maildir, account.name) == (
        "Joe@x.org", 5, 6, "/var/mail/joe", "./M", "Joe")
    assert account.options == "sharedgroup=a,disableimap=FALSE,group=b,group=c"
    everybody = {name: word for name, word in WORDS.items() if name not in ("LDAP_UID", "LDAP_GID")}
    globbed = {"LDAP_GLOB_UID": "7", "LDAP_GLOB_GID": "8"}
    account = authldap.Directory({**everybody, **globbed}).account(ENTRY, "j")
    assert (account.uid, account.gid, account.address) == (7, 8, "j")
    account = authldap.Directory({**WORDS, **globbed}).account(ENTRY, "j")
    assert (account.uid, account.gid) == (5, 6)
    account = authldap.Directory({**everybody, "LDAP_GLOB_UID": "root"}).account(ENTRY, "j")
    assert (account.uid, account.gid) == (0, 0)
    for words, entry, why in (
            (everybody, ENTRY, "uid, gid or home"),
            (WORDS, {**ENTRY, "homedirectory": []}, "uid, gid or home"),
            ({**everybody, "LDAP_GLOB_UID": "no-such-user"}, ENTRY, "uid, gid or home"),
            (WORDS, {**ENTRY, "shared": [b"a,group=administrators"]}, "shared has a comma")):
        with pytest.raises(Unservable, match=why):
            authldap.Directory(words).account(entry, "joe@x.org")


def test_a_bind_without_a_password_is_refused() -> None:
    """RFC 4513 5.1.2: it would succeed, of nobody."""
    asker = authldap.Asker(authldap.Directory(WORDS))
    for dn, password in (("cn=joe", ""), ("", "secret")):
        with pytest.raises(Rejected):
            asker.bind(dn, password, "joe")
        with pytest.raises(authldap.Broken):
            authldap.bound(None, dn, password)


@pytest.mark.parametrize("module", ["authldap", "authmysql", "authpgsql"])
def test_a_back_end_that_is_away_is_temporary(module: str, tmp_path: Path) -> None:
    """Nobody listens; somebody listens and says nothing, to whom the module gives its time."""
    pytest.importorskip({"authldap": "ldap3", "authmysql": "pymysql", "authpgsql": "psycopg"}[module])
    path = tmp_path / "rc"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        path.write_text(
            f"LDAP_URI ldap://127.0.0.1:{port}\nLDAP_TIMEOUT 1\nLDAP_BASEDN o=x\nMYSQL_SERVER 127.0.0.1\n"
            f"MYSQL_PORT {port}\nMYSQL_USER_TABLE t\nMYSQL_CRYPT_PWFIELD c\nPGSQL_USER_TABLE t\n"
            f"PGSQL_CRYPT_PWFIELD c\nPGSQL_CONNECTION host=127.0.0.1 port={port} user=u connect_timeout=2\n")
        path.chmod(0o600)
        environ = {rcfile.FILES[module][0]: str(path)}
        request = Request("login", "imap", environ, user="joe", password="x")
        with pytest.raises(TemporaryFailure, match=f"{module}: .*refused"):
            check([module], request)
        if module != "authmysql":      # its five seconds are the driver's
            silent.listen()
            with pytest.raises(TemporaryFailure, match=f"{module}: "):
                check([module], request)


def test_what_a_module_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, library in (("authldap", "ldap3"), ("authpgsql", "psycopg"), ("authmysql", "pymysql")):
        monkeypatch.setitem(sys.modules, library, None)
        assert "is not installed" in sound.wrong([module], {})[0]
        setting = rcfile.FILES[module][0]
        (told,) = sound.odd([module], {setting: str(tmp_path / "none")})
        assert "none: No such file or directory: nobody can log in" in told
        assert setting in told
    assert sound.wrong(["authsqlite"], {}) == []
    assert os.fspath(rcfile.path_of("authsqlite", {})) == "/etc/courier/authsqliterc"
