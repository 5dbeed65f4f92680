"""One client among many, from its first octet to its session: what its dialogue asks, and nobody waits.

A table of what it is at:

    ARRIVES      a proxy says who it is, and couriertcpd whether it may come in
    HANDSHAKES   TLS goes to and fro; then TALKS, where it was before
    TALKS        the dialogue has yielded a step, and ``wanted`` is that: input, a moment, an answer of the
                 helper, the host of its mail
    HANDED       couriertcpd was asked for the session
    LEAVES       nothing is said any more; the last words go out, and the client has a moment to hang up
    GONE         closed

All of it has one deadline, from accept on.  Who says much is heard a piece at a time, and then it is others'
turn: no client holds up another.
"""
from __future__ import annotations

import time

from courierpy.auth import Request
from courierpy.login import remote
from courierpy.login.stage import Stage
from courierpy.login.wire import MARK_OCTETS, PIECE_OCTETS, Wire
from courierpy.model.steps import Forward, Look, Read, Secure, Wait
from courierpy.system import channels, haproxy, log
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from courierpy.auth.mechanisms import Mechanism
    from courierpy.login.hosts import Hosts
    from courierpy.login.inquiries import Inquiries
    from courierpy.login.remote import Granted
    from courierpy.login.seeking import Seeking
    from courierpy.model.steps import Steps
    from courierpy.system.settings import Settings
    from courierpy.system.stream import Stream
    from courierpy.system.tlsmemory import ServerTls

    class Framer(Protocol):
        def rest(self) -> bytes: ...

    class Dialogue(Protocol):
        """As imap/prelogin.py has it."""

        account: object
        framer: Framer
        who: str

        def steps(self) -> Steps[object]: ...

        def logged_out(self) -> bool: ...

        def may_go(self) -> bool: ...

    class Program(Protocol):
        """Of a program that logs in, for its clients: its name, its port, its dialogue, and what is said
        where it cannot go on."""

        PROTOCOL: str
        PORT: str
        LAST_WORDS: bytes
        CROWDED_WORDS: bytes
        STOPPED_WORDS: bytes

        def dialogue(self, stage: Stage) -> Dialogue: ...

        def greeting(self, settings: Settings) -> bytes: ...

    class House(Protocol):
        """The process that it is in; see login/process.py."""

        protocol: Program
        table: int
        gives: bool
        inquiries: Inquiries
        hosts: Hosts

        def secure(self, local_ip: str) -> ServerTls: ...

        def begin(self, entrant: Entrant, granted: Granted, rest: bytes) -> None: ...

        def arrived(self, entrant: Entrant, ends: haproxy.Ends | None) -> None: ...

        def over(self, entrant: Entrant) -> None: ...

        def carry(self, entrant: Entrant, found: Seeking, rest: bytes) -> None: ...

HANDSHAKES, TALKS, HANDED, LEAVES, GONE, ARRIVES = range(6)
LINGER_SECONDS = 1.0           # that a client has to close its side
LAST_WORDS_SECONDS = 5.0       # and to take what was said to it


def _thrown(steps: Steps[object], error: Exception) -> object:
    """The step that a dialogue yields then."""
    try:
        return steps.throw(error)
    finally:
        error.__traceback__ = None     # whose frames have the error, in a circle


class _Stage(Stage):
    """What a mechanism needs to know of an account is the helper's to know."""

    def mechanism(self, name: bytes) -> Mechanism | None:
        found = super().mechanism(name)
        return found if found is None or name in remote.OWN else remote.mechanism(name)


class Entrant:
    """A method for each step of a client to its session, and for each way to be refused.

    ``number``: as couriertcpd knows it.  ``due``: when something is to be done, whatever comes, on the
    monotonic clock.  ``question``: that the helper is asked, 0 for none; ``exchange``: that it does for
    this client, 0 for none.  ``later``: the answer that it has when it is due, where there is none before.
    ``again``: there may be more of what it says, and no event may tell: it is to be ready() at its turn."""

    __slots__ = ("_deadline", "_environ", "_house", "_over_tls", "_proxy", "_steps", "_tls", "_wanted",
                 "again", "armed", "dialogue", "due", "events", "exchange", "later", "number", "proxied",
                 "question", "seeking", "stage", "state", "wire")

    def __init__(self, house: House, number: int, client: socket.socket, environ: dict[str, str],
                 alike: Settings | None = None) -> None:
        """``alike``: as of Stage."""
        self.number = number
        self.wire = Wire(client)
        self.wire.piece = PIECE_OCTETS
        self.again = False
        self.state = TALKS
        self.stage = stage = _Stage(house.protocol.PROTOCOL, house.protocol.PORT, environ, self, house.table,
                                    alike)
        self.due = self._deadline = stage.gate.end
        self.dialogue: Dialogue | None = None
        self.question = self.exchange = 0
        self.later: Exception | None = None
        self.events = 0                # that the socket is polled for
        self.armed = -1.0              # the moment that the clock is set for; -1.0: none
        self._house = house
        self._environ = environ
        self._steps: Steps[object] | None = None
        self._wanted: object = None
        self._proxy = b""              # of its header
        self.proxied = False           # that was read
        self._tls: ServerTls | None = None         # while it makes its handshake
        self._over_tls: Callable[[], None] | None = None       # what comes behind that
        self.seeking: Seeking | None = None        # the way to the host of its mail

    # -- what a dialogue does with its client

    def write(self, data: bytes) -> None:
        self.wire.write(data)

    def say_last(self, line: bytes) -> None:
        self.wire.write(line)

    def put_on(self, layer: Callable[[Stream], Stream]) -> None:
        raise NotImplementedError("no command before a login does that")

    # -- how it goes on

    def start(self, by_tls: bool, greeted: bool = False) -> None:
        """``by_tls``: from the first octet on.  ``greeted``: it may have answered the greeting already."""
        if by_tls:
            self._secure(self._talk)
        else:
            self._talk()
            if greeted:
                self.ready()

    def arrive(self, seconds: float) -> None:
        """A proxy says first, within so many seconds, who it is."""
        self.state, self.due = ARRIVES, min(self._deadline, time.monotonic() + seconds)
        self._read_proxy()

    def _read_proxy(self) -> None:
        self._proxy += self.wire.receive()
        try:
            found = haproxy.cut(self._proxy)
            if found is None:
                if self.wire.ended:
                    raise haproxy.ProxyError("closed before the PROXY header")
                return
        except haproxy.ProxyError as error:
            log.warn(f"{self._environ['TCPREMOTEIP']}: {error}")
            self._leave()
            return
        ends, rest = found
        self.wire.put_back(rest)
        self._proxy = b""
        self.proxied = True
        self._house.arrived(self, ends)

    def admitted(self, variables: Mapping[str, str], by_tls: bool) -> None:
        """It may come in; ``variables``: who it is."""
        if self.state != ARRIVES:
            return
        self._environ.update(variables)
        self.stage.settings.alike = None
        self.state, self.due = TALKS, self._deadline
        self.stage.peer = self.stage.who(None)
        self.stage.gate.come_from(self._environ["TCPREMOTEIP"])
        self.start(by_tls)

    def denied(self) -> None:
        if self.state == ARRIVES:
            self._leave()

    def _talk(self) -> None:
        self.dialogue = self._house.protocol.dialogue(self.stage)
        self._steps = self.dialogue.steps()
        self._go(None)

    def _go(self, answer: object) -> None:
        """Answer the dialogue's step, and do those that need no waiting: what the client says is heard when
        its socket has it."""
        steps = self._steps
        assert steps is not None
        while True:
            try:
                step = _thrown(steps, answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as over:
                self._over(over.value)
                return
            except Exception as error:             # a bug of ours costs this client, and no other
                log.crit(f"a dialogue ends: {type(error).__name__}: {error}, {self.stage.peer}")
                self.say_last(self._house.protocol.LAST_WORDS)
                self._leave()
                return
            self._wanted = step
            if isinstance(step, Look):             # the helper has looked
                answer = None
                continue
            self.wire.flush()
            if isinstance(step, Read):
                self.again = self.wire.may_have_more
            elif isinstance(step, (Request, remote.Question)):
                self._house.inquiries.ask(self, step, self._going(step))
            elif isinstance(step, Wait):
                self.due = min(step.until, self._deadline)
            elif isinstance(step, Secure):
                self._secure(lambda: self._go(None))
            else:
                assert isinstance(step, Forward)
                self.seeking = self._house.hosts.seek(self, step, self._deadline)
                self.seeking.begin()
            return

    def _input(self) -> bytes | None:
        """What the client said, b"" at its end; None: nothing yet, or it does not listen."""
        self.wire.flush()
        if self.wire.waiting > MARK_OCTETS:
            return None
        data = self.wire.read()
        return data if data or self.wire.ended or self.wire.broken else None

    def _going(self, step: object) -> bytes:
        """What goes before a question that the client comes with, as its session needs to know no more; b""
        where it does not."""
        stage, wire, dialogue = self.stage, self.wire, self.dialogue
        assert dialogue is not None
        if not self._house.gives or stage.settings.alike is None or wire.tls is not None or wire.waiting \
                or not isinstance(step, Request) or step.kind == "token" or not dialogue.may_go():
            return b""
        variables = channels.packed_in_clear(stage.environ)
        return channels.FOR.pack(self.number, len(variables)) + variables

    def answered(self, answer: object) -> None:
        """By the helper: an account, a challenge, or an exception; by the host of its mail, or in its
        stead: Accepted, or an exception."""
        self.question = 0
        if self.state == TALKS:
            self.due = self._deadline
            if isinstance(answer, Exception):
                self.seeks_no_more()
            self._go(answer)

    def fails(self, why: Exception, seconds: float = 0.0) -> None:
        """What was asked has this answer, if it has none within so many seconds."""
        self.later, self.due = why, min(self._deadline, time.monotonic() + seconds) if seconds else 0.0

    def waits(self) -> None:
        """What was asked will be answered."""
        self.later, self.due = None, self._deadline

    @property
    def reads(self) -> bool:
        """Is there an interest in what the client says?"""
        return self.state in (HANDSHAKES, LEAVES) or self.state == ARRIVES and not self.proxied \
            or self.state == TALKS and isinstance(self._wanted, Read) \
            and self.wire.waiting <= MARK_OCTETS

    def ready(self) -> None:
        """Its socket has something, or takes something."""
        self.again = False
        if self.state == HANDSHAKES:
            self._shake()
        elif self.state == ARRIVES:
            if not self.proxied:
                self._read_proxy()
        elif self.state == TALKS and isinstance(self._wanted, Read):
            data = self._input()
            if data is not None:
                self._go(data)
        elif self.state == LEAVES:
            self.wire.pass_over()
            waited = self.wire.waiting
            self.wire.flush()
            if waited and not self.wire.waiting:
                self.hurry()
            if self.wire.ended or self.wire.broken:
                self._gone()
        else:
            self.wire.flush()
        if self.wire.broken and self.state in (HANDSHAKES, TALKS, ARRIVES):
            self._lost(Gone())

    def clock(self) -> None:
        """The moment of ``due`` has come."""
        later, self.later = self.later, None
        if later is not None:
            self.due = self._deadline
            self._house.inquiries.give_up(self)
            if self.state == HANDED:
                self.refused()
            else:
                self._go(later)
        elif self.state == LEAVES:
            self._gone()
        elif self.state == TALKS and isinstance(self._wanted, Forward):
            assert self.seeking is not None
            self.seeking.clock()
        elif self.state == TALKS and isinstance(self._wanted, Wait) \
                and self._wanted.until <= time.monotonic():
            self.due = self._deadline
            self._go(None)
        elif self.state != HANDED:
            self._lost(TimedOut())

    def _lost(self, error: Exception) -> None:
        if self.state == TALKS and self._steps is not None:
            self._house.inquiries.give_up(self)
            self.later = None
            self.seeks_no_more()
            self._go(error)
        elif self.state == ARRIVES:
            why = "did not come in time" if isinstance(error, TimedOut) else "was cut"
            log.warn(f"{self._environ['TCPREMOTEIP']}: PROXY header {why}")
            self._leave()
        elif self.state == HANDSHAKES:
            self._failed("the handshake was not done in time" if isinstance(error, TimedOut) else "closed")

    def told_to_leave(self, words: bytes, hurries: bool = False) -> None:
        if self.state == TALKS:
            self.say_last(words)
        if self.state in (TALKS, HANDSHAKES, ARRIVES):
            self._leave()
        if hurries:
            self.hurry()

    def hurry(self) -> None:
        """Where it leaves: it has had the time to take what was said to it."""
        if self.state == LEAVES:
            self.due = min(self.due, time.monotonic() + LINGER_SECONDS)

    # -- TLS

    def _secure(self, then: Callable[[], None]) -> None:
        """What came in clear before is forgotten."""
        self.wire.flush()
        try:
            self.wire.tls = self._tls = self._house.secure(self._environ.get("TCPLOCALIP", ""))
        except TlsError as error:
            self._failed(str(error))
            return
        self.state, self._over_tls = HANDSHAKES, then
        self._shake()

    def _shake(self) -> None:
        try:
            if not self.wire.shake():
                return
        except TlsError as error:
            self._failed(str(error))
            return
        tls, self._tls = self._tls, None
        assert tls is not None
        self.stage.secured(tls.found)
        tls.found = {}
        self.state, then, self._over_tls = TALKS, self._over_tls, None
        assert then is not None
        then()

    def _failed(self, why: str) -> None:
        word = "TLS" if self._steps is None else "STARTTLS failed"
        log.err(f"{word}, {self.stage.peer}: {why}")
        self.wire.tls = self._tls = None           # which is of no use, and holds much
        self.state = TALKS
        self._leave()

    # -- the ends

    def _over(self, found: object) -> None:
        dialogue = self.dialogue
        assert dialogue is not None
        self._steps, self._wanted = None, None
        if self.stage.accepted is not None and self.seeking is not None:
            self._house.carry(self, self.seeking, dialogue.framer.rest())
            return
        if dialogue.account is not None:
            self.state, self.due = HANDED, float("inf")        # couriertcpd answers, or ends us
            assert isinstance(dialogue.account, remote.Granted)
            self._house.begin(self, dialogue.account, dialogue.framer.rest())
            return
        if dialogue.logged_out():
            log.info(f"LOGOUT, {dialogue.who}, rcvd={self.wire.received}, sent={self.wire.sent}")
        self._leave()

    def refused(self) -> None:
        """There is no session to be had."""
        log.err(f"no session can be started, {self.stage.peer}")
        self.say_last(self._house.protocol.LAST_WORDS)
        self._leave()

    def handed(self) -> None:
        """Its session has it, or a relay has what carries its octets."""
        self.end()

    def end(self) -> None:
        """It is at nothing any more.  What leads from it to itself is let go: nobody collects garbage."""
        self.state, self.again = GONE, False
        self.seeks_no_more()
        self.dialogue = self._steps = self._wanted = self.later = None
        self._over_tls = self._tls = None
        self.stage.end()

    def seeks_no_more(self) -> None:
        """The way to the host of its mail is given up, if it is on one."""
        if self.seeking is not None:
            self.seeking.close()
            self.seeking = None

    def _leave(self) -> None:
        self.seeks_no_more()
        self.dialogue = self._steps = self._wanted = self.later = None
        self.state, self.again = LEAVES, False
        self.wire.close_after()
        self.due = time.monotonic() + (LAST_WORDS_SECONDS if self.wire.waiting else LINGER_SECONDS)
        if self.wire.broken or self.wire.ended and not self.wire.waiting:
            self._gone()

    def _gone(self) -> None:
        if self.state != GONE:
            self.end()
            self._house.over(self)     # which forgets the socket, and closes it


