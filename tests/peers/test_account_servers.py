"""Accounts in the real slapd, PostgreSQL and MariaDB."""
from __future__ import annotations

import datetime
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from courierpy.auth import (
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    authldap,
    authmysql,
    authpgsql,
    check,
    rcfile,
)
from tests.conftest import account_ids, until
from tests.peers.account_servers import Server, mariadb, postgresql, slapd
from tests.programs.chain import chain

pytestmark = pytest.mark.peers
MD5 = "$1$ab$oKsM6dtDD2L1bKowOBX.7."           # of "password"
SSHA = "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0"


def asking(module: str, path: Path, text: str) -> Callable[..., Account]:
    """Asks the module by a file of these words."""
    path.write_text(text)
    path.chmod(0o600)

    def ask(user: str, password: str = "password", kind: str = "login", service: str = "imap") -> Account:
        environ = {rcfile.FILES[module][0]: str(path)}
        return check([module], Request(kind, service, environ, user=user, password=password))

    return ask


# -- databases

class Base:
    """``module``; ``where``: the words of its server; ``sql``: runs a statement as who may all."""

    def __init__(self, server: Server, module: str, where: str, sql: Callable[[str], None]) -> None:
        self.server = server
        self.module = module
        self.where = where
        self.sql = sql
        self.prefix = {"authpgsql": "PGSQL", "authmysql": "MYSQL"}[module]

    def asking(self, path: Path, *lines: str) -> Callable[..., Account]:
        text = self.where + "\n".join(f"{self.prefix}_{line}" for line in lines)
        return asking(self.module, path, f"{text}\nDEFAULT_DOMAIN x.org\n")


NAMES = ("joe@x.org", "o'brien@x.org", "a\\@x.org", "ü@x.org", 'q"u@x.org', "%@x.org")
TABLE = ("USER_TABLE passwd", "CRYPT_PWFIELD crypt", "QUOTA_FIELD quota", "AUXOPTIONS_FIELD options")


def _literal(text: str, escapes: bool) -> str:
    return "'" + (text.replace("\\", "\\\\") if escapes else text).replace("'", "''") + "'"


def _fill(sql: Callable[[str], None], escapes: bool) -> None:
    sql("CREATE TABLE passwd (id VARCHAR(80), crypt VARCHAR(80), uid INT, gid INT, home VARCHAR(80), "
        "name VARCHAR(80), quota VARCHAR(80), options VARCHAR(80))")
    for number, name in enumerate(NAMES):
        sql(f"INSERT INTO passwd VALUES ({_literal(name, escapes)}, '{MD5}', {number}, 6, '/home/{number}', "
            "NULL, '10S', 'group=a')")


@pytest.fixture(scope="module")
def pgsql() -> Iterator[Base]:
    with postgresql() as server:
        import psycopg
        where = f"host={server.folder} user=mail password=secret"

        def sql(statement: str, base: str = "postgres") -> None:
            with psycopg.connect(where, dbname=base, autocommit=True, client_encoding="UTF8") as connection:
                connection.execute(statement.encode())

        server.start()
        server.until(psycopg.OperationalError, lambda: sql("SELECT 1"))
        sql("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0")
        _fill(lambda statement: sql(statement, "latin"), False)
        yield Base(server, "authpgsql", f"PGSQL_CONNECTION {where}\nPGSQL_DATABASE latin\n",
                   lambda statement: sql(statement, "latin"))


@pytest.fixture(scope="module")
def mysql() -> Iterator[Base]:
    with mariadb() as server:
        import pymysql

        def sql(statement: str, base: str | None = "latin") -> None:
            with pymysql.connect(unix_socket=str(server.socket), user="root", database=base,
                                 charset="utf8mb4", autocommit=True) as connection:
                connection.cursor().execute(statement)

        server.start()
        server.until(pymysql.err.OperationalError, lambda: sql("SELECT 1", None))
        sql("CREATE DATABASE latin CHARACTER SET latin1", None)
        sql("CREATE USER mail@localhost IDENTIFIED BY 'secret'")
        sql("GRANT SELECT, UPDATE ON latin.* TO mail@localhost")
        _fill(sql, True)
        yield Base(server, "authmysql", f"MYSQL_SOCKET {server.socket}\nMYSQL_USERNAME mail\n"
                   "MYSQL_PASSWORD secret\nMYSQL_DATABASE latin\n", sql)


@pytest.fixture(params=["pgsql", "mysql"])
def base(request: pytest.FixtureRequest) -> Iterator[Base]:
    found: Base = request.getfixturevalue(request.param)
    yield found


@pytest.mark.parametrize("charset", ["", "latin1"])
def test_names_of_all_kinds(base: Base, tmp_path: Path, charset: str) -> None:
    lines = (*TABLE, f"CHARACTER_SET {charset}") if charset else TABLE
    ask = base.asking(tmp_path / "rc", *lines)
    for number, name in enumerate(NAMES):
        account = ask(name.removesuffix("@x.org"))
        assert (account.address, account.uid, account.home, account.quota, account.option("group")) == (
            name, number, f"/home/{number}", "10S", "a")
        for password in ("wrong", "", "password\0"):
            with pytest.raises(Rejected):
                ask(name, password)
    for name in ("nobody", "' OR ''='", "\\' OR 1=1 -- ", "j%", "joe@y.org", "joe\0", "ж", "\U0001f600",
                 "\udcff"):
        with pytest.raises(Rejected):
            ask(name)
    assert ask("joe", "", "pre").uid == 0


def test_a_query_that_is_written_out(base: Base, tmp_path: Path) -> None:
    joined = "CONCAT(id, '')" if base.module == "authmysql" else "id || ''"
    text = (f"{base.where}DEFAULT_DOMAIN x.org\n{base.prefix}_SELECT_CLAUSE SELECT {joined}, crypt, '', \\\n"
            "\tuid, gid, home, '100%', quota, name, options FROM passwd \\\n"
            "  WHERE id = '$(local_part)@$(domain)' AND '$(service)' <> 'pop3' AND '%' <> '$(domain)%'\n")
    ask = asking(base.module, tmp_path / "rc", text)
    assert ask("o'brien").maildir == "100%"
    assert ask("a\\@x.org").uid == 2
    with pytest.raises(Rejected):
        ask("joe", service="pop3")
    with pytest.raises(Rejected):
        ask("' OR ''='@x.org")


def test_who_is_there(base: Base, tmp_path: Path) -> None:
    base.asking(tmp_path / "rc", *TABLE)
    module = {"authpgsql": authpgsql, "authmysql": authmysql}[base.module]
    found = module.accounts({rcfile.FILES[base.module][0]: str(tmp_path / "rc")})
    assert sorted(account.address for account in found) == sorted(NAMES)


CHANGE = "CHPASS_CLAUSE UPDATE passwd SET crypt = '$(newpass_crypt)', name = '$(newpass)' " \
         "WHERE id = '$(local_part)@$(domain)'"


@pytest.mark.parametrize("clause", [(), (CHANGE,)], ids=["table", "clause"])
@pytest.mark.parametrize("name", ["o'brien@x.org", "a\\@x.org"])
def test_a_new_password(base: Base, tmp_path: Path, clause: tuple[str, ...], name: str) -> None:
    """By the table, and by a query that is written out; of that account alone, whatever is in the words."""
    ask = base.asking(tmp_path / "rc", *TABLE, "CLEAR_PWFIELD name", *clause)
    module = {"authpgsql": authpgsql, "authmysql": authmysql}[base.module]
    request = Request("login", "imap", {rcfile.FILES[base.module][0]: str(tmp_path / "rc")}, user=name)
    new, crypt = "n'e\"w \\ % $(domain) -- ", "$1$saltsalt$" + "x" * 22
    others = [ask(other).passwd for other in NAMES if other != name]
    try:
        module.change(request, new, crypt)
        account = ask(name, new)
        assert (account.passwd, account.passwd2) == (crypt, new)
        with pytest.raises(Rejected):
            ask(name)
        assert [ask(other).passwd for other in NAMES if other != name] == others
        request.user = "nobody@x.org"
        with pytest.raises(TemporaryFailure, match="no row was changed"):
            module.change(request, new, crypt)
    finally:
        base.sql(f"UPDATE passwd SET crypt = '{MD5}', name = NULL")
    assert ask(name).passwd == MD5


def test_a_database_that_ends_and_comes_back(base: Base, tmp_path: Path) -> None:
    """The connection is kept, and made anew."""
    ask = base.asking(tmp_path / "rc", *TABLE)
    assert ask("joe").uid == 0
    base.server.stop()
    with pytest.raises(TemporaryFailure, match=f"{base.module}: "):
        ask("joe")
    with pytest.raises(TemporaryFailure):
        ask("joe", "wrong")
    base.server.start()
    base.server.until(TemporaryFailure, lambda: ask("joe"))
    base.server.stop()
    base.server.start()
    base.server.until(Exception, lambda: base.sql("SELECT 1"))
    assert ask("joe").uid == 0         # at the first try: nobody has noticed


def test_what_is_wrong_with_the_words_is_temporary(base: Base, tmp_path: Path) -> None:
    for lines in (("USER_TABLE nowhere", "CRYPT_PWFIELD crypt"), (*TABLE, "WHERE_CLAUSE no such = thing"),
                  (*TABLE, "CHARACTER_SET no-such")):
        with pytest.raises(TemporaryFailure, match=f"{base.module}: "):
            base.asking(tmp_path / "rc", *lines)("joe")
    ask = asking(base.module, tmp_path / "rc", base.where.replace("secret", "wrong") + "\n".join(
        f"{base.prefix}_{line}" for line in TABLE))
    with pytest.raises(TemporaryFailure, match=f"{base.module}: "):
        ask("joe")


# -- the directory

ENTRIES = f"""\
dn: o=x
objectClass: organization
o: x

dn: cn=mail,o=x
objectClass: person
cn: mail
sn: mail
userPassword: secret

dn: uid=joe,o=x
objectClass: inetOrgPerson
objectClass: posixAccount
uid: joe
cn: Joe
sn: Joe
mail: Joe@x.org
mail: j@x.org
userPassword: {SSHA}
uidNumber: 5
gidNumber: 6
homeDirectory: /home/joe
title: b
ou: c
ou: d

dn: uid=star,o=x
objectClass: inetOrgPerson
objectClass: posixAccount
uid: star
cn: Star
sn: Star
mail: a*(b)\\@x.org
userPassword: {SSHA}
uidNumber: 7
gidNumber: 6
homeDirectory: home

dn: uid=empty,o=x
objectClass: inetOrgPerson
objectClass: posixAccount
uid: empty
cn: Empty
sn: Empty
mail: empty@x.org
uidNumber: 8
gidNumber: 6
homeDirectory: /home/empty

dn: uid=one,o=x
objectClass: inetOrgPerson
uid: one
cn: One
sn: One
mail: twice@x.org
userPassword: {SSHA}

dn: uid=two,o=x
objectClass: inetOrgPerson
uid: two
cn: Two
sn: Two
mail: twice@x.org
userPassword: {SSHA}

dn: uid=handle,o=x
objectClass: inetOrgPerson
uid: handle
cn: Handle
sn: Handle
o: y.org
employeeNumber: joe
"""


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """Of localhost, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    return made.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8,
                                                     serialization.NoEncryption())


@pytest.fixture(scope="module")
def directory(certificate: tuple[bytes, bytes]) -> Iterator[Server]:
    with slapd(ENTRIES, certificate) as server:
        import ldap3

        def answers() -> None:
            with ldap3.Connection(ldap3.Server(uri(server), get_info=ldap3.NONE), auto_bind=True):
                pass

        server.ready = answers         # type: ignore[attr-defined]
        up(server)
        yield server


def up(server: Server) -> None:
    from ldap3.core.exceptions import LDAPException
    server.start()
    server.until((LDAPException, OSError), server.ready)       # type: ignore[attr-defined]


def uri(server: Server) -> str:
    return f"ldapi://{quote(str(server.socket), '')}"


def words(where: str, *lines: str) -> str:
    return "\n".join((
        f"LDAP_URI {where}", "LDAP_BASEDN o=x", "LDAP_BINDDN cn=mail,o=x", "LDAP_BINDPW secret",
        "LDAP_UID uidNumber", "LDAP_GID gidNumber", "LDAP_FILTER (objectClass=inetOrgPerson)",
        "LDAP_MAILROOT /var/mail", "LDAP_DOMAIN x.org",
        "LDAP_AUXOPTIONS title=sharedgroup,ou=group", "LDAP_TIMEOUT 30", *lines, ""))


@pytest.mark.parametrize("binds", ["0", "1"])
def test_accounts_of_a_directory(directory: Server, tmp_path: Path, binds: str) -> None:
    """By the hash that is read, and by a bind."""
    ask = asking("authldap", tmp_path / "rc", words(uri(directory), f"LDAP_AUTHBIND {binds}"))
    account = ask("JOE")
    assert (account.address, account.uid, account.gid, account.home, account.name) == (
        "Joe@x.org", 5, 6, "/home/joe", "Joe")
    assert account.options == "sharedgroup=b,group=c,group=d"
    assert ask("j@x.org").address == "j@x.org"
    assert ask("joe", "", "pre").uid == 5
    assert ask("a*(b)\\").home == "/var/mail/home"
    for user, password in (
            ("joe", "wrong"), ("joe", ""), ("nobody", "password"), ("a*", "password"), ("*", "password"),
            (")(uid=joe", "password"), ("joe\0", "password"), ("empty", "password"), ("empty", ""),
            ("\udcff", "password"), ("joe@y.org", "password"), ("ü", "password")):
        with pytest.raises(Rejected):
            ask(user, password)
        assert ask("joe").uid == 5     # nothing of it is left on the connection
    with pytest.raises(TemporaryFailure, match="twice@x.org: more than one entry"):
        ask("twice")


def test_an_account_that_lacks_what_it_needs(directory: Server, tmp_path: Path) -> None:
    text = words(uri(directory)).replace("LDAP_UID uidNumber\n", "").replace("LDAP_GID", "LDAP_OTHER")
    ask = asking("authldap", tmp_path / "rc", text)
    with pytest.raises(Unservable, match="uid, gid or home"):
        ask("joe")
    with pytest.raises(Rejected) as refused:
        ask("joe", "wrong")
    assert refused.type is Rejected
    ask = asking("authldap", tmp_path / "rc", text + "LDAP_GLOB_UID root\n")
    assert (ask("joe").uid, ask("joe").gid) == (0, 0)


@pytest.mark.parametrize("binds", ["0", "1"])
def test_a_directory_that_ends_and_comes_back(directory: Server, tmp_path: Path, binds: str) -> None:
    """Only who is bound may search: so it is after a reconnect too."""
    ask = asking("authldap", tmp_path / "rc", words(uri(directory), f"LDAP_AUTHBIND {binds}"))
    assert ask("joe").uid == 5
    directory.stop()
    for password in ("password", "wrong"):
        with pytest.raises(TemporaryFailure, match="authldap: "):
            ask("joe", password)
    up(directory)
    assert ask("joe").uid == 5
    directory.stop()
    up(directory)
    assert ask("joe").uid == 5         # at the first try: nobody has noticed
    with pytest.raises(Rejected):
        ask("joe", "wrong")
    # the next server of the list
    both = words(f"ldapi://%2Fnone, {uri(directory)}", f"LDAP_AUTHBIND {binds}")
    ask = asking("authldap", tmp_path / "rc", both)
    assert ask("joe").uid == 5


def test_who_may_not_search_is_temporary(directory: Server, tmp_path: Path) -> None:
    for text in (words(uri(directory)).replace("LDAP_BINDPW secret", "LDAP_BINDPW wrong"),
                 words(uri(directory)).replace("LDAP_BINDPW secret\n", ""),
                 words(uri(directory)).replace("LDAP_FILTER (", "LDAP_FILTER (("),
                 words(uri(directory)).replace("LDAP_BASEDN o=x", "LDAP_BASEDN o=y")):
        with pytest.raises(TemporaryFailure, match="authldap: "):
            asking("authldap", tmp_path / "rc", text)("joe")


def test_an_address_that_leads_to_a_handle(directory: Server, tmp_path: Path) -> None:
    text = words(uri(directory), "LDAP_EMAILMAP (&(uid=@user@)(o=@realm@))",
                 "LDAP_EMAILMAP_ATTRIBUTE employeeNumber", "LDAP_EMAILMAP_MAIL uid")
    ask = asking("authldap", tmp_path / "rc", text.replace("LDAP_DOMAIN x.org\n", ""))
    assert ask("handle@y.org").uid == 5
    for user in ("handle@x.org", "*@y.org", "@realm@@y.org", "handle@*"):
        with pytest.raises(Rejected):
            ask(user)


def test_who_is_in_the_directory(directory: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authldap, "PAGE", 2)
    asking("authldap", tmp_path / "rc", words(uri(directory)))
    found = list(authldap.accounts({"AUTHLDAPRC": str(tmp_path / "rc")}))
    assert sorted(account.uid for account in found) == [5, 7, 8]


@contextmanager
def relayed(server: Server, said: list[bytes] | None = None) -> Iterator[int]:
    """A port of TCP that leads to the socket of the server.  ``said``: gets what clients say."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def carry(source: socket.socket, target: socket.socket) -> None:
            try:
                while piece := source.recv(65536):
                    if said is not None and source.family == socket.AF_INET:
                        said.append(piece)
                    target.sendall(piece)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                there = socket.socket(socket.AF_UNIX)
                there.connect(str(server.socket))
                for ends in ((client, there), (there, client)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("binds", ["0", "1"])
def test_a_wrong_password_is_asked_about_once(directory: Server, tmp_path: Path, binds: str) -> None:
    """It is no trouble of the connection, which another one could be better at.  RFC 4511 4.2.2."""
    said: list[bytes] = []
    with relayed(directory, said) as port:
        ask = asking("authldap", tmp_path / "rc", words(f"ldap://127.0.0.1:{port}", f"LDAP_AUTHBIND {binds}"))
        assert ask("joe").uid == 5
        said.clear()
        with pytest.raises(Rejected):
            ask("joe", "wrong")
        asked = [piece for piece in said if re.match(rb"0.\x02.+?\x60", piece, re.S) and b"wrong" in piece]
        assert len(asked) == int(binds)
        assert sum(b"objectClass" in piece for piece in said) == 1


@pytest.mark.parametrize("binds", ["0", "1"])
def test_tls_before_anything_is_said(directory: Server, tmp_path: Path, binds: str) -> None:
    ca = directory.folder / "cert.pem"
    with relayed(directory) as port:
        def told(host: str, *lines: str) -> Callable[..., Account]:
            return asking("authldap", tmp_path / "rc", words(
                f"ldap://{host}:{port}", "LDAP_TLS 1", f"LDAP_AUTHBIND {binds}", *lines))

        ask = told("localhost", f"LDAPTLS_CACERT {ca}")
        assert ask("joe").uid == 5
        with pytest.raises(Rejected):
            ask("joe", "wrong")
        # authorities that do not know it, and another's name
        for host, lines in (("localhost", ()), ("127.0.0.1", (f"LDAPTLS_CACERT {ca}",))):
            with pytest.raises(TemporaryFailure, match="authldap: .*certificate"):
                told(host, *lines)("joe")
        assert told("127.0.0.1", "LDAPTLS_REQCERT never")("joe").uid == 5
        with pytest.raises(TemporaryFailure, match="authldap: "):
            told("localhost", "LDAPTLS_CACERT /none")("joe")


# -- through the whole chain

def test_logins_by_directory_and_database(directory: Server, mysql: Base, tmp_path: Path) -> None:
    """Who is away shuts out nobody but those who may be his, and they are not told that they are wrong."""
    asking("authldap", tmp_path / "ldaprc", words(uri(directory)))
    mysql.asking(tmp_path / "mysqlrc", *TABLE)
    uid, gid = account_ids()
    with chain(AUTHMODULES="authuserdb authmysql authldap", AUTHLDAPRC=str(tmp_path / "ldaprc"),
               AUTHMYSQLRC=str(tmp_path / "mysqlrc"), AUTH_TIMEOUT="60", IMAP_LOGIN_DELAY="0",
               IMAP_HIBERNATE="0") as server:
        for name, options in (("mary", "disableimap=0"), ("shut", "group=a,disableimap=1")):
            mysql.sql(f"INSERT INTO passwd VALUES ('{name}@x.org', '{MD5}', {uid}, {gid}, '{server.home}', "
                      f"NULL, NULL, '{options}')")
        change(directory, "uid=joe,o=x", uidNumber=uid, gidNumber=gid, homeDirectory=str(server.home))

        def login(user: str, password: str) -> bytes:
            with server.greeted() as client:
                client.sendall(f"a LOGIN {user} {password}\r\n".encode())
                return until(client, b"\r\n")

        try:
            for user, password in (("demo", "demo"), ("mary", "password"), ("j", "password")):
                assert login(user, password).startswith(b"a OK "), user
                assert login(user, "wrong").startswith(b"a NO [AUTHENTICATIONFAILED]"), user
            with server.greeted() as client:
                client.sendall(b"a LOGIN shut password\r\n")
                assert b"* BYE IMAP access disabled for this account.\r\n" in until(client, b"never")
            directory.stop()
            assert login("j", "password").startswith(b"* BYE [UNAVAILABLE]")
            assert login("j", "wrong").startswith(b"* BYE [UNAVAILABLE]")
            assert login("mary", "password").startswith(b"a OK ")
            server.wait_log("authentication error: authldap: ", 2)
            up(directory)
            assert login("j", "password").startswith(b"a OK ")
            assert directory.process is not None
            directory.process.send_signal(signal.SIGSTOP)
            with server.greeted() as hung:
                hung.sendall(b"a LOGIN j password\r\n")
                assert login("mary", "password").startswith(b"a OK ")
                assert login("demo", "demo").startswith(b"a OK ")
                directory.process.send_signal(signal.SIGCONT)
                assert until(hung, b"\r\n").startswith(b"a OK ")
        finally:
            directory.stop()
            up(directory)
            change(directory, "uid=joe,o=x", uidNumber=5, gidNumber=6, homeDirectory="/home/joe")
            mysql.sql("DELETE FROM passwd WHERE id IN ('mary@x.org', 'shut@x.org')")


def change(server: Server, dn: str, **values: object) -> None:
    import ldap3
    with ldap3.Connection(ldap3.Server(uri(server), get_info=ldap3.NONE), "cn=admin,o=x", "admin",
                          auto_bind=True) as connection:
        assert connection.modify(dn, {name: [(ldap3.MODIFY_REPLACE, [str(value)])]
                                      for name, value in values.items()}), connection.result
