"""The dialogue with one client, command by command: imaplogin's and imapd's.  RFC 9051 2.2.

A greeting; then a command is cut into a frame, its literals taken or refused before they come;
it is parsed, done and answered by one tagged line.  ``Bad``, ``No`` and ``Bye`` are the ways out
of a command; anything else is a bug of ours, which costs the client one command.  Who speaks too
slowly, or says nothing that can be understood again and again, is let go.

What a command does is the subclass's affair, and so is where a literal goes.

The loop itself waits for nothing: it is made of generators (model/steps.py).  A session drives them
with a client that it waits for; the dialogue before the login leaves that to others.
"""
from __future__ import annotations

from time import monotonic

from courierpy.imap.commands import Done
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.args import Args, tag_of
from courierpy.imap.grammar.framer import Frame, LiteralAhead, TooLong
from courierpy.model.replies import Bad, Bye, No
from courierpy.model.steps import Read
from courierpy.system import log
from courierpy.system.bug import bug
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.memory import is_short
from courierpy.system.stream import Garbled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from courierpy.imap.grammar.framer import Event, Framer, Sink
    from courierpy.model.steps import Steps
    from courierpy.system.stream import Stream

    class Client(Protocol):
        """What is said to a client goes here, as to a Conn."""

        def write(self, data: bytes) -> None: ...

        def say_last(self, line: bytes) -> None: ...

        def put_on(self, layer: Callable[[Stream], Stream]) -> None: ...

READ_TIMEOUT = 30 * 60.0       # seconds of one command line: RFC 9051 5.4 wants at least 30 minutes
LITERAL_TIMEOUT = 60.0         # seconds without an octet of a command that has a literal
SLOWEST_OCTETS = 512           # of a literal in a second, beyond that
MAX_ERRORS = 10                # bad commands in a row


class Dialogue:
    """The dialogue with one client; what its commands do the subclasses say.

    ``who``: the client, for the log.  ``errors``: bad commands in a row.  ``ended``: the command
    that is being done is the last one.  ``answered``: OK, NO or BAD, of the last tagged line."""

    def __init__(self, client: Client, framer: Framer, who: str) -> None:
        self.client = client
        self.framer = framer
        self.who = who
        self.errors = 0
        self.ended = False
        self.answered = b""

    # -- what a program says to it

    def perform(self, args: Args) -> str | Done | Steps[Done | None]:
        """Do a command, at once or in steps; a text is that of its OK, None: somebody else answers it.
        Raises Bad, No, Bye, Gone or TimedOut."""
        raise NotImplementedError

    def place(self, ahead: LiteralAhead) -> Sink | None:
        """Where the octets of a literal go; None: they are kept in memory.  Raises Bad or No: they are
        refused, and the command with them."""
        raise NotImplementedError

    def short(self) -> No:
        """There was no memory for a command: make whole what it has left half; the answer.  Raises Bye
        where it cannot."""
        return No("There is not enough memory for this here.", b"LIMIT")

    def parse(self, frame: Frame) -> Args:
        """Raises Bad."""
        return Args(frame)

    # -- the loop

    def greet(self, word: bytes, text: str, code: bytes) -> None:
        """The first line.  RFC 9051 7.1.1, 7.1.4."""
        self.client.write(lines.told(word, text, code))

    def framing(self, event: Event = None) -> Steps[Frame]:
        """The next whole command; its steps are Read.  ``event``: what the framer has given already.  Raises
        Gone at the end of input."""
        sinks: list[object] = []
        end = monotonic() + READ_TIMEOUT           # of the whole line, however it comes
        literal = False
        while True:
            event = event or self.framer.next()
            if isinstance(event, Frame):
                return event
            if isinstance(event, LiteralAhead):
                self._literal(event, sinks)
                # to drip is not to send: as a whole it comes at some speed, and the rest of the line
                literal, end = True, monotonic() + LITERAL_TIMEOUT + event.size / SLOWEST_OCTETS
                event = None
                continue
            if isinstance(event, TooLong):
                _drop(sinks)
                self.bad(tag_of(event.text), Bad("Command line too long."))
                event = None
                continue
            left = max(0.0, end - monotonic())
            data = yield Read(min(LITERAL_TIMEOUT, left) if literal else left)
            if not data:
                _drop(sinks)
                raise Gone
            if self.framer.fed:
                self.framer.feed(data)
            else:
                event = self.framer.whole(data)

    def _literal(self, ahead: LiteralAhead, sinks: list[object]) -> None:
        """Take or refuse a literal before its octets come."""
        try:
            sink = self.place(ahead)
        except (Bad, No) as error:
            _drop(sinks)
            self.framer.refuse()
            if isinstance(error, Bad):
                self.bad(tag_of(ahead.text), error)
            else:
                self.reply(tag_of(ahead.text), lines.NO, error.text, error.code)
            return
        if sink is not None:
            sinks.append(sink)
        self.framer.accept(sink)
        if ahead.sync:
            self.client.write(lines.go_on())

    def do(self, frame: Frame) -> Steps[None] | None:
        """Do one command and answer it; or, of one that takes steps, gives those, which do that."""
        tag, steps, short = b"", None, False
        try:
            args = self.parse(frame)
            tag = args.tag
            done = self.perform(args)
            if isinstance(done, (str, Done)):
                self._done(tag, done)
            else:
                steps = self._doing(frame, tag, done)
        except Exception as error:
            short = self._failed(tag or tag_of(frame.lines[0]), error)
        finally:
            if frame.literals and steps is None:
                _release(frame)
        if short:
            self._answer_short(tag)
        return steps

    def _doing(self, frame: Frame, tag: bytes, steps: Steps[Done | None]) -> Steps[None]:
        """What is left of do() where the command takes ``steps``."""
        short = False
        try:
            done = yield from steps
            if done is not None:
                self._done(tag, done)
            self.errors = 0
        except Exception as error:
            short = self._failed(tag, error)
        finally:
            _release(frame)
        if short:
            self._answer_short(tag)

    def _done(self, tag: bytes, done: str | Done) -> None:
        """The command is done as it was meant."""
        self.errors = 0
        self.answered = lines.OK
        if isinstance(done, str):
            self.client.write(lines.status(tag, lines.OK, done))
            return
        self.client.write(lines.status(tag, lines.OK, done.text,
                                       done.code() if callable(done.code) else done.code))
        if done.layer is not None:
            layer, ahead = done.layer, self.framer.rest()
            self.client.put_on(lambda lower: layer(lower, ahead))

    def _failed(self, tag: bytes, error: Exception) -> bool:
        """The command was not done, and is answered.  True where there was no memory for it: the answer
        waits, as ``error`` holds what took the memory.  Raises what ends the dialogue."""
        if isinstance(error, Bad):
            self.bad(tag, error)
        elif isinstance(error, No):
            self.errors = 0
            self.reply(tag, lines.NO, error.text, error.code)
        elif isinstance(error, (Bye, Gone, TimedOut, Garbled)):
            try:
                raise error
            finally:
                del error              # which has this frame from now on
        elif is_short(error):
            return True
        else:
            self._bug(tag)
        return False

    def _answer_short(self, tag: bytes) -> None:
        no = self.short()
        self.errors = 0
        self.reply(tag, lines.NO, no.text, no.code)

    # -- the tagged line

    def reply(self, tag: bytes, word: bytes, text: str, code: bytes | None = None) -> None:
        self.answered = word
        self.client.write(lines.status(tag, word, text, code))

    def put_up_with(self) -> None:
        """One more that cannot be understood; Bye when it was the last that is put up with."""
        self.errors += 1
        if self.errors >= MAX_ERRORS:
            log.err(f"TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, {self.who}")
            raise Bye("Fatal error: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS: ", b"ALERT", 1)

    def bad(self, tag: bytes, error: Bad) -> None:
        """Answer what cannot be understood.  Bye, as put_up_with()."""
        self.put_up_with()
        self.reply(tag, lines.BAD, error.text, error.code)

    def _bug(self, tag: bytes) -> None:
        """Ours: the traceback to the log under a number, the number to the client."""
        self.reply(tag, lines.NO, f"Internal error {bug()}, it was logged.", b"SERVERBUG")


def _release(frame: Frame) -> None:
    """Drop spooled literals that no handler took."""
    for literal in frame.literals:
        if literal.sink is not None:
            literal.sink.abort()  # type: ignore[attr-defined]


def _drop(sinks: list[object]) -> None:
    """The command is over: what was spooled for it goes."""
    for sink in sinks:
        sink.abort()  # type: ignore[attr-defined]
    sinks.clear()
