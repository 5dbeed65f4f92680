"""Accounts in a table of an SQL database, as Courier's authmysqlrc, authpgsqlrc and authsqliterc tell of it.

The words are the same but for their prefix (``MYSQL_``, ``PGSQL_``, ``SQLITE_``); DEFAULT_DOMAIN has none.
Either the table and its fields are named, or the queries are written out: SELECT_CLAUSE, ENUMERATE_CLAUSE.
What a stranger says is never put into the text of a query.  A literal that holds a variable,
``'$(local_part)@$(domain)'``, becomes one parameter of the driver's, quotes and all, and so does a variable
that stands alone.
"""
from __future__ import annotations

import re

from courierpy.auth import Account, Rejected, TemporaryFailure, Unservable, number_of, rcfile, stored
from courierpy.auth.rcfile import told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from courierpy.auth import Request

    Row = Sequence[object]

SECONDS = 5                            # that a database has to answer, where the driver lets us say so
# what a query must give, and the word for the field of each; some may be left out
COLUMNS = (("LOGIN_FIELD", "id"), ("CRYPT_PWFIELD", ""), ("CLEAR_PWFIELD", ""), ("UID_FIELD", "uid"),
           ("GID_FIELD", "gid"), ("HOME_FIELD", "home"), ("MAILDIR_FIELD", ""), ("QUOTA_FIELD", ""),
           ("NAME_FIELD", "name"), ("AUXOPTIONS_FIELD", ""))
ENUMERATED = (0, 3, 4, 5, 6, 9)        # of these: what an enumeration gives
LISTED = 6
_VARIABLE = re.compile(r"\$\((\w+)\)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}


class Dialect:
    """``prefix``: of the words.  ``mark``: what stands for a parameter; ``%s``, so that each other ``%`` is
    doubled, or ``?``.  ``strings``: the quotes that a literal may have.  ``escapes``: a backslash in one
    escapes; else it does in PostgreSQL's E'...' alone."""

    __slots__ = ("escapes", "mark", "module", "prefix", "strings")

    def __init__(self, module: str, prefix: str, mark: str = "%s", strings: str = "'",
                 escapes: bool = False) -> None:
        self.module = module
        self.prefix = prefix
        self.mark = mark
        self.strings = strings
        self.escapes = escapes


def substituted(text: str, dialect: Dialect, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """(the query with marks, its parameters).  Raises TemporaryFailure for a variable that is not known or
    where nothing can be put: in a quoted name, or in a literal without an end."""
    query: list[str] = []
    parameters: list[str] = []
    at = 0
    for match in re.finditer(r"""['"`]|\$\(\w+\)""", text):
        if match.start() < at:
            continue                   # inside of what was taken
        query.append(_plain(text[at:match.start()], dialect))
        mark, at = match[0], match.end()
        if mark.startswith("$"):
            query.append(dialect.mark)
            parameters.append(_value(mark, dialect, values))
            continue
        escaped = mark in dialect.strings and (
            dialect.escapes or re.search(r"(?<!\w)[eE]\Z", text[:match.start()]) is not None)
        inner, at = _quoted(text, at, mark, escaped, dialect)
        if _VARIABLE.search(inner) is None:
            query.append(_plain(text[match.start():at], dialect))
            continue
        if mark not in dialect.strings:
            raise TemporaryFailure(f"{dialect.module}: {inner[:60]!r} is a name, in which nothing can be put")
        if escaped and not dialect.escapes:
            query[-1] = query[-1][:-1]             # the E
        query.append(dialect.mark)
        parameters.append(_VARIABLE.sub(lambda found: _value(found[0], dialect, values),
                                        _meant(inner, mark, escaped)))
    query.append(_plain(text[at:], dialect))
    return "".join(query), parameters


def _plain(text: str, dialect: Dialect) -> str:
    return text.replace("%", "%%") if dialect.mark == "%s" else text


def _value(mark: str, dialect: Dialect, values: Mapping[str, str]) -> str:
    if mark[2:-1] not in values:
        raise TemporaryFailure(f"{dialect.module}: {mark} is not known here")
    return values[mark[2:-1]]


def _quoted(text: str, at: int, quote: str, escaped: bool, dialect: Dialect) -> tuple[str, int]:
    """(what stands in the quotes that were opened before ``at``, where it goes on behind them)."""
    start = at
    while at < len(text):
        if escaped and text[at] == "\\":
            at += 2
        elif text[at] != quote:
            at += 1
        elif text[at + 1:at + 2] == quote:
            at += 2
        else:
            return text[start:at], at + 1
    raise TemporaryFailure(f"{dialect.module}: {quote} of {text[start:start + 60]!r} has no end")


def _meant(inner: str, quote: str, escaped: bool) -> str:
    """What a literal stands for."""
    inner = inner.replace(quote * 2, quote)
    if not escaped:
        return inner
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), inner, flags=re.S)


class Table:
    """How accounts are asked for, by the words of a file."""

    def __init__(self, dialect: Dialect, words: Mapping[str, str]) -> None:
        self._dialect = dialect
        self._words = words

    def word(self, name: str, default: str = "") -> str:
        return self._words.get(self._dialect.prefix + name, default)

    def _fields(self) -> list[str]:
        """As expressions: a field may be one, CONCAT(...)."""
        if not self.word("CRYPT_PWFIELD") and not self.word("CLEAR_PWFIELD"):
            raise TemporaryFailure(f"{self._dialect.module}: neither {self._dialect.prefix}CRYPT_PWFIELD nor "
                                   "..._CLEAR_PWFIELD is set: no password can be right")
        return [self.word(name, default) or "''" for name, default in COLUMNS]

    def _from(self) -> str:
        table = self.word("USER_TABLE")
        if not table:
            raise TemporaryFailure(f"{self._dialect.module}: {self._dialect.prefix}USER_TABLE is not set")
        return table

    def full_name(self, user: str) -> str:
        """``user`` with DEFAULT_DOMAIN where it has none."""
        domain = self._words.get("DEFAULT_DOMAIN") or self.word("DEFAULT_DOMAIN")
        return f"{user}@{domain}" if domain and "@" not in user else user

    def variables(self, user: str, service: str) -> dict[str, str]:
        """What the clauses may name."""
        local, at, domain = self.full_name(user).rpartition("@")
        return {"local_part": local if at else domain, "domain": domain if at else "", "service": service}

    def query(self, user: str, service: str) -> tuple[str, list[str]]:
        """(the query for one account, its parameters).  Raises TemporaryFailure."""
        clause = self.word("SELECT_CLAUSE")
        if clause:
            return substituted(clause, self._dialect, self.variables(user, service))
        fields = self._fields()
        where, more = self._where(user, service)
        text = f"SELECT {', '.join(fields)} FROM {self._from()} WHERE {fields[0]} = "
        return f"{_plain(text, self._dialect)}{self._dialect.mark}{where}", [self.full_name(user), *more]

    def change(self, user: str, service: str, password: str, crypt: str) -> tuple[str, list[str]]:
        """(what gives an account another password, its parameters).  ``crypt``: its hash.  Raises
        TemporaryFailure."""
        values = {**self.variables(user, service), "newpass": password, "newpass_crypt": crypt}
        clause = self.word("CHPASS_CLAUSE")
        if clause:
            return substituted(clause, self._dialect, values)
        login, *_ = self._fields()
        fields = {self.word("CRYPT_PWFIELD"): crypt, self.word("CLEAR_PWFIELD"): password}
        fields.pop("", None)
        mark = self._dialect.mark
        where, more = self._where(user, service)
        sets = ", ".join(f"{_plain(field, self._dialect)} = {mark}" for field in fields)
        text = f"UPDATE {_plain(self._from(), self._dialect)} SET {sets} WHERE {_plain(login, self._dialect)}"
        return f"{text} = {mark}{where}", [*fields.values(), self.full_name(user), *more]

    def _where(self, user: str, service: str, word: str = " AND ") -> tuple[str, list[str]]:
        clause = self.word("WHERE_CLAUSE")
        if not clause:
            return "", []
        text, parameters = substituted(clause, self._dialect, self.variables(user, service))
        return f"{word}({text})", parameters

    def enumeration(self) -> tuple[str, list[str]]:
        """(the query for all accounts, its parameters).  Raises TemporaryFailure."""
        clause = self.word("ENUMERATE_CLAUSE")
        if clause:
            return substituted(clause, self._dialect, self.variables("", "authenumerate"))
        fields = self._fields()
        where, more = self._where("", "authenumerate", " WHERE ")
        text = f"SELECT {', '.join(fields[column] for column in ENUMERATED)} FROM {self._from()}"
        return f"{_plain(text, self._dialect)}{where}", more


def word_of(value: object) -> str:
    """A value of a row as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "surrogateescape")
    return str(value)


def account_of(row: Row, dialect: Dialect) -> Account:
    """Of the columns of COLUMNS.  Raises Unservable."""
    address, crypt, clear, uid, gid, home, maildir, quota, name, options = map(word_of, row)
    try:
        if not address or not home:
            raise ValueError
        return Account(address, number_of(uid), number_of(gid), home, maildir=maildir, quota=quota, name=name,
                       passwd=crypt, passwd2=clear, options=options)
    except ValueError:
        raise Unservable(f"{dialect.module}: {address}: uid, gid or home is missing or bad") from None


class Database:
    """A connection that is kept, for one module in one process.

    ``connect``: makes it, by the words of the file.  ``errors``: what the driver raises; ``unspeakable``: is
    it only that the name cannot be written in the characters of the database, so that nobody has it?
    ``to_write``: as ``connect``, where that can only read."""

    def __init__(self, dialect: Dialect, connect: Callable[[Table], object],
                 errors: tuple[type[Exception], ...], unspeakable: Callable[[Exception], bool],
                 keeps: bool = True, to_write: Callable[[Table], object] | None = None) -> None:
        self._dialect = dialect
        self._connect = connect
        self._connect_to_write = to_write
        self._errors: tuple[type[Exception], ...] = (*errors, UnicodeError)
        self._unspeakable = unspeakable
        self._keeps = keeps
        self._words: Mapping[str, str] = {}
        self._connection: object = None

    def find(self, words: Mapping[str, str], request: Request) -> Account:
        """Raises Rejected, Unservable, TemporaryFailure."""
        user = stored.user_of(request)
        if not user or "\0" in user:
            raise Rejected
        rows = self._rows(words, *Table(self._dialect, words).query(user, request.service), user)
        rows = [row for at, row in enumerate(rows) if row not in rows[:at]]     # of a join
        if not rows:
            stored.like_one(request)
            raise Rejected
        if len(rows) > 1:
            raise TemporaryFailure(f"{self._dialect.module}: {user}: {len(rows)} different rows for one name")
        if len(rows[0]) != len(COLUMNS):
            raise TemporaryFailure(f"{self._dialect.module}: the query gives {len(rows[0])} columns, not the "
                                   f"{len(COLUMNS)} that are expected")
        crypt, clear = word_of(rows[0][1]), word_of(rows[0][2])
        clear = stored.proved(request, [crypt], clear)
        account = account_of(rows[0], self._dialect)
        account.passwd2 = clear
        return account

    def all(self, words: Mapping[str, str]) -> Iterator[Account]:
        """The accounts of the enumeration, those without uid, gid or home left out.  Raises
        TemporaryFailure."""
        for row in self._rows(words, *Table(self._dialect, words).enumeration(), ""):
            if len(row) != LISTED:
                raise TemporaryFailure(f"{self._dialect.module}: the enumeration gives {len(row)} columns, "
                                       f"not the {LISTED} that are expected")
            name, uid, gid, home, maildir, options = row
            try:
                yield account_of((name, "", "", uid, gid, home, maildir, "", "", options), self._dialect)
            except Unservable:
                continue

    def _rows(self, words: Mapping[str, str], query: str, parameters: list[str], user: str) -> list[Row]:
        """A connection that was kept may have ended meanwhile: then it is asked once more, on a new one."""
        if words != self._words:
            self.close()
        kept = self._connection is not None
        try:
            return self._asked(words, query, parameters, user)
        except TemporaryFailure:
            if not kept:
                raise
        return self._asked(words, query, parameters, user)

    def _asked(self, words: Mapping[str, str], query: str, parameters: list[str], user: str) -> list[Row]:
        if self._connection is None:
            try:
                self._connection = self._connect(Table(self._dialect, words))
            except self._errors as error:
                raise TemporaryFailure(f"{self._dialect.module}: {told(error)}") from None
            self._words = words
        try:
            cursor = self._connection.cursor()     # type: ignore[attr-defined]
            try:
                cursor.execute(query, parameters)
                rows: list[Row] = [tuple(row) for row in cursor.fetchall()]
            finally:
                cursor.close()
            if not self._keeps:
                self.close()
            return rows
        except self._errors as error:
            self.close()
            if not user.isascii() and (isinstance(error, UnicodeEncodeError) or self._unspeakable(error)):
                raise Rejected from None
            raise TemporaryFailure(f"{self._dialect.module}: {told(error)}") from None

    def change(self, words: Mapping[str, str], request: Request, password: str, crypt: str) -> None:
        """Another password for who has proved the one before.  Raises TemporaryFailure."""
        table = Table(self._dialect, words)
        query, parameters = table.change(stored.user_of(request), request.service, password, crypt)
        self.close()
        connection: object = None
        try:
            connection = (self._connect_to_write or self._connect)(table)
            cursor = connection.cursor()           # type: ignore[attr-defined]
            cursor.execute(query, parameters)
            count = cursor.rowcount
            connection.commit()                    # type: ignore[attr-defined]
        except self._errors as error:
            raise TemporaryFailure(f"{self._dialect.module}: {told(error)}") from None
        finally:
            if connection is not None:
                connection.close()                 # type: ignore[attr-defined]
        if count < 1:
            raise TemporaryFailure(f"{self._dialect.module}: {request.user}: no row was changed")

    def close(self) -> None:
        """It is made anew when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()     # type: ignore[attr-defined]
            except self._errors:
                pass                   # it has ended by itself


class Module:
    """What a module is: ``lookup`` and ``accounts``.  ``begin``: loads the driver, and gives the database;
    called when the module is first asked."""

    def __init__(self, name: str, begin: Callable[[], Database]) -> None:
        self._name = name
        self._begin = begin
        self._database: Database | None = None

    def _ready(self, environ: Mapping[str, str]) -> tuple[Database, Mapping[str, str]]:
        words = rcfile.words(rcfile.path_of(self._name, environ))
        if self._database is None:
            try:
                self._database = self._begin()
            except ImportError as error:
                raise TemporaryFailure(f"{self._name}: {error}") from None
        return self._database, words

    def lookup(self, request: Request) -> Account:
        """As each module's.  Raises Rejected, Unservable, TemporaryFailure."""
        database, words = self._ready(request.environ)
        return database.find(words, request)

    def change(self, request: Request, password: str, crypt: str) -> None:
        """Another password for an account, by CHPASS_CLAUSE or in the table.  ``crypt``: its hash.  Raises
        TemporaryFailure."""
        database, words = self._ready(request.environ)
        database.change(words, request, password, crypt)

    def accounts(self, environ: Mapping[str, str]) -> Iterator[Account]:
        """All that the module knows.  Raises TemporaryFailure."""
        database, words = self._ready(environ)
        yield from database.all(words)
