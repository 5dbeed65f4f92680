"""Address lists: ``Name <a@b>, group: c@d;`` to IMAP's address structures.

RFC 5322 3.4, RFC 9051 7.5.2.  Every header gives something: what cannot be an
address is kept as a mailbox without host.
"""
from __future__ import annotations

import re

_TOKEN = re.compile(rb"""\s+|"(?:[^"\\]|\\.)*"?|\[[^\]]*\]?|[<>@,:;()]|[^\s"<>@,:;()\[\]]+|.""", re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)

# ``Name <a@b>``, ``"Name" <a@b>`` and ``a@b``, as nearly all addresses are; the last group is
# the rest where something else comes
_USUAL = re.compile(rb"""\s*(?:"([^"\\]*)"\s*|([^\s"<>@,:;()\[\]]+(?:[ ][^\s"<>@,:;()\[\]]+)*)\s*)?
    <([^\s"<>@,:;()\[\]]+)@([^\s"<>@,:;()\[\]]+)>\s*(?:,|\Z)
    |\s*([^\s"<>@,:;()\[\]]+)@([^\s"<>@,:;()\[\]]+)\s*(?:,|\Z)|(.+)""", re.S | re.X)

# name, route, mailbox, host: each bytes or None
Address = tuple["bytes | None", "bytes | None", "bytes | None", "bytes | None"]


def parse(value: bytes) -> list[Address]:
    """The addresses of an unfolded header value; groups as start and end markers."""
    found = usual(value)
    if found is not None:
        return [(name or None, None, local, host) for name, local, host in found]
    return _Parser(value).run()


def usual(value: bytes) -> list[tuple[bytes, bytes, bytes]] | None:
    """(name, mailbox, host) of each where all are of the usual forms, else None."""
    found = _USUAL.findall(value)
    if not found or found[-1][6]:
        return None
    return [(quoted.strip() or words, local or bare, host or domain)
            for quoted, words, local, host, bare, domain, _ in found]


def _unquote(token: bytes) -> bytes:
    inner = token[1:-1] if len(token) > 1 and token.endswith(b'"') else token[1:]
    return _ESCAPE.sub(rb"\1", inner)


class _Parser:
    def __init__(self, value: bytes) -> None:
        self.tokens = _TOKEN.findall(value)
        self.at = 0
        self.found: list[Address] = []
        self.in_group = False
        self._fresh()

    def _fresh(self) -> None:
        self.words: list[bytes] = []         # of a phrase or a local part, blanks kept as b" "
        self.comments: list[bytes] = []
        self.local: bytes | None = None      # set when "@" came
        self.domain: list[bytes] = []
        self.angle: tuple[bytes | None, bytes, bytes | None] | None = None

    def run(self) -> list[Address]:
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token == b"(":
                self.comments.append(self._comment())
            elif token == b",":
                self._finish()
            elif token == b":" and self.angle is None and self.local is None and not self.in_group:
                self.found.append((None, None, self._phrase() or b"", None))
                self.in_group = True
                self._fresh()
            elif token == b";" and (self.in_group or self.angle is not None or self.local is not None):
                self._finish()                 # some separate addresses with it
                if self.in_group:
                    self._end_group()
            elif token == b"<":
                self._angle()
            elif token == b"@" and self.local is None:
                self.local = self._spec(self.words)
                self.domain = []
            elif self.local is not None:
                if not token.isspace():
                    self.domain.append(token)
            else:
                self.words.append(b" " if token.isspace() else token)
        self._finish()
        if self.in_group:
            self._end_group()
        return self.found

    def _end_group(self) -> None:
        self.found.append((None, None, None, None))
        self.in_group = False

    def _comment(self) -> bytes:
        depth, text = 1, []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            depth += (token == b"(") - (token == b")")
            if not depth:
                break
            text.append(token)
        return b"".join(text).strip()

    def _angle(self) -> None:
        """<route:local@domain>"""
        inner = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token == b">":
                break
            if not token.isspace():
                inner.append(token)
        route = None
        if inner[:1] == [b"@"] and b":" in inner:
            colon = inner.index(b":")
            route = b"".join(inner[:colon])
            inner = inner[colon + 1:]
        if b"@" in inner:
            split = len(inner) - 1 - inner[::-1].index(b"@")
            self.angle = route, self._spec(inner[:split]), b"".join(inner[split + 1:])
        else:
            self.angle = route, self._spec(inner), None

    @staticmethod
    def _spec(words: list[bytes]) -> bytes:
        return b"".join(_unquote(word) if word.startswith(b'"') else word for word in words).strip()

    def _phrase(self) -> bytes | None:
        text = b"".join(_unquote(word) if word.startswith(b'"') else word for word in self.words)
        text = b" ".join(text.split()) if b'"' not in b"".join(self.words) else text.strip()
        return text or None

    def _finish(self) -> None:
        comment = self.comments[0] if self.comments else None
        if self.angle is not None:
            route, mailbox, host = self.angle
            name = self._phrase()
            if name is None and self.local is not None or self.local is not None:      # "a@b <c@d>"
                name = self.local + b"@" + b"".join(self.domain)
            self.found.append((name or comment, route, mailbox, host if host is not None else b""))
        elif self.local is not None:
            self.found.append((comment, None, self.local, b"".join(self.domain)))
        else:
            mailbox = self._spec(self.words)
            if mailbox:
                self.found.append((comment, None, mailbox, b""))
        self._fresh()
