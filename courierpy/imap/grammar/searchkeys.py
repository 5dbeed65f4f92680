"""The keys of SEARCH, as a tree.  RFC 3501 6.4.4, RFC 9051 6.4.4."""
from __future__ import annotations

from courierpy.imap.grammar.args import ERROR, Args
from courierpy.message import charsets
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from courierpy.imap.grammar.numset import NumSet

    Grammar = Callable[["Parser"], Any]

    class Record(Protocol):
        """What is known of a key: here, what may stand behind its name; None: it is no word of a client."""

        @property
        def parse(self) -> Grammar | None: ...

    class Option(Protocol):
        """The same of an option of RETURN."""

        @property
        def parse(self) -> Callable[[Args], Any]: ...

    Find = Callable[[bytes], Record | None]

MAX_KEYS = 1000                # of one search
MAX_DEPTH = 100                # keys in each other


class _Walked:
    """What was found in a tree of keys, once somebody asked.  It is no part of what a key is."""

    __slots__ = ("_below", "_names")
    _below: tuple[Key, ...]
    _names: tuple[bytes, ...]


class Key(_Walked):
    """A key of SEARCH, and what stands behind it.

    ``name`` and ``value``: AND a list of keys, OR a pair, NOT a key, texts a
    str, HEADER (name, str), dates an ordinal, KEYWORD bytes, sizes an int,
    SEQSET and UID a NumSet.  Never changed once made."""

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

    @property
    def each(self) -> tuple[Key, ...]:
        """All keys of the tree."""
        try:
            return self, *self._below
        except AttributeError:
            found = [self]
            for one in found:          # which grows
                if isinstance(one.value, (list, tuple)):
                    found += [part for part in one.value if isinstance(part, Key)]
                elif isinstance(one.value, Key):
                    found.append(one.value)
            self._below = tuple(found[1:])
            return tuple(found)

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of all keys of the tree, each once."""
        try:
            return self._names
        except AttributeError:
            self._names = tuple(sorted({one.name for one in self.each}))
            return self._names


# -- a tree of keys

def rewritten(key: Key, change: Callable[[Key], Key | None]) -> Key:
    """The tree with what ``change`` gives in the place of a key; None: it stays, with what it holds."""
    other = change(key)
    if other is not None:
        return other
    value = key.value
    if isinstance(value, Key):
        return Key(key.name, rewritten(value, change))
    if isinstance(value, (list, tuple)):
        return Key(key.name, type(value)(rewritten(part, change) if isinstance(part, Key) else part
                                         for part in value))
    return key


def uses_numbers(key: Key) -> bool:
    """Are messages named by sequence numbers?  Then no EXPUNGE is told (RFC 7162 3.2.10.2)."""
    return b"SEQSET" in key.names and any(one.name == b"SEQSET" and one.value.ranges for one in key.each)


# -- to a tree

def parse(args: Args, find: Find, charset: str | None = None) -> Key:
    """A whole search program.  ``find``: function of a key's name giving its record, None where there is
    none.  ``charset``: named by the command already (SORT, THREAD); else CHARSET may stand before the keys.
    Raises Bad, or No [BADCHARSET]."""
    if charset is None:
        charset = "utf-8"
        if args.rest_text()[:8].upper() == b"CHARSET ":
            if not args.charsets:
                raise Bad("CHARSET is not valid in UTF8 mode as per RFC 6855")
            args.word()
            args.sp()
            charset = take_charset(args)
            args.sp()
    return Parser(args, find, charset).keys()


def take_charset(args: Args) -> str:
    """The name of a charset.  Raises No [BADCHARSET] with those that are known;
    Bad for another than UTF-8 when the client enabled that (RFC 6855 3)."""
    name = args.astring()
    charset = name.decode("ascii", "replace")
    if charsets.find(charset) is None:
        raise No("The requested character set is not supported.",
                 b"BADCHARSET (%s)" % b" ".join(charsets.known()))
    if not args.charsets and name.upper() not in (b"UTF-8", b"US-ASCII"):
        raise Bad("Only UTF-8 charset is valid after enabling RFC 6855 support", b"BADCHARSET (UTF-8)")
    return charset


def take_returns(args: Args, find: Callable[[bytes], Option | None]) -> list[tuple[bytes, Any]] | None:
    """``RETURN (options)`` before the keys, each with what stands behind its word; None without it.
    ``find``: function of an option's name giving its record, None where there is none.
    RFC 4731 3.1, RFC 4466 2.6.1.  Raises Bad."""
    if args.rest_text()[:7].upper() != b"RETURN ":
        return None
    args.word()
    args.sp()
    args.open()
    args.maybe_sp()
    options: list[tuple[bytes, Any]] = []
    while not args.at(b")"):
        option = args.word()
        record = find(option)
        if record is None:
            raise Bad("Unknown SEARCH result option.")
        options.append((option, record.parse(args)))
        args.maybe_sp()
    args.close()
    args.sp()
    return options


class Parser:
    """What the grammar of a key reads from: ``args``, the blank behind the key's name still there.
    ``charset``: of its texts, as the client named it."""

    __slots__ = ("_count", "_depth", "_find", "args", "charset")

    def __init__(self, args: Args, find: Find, charset: str) -> None:
        self.args = args
        self._find = find
        self.charset = charset
        self._count = self._depth = 0

    def keys(self) -> Key:
        """Keys up to a parenthesis or the end: all of them must match."""
        args = self.args
        keys = [self.key()]
        while (args.maybe_sp() or args.at(b"(")) and not args.at_end() and not args.at(b")"):
            keys.append(self.key())
        return keys[0] if len(keys) == 1 else Key(b"AND", keys)

    def key(self) -> Key:
        """One key with what belongs to it."""
        self._count += 1
        self._depth += 1
        if self._count > MAX_KEYS or self._depth > MAX_DEPTH:
            raise Bad("Too many search keys.")
        found = self._key()
        self._depth -= 1
        return found

    def _key(self) -> Key:
        args = self.args
        if args.at(b"("):
            args.open()
            args.maybe_sp()
            inner = self.keys()
            args.close()
            return inner
        if args.at_messages():
            return Key(b"SEQSET", args.messages())
        name = args.word()
        record = self._find(name)
        if record is None or record.parse is None:
            raise Bad(ERROR)
        return Key(name, record.parse(self))

    def text(self) -> str:
        """A string in the charset of the command."""
        return charsets.charset_text(self.args.astring(), self.charset)


# -- the grammars

def nothing(parser: Parser) -> None:
    """Nothing stands behind the name."""


def negated(parser: Parser) -> Key:
    """One key."""
    parser.args.sp()
    return parser.key()


def pair(parser: Parser) -> tuple[Key, Key]:
    """Two keys."""
    return negated(parser), negated(parser)


def text(parser: Parser) -> str:
    """A text to be looked for."""
    parser.args.sp()
    return parser.text()


def header(parser: Parser) -> tuple[bytes, str]:
    """A name of a header field, and a text."""
    parser.args.sp()
    field = parser.args.astring()
    return field, text(parser)


def string(parser: Parser) -> bytes:
    """A keyword.  Quoted by many clients, against the grammar."""
    parser.args.sp()
    return parser.args.astring()


def date(parser: Parser) -> int:
    """A day, as an ordinal."""
    parser.args.sp()
    return parser.args.date()


def number(parser: Parser) -> int:
    """A count of octets or seconds."""
    parser.args.sp()
    return parser.args.number()


def numbers(parser: Parser) -> NumSet:
    """A set of UIDs."""
    parser.args.sp()
    return parser.args.messages()
