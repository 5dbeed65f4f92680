"""The words of the grammar, read one after another from a frame.

Each method takes one word and leaves what follows; blanks are taken by ``sp``.
Lenient where Courier is and no meaning is lost: several blanks, none before a
parenthesis.  Everything else raises Bad, a mailbox name that cannot be one No.  RFC 9051 9.
"""
from __future__ import annotations

from courierpy.imap.grammar.framer import Frame, Literal
from courierpy.imap.grammar.numset import NumSet
from courierpy.model import namespaces, utf7
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.model.regex import later
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Any

ERROR = "Error in IMAP command received by server."
_TAG = later(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
_HEAD = later(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]+) ([A-Za-z]+)(?= |$)")     # most commands, at once
_WORD = rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+"
_ATOM = later(_WORD)
_WORDS = later(rb"\([ \t]*(" + _WORD + rb"(?:[ \t]+" + _WORD + rb")*)[ \t]*\)")
_NAME_AND_WORDS = later(rb" ([^\x00-\x20\x7f-\xff(){%*\"\\]+) \(([A-Za-z][A-Za-z ]*)\)")
_FLAG = later(rb"\\?" + _WORD)
_ASTRING = later(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_PATTERN = later(rb"[^\x00-\x20\x7f-\xff(){\"\\]+")
_QUOTED = later(rb'"((?:[^"\\\r\n\0]|\\.)*)"')
_ESCAPE = later(rb"\\(.)")
_NUMSET = later(rb"[\d:*,]+")
_MESSAGES = later(rb"[\d:*,]+\$?|\$")
_NUMBER = later(rb"\d{1,20}")
_BLANKS = later(rb"[ \t]+")
_FLAG_LIST = later(rb"\(([^\x00-\x08\x0a-\x1f\x7f-\xff(){%*\"\]]*)\)")
BACKSLASH = 92
MAX_ASTRINGS = 100             # of a command that is a list of them
MAX_TAG = 200                  # octets of a tag that comes back with a refusal of what cannot be read
FLAGS = {b"\\SEEN": SEEN, b"\\ANSWERED": ANSWERED, b"\\FLAGGED": FLAGGED, b"\\DELETED": DELETED,
         b"\\DRAFT": DRAFT}


def tag_of(text: bytes) -> bytes:
    """The tag with which a command begins that cannot be read any further; ``*`` without one.

    ``text``: its beginning.  A word that goes on to the end of it is a tag only if it is short:
    else it may be a part of one.
    """
    match = _TAG.match(text.lstrip(b" \t"))
    if match is None or match.end() > MAX_TAG:
        return b"*"
    return match[0]


def is_tag(word: bytes) -> bool:
    return _TAG.fullmatch(word) is not None


class Args:
    """A method for each kind of word (RFC 9051 9), hence so many.

    ``tag`` and ``command`` (upper-case, ``UID FETCH`` is one) are read at once.
    ``utf8``: mailbox names are UTF-8.  ``separator``: between the levels of one.  ``charsets``: SEARCH
    may name a CHARSET.  ``normal``: function that gives the name that a mailbox has for the one that was
    sent.  ``meant``: function that gives the first name of the mailbox of a name, where it has several.
    ``spelled``: the mailbox names as they were sent; ``mailboxes``: what mailbox() made of them.
    ``again``: where it came in the same octets before and was read then (again.py), a function (session)
    that does it; a text is that of its OK."""

    __slots__ = ("_at", "_frame", "_index", "_text", "charsets", "command", "mailboxes", "meant", "normal",
                 "separator", "spelled", "tag", "utf8")
    again: Callable[[Any], str] | None = None

    def __init__(self, frame: Frame, utf8: bool = False, separator: str = ".", charsets: bool = True,
                 normal: Callable[[str], str] | None = None,
                 meant: Callable[[str], str] | None = None) -> None:
        self._frame = frame
        self._index = 0
        self._text = frame.lines[0]
        self._at = 0
        self.utf8 = utf8
        self.separator = separator
        self.charsets = charsets
        self.normal = normal
        self.meant = meant
        self.spelled: list[str] = []
        self.mailboxes: list[str] = []
        head = _HEAD.match(self._text)
        if head is not None:
            self.tag, command = head.groups()
            self.command = command.upper()
            self._at = head.end()
        else:
            self.tag, self.command = b"*", b""
            self.maybe_sp()
            self.tag = self._match(_TAG)
            self.sp()
            self.command = self._match(_ATOM).upper()
        if self.command == b"UID":
            self.sp()
            self.command += b" " + self._match(_ATOM).upper()

    def _match(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise Bad(ERROR)
        self._at = match.end()
        return match[0]

    # -- punctuation

    def sp(self) -> None:
        """At least one blank."""
        self._match(_BLANKS)

    def maybe_sp(self) -> bool:
        match = _BLANKS.match(self._text, self._at)
        if match is None:
            return False
        self._at = match.end()
        return True

    def more(self) -> bool:
        """Blanks, if some are there, and is there something behind them?"""
        return self.maybe_sp() and not self.at_end()

    def at(self, char: bytes) -> bool:
        """Does the next word begin with ``char``?  Nothing is taken."""
        return self._text.startswith(char, self._at)

    def open(self) -> None:
        self._char(b"(")

    def close(self) -> None:
        self.maybe_sp()
        self._char(b")")

    def _char(self, char: bytes) -> None:
        if not self.at(char):
            raise Bad(ERROR)
        self._at += len(char)

    def at_end(self) -> bool:
        """Nothing but blanks is left."""
        return (self._index == len(self._frame.literals)
                and not self._text[self._at:].strip())

    def end(self) -> None:
        if not self.at_end():
            raise Bad(ERROR)

    @property
    def behind_tag(self) -> bytes:
        """All of it but the tag and one blank; b"" of one with literals, or that begins otherwise."""
        line, start = self._frame.lines[0], self.tag + b" "
        return line[len(start):] if not self._frame.literals and line.startswith(start) else b""

    @property
    def is_one_line(self) -> bool:
        """Has the command no literals?"""
        return not self._frame.literals

    def is_rest(self, text: bytes) -> bool:
        """Is this all that is left?  Then it is taken."""
        if len(self._text) - self._at != len(text) or not self._text.endswith(text) or self._frame.literals:
            return False
        self._at += len(text)
        return True

    def rest_text(self) -> bytes:
        """The unread text of this line."""
        return self._text[self._at:]

    # -- strings

    def word(self) -> bytes:
        """An atom in upper case: item names, keywords of the grammar."""
        return self._match(_ATOM).upper()

    def attribute(self) -> bytes:
        """A word behind a backslash, that included: an attribute of a mailbox.  RFC 9051 9."""
        if not self.at(b"\\"):
            raise Bad(ERROR)
        return self._match(_FLAG)

    def words(self) -> list[bytes]:
        """Words in parentheses, at least one, in upper case."""
        match = _WORDS.match(self._text, self._at)
        if match is None:
            raise Bad(ERROR)
        self._at = match.end()
        return match[1].upper().split()

    def take(self, pattern: re.Pattern[bytes]) -> bytes:
        """What ``pattern`` matches here."""
        return self._match(pattern)

    def _at_literal(self) -> bool:
        return self._at == len(self._text) and self._index < len(self._frame.literals)

    def literal(self) -> Literal:
        if not self._at_literal():
            raise Bad(ERROR)
        literal = self._frame.literals[self._index]
        self._index += 1
        self._text = self._frame.lines[self._index]
        self._at = 0
        return literal

    def string(self) -> bytes:
        """Quoted or literal."""
        if self._at_literal():
            data = self.literal().data
            if data is None:
                raise Bad(ERROR)
            return data
        match = _QUOTED.match(self._text, self._at)
        if match is None:
            raise Bad(ERROR)
        self._at = match.end()
        if not match[1].isascii():
            try:
                match[1].decode()          # RFC 6855 3: 8-bit text in quotes is UTF-8
            except UnicodeDecodeError:
                raise Bad("A quoted string holds octets that are not UTF-8.") from None
        return _ESCAPE.sub(rb"\1", match[1]) if BACKSLASH in match[1] else match[1]

    def nstring(self) -> bytes | None:
        if self._text[self._at:self._at + 3].upper() == b"NIL":
            self._at += 3
            return None
        return self.string()

    def astring(self) -> bytes:
        match = _ASTRING.match(self._text, self._at)
        if match is None:
            return self.string()
        self._at = match.end()
        return match[0]

    def astrings(self, pattern: re.Pattern[bytes], what: str) -> list[bytes]:
        """What is left, a blank before each: none or more, MAX_ASTRINGS at most, each as ``pattern`` has it.
        ``what``: tells the client what it should have been."""
        found: list[bytes] = []
        while self.more():
            found.append(self.astring())
            if not pattern.fullmatch(found[-1]) or len(found) > MAX_ASTRINGS:
                raise Bad(f"That is no {what}.")
        self.end()
        return found

    def mailbox(self) -> str:
        """A mailbox name as Unicode; ``inbox`` in any case is INBOX.

        Raises No for one that is no modified UTF-7; the word is taken all the same.
        """
        return self._mailbox(self.astring())

    def _mailbox(self, data: bytes) -> str:
        name = self._name(data)
        if self.meant is not None:
            name = self.meant(name)
        self.mailboxes.append(name)
        return name

    def mailbox_and_words(self) -> tuple[str, list[bytes]]:
        """What is left, a blank before each: a mailbox name, and words in upper case, in parentheses or one
        without.  Raises No as mailbox()."""
        match = _NAME_AND_WORDS.fullmatch(self._text, self._at)
        if match is not None and not self._frame.literals:     # mostly
            self._at = match.end()
            data, listed = match.groups()
            return self._mailbox(data), listed.upper().split()
        self.sp()
        name = self.mailbox()
        self.maybe_sp()
        words = self.words() if self.at(b"(") else [self.word()]
        self.end()
        return name, words

    def reference(self) -> str:
        """The name that the patterns of LIST stand behind; as mailbox(), but as it is."""
        return self._name(self.astring())

    def list_mailbox(self) -> str:
        if self._at_literal() or self.at(b'"'):
            return self._name(self.string())
        return self._name(self._match(_PATTERN))

    def _name(self, data: bytes) -> str:
        try:
            name = data.decode() if self.utf8 else utf7.decode(data)
        except ValueError:
            name = self._plain(data)
        self.spelled.append(name)
        if not name.startswith(namespaces.INBOX):      # mostly it does, as it has to
            name = namespaces.folded(name, self.separator)
        return name if self.normal is None else self.normal(name)

    @staticmethod
    def _plain(data: bytes) -> str:
        """Not valid modified UTF-7: raw UTF-8 is what many clients mean by it."""
        if not data.isascii():
            try:
                return data.decode()
            except UnicodeDecodeError:
                pass
        # no error of syntax: the name is an astring, there is just no such mailbox
        raise No("Invalid mailbox name.", b"CANNOT")

    # -- numbers, dates

    def number(self) -> int:
        value = int(self._match(_NUMBER))
        if value > 0xFFFFFFFFFFFFFFFF:
            raise Bad(ERROR)
        return value

    def numset(self) -> NumSet:
        return NumSet.parse(self._match(_NUMSET))

    def messages(self) -> NumSet:
        """A set of messages, which may be those of the saved result: `$`.  RFC 5182 3."""
        return NumSet.parse(self._match(_MESSAGES))

    def at_messages(self) -> bool:
        return _MESSAGES.match(self._text, self._at) is not None

    def date(self) -> int:
        """A day as an ordinal."""
        from courierpy.imap.grammar import dates  # not before the greeting
        try:
            return dates.parse_date(self.astring())
        except ValueError:
            raise Bad(ERROR) from None

    def datetime(self) -> int:
        """Seconds since 1970 UTC."""
        from courierpy.imap.grammar import dates  # not before the greeting
        try:
            return dates.parse_datetime(self.string())
        except ValueError:
            raise Bad(ERROR) from None

    # -- flags

    def flags(self) -> tuple[int, frozenset[bytes]]:
        """A list in parentheses, or bare flags up to the end: (bits of the system flags, keywords)."""
        listed = self.at(b"(")
        if listed:
            match = _FLAG_LIST.match(self._text, self._at)
            if match is None:
                raise Bad(ERROR)
            self._at = match.end()
            words = match[1].split()
        else:
            words = [self._match(_FLAG)]
            while self.more():
                words.append(self._match(_FLAG))
        bits = 0
        keywords: dict[bytes, bytes] = {}
        for word in words:
            if word.startswith(b"\\"):
                bit = FLAGS.get(word.upper())
                if bit is None:
                    raise Bad("Invalid flag.")
                bits |= bit
            elif BACKSLASH in word:
                raise Bad(ERROR)
            else:
                keywords.setdefault(word.lower(), word)
        return bits, frozenset(keywords.values())
