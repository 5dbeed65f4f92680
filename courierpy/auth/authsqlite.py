"""Accounts in a file of SQLite, by Courier's authsqliterc (sql.py).  Needs no extra."""
from __future__ import annotations

from courierpy.auth import TemporaryFailure, sql
from courierpy.auth.sql import SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.auth.sql import Table

# SQLite takes "..." for a literal where no field has that name, and Courier's examples count on it
DIALECT = sql.Dialect("authsqlite", "SQLITE_", mark="?", strings="'\"")


def _begin() -> sql.Database:
    import sqlite3  # of a few milliseconds, and of one module

    def connect(table: Table, mode: str = "ro") -> object:
        path = table.word("DATABASE")
        if not path:
            raise TemporaryFailure("authsqlite: SQLITE_DATABASE is not set")
        from urllib.parse import quote
        return sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, timeout=SECONDS)

    # not kept: a file that was put in its place by a rename counts from the next login on
    return sql.Database(DIALECT, connect, (sqlite3.Error,), lambda error: False, keeps=False,
                        to_write=lambda table: connect(table, "rw"))


_module = sql.Module("authsqlite", _begin)
lookup, accounts, change = _module.lookup, _module.accounts, _module.change
