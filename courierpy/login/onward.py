"""The way on to another host that has the client's mail: found, and entered by the same login.

One deadline is over all of it (PROXY_TIMEOUT).  Each host and address has its share of what is left, so that
one that says nothing leaves time for the next.  Another one is asked as long as no password has gone out;
then that one decides.
"""
from __future__ import annotations

import signal
import socket
import time

from courierpy.auth import Rejected
from courierpy.model.numbers import decimal
from courierpy.model.steps import Read, Secure, Unreachable
from courierpy.system import haproxy, proc
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.model.steps import Accepted, Forward, Speech
    from courierpy.system.settings import Settings

    Found = tuple[int, tuple[str, int]]            # family, address and port

OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))

OURSELVES = "it is this server itself, and PROXY_HOSTNAME is another name"
PORTS = {"IMAP": (143, 993), "POP3": (110, 995)}       # without TLS from the first octet, and with it


class Onward:
    """A connection to ``host`` on which the client is logged in.  ``socket``: below ``conn``."""

    __slots__ = ("accepted", "conn", "host", "socket")

    def __init__(self, host: str, connected: socket.socket, conn: Conn, accepted: Accepted) -> None:
        self.host = host
        self.socket = connected
        self.conn = conn
        self.accepted = accepted

    def half_close(self) -> bool:
        """The client says no more.  False where that cannot be said apart from "the connection is over": the
        library's end of TLS takes no octet of the other side after it."""
        if not self.conn.plain:
            return False
        self.socket.shutdown(socket.SHUT_WR)
        return True


class Seeker:
    """``environ``: of the client."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._tls = settings.text("PROXY_TLS").lower()

    def seek(self, forward: Forward, seconds: float) -> Onward:
        """The first of the hosts that takes the login.  Raises Rejected where one refuses it, Unreachable."""
        end = time.monotonic() + min(seconds, self._settings.number("PROXY_TIMEOUT"))
        failed, code = [], b""
        for at, host in enumerate(forward.hosts):
            share = (end - time.monotonic()) / (len(forward.hosts) - at)
            try:
                return self._ask(forward, host, time.monotonic() + share)
            except _Next as why:
                failed.append(f"{host}: {why}")
                code = why.code
        raise Unreachable("; ".join(failed), code)

    def _ask(self, forward: Forward, host: str, end: float) -> Onward:
        """Raises _Next where no password has gone out."""
        name, number = place(host, PORTS[forward.protocol][self._tls == "tls"])
        if not number:
            raise _Next("it has no such port")
        found = addresses(name, number, end - time.monotonic())
        if not found:
            raise _Next("it has no address")
        why = ""
        for at, (family, address) in enumerate(found):
            share = (end - time.monotonic()) / (len(found) - at)
            try:
                connected = self._connect(family, address, share)
            except OSError as error:
                why = f"{address[0]}, port {number}: {error.strerror or 'no answer in time'}"
                continue
            try:
                return self._enter(forward, host, name, connected, end)
            except BaseException:
                connected.close()
                raise
        raise _Next(why)

    def _connect(self, family: int, address: tuple[str, int], seconds: float) -> socket.socket:
        """OSError; _Next for one that leads back to us."""
        if leads_back(address, self._environ.get("TCPLOCALIP", ""), self._environ.get("TCPLOCALPORT", "")):
            raise _Next(OURSELVES)
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in OPTIONS:
                connected.setsockopt(*option)
            connected.settimeout(max(0.01, seconds))
            connected.connect(address)
            connected.settimeout(None)
        except BaseException:
            connected.close()
            raise
        return connected

    def _enter(self, forward: Forward, host: str, name: str, connected: socket.socket, end: float) -> Onward:
        conn = Conn(connected.fileno(), connected.fileno())
        conn.deadline = end
        speech = forward.speak(conn)
        try:
            if self._settings.text("PROXY_ORIGIN").lower() == "proxy":
                conn.write(haproxy.header(*(
                    (self._environ.get(f"TCP{side}IP", ""), self._environ.get(f"TCP{side}PORT", ""))
                    for side in ("REMOTE", "LOCAL"))))
            if self._tls == "tls":
                self._secure(conn, name)
            accepted = self._speak(speech, conn, name)
        except (Gone, TimedOut, TlsError, Unreachable) as error:
            text = str(error) or ("no answer in time" if isinstance(error, TimedOut) else
                                  "it closed the connection")
            code = error.code if isinstance(error, Unreachable) else b""
            if speech.sent:
                raise Unreachable(f"{host}: {text}", code) from None
            raise _Next(text, code) from None
        except Rejected as error:
            raise Rejected(f"{host}: {error}") from None
        conn.deadline = None
        return Onward(host, connected, conn, accepted)

    def _speak(self, speech: Speech, conn: Conn, name: str) -> Accepted:
        steps = speech.steps()
        try:
            step = next(steps)
            while True:
                if isinstance(step, Read):
                    step = steps.send(conn.read(step.seconds))
                else:
                    assert isinstance(step, Secure)
                    self._secure(conn, name)
                    step = steps.send(None)
        except StopIteration as over:
            found: Accepted = over.value
            return found
        finally:
            steps.close()

    def _secure(self, conn: Conn, name: str) -> None:
        from courierpy.system import tlsclient
        try:
            client = tlsclient.context(self._settings.text("PROXY_TRUSTCERTS"),
                                       self._tls != "may" and self._settings.flag("PROXY_VERIFYPEER"))
        except OSError as error:
            raise TlsError(f"PROXY_TRUSTCERTS: {error.strerror or error}") from None
        assert conn.deadline is not None
        tlsclient.handshake(conn, client, name, conn.deadline - time.monotonic())


class _Next(Unreachable):
    """This host is not to be had, and no password has gone to it."""


def place(host: str, port: int) -> tuple[str, int]:
    """Name, and port where ``host`` has none of its own; 0 for a port that is none."""
    name, colon, own = host.rpartition(":")
    if not colon or own.endswith("]"):
        return host.strip("[]"), port
    return name.strip("[]"), decimal(own, 65535) or 0


def leads_back(address: tuple[str, int], local: str, local_port: str) -> bool:
    """Is it where the client came in?"""
    return address[0] == local.removeprefix("::ffff:") and str(address[1]) == local_port


def addresses(name: str, port: int, seconds: float) -> list[Found]:
    """Family and address of each that a host has, none where they are not found in so many seconds."""
    try:
        return found(name, port, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass                           # a name, and the library may take its time

    def look() -> bytes:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)          # which ends this process
        signal.setitimer(signal.ITIMER_REAL, max(0.01, seconds))
        try:
            known = found(name, port, 0)
        except (OSError, UnicodeError):
            return b""
        return b"\n".join(b"%d %s" % (family, address[0].encode()) for family, address in known)

    lines = (proc.elsewhere(look)() or b"").split(b"\n")
    parts = [line.partition(b" ") for line in lines]
    return [(int(family), (address.decode(), port)) for family, _, address in parts if address]


def found(name: str, port: int, flags: int) -> list[Found]:
    """What the library finds, as addresses().  OSError, UnicodeError."""
    return [(int(family), (str(address[0]), port)) for family, _, _, _, address
            in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)]
