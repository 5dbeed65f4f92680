"""The process of a new connection, from the accepted descriptor to the program."""
from __future__ import annotations

import os
import socket

from courierpy.listener import admission, children
from courierpy.listener.sockets import shown
from courierpy.system import desk, log, title
from courierpy.system.conn import Conn
from courierpy.system.proc import CRASHED, ProcError
from courierpy.system.programs import execute, run
from courierpy.system.settings import from_environ
from courierpy.system.wayback import AGAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.listener.options import Options

TLS_TIMEOUT = 30.0             # seconds for the handshake


class Arrival:
    """One connection, whose client is on descriptors 0 and 1.  ``inside``: its programs, which are
    ours, run in this process.  ``said``: of one that had a session, what it has said since; None for one
    that is new."""

    def __init__(self, options: Options, rules: Mapping[str, str], environ: dict[str, str],
                 inside: bool, said: bytes | None = None) -> None:
        self.options = options
        self.rules = rules
        self.environ = environ
        self.inside = inside
        self.said = said

    def serve(self, program: str, arguments: list[str], remote: admission.Address,
              local: admission.Address | None, counts: Mapping[str, int]) -> int:
        """Gives the exit status.  ``local``: our end; None when the socket has more than one address.

        ``counts``: connections by address and network, not with this one.
        """
        options, environ = self.options, self.environ
        via = ""
        try:
            if local is None or options.haproxy is not None and self.said is None:
                with socket.socket(fileno=os.dup(0)) as client:
                    local = client.getsockname()[:2]
                    if options.haproxy is not None:
                        remote, local, via = admission.behind_proxy(client, options.haproxy, remote, local)
                        counts = self._told(shown(remote[0]))
            environ["TCPREMOTEIP"] = address = shown(remote[0])
            environ["TCPREMOTEPORT"] = str(remote[1])
            title.be(f"{os.path.basename(program)} [{address}]")
            environ["TCPLOCALIP"] = shown(local[0])
            environ["TCPLOCALPORT"] = str(local[1])
            if via:
                environ["TCPREMOTEINFO"] = via
            admission.admit(options, self.rules, counts, address, environ)
            if options.lists:
                from courierpy.listener import dnslists
                dnslists.apply(options.lists, address, environ)
            admission.drop(options, address, environ)
        except admission.Refused as refused:
            said = admission.denial(options)
            if said and refused.spoken:
                os.write(1, said)
            return 0
        if "nodnslookup" not in options.switches:
            admission.names(environ)
        children.log_to_client(options.text, environ)
        return self._go_on(program, arguments)

    def _told(self, address: str) -> dict[str, int]:
        """The counts for a client that only the proxy knew; from now on it counts.  Raises Refused."""
        try:
            of_address, of_network = desk.tell(int(self.environ[desk.VARIABLE]), address)
        except OSError as error:
            log.err(f"{address}: the listener does not answer: {error.strerror or error}")
            raise admission.Refused from None
        return {address: of_address, admission.network(address): of_network}

    def _go_on(self, program: str, arguments: list[str]) -> int:
        environ = self.environ
        conn = Conn(0, 1, self.said or b"")
        if self.said is not None:
            environ[AGAIN] = "1"
        elif "tls" in self.options.switches:
            from courierpy.system import tls
            try:
                offered = tls.certificates(from_environ(environ))
                environ.update(tls.handshake(conn, offered, environ["TCPLOCALIP"], TLS_TIMEOUT))
            except tls.TlsError as error:
                log.err(f"TLS, {log.who(environ['TCPREMOTEIP'], environ['TCPREMOTEPORT'])}: {error}")
                return 1
        if self.inside:
            return run([program, *arguments], environ, conn, inside=True)
        for fd in desk.descriptors(environ):
            os.set_inheritable(fd, True)
        try:
            execute(program, arguments, environ, conn)
        except ProcError as error:
            log.crit(str(error))
        return CRASHED
