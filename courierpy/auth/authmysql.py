"""Accounts in MySQL or MariaDB, by Courier's authmysqlrc (sql.py).  The extra ``mysql``: PyMySQL."""
from __future__ import annotations

import os

from courierpy.auth import TemporaryFailure, sql
from courierpy.auth.sql import SECONDS
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.auth.sql import Table

DIALECT = sql.Dialect("authmysql", "MYSQL_", strings="'\"", escapes=True)
CHARSET = "utf8mb4"
# of a MYSQL_SERVER that is "localhost", which is never TCP for MySQL's own library
SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")
SSL = {"key": "SSL_KEY", "cert": "SSL_CERT", "ca": "SSL_CACERT", "capath": "SSL_CAPATH",
       "cipher": "SSL_CIPHERS"}
# mix of collations, wrong string, wrong character, cannot be converted: of a name in other characters
UNSPEAKABLE = frozenset((1267, 1300, 1366, 1977, 3854, 3988))


def _begin() -> sql.Database:
    import pymysql

    def connect(table: Table) -> object:
        if pymysql.charset.charset_by_name(table.word("CHARACTER_SET", CHARSET)) is None:
            raise TemporaryFailure("authmysql: MYSQL_CHARACTER_SET names none")
        return pymysql.connect(**arguments(table), connect_timeout=SECONDS, read_timeout=SECONDS,
                               write_timeout=SECONDS, autocommit=True)

    def unspeakable(error: Exception) -> bool:
        return bool(error.args) and error.args[0] in UNSPEAKABLE

    # RuntimeError: a method of authentication that lacks a library of its own
    return sql.Database(DIALECT, connect, (pymysql.err.Error, OSError, RuntimeError, ValueError, LookupError),
                        unspeakable)


def arguments(table: Table) -> dict[str, object]:
    """Of pymysql.connect(), by the words of the file."""
    found: dict[str, object] = {"user": table.word("USERNAME"),
                                # of bytes: PyMySQL would write it in latin1
                                "password": table.word("PASSWORD").encode("utf-8", "surrogateescape"),
                                "database": table.word("DATABASE"),
                                "charset": table.word("CHARACTER_SET", CHARSET),
                                "client_flag": decimal(table.word("OPT"), 2**32 - 1) or 0}
    host, port = table.word("SERVER", "localhost"), decimal(table.word("PORT"), 65535) or 0
    socket = table.word("SOCKET")
    if not socket and host == "localhost" and not port:
        socket = next(filter(os.path.exists, SOCKETS), "")
    if socket:
        found["unix_socket"] = socket
    else:
        found["host"], found["port"] = host, port or 3306
    ssl = {key: table.word(name) for key, name in SSL.items() if table.word(name)}
    if ssl:
        found["ssl"] = ssl
    return found


_module = sql.Module("authmysql", _begin)
lookup, accounts, change = _module.lookup, _module.accounts, _module.change
