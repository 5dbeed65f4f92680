"""The keys of SEARCH, as a tree.  RFC 3501 6.4.4, RFC 9051 6.4.4."""
from __future__ import annotations

from courierpy.imap.grammar.args import ERROR, Args
from courierpy.message import charsets
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from typing import Any

NO_VALUE = frozenset((b"ALL", b"ANSWERED", b"DELETED", b"DRAFT", b"FLAGGED", b"NEW", b"OLD",
                      b"RECENT", b"SEEN", b"UNANSWERED", b"UNDELETED", b"UNDRAFT", b"UNFLAGGED",
                      b"UNSEEN"))
TEXTS = frozenset((b"BCC", b"BODY", b"CC", b"FROM", b"SUBJECT", b"TEXT", b"TO"))
DATES = frozenset((b"BEFORE", b"ON", b"SENTBEFORE", b"SENTON", b"SENTSINCE", b"SINCE"))
MAX_KEYS = 1000
MAX_DEPTH = 100


class Key:
    """``name`` and ``value``: AND a list of keys, OR a pair, NOT a key, texts a
    str, HEADER (name, str), dates an ordinal, KEYWORD bytes, sizes an int,
    SEQSET and UID a NumSet."""

    __slots__ = ("name", "value")

    def __init__(self, name: bytes, value: Any = None) -> None:
        self.name = name
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and (self.name, self.value) == (other.name, other.value)

    def __hash__(self) -> int:
        return hash((self.name, repr(self.value)))

    def __repr__(self) -> str:
        return f"Key({self.name!r}, {self.value!r})"


def parse(args: Args, extra: Mapping[bytes, Callable[[Args], Any]] | None = None,
          charset: str | None = None) -> Key:
    """A whole search program.  ``charset``: named by the command already (SORT,
    THREAD); else CHARSET may stand before the keys.  Raises Bad, or No [BADCHARSET]."""
    if charset is None:
        charset = "utf-8"
        if args.rest_text()[:8].upper() == b"CHARSET ":
            if args.utf8:
                raise Bad("CHARSET is not valid in UTF8 mode as per RFC 6855")
            args.word()
            args.sp()
            charset = take_charset(args)
            args.sp()
    return _Parser(args, extra or {}, charset).keys(0)


def take_charset(args: Args) -> str:
    """The name of a charset.  Raises No [BADCHARSET] with those that are known;
    Bad for another than UTF-8 when the client enabled that (RFC 6855 3)."""
    name = args.astring()
    charset = name.decode("ascii", "replace")
    if charsets.find(charset) is None:
        raise No("The requested character set is not supported.",
                 b"BADCHARSET (%s)" % b" ".join(charsets.known()))
    if args.utf8 and name.upper() not in (b"UTF-8", b"US-ASCII"):
        raise Bad("Only UTF-8 charset is valid after enabling RFC 6855 support", b"BADCHARSET (UTF-8)")
    return charset


def take_returns(args: Args, known: Container[bytes]) -> list[bytes] | None:
    """``RETURN (options)`` before the keys; None without it.  RFC 4731 3.1, RFC 4466 2.6.1."""
    if args.rest_text()[:7].upper() != b"RETURN ":
        return None
    args.word()
    args.sp()
    args.open()
    args.maybe_sp()
    options: list[bytes] = []
    while not args.at(b")"):
        option = args.word()
        if option not in known:
            raise Bad("Unknown SEARCH result option.")
        options.append(option)
        args.maybe_sp()
    args.close()
    args.sp()
    return options


class _Parser:
    def __init__(self, args: Args, extra: Mapping[bytes, Callable[[Args], Any]], charset: str) -> None:
        self.args = args
        self.extra = extra
        self.charset = charset
        self.count = 0

    def keys(self, depth: int) -> Key:
        args = self.args
        keys = [self._key(depth)]
        while (args.maybe_sp() or args.at(b"(")) and not args.at_end() and not args.at(b")"):
            keys.append(self._key(depth))
        return keys[0] if len(keys) == 1 else Key(b"AND", keys)

    def _key(self, depth: int) -> Key:
        args = self.args
        self.count += 1
        if self.count > MAX_KEYS or depth > MAX_DEPTH:
            raise Bad("Too many search keys.")
        if args.at(b"("):
            args.open()
            args.maybe_sp()
            inner = self.keys(depth + 1)
            args.close()
            return inner
        if args.at_numset():
            return Key(b"SEQSET", args.numset())
        name = args.word()
        if name in NO_VALUE:
            return Key(name)
        args.sp()
        if name == b"NOT":
            return Key(name, self._key(depth + 1))
        if name == b"OR":
            first = self._key(depth + 1)
            args.sp()
            return Key(name, (first, self._key(depth + 1)))
        return Key(name, self._value(name))

    def _value(self, name: bytes) -> Any:
        args = self.args
        if name in TEXTS:
            return self._text()
        if name == b"HEADER":
            field = args.astring()
            args.sp()
            return field, self._text()
        if name in DATES:
            return args.date()
        if name in (b"KEYWORD", b"UNKEYWORD"):
            return args.astring()      # quoted by many clients, against the grammar
        if name in (b"LARGER", b"SMALLER"):
            return args.number()
        if name == b"UID":
            return args.numset()
        if name in self.extra:
            return self.extra[name](args)
        raise Bad(ERROR)

    def _text(self) -> str:
        return charsets.charset_text(self.args.astring(), self.charset)
