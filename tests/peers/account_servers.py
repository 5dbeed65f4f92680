"""Servers that accounts are in: slapd, PostgreSQL and MariaDB, on sockets in a folder of their own."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import REPO, account_ids, missing, plain_environ

CLIENTS = REPO / ".venv" / "clients"
DEADLINE = 60.0                        # seconds for a server to come up on a machine that is busy


def program(folder: str, *patterns: str) -> tuple[Path, Path]:
    """(the program, the root below which its files are): as it was unpacked, else as it is installed."""
    for root in (CLIENTS / folder, Path("/")):
        for pattern in patterns:
            for found in sorted(root.glob(pattern)):
                return found, root
    missing(f"{folder} is not there")


def libraries(root: Path) -> dict[str, str]:
    """The environment of a program below ``root``."""
    found = [str(path) for pattern in ("usr/lib/dovecot", "usr/lib/*-linux-*", "lib/*-linux-*")
             for path in root.glob(pattern)]
    return plain_environ(**({} if root == Path("/") else {"LD_LIBRARY_PATH": ":".join(found)}))


class Server:
    """``words``: what is started; ``socket``: there when it listens; ``files``: of the words of a module."""

    def __init__(self, folder: Path, words: Sequence[str], socket: Path, environ: Mapping[str, str],
                 user: int, stopping: signal.Signals = signal.SIGTERM) -> None:
        self.folder = folder
        self.socket = socket
        self._words = words
        self._environ = environ
        self._user = user
        self._stopping = stopping
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self._environ, cwd=self.folder, user=self._user)

    def until(self, answers: type[Exception] | tuple[type[Exception], ...], ask: object) -> None:
        """Until ``ask`` raises nothing of ``answers`` any more."""
        assert self.process is not None and callable(ask)
        end = time.monotonic() + DEADLINE
        while True:
            try:
                ask()
                return
            except answers as error:
                assert self.process.poll() is None and time.monotonic() < end, (
                    f"{error}\n{(self.folder / 'log').read_text(errors='replace')[-3000:]}")
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(self._stopping)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@contextmanager
def _folder(user: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="courierpy-"))       # short: sockets are in it
    os.chown(folder, user, -1)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _run(words: Sequence[str], environ: Mapping[str, str], user: int, given: str = "") -> None:
    done = subprocess.run(words, input=given, text=True, capture_output=True, env=environ, user=user, cwd="/",
                          timeout=120, check=False)
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-2000:]}{done.stderr[-3000:]}"


SLAPD = """\
include {root}etc/ldap/schema/core.schema
include {root}etc/ldap/schema/cosine.schema
include {root}etc/ldap/schema/inetorgperson.schema
include {root}etc/ldap/schema/nis.schema
modulepath {root}usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
maxsize 10485760
suffix "o=x"
rootdn "cn=admin,o=x"
rootpw admin
directory {folder}/db
access to attrs=userPassword by anonymous auth by dn="cn=mail,o=x" read by * none
access to * by dn="cn=mail,o=x" read by anonymous auth by * none
"""


@contextmanager
def slapd(entries: str, certificate: tuple[bytes, bytes]) -> Iterator[Server]:
    """With these entries below o=x, as LDIF; ``certificate``: it, and its key.  Only cn=mail,o=x may read."""
    pytest.importorskip("ldap3")
    found, root = program("openldap", "usr/sbin/slapd")
    user, environ = os.getuid(), libraries(root)
    with _folder(user) as folder:
        (folder / "db").mkdir()
        for name, text in zip(("cert.pem", "key.pem"), certificate, strict=True):
            (folder / name).write_bytes(text)
        (folder / "conf").write_text(SLAPD.format(root=f"{root}/".replace("//", "/"), folder=folder))
        _run([str(found), "-T", "add", "-f", str(folder / "conf")], environ, user, entries)
        socket = folder / "ldapi"
        server = Server(folder, [str(found), "-h", f"ldapi://{quote(str(socket), '')}", "-f",
                                 str(folder / "conf"), "-d", "0"], socket, environ, user)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgresql() -> Iterator[Server]:
    """Its superuser is ``mail`` with the password ``secret``."""
    pytest.importorskip("psycopg")
    found, root = program("postgresql", "usr/lib/postgresql/*/bin/postgres")
    user, environ = account_ids()[0], libraries(root)          # it refuses to be root's
    with _folder(user) as folder:
        password = folder / "password"
        password.write_text("secret\n")
        password.chmod(0o644)
        _run([str(found.with_name("initdb")), "-N", "-D", str(folder / "data"), "-U", "mail", "-E", "UTF8",
              "--locale=C", "--auth=scram-sha-256", f"--pwfile={password}"], environ, user)
        server = Server(folder, [str(found), "-D", str(folder / "data"), "-k", str(folder), "-c",
                                 "listen_addresses=", "-c", "fsync=off"], folder / ".s.PGSQL.5432", environ,
                        user, signal.SIGINT)           # "fast": it waits for no client
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def mariadb() -> Iterator[Server]:
    """Its user ``root`` has no password."""
    pytest.importorskip("pymysql")
    found, root = program("mariadb", "usr/sbin/mariadbd")
    user, environ = os.getuid(), libraries(root)
    share = root / "usr" / "share" / "mysql"
    with _folder(user) as folder:
        words = [str(found), "--no-defaults", f"--datadir={folder / 'data'}", f"--lc-messages-dir={share}",
                 f"--character-sets-dir={share / 'charsets'}", "--innodb=OFF",
                 "--default-storage-engine=Aria",
                 f"--plugin-dir={root / 'usr' / 'lib' / 'mysql' / 'plugin'}", "--user=root",
                 f"--socket={folder / 'socket'}", "--skip-networking", f"--pid-file={folder / 'pid'}"]
        (folder / "data").mkdir()
        everything = '{"access":18446744073709551615}'
        _run([*words, "--bootstrap"], environ, user, "\n".join((
            "CREATE DATABASE mysql;", "USE mysql;", (share / "mysql_system_tables.sql").read_text(),
            f"INSERT INTO global_priv VALUES ('localhost', 'root', '{everything}');", "")))
        server = Server(folder, words, folder / "socket", environ, user)
        try:
            yield server
        finally:
            server.stop()
