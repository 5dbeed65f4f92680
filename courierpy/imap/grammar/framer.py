"""Cut one command out of the stream: line and literals, with limits.

Sans-IO: bytes go in with ``feed``, events come out of ``next``.  A literal is
announced before its bytes are taken, so that the caller can refuse it or give
it a place to go.  What is not used stays for the next stage (``rest``).
RFC 9051 4.3, RFC 7888.
"""
from __future__ import annotations

from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class Sink(Protocol):
        def write(self, data: bytes) -> object: ...

LINE_LIMIT = 64 * 1024         # octets of the lines of a command, without its literals
MAX_LITERALS = 1000            # of a command
_LITERAL = later(rb"(~?)\{(\d{1,19})(\+?|-?)\}$")


class Literal:
    """A literal of a command.

    ``data`` in memory, or written to ``sink``.  ``binary``: a literal8."""

    __slots__ = ("binary", "data", "sink", "size")

    def __init__(self, size: int, binary: bool, data: bytes | None = None, sink: object = None) -> None:
        self.size = size
        self.binary = binary
        self.data = data
        self.sink: object = sink

    def __repr__(self) -> str:
        return f"Literal({self.size}, {self.data!r})"


class Frame:
    """One command.  ``lines``: the text around the literals, without CRLF and
    without the announcements; one more than ``literals``."""

    __slots__ = ("lines", "literals")

    def __init__(self, lines: list[bytes], literals: list[Literal]) -> None:
        self.lines = lines
        self.literals = literals

    def __repr__(self) -> str:
        return f"Frame({self.lines!r}, {self.literals!r})"


class LiteralAhead:
    """A literal is announced; answer with accept() or refuse().

    ``text``: the command so far.  ``sync``: the client waits for ``+``.
    ``frame``: the parts so far, ending in the text before this literal.
    """

    __slots__ = ("binary", "frame", "size", "sync", "text")

    def __init__(self, text: bytes, size: int, sync: bool, binary: bool, frame: Frame) -> None:
        self.text = text
        self.size = size
        self.sync = sync
        self.binary = binary
        self.frame = frame


class TooLong:
    """A line beyond the limit; ``text`` is its beginning, the rest is skipped."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


Event = Frame | LiteralAhead | TooLong | None      # None: more octets are needed


class Framer:
    """Feed bytes, take events.  One loop over one buffer, cut into
    steps of a few lines: hence so many methods."""

    def __init__(self, line_limit: int = LINE_LIMIT, limits: Mapping[bytes, int] | None = None,
                 wipe: Callable[..., None] | None = None) -> None:
        """``line_limit``: octets of a command's text without its literals; ``limits``: command name in
        upper case -> the same for this one.  ``wipe``: overwrites values: what was fed is a secret, and
        no copy of it is left here but what ``next`` and ``line`` give."""
        self.line_limit = line_limit
        self.fed = False                      # False: nothing came since ``midway`` was found False
        self._wipe = wipe
        self._limits = limits or {}
        self._buffer = bytearray()
        self._scanned = 0                     # no LF before this position
        self._lines: list[bytes] = []
        self._literals: list[Literal] = []
        self._length = 0                      # of the command's text so far
        self._ahead: LiteralAhead | None = None
        self._missing = 0                     # octets of the running literal
        self._held: bytearray | None = None   # of the running literal, unless it has a sink
        self._skip_line = False               # drop up to the next line end
        self._skip_octets = 0                 # of a refused non-synchronising literal

    def feed(self, data: bytes) -> None:
        self.fed = True
        self._buffer = self._with(self._buffer, data)

    def _with(self, before: bytearray, data: bytes) -> bytearray:
        """Both; neither is used any more."""
        if self._wipe is None:
            before += data
            return before
        joined = bytearray(len(before) + len(data))    # to grow may leave a copy behind
        joined[:len(before)] = before
        joined[len(before):] = data
        self._wipe(before, data)
        return joined

    def _cut(self, size: int, end: int) -> bytes:
        """The first ``size`` octets; what is before ``end`` goes."""
        if self._wipe is None:
            cut = bytes(self._buffer[:size])
            del self._buffer[:end]
        else:
            with memoryview(self._buffer) as view, view[:size] as first, view[end:] as left:
                cut, rest = bytes(first), bytearray(left)
            self._wipe(self._buffer)
            self._buffer = rest
        self._scanned = 0
        return cut

    @property
    def has_more(self) -> bool:
        """Is there something that belongs to a later command?  Ask between two."""
        return bool(self._buffer)

    @property
    def midway(self) -> bool:
        """Has a command begun that is not whole yet?"""
        if self.fed:                   # mostly nothing was since it was asked last
            self.fed = bool(self._buffer or self._lines or self._literals or self._missing
                            or self._skip_octets or self._skip_line) or self._ahead is not None
        return self.fed

    def rest(self) -> bytes:
        """Take out what was not used yet."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return data

    def whole(self, data: bytes) -> Frame | None:
        """The command that ``data`` is, to be asked between two that are whole; None where it is not just one
        line, and then it is fed."""
        end = len(data) - 1
        if data.find(b"\n") == end and end <= self.line_limit and data[-3:-2] != b"}" and data[-2:-1] != b"}":
            line = data[:end - 1] if data.endswith(b"\r\n") else data[:end]      # which announces no literal
            if self._wipe is not None:
                self._wipe(data)
            return Frame([line], [])
        self.feed(data)
        return None

    def next(self) -> Event:
        while True:
            if self._ahead is not None:
                return self._ahead
            if self._missing and not self._take_literal():
                return None
            if self._skip_octets:
                self._drop(min(self._skip_octets, len(self._buffer)))
                if self._skip_octets:
                    return None
            line = self._line()
            if line is None:
                return self._check_length()
            if self._skip_line:
                self._after_skipped(line)
                continue
            return self._part(line)

    def line(self, limit: int = 0) -> bytes | TooLong | None:
        """One raw line without its end, outside the grammar of commands.  ``limit``: octets that it may
        have while it is not whole, where that is more than a command may."""
        line = self._line()
        if line is None and len(self._buffer) > limit:
            return self._check_length()
        return line

    # -- literals

    def accept(self, sink: Sink | None = None) -> None:
        """Take the announced literal into memory, or write it to ``sink``."""
        ahead = self._ahead
        assert ahead is not None
        self._ahead = None
        self._literals.append(Literal(ahead.size, ahead.binary, b"" if sink is None else None, sink))
        self._held = bytearray() if sink is None else None
        self._missing = ahead.size
        self._length += 1

    def refuse(self) -> None:
        """The command is over; octets that come all the same are skipped."""
        ahead = self._ahead
        assert ahead is not None
        self._ahead = None
        self._reset()
        if not ahead.sync:
            self._skip_octets = ahead.size
            self._skip_line = True

    def _take_literal(self) -> bool:
        """True when the literal is whole."""
        taken = self._cut(self._missing, self._missing)
        self._missing -= len(taken)
        literal = self._literals[-1]
        if self._held is not None:
            self._held = self._with(self._held, taken)
            if not self._missing:
                literal.data = bytes(self._held)
                if self._wipe is not None:
                    self._wipe(self._held)
                self._held = None
        elif taken:
            sink: Sink = literal.sink  # type: ignore[assignment]
            sink.write(taken)
        return not self._missing

    # -- lines

    def _line(self) -> bytes | None:
        buffer = self._buffer
        at = buffer.find(b"\n", self._scanned)
        if at < 0:
            self._scanned = len(buffer)
            return None
        end = at - 1 if at and buffer[at - 1] == 13 else at
        return self._cut(end, at + 1)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._scanned = 0
        self._skip_octets -= count

    def _check_length(self) -> TooLong | None:
        """An unfinished line may not grow for ever."""
        if self._skip_line:
            self._drop_unfinished()
            return None
        length = self._length + len(self._buffer)
        if length <= self.line_limit:
            return None
        text = self._text(bytes(self._buffer[:1000]))
        if length <= self._limit(text):
            return None
        self._drop_unfinished()
        self._reset()
        self._skip_line = True
        return TooLong(text[:1000])

    def _drop_unfinished(self) -> None:
        # the announcement of a literal may be cut in two: keep a little
        if len(self._buffer) > 64:
            del self._buffer[:-64]
            self._scanned = len(self._buffer)

    def _after_skipped(self, line: bytes) -> None:
        """A non-synchronising literal in a skipped line is skipped with it."""
        match = _LITERAL.search(line[-64:])
        if match and match[3]:
            self._skip_octets = int(match[2])
        else:
            self._skip_line = False

    def _part(self, line: bytes) -> Frame | LiteralAhead | TooLong:
        self._length += len(line)
        if (self._length > self.line_limit and self._length > self._limit(self._text(line[:1000]))
                or len(self._literals) >= MAX_LITERALS):
            text = self._text(line)
            self._reset()
            self._skip_line = True
            self._after_skipped(line)
            return TooLong(text[:1000])
        match = _LITERAL.search(line) if line.endswith(b"}") else None
        if match is None:
            if not self._lines:        # most commands: there is nothing else of it
                self._length = 0
                return Frame([line], [])
            self._lines.append(line)
            frame = Frame(self._lines, self._literals)
            self._reset()
            return frame
        text = self._text(line[:match.start()])
        self._lines.append(line[:match.start()])
        self._ahead = LiteralAhead(text, int(match[2]), not match[3], bool(match[1]),
                                   Frame(list(self._lines), list(self._literals)))
        return self._ahead

    def _limit(self, text: bytes) -> int:
        """Of the command that begins with ``text``."""
        words = text[:1000].split(None, 2) if self._limits else ()
        return self._limits.get(words[1].upper(), self.line_limit) if len(words) > 1 else self.line_limit

    def _text(self, last: bytes) -> bytes:
        parts = [line + b"{%d}" % literal.size
                 for line, literal in zip(self._lines, self._literals, strict=False)]
        return b"".join(parts) + last

    def _reset(self) -> None:
        self._lines = []
        self._literals = []
        self._length = 0
        self._missing = 0
        self._held = None
