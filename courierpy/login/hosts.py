"""A login process's ways to the hosts of accounts whose mail is elsewhere: what it asks couriertcpd for, and
what it checks certificates by."""
from __future__ import annotations

import socket
from functools import partial

from courierpy.login.remote import Granted
from courierpy.login.seeking import Seeking
from courierpy.system import channels, log, passing
from courierpy.system.settings import from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext
    from typing import Any, Protocol

    from courierpy.model.steps import Forward
    from courierpy.system.telling import Telling

    class Entrant(Protocol):
        """As login/entrant.py has it."""

        number: int
        due: float
        seeking: Seeking | None
        stage: Any

        def answered(self, answer: object) -> None: ...

    class House(Protocol):
        """As login/process.py has it."""

        telling: Telling
        environ: Mapping[str, str]
        heard: dict[int, Callable[[], None]]

        @property
        def entrants(self) -> Mapping[int, Entrant]: ...

        def want(self, end: socket.socket, before: int, wanted: int) -> int: ...

        def let(self, entrant: Any, act: Callable[[], None]) -> None: ...


class Hosts:
    """See login/seeking.py."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._trust: SSLContext | str = "there is nothing to check certificates by"

    def load_trust(self) -> None:
        """What certificates of hosts are checked by, as long as that can be read; where it cannot be no host
        is trusted."""
        from courierpy.system import tlsclient
        settings = from_environ(self._house.environ)
        way = settings.text("PROXY_TLS").lower()
        try:
            if way != "no":
                self._trust = tlsclient.context(settings.text("PROXY_TRUSTCERTS"),
                                                way != "may" and settings.flag("PROXY_VERIFYPEER"),
                                                at_once=True)
        except OSError as error:       # ssl.SSLError is one
            self._trust = f"PROXY_TRUSTCERTS: {error.strerror or error}"
            log.err(self._trust)

    def trust(self) -> SSLContext:
        """Raises TlsError."""
        if isinstance(self._trust, str):
            from courierpy.system.tls import TlsError
            raise TlsError(self._trust)
        return self._trust

    def seek(self, entrant: Entrant, forward: Forward, end: float) -> Seeking:
        """The way of this client.  ``end``: of its time, on the monotonic clock."""
        environ = entrant.stage.environ
        return Seeking(self, entrant, forward, from_environ(environ), environ, end)

    # -- what couriertcpd is asked

    def connect(self, seeking: Seeking, seconds: float) -> bool:
        """For a connection; is it asked?"""
        account = seeking.forward.account
        assert isinstance(account, Granted)
        return self._house.telling.say([channels.CONNECTS.pack(
            channels.CONNECT, seeking.entrant.number, account.ticket, seeking.which, seconds)])

    def carries(self, seeking: Seeking) -> bool:
        """Whether the session may be; is it asked?"""
        return self._house.telling.say([channels.HEAD.pack(channels.CARRIES, seeking.entrant.number)])

    def told(self, letter: bytes, number: int, data: bytes, fds: list[int]) -> None:
        """What it answers.  ``data``: without the head."""
        entrant = self._house.entrants.get(number)
        seeking = entrant.seeking if entrant is not None else None
        if seeking is None:
            passing.close(fds)
            return
        if letter == channels.TURNED_AWAY:
            ends, = channels.TURNS.unpack_from(data)
            code, _, text = data[channels.TURNS.size:].partition(b"\0")
            self._house.let(entrant, partial(seeking.turned_away, ends, code, text.decode()))
            return
        ticket, which = channels.WHICH.unpack_from(data)
        account = seeking.forward.account
        if not isinstance(account, Granted) or ticket != account.ticket:
            passing.close(fds)         # of a login before this one, which has been given up
        elif letter == channels.CONNECTED:
            self._house.let(entrant, partial(seeking.connected, which, socket.socket(fileno=fds[0])))
        else:
            why = data[channels.WHICH.size:].decode("utf-8", "surrogateescape")
            self._house.let(entrant, partial(seeking.unreachable, which, why))

    # -- the connections

    def watch(self, seeking: Seeking) -> None:
        """Go on with it when its host says something."""
        wire, entrant = seeking.wire, self._house.entrants.get(seeking.entrant.number)
        if wire is not None and entrant is not None:
            self._house.heard[wire.socket.fileno()] = partial(self._house.let, entrant, seeking.ready)
            seeking.events = self._house.want(wire.socket, seeking.events, wire.wants(True))

    def unwatch(self, seeking: Seeking) -> None:
        if seeking.wire is not None:
            self._house.heard.pop(seeking.wire.socket.fileno(), None)
            seeking.events = self._house.want(seeking.wire.socket, seeking.events, 0)
