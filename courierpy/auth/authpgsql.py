"""Accounts in PostgreSQL, by Courier's authpgsqlrc (sql.py).  The extra ``pgsql``: psycopg 3."""
from __future__ import annotations

from courierpy.auth import sql
from courierpy.auth.sql import SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.auth.sql import Table

DIALECT = sql.Dialect("authpgsql", "PGSQL_")
# word of the file, which is older than PGSQL_CONNECTION -> libpq's
OLDER = {"HOST": "host", "PORT": "port", "USERNAME": "user", "PASSWORD": "password", "OPT": "options",
         "DATABASE": "dbname"}
# untranslatable character, character not in repertoire: of a name in other characters
UNSPEAKABLE = frozenset(("22P05", "22021"))


def _begin() -> sql.Database:
    import psycopg

    def connect(table: Table) -> object:
        # nothing is prepared on the server: a pool between may give each query another of its connections
        return psycopg.connect(table.word("CONNECTION"), autocommit=True, prepare_threshold=None,
                               **arguments(table))        # type: ignore[arg-type]

    def unspeakable(error: Exception) -> bool:
        return getattr(error, "sqlstate", None) in UNSPEAKABLE

    return sql.Database(DIALECT, connect, (psycopg.Error, OSError), unspeakable)


def arguments(table: Table) -> dict[str, object]:
    """Of psycopg.connect(), beside what PGSQL_CONNECTION says.  An answer that does not come in SECONDS is
    given up by the server, a server that is lost by the kernel."""
    found: dict[str, object] = {key: table.word(name) for name, key in OLDER.items() if table.word(name)}
    said = table.word("CONNECTION")
    limits = {"connect_timeout": SECONDS, "tcp_user_timeout": SECONDS * 1000, "keepalives_idle": 60}
    found |= {key: value for key, value in limits.items() if key not in said}
    found["client_encoding"] = table.word("CHARACTER_SET", "UTF8")
    return found


_module = sql.Module("authpgsql", _begin)
lookup, accounts, change = _module.lookup, _module.accounts, _module.change
