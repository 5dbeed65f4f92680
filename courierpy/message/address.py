"""Address lists: ``Name <a@b>, group: c@d;`` to IMAP's address structures.

RFC 5322 3.4, RFC 9051 7.5.2.  Every header gives something, in time that grows with its
length.  Where the grammar is broken no address is lost and none is made up:

* what stands between two addresses parts them, a comma or not;
* an angle that nothing closes ends at the next comma; quotes, parentheses and brackets that
  nothing closes are blanks;
* the words before an angle are its name, an address among them too;
* words without an address are a mailbox without host, unless they stand behind a group or
  an address: then they are its name, where it has none;
* an encoded word is one word, also where it holds commas, colons or angles (RFC 2047 5 (3)), and so is
  text in ISO 2022 that nobody encoded;
* a quoted string that holds an address, where nothing else does, is read as if it had no quotes, an
  angle with nothing in it as if it were not there.

An address is many times as large in memory, and in a reply, as the two octets that it may be in a header:
of one field ``MOST`` are told, and of one that is not of the usual forms ``ODD_OCTETS`` are read.
"""
from __future__ import annotations

import re
from itertools import islice

from courierpy.message.headers import LF
from courierpy.message.lexical import QUOTED, comments, lettered, unquoted

MOST = 20_000                      # addresses of a field
ODD_OCTETS = 128 * 1024            # of a field that is read token by token
_LONG_OCTETS = 64 * 1024           # a field of fewer cannot have so many

_ATOM = rb'[^\s\x0e\x1b"<>@,:;()\[\]]+'
# with "@" in it only before an angle: it may be a whole address that somebody encoded
_ENCODED_WORD = rb'=\?[^?\s"<>@,;]+\?[BbQq]\?(?:[^?\s@]*\?=|[^?]*\?=(?=\s*<))'
_TOKEN = re.compile(rb"\s+|%s|%s|[<>@,:;()]|%s|\[[^\[\]<>@]*\]|." % (_ENCODED_WORD, _ATOM, QUOTED.pattern),
                    re.S)
_TOKEN_WITHOUT_QUOTES = re.compile(rb"\s+|%s|%s|[<>@,:;()]|\[[^\[\]<>@]*\]|." % (_ENCODED_WORD, _ATOM), re.S)
_OPEN_NAME = re.compile(rb'[^"<>@]*(?=<)')
_ROUTE = re.compile(rb"\s*(@%s(?:\s*,\s*@%s)*)\s*:" % (_ATOM, _ATOM))
_MAILTO = re.compile(rb"\s*mailto:", re.I)
_MAILBOX = re.compile(rb"\s*%s@" % _ATOM)
_SPEC = re.compile(rb'[^\s"<>@]@[^\s"<>@]')
_ENDS_ADDRESS = re.compile(rb'@[^\s"<>@]+>\s*[,;]')         # in what looks like a quoted string

# ``Name <a@b>``, ``"Name" <a@b>``, ``a@b`` and ``a@b (Name)``, as nearly all addresses are; the last
# group is the rest where something else comes
_USUAL = re.compile(rb"""\s*(?:"(%(q)s*)"\s*|(%(w)s(?:[ ]%(w)s){0,20})\s*)?<(?!')(%(w)s)@(%(w)s)>\s*(?:,|\Z)
    |\s*(?!=\?|')(%(w)s)@(%(w)s)\s*(?:[(](%(c)s*)[)]\s*)?(?:,|\Z)|(.+)""" % {
        b"w": _ATOM, b"q": rb'[^"\\\x0e\x1b]', b"c": rb'[^()"\\\x0e\x1b]'}, re.S | re.X)

# name, route, mailbox, host: each bytes or None
Address = tuple["bytes | None", "bytes | None", "bytes | None", "bytes | None"]


def parse(value: bytes) -> list[Address]:
    """The addresses of an unfolded header value, or of several with LF between; groups as
    start and end markers."""
    if LF in value:
        several: list[Address] = []
        for field in value.split(b"\n"):
            several += parse(field)
            if len(several) >= MOST:
                break
        return several
    found = usual(value)
    if found is not None:
        return [(name or None, None, local, host) for name, local, host in found]
    return _Parser(value).run()


def usual(value: bytes) -> list[tuple[bytes, bytes, bytes]] | None:
    """(name, mailbox, host) of each where all are of the usual forms, else None."""
    if len(value) > _LONG_OCTETS:
        found = [match.groups(b"") for match in islice(_USUAL.finditer(value), MOST)]
    else:
        found = _USUAL.findall(value)
    if not found or found[-1][7] or LF in value:
        return None
    return [(quoted.strip() or words or comment.strip(), local or bare, host or domain)
            for quoted, words, local, host, bare, domain, comment, _ in found]


def _text(words: list[bytes]) -> bytes:
    """Words as one text; several blanks between two of them are one."""
    pieces: list[bytes] = []
    for word in words:
        if word == b" ":
            if pieces and pieces[-1] == b" ":
                continue
            pieces.append(word)
        else:
            pieces.append(unquoted(word) if len(word) > 1 and word.startswith(b'"') else word)
    return b"".join(pieces).strip()


class _Pending:
    """An address that is read; its name may still come.  ``bare``: it stood in no angle."""

    __slots__ = ("bare", "host", "local", "name", "route")

    def __init__(self, name: bytes, route: bytes | None, local: bytes, host: bytes, bare: bool) -> None:
        self.name = name
        self.route = route
        self.local = local
        self.host = host
        self.bare = bare


class _Parser:
    """A method for each kind of token.

    ``value`` is what the words are taken from, ``mask`` what is parsed: the same with letters for what is
    in ISO 2022.  ``words``: the tokens since the last address or separator, a blank for white space.
    ``local`` and ``host``: tokens before and behind an "@"; ``host`` is None before one
    came.  ``names``: before the angle, one for each that stands in another one.  ``comment``: the first one,
    for an address without a name."""

    def __init__(self, value: bytes) -> None:
        if len(value) > ODD_OCTETS:
            value = value[:value.rfind(b",", 0, ODD_OCTETS) + 1 or ODD_OCTETS]
        self.value = value
        self.mask = lettered(value)
        self.at = 0
        self.tokens = _TOKEN
        self.comments: dict[int, int] | None = None
        self.found: list[Address] = []
        self.in_group = False
        self.behind_group = False
        self.pending: _Pending | None = None
        self._fresh()

    def _fresh(self) -> None:
        self.words: list[bytes] = []
        self.names: list[bytes] = []
        self.route: bytes | None = None
        self.comment = b""
        self.angle = False
        self.local: list[bytes] = []
        self.host: list[bytes] | None = None
        self.gap = False           # was there white space behind the last token of the host?
        self.joint = 0             # where in the host a word stands behind a dot and a blank

    def run(self) -> list[Address]:
        handlers = {b"(": self._parenthesis, b",": self._comma, b";": self._semicolon, b":": self._colon,
                    b"<": self._open, b">": self._close, b"@": self._at, b")": self._blank,
                    b"[": self._bracket, b"]": self._unbracket, b'"': self._quote}
        end = len(self.value)
        while self.at < end and len(self.found) < MOST:
            match = self.tokens.match(self.mask, self.at)
            assert match is not None
            self.at = match.end()
            token = match[0]
            handler = handlers.get(token)
            if handler is not None:
                handler()
            elif token.isspace():
                self._blank()
            else:
                self._word(token)
        self._finish()
        if self.in_group:
            self._end_group()
        return self.found

    # -- tokens

    def _blank(self) -> None:
        if self.host is not None:
            self.gap = True
        else:
            self.words.append(b" ")

    def _bracket(self) -> None:
        if _MAILTO.match(self.mask, self.at):
            self._open()                       # Eve [mailto:eve@x.org]
        else:
            self._blank()

    def _unbracket(self) -> None:
        if self.angle:
            self._close()
        else:
            self._blank()

    def _word(self, token: bytes) -> None:
        if token.startswith(b'"') and len(token) > 1:
            if self._glued(self.at - len(token)):
                self.at += 1 - len(token)      # O"Brien: no quoted string begins inside a word
                token = b'"'
            elif self._glued(self.at + 1) and _ENDS_ADDRESS.search(token):
                self.at += 1 - len(token)      # "Eve <eve@x.org>, "Dan" <dan@y.org>: it never closes
                self._blank()
                return
        if self.mask is not self.value:
            token = self.value[self.at - len(token):self.at]
        if self.host is not None:
            quoted = len(token) > 1 and token.startswith(b'"')
            dotted = bool(self.host) and self.host[-1].endswith(b".")
            if self.host and (quoted or self.gap and not dotted and not token.startswith(b".")):
                self._end_host()
            else:
                if self.gap and dotted and not token.startswith(b"."):
                    self.joint = len(self.host)
                self.host.append(token)
                self.gap = False
                return
        self.words.append(token)

    def _glued(self, at: int) -> bool:
        """Is the character before this one a letter of a word?"""
        before = self.mask[at - 1:at] if at else b""
        return before not in b'"<>@,:;()[].' and not before.isspace()

    def _quote(self) -> None:
        """A quote that nothing closes: it may end before an angle, or is none."""
        start = self.at - 1
        if self._glued(start):
            self.words.append(b'"')
            return
        self.tokens = _TOKEN_WITHOUT_QUOTES
        name = _OPEN_NAME.match(self.mask, self.at) if self.host is None and not self.angle else None
        if name is None:
            self._blank()
        else:
            self.words.append(b'"%s"' % self.value[self.at:name.end()].rstrip())
            self.at = name.end()

    def _parenthesis(self) -> None:
        if self.comments is None:
            self.comments = comments(self.mask)
        start = self.at - 1
        end = self.comments.get(start)
        if end is not None:
            self.comment = self.comment or self.value[start + 1:end - 1].strip()
            self.at = end
        self._blank()

    def _comma(self) -> None:
        self._finish()
        self.behind_group = False

    def _semicolon(self) -> None:
        self._finish()
        if self.in_group:
            self._end_group()
            self.behind_group = True

    def _colon(self) -> None:
        if self.host is not None and not self.local and not self.angle:
            self._fresh()                      # a route without an angle
        elif self.host and not self.angle and _MAILBOX.match(self.mask, self.at):
            self._finish()                     # a@b:c@d
        elif self.host is not None or self.angle:
            self._word(b":")
        else:
            name = _text(self.words)
            self.words = []
            if name.lower() == b"mailto":
                return
            if name or not self.in_group:
                self._flush()
                if self.in_group:
                    self._end_group()          # its end is missing
                self._fresh()
                self.found.append((None, None, name, None))
                self.in_group = True
                self.behind_group = False

    def _at(self) -> None:
        if self.host is not None and not self.joint:
            self.local += (b"@", *self.host)   # a@b@c: the last one parts
            self.host = []
            self.gap = False
            return
        if self.host is not None:              # a@b. c@d
            behind = self.host[self.joint:]
            del self.host[self.joint:]
            self._end_host()
            self.words = behind
        self.angle = self.angle and self.pending is None   # a second one in it: its end is missing
        self._flush()
        if self.angle:
            self.local = self.words
        else:
            start = _local_part(self.words)
            self.names = [_text(self.words[:start])]
            self.local = self.words[start:]
        self.words = []
        self.host = []
        self.gap = False
        self.joint = 0

    def _open(self) -> None:
        self._end_host()
        words = _text(self.words)
        first = next((word for word in self.words if word != b" "), b"a")
        pending = self.pending
        if pending is not None and pending.bare and not self.angle and first[:1].islower():
            # a@b <c@d>, a@b via List <c@d>: it is part of the name, which else begins anew
            words = b" ".join(filter(None, (pending.name, pending.local + b"@" + pending.host, words)))
            self.pending = None
        if not self.angle or self.pending is not None:     # else Eve <Hill <eve@x.org>>
            self.names = []
        self._flush()
        self.names.append(words)
        self.words = []
        self.angle = True
        route = _ROUTE.match(self.mask, self.at)
        if route is not None:
            self.route = b"".join(route[1].split())
        match = route or _MAILTO.match(self.mask, self.at)
        if match is not None:
            self.at = match.end()

    def _close(self) -> None:
        self._end_host()
        if self.angle:
            self._end_angle()
        self.angle = False

    # -- addresses

    def _name(self) -> bytes:
        return b" ".join(filter(None, self.names))

    def _end_host(self) -> None:
        """The address with an "@" is complete."""
        if self.host is None:
            return
        name, local, host = self._name(), _text(_undotted(self.local)), b"".join(self.host)
        if host.endswith(b"'") and local.startswith(b"'"):
            local, host = local[1:], host[:-1]             # 'eve@x.org', as Outlook wrote it
        if local or name or b'""' in self.local:
            self.pending = _Pending(name, self.route, local, host, not self.angle)
        self.names = []
        self.route = None
        self.local = []
        self.host = None
        self.gap = False
        self.joint = 0
        self.words = []

    def _end_angle(self) -> None:
        """Of an angle without "@" what is in it is the mailbox."""
        if self.pending is None:
            local, before = _text(self.words), self._name()
            inside = _addresses(local or before)
            if len(inside) == 1:               # Eve <"eve@x.org">, eve@x.org <>
                name, route, mailbox, host = inside[0]
                name = name or before if local else name
                self.pending = _Pending(name or b"", route, mailbox or b"", host or b"", bare=False)
            else:
                self.pending = _Pending(before, self.route, local, b"", bare=False)
            self.names = []
            self.route = None
        self.words = []

    def _flush(self, words: bytes = b"") -> None:
        """Take the address that is pending; ``words`` stand behind it."""
        pending = self.pending
        if pending is not None:
            self.found.append((pending.name or self.comment or words or None, pending.route, pending.local,
                               pending.host))
            self.pending = None
            self.comment = b""

    def _finish(self) -> None:
        """A separator, or the end."""
        self._end_host()
        if self.angle:
            self._end_angle()
        words = _text(self.words)
        if self.pending is not None:
            self._flush(words)
        elif words and not self.behind_group:
            self.found += _addresses(words) or [(self.comment or None, None, words, b"")]
        self._fresh()

    def _end_group(self) -> None:
        self.found.append((None, None, None, None))
        self.in_group = False


def _addresses(words: bytes) -> list[Address]:
    """Those that are in what was taken for a name or a mailbox."""
    return [one for one in parse(words) if one[3]] if _SPEC.search(lettered(words)) else []


def _apart(word: bytes, behind: bytes) -> bool:
    """Does no dot stand between these two, as it must in a mailbox?"""
    return not (behind.startswith(b".") or word.endswith(b"."))


def _local_part(words: list[bytes]) -> int:
    """Where in the words before an "@" the mailbox begins; what stands before it is a name."""
    at = len(words)
    while at and words[at - 1] == b" ":
        at -= 1
    while at:
        at -= 1
        if at and words[at - 1] == b" ":
            before = at - 1
            while before and words[before - 1] == b" ":
                before -= 1
            if not before or not (words[at].startswith(b".") or words[before - 1] == b"."):
                break
            at = before
        elif at and b'"' in (words[at][:1], words[at - 1][:1]) and _apart(words[at - 1], words[at]):
            break                              # "Eve"eve@x.org
    return at


def _undotted(words: list[bytes]) -> list[bytes]:
    """The words of a mailbox without the blanks beside its dots.  RFC 5322 4.4."""
    kept: list[bytes] = []
    for word in words:
        if word != b" ":
            while len(kept) > 1 and kept[-1] == b" " and not _apart(kept[-2], word):
                kept.pop()
        kept.append(word)
    return kept
