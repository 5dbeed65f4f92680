"""The way on to another host that has the client's mail, for one client of many: nobody waits.

As login/onward.py, which has the rules: one deadline over all of it, a share for each host, and another host
only as long as no password has gone out.  couriertcpd makes the connections, and what it may say is in
system/channels.py.

    ASKED       couriertcpd is to connect to the host at hand
    HANDSHAKES  TLS to the host
    SPEAKS      the login there
    ACCEPTED    couriertcpd is to say whether there may be such a session
"""
from __future__ import annotations

import socket
import time

from courierpy.auth import Rejected
from courierpy.login import onward
from courierpy.login.connecting import NO_ANSWER
from courierpy.login.wire import Wire
from courierpy.model.replies import Bye, No
from courierpy.model.steps import Read, Secure, Unreachable
from courierpy.system import haproxy
from courierpy.system.tls import TlsError
from courierpy.system.tlsmemory import MemoryTls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Protocol

    from courierpy.model.steps import Accepted, Forward, Speech, Steps
    from courierpy.system.settings import Settings

    class Entrant(Protocol):
        """As login/entrant.py has it."""

        number: int
        due: float

        def answered(self, answer: object) -> None: ...

    class House(Protocol):
        """As login/hosts.py has it."""

        def trust(self) -> ssl.SSLContext: ...

        def connect(self, seeking: Seeking, seconds: float) -> bool: ...

        def carries(self, seeking: Seeking) -> bool: ...

        def watch(self, seeking: Seeking) -> None: ...

        def unwatch(self, seeking: Seeking) -> None: ...

ASKED, HANDSHAKES, SPEAKS, ACCEPTED, DONE = range(5)
PATIENCE_SECONDS = 5.0         # that couriertcpd has for what it says at once


class Seeking:
    """A client's login at the hosts of its account, one after the other.

    ``which``: host of ``forward``, the one at hand.  ``wire``: to it, None while there is none.
    ``events``: what that is polled for."""

    def __init__(self, house: House, entrant: Entrant, forward: Forward, settings: Settings,
                 environ: Mapping[str, str], end: float) -> None:
        """``environ``: of the client.  ``end``: of its time, on the monotonic clock."""
        self.entrant = entrant
        self.forward = forward
        self.which = -1
        self.wire: Wire | None = None
        self.events = 0
        self.accepted: Accepted | None = None
        self._house = house
        self._settings = settings
        self._environ = environ
        self._tls = settings.text("PROXY_TLS").lower()
        self._end = min(end, time.monotonic() + settings.number("PROXY_TIMEOUT"))
        self._share = 0.0              # the end of what the host at hand has of it
        self._state = ASKED
        self._failed: list[str] = []
        self._speech: Speech | None = None
        self._steps: Steps[Accepted] | None = None

    @property
    def host(self) -> str:
        return self.forward.hosts[self.which]

    def begin(self) -> None:
        """Begin with the next host."""
        self.which += 1
        now = time.monotonic()
        self._share = now + max(0.0, self._end - now) / (len(self.forward.hosts) - self.which)
        self._state = ASKED
        self.entrant.due = self._share + PATIENCE_SECONDS      # who connects sees to the time
        if not self._house.connect(self, self._share - now):
            self._next("nobody connects to it")

    # -- couriertcpd

    def connected(self, which: int, made: socket.socket) -> None:
        """Is there a connection to the host at hand; it is ours."""
        if self._state != ASKED or which != self.which:
            made.close()               # it came too late
            return
        self.wire = wire = Wire(made)
        self.entrant.due = self._share
        self._state = SPEAKS
        try:
            self._speech = self.forward.speak(wire)
            self._steps = self._speech.steps()
            if self._settings.text("PROXY_ORIGIN").lower() == "proxy":
                wire.write(haproxy.header(*(
                    (self._environ.get(f"TCP{side}IP", ""), self._environ.get(f"TCP{side}PORT", ""))
                    for side in ("REMOTE", "LOCAL"))))
            if self._tls == "tls":
                self._secure()
            else:
                self._go(None)
        except (Unreachable, TlsError) as error:
            self._lost(error)
            return
        self.ready()

    def unreachable(self, which: int, why: str) -> None:
        if self._state == ASKED and which == self.which:
            self._next(why)

    def turned_away(self, ends: bool, code: bytes, text: str) -> None:
        """There must be no such session: the client is told that, and with ``ends`` goes."""
        if self._state in (ASKED, ACCEPTED):
            self._over(Bye(text, code) if ends else No(text, code))

    def welcome(self) -> None:
        """couriertcpd has said that the session may be."""
        if self._state == ACCEPTED:
            self._state = DONE
            self.entrant.answered(self.accepted)

    # -- the host

    def ready(self) -> None:
        """The host says something, or takes something."""
        wire = self.wire
        if wire is None:
            return
        try:
            while self._state in (HANDSHAKES, SPEAKS):
                if self._state == HANDSHAKES:
                    if not wire.shake():
                        break
                    self._state = SPEAKS
                    self._go(None)
                    continue
                wire.flush()
                data = wire.read()
                if not data and not wire.ended and not wire.broken:
                    break
                self._go(data)
        except (Unreachable, TlsError, Rejected) as error:
            self._lost(error)
        if self._state in (HANDSHAKES, SPEAKS):
            self._house.watch(self)

    def _go(self, answer: bytes | None) -> None:
        """Answer a step of the login there.  Raises Unreachable, TlsError and Rejected."""
        assert self._steps is not None and self.wire is not None
        try:
            step = self._steps.send(answer)
        except StopIteration as over:
            self.accepted = over.value
            self._state = ACCEPTED
            self._house.unwatch(self)
            self.entrant.due = time.monotonic() + PATIENCE_SECONDS
            if not self._house.carries(self):
                self._over(Unreachable(f"{self.host}: the session cannot be carried"))
            return
        self.wire.flush()
        if isinstance(step, Secure):
            self._secure()
        else:
            assert isinstance(step, Read)

    def _secure(self) -> None:
        assert self.wire is not None
        name, _ = onward.place(self.host, 0)
        self.wire.flush()
        self.wire.tls = MemoryTls(self._house.trust(), name)
        self._state = HANDSHAKES

    # -- the ends

    def clock(self) -> None:
        """The moment of its client's ``due`` has come."""
        if self._state == ACCEPTED:
            self._over(Unreachable(f"{self.host}: the session cannot be carried"))
        elif self._state == ASKED:
            self._next(NO_ANSWER)
        elif self._state in (HANDSHAKES, SPEAKS):
            self._lost(Unreachable(NO_ANSWER))

    def _lost(self, error: Exception) -> None:
        """The host at hand is no good, or refuses the password."""
        text = f"TLS: {error}" if isinstance(error, TlsError) else str(error)
        code = error.code if isinstance(error, Unreachable) else b""
        if isinstance(error, Rejected):
            self._over(Rejected(f"{self.host}: {text}"))
        elif self._speech is not None and self._speech.sent:
            self._over(Unreachable(f"{self.host}: {text}", code))
        else:
            self._next(text, code)

    def _next(self, why: str, code: bytes = b"") -> None:
        """No password has gone out."""
        self._failed.append(f"{self.host}: {why}")
        self._drop()
        if self.which + 1 < len(self.forward.hosts):
            self.begin()
        else:
            self._over(Unreachable("; ".join(self._failed), code))

    def _over(self, error: Exception) -> None:
        self.close()
        self.entrant.answered(error)

    def _drop(self) -> None:
        """The connection to the host at hand, if there is one."""
        if self._steps is not None:
            self._steps.close()
            self._steps = self._speech = None
        if self.wire is not None:
            self._house.unwatch(self)
            self.wire.close()
            self.wire = None

    def take(self) -> Wire:
        """The connection, which is somebody else's from now on."""
        found, self.wire = self.wire, None
        assert found is not None
        return found

    def close(self) -> None:
        self._state = DONE
        self._drop()
