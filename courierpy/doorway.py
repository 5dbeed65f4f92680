"""The doorway of a listener, put together: login processes, a password helper with tickets, sessions.

Where it is wanted (IMAP_LOGIN_PROCESSES) and possible, couriertcpd itself reads no octet of a client: it
accepts, counts, and gives the descriptor to a login process.  A session begins when there is a ticket
for it, in a process that becomes the user before it looks at anything (sessions.py).
"""
from __future__ import annotations

import socket
from functools import partial

from courierpy import forwarding
from courierpy.auth import Account, is_module
from courierpy.listener import access, admission, lookups
from courierpy.listener.connections import Connection
from courierpy.listener.doorway import Doorway
from courierpy.listener.sockets import shown, turn_away
from courierpy.login import start
from courierpy.model import measures
from courierpy.model.accountoptions import SEPARATE
from courierpy.system import channels, confined, log, metrics, notices, passing, proc, programs, title
from courierpy.system.channels import PROXY_SECONDS
from courierpy.system.concluded import CLIENTS_OWN
from courierpy.system.settings import Settings
from courierpy.system.starttls import starttls_offered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.auth.tickets import Told
    from courierpy.listener.connections import Connections
    from courierpy.listener.doorway import Begin
    from courierpy.listener.entrance import Entrance
    from courierpy.listener.left import Left
    from courierpy.listener.loop import Loop
    from courierpy.listener.options import Options
    from courierpy.returning import Returned

AUTHSERVICE = "AUTHSERVICE"        # begins the variables that name a service of a port


def count(options: Options, program: str, arguments: list[str],
          environ: Mapping[str, str]) -> tuple[int, str]:
    """How many login processes there are to be; 0: each connection has a process of its own from its
    beginning.  And why that is so where others were wanted, for the log."""
    own = programs.find(program)
    found = Settings(environ).number("IMAP_LOGIN_PROCESSES") if own is not None and own.logs_in else 0
    why = why_not(options, program, arguments, environ) if found else ""
    return (0, why) if why else (found, "")


def why_not(options: Options, program: str, arguments: list[str], environ: Mapping[str, str]) -> str:
    """What is asked of a listener that only the way with one process for each connection can do; "" for
    nothing."""
    own = programs.find(program)
    following = next((word for word in arguments if not is_module(word)), "")
    if own is None or not own.logs_in or programs.find(following) is None:
        return "programs that are not ours"
    if "exec" in options.switches:
        return "-exec"
    if options.text.get("stderr") == "socket":
        return "-stderr=socket"
    return ""


def opened(processes: int, options: Options, program: str, protocol: str, environ: Mapping[str, str],
           table: int, connections: Connections, loop: Loop, begin: Begin, before: Left | None,
           rules: Mapping[str, str], busy: bytes) -> Doorway | None:
    """The doorway with so many processes; None where there are none.  ``table``: of refused logins.
    ``begin``: starts a session.  ``busy``: what a client hears that cannot be served.
    ``before``: what an earlier image has left, which goes on."""
    if not processes and before is None:
        return None
    by_tls = "tls" in options.switches
    with_tls = by_tls or starttls_offered(Settings(environ), False)
    asked = lookups.Lookups(options, loop) if processes and lookups.wanted(options) else None
    found = Doorway(processes, connections.bound, connections, loop,
                    partial(log_in, program=program, environ=environ, table=table, by_tls=by_tls,
                            with_tls=with_tls, folder=confined.folder()), begin,
                    lambda data, before: proxied(data, before, options, rules, connections.counts.of),
                    partial(look_up, asked, options), forwarding.Forwarding(protocol, environ), asked, busy)
    if before is not None:
        found.go_on(before)
    return found


def greet(way: Doorway, program: str, environ: Mapping[str, str], options: Options) -> None:
    """From now on clients in clear are greeted before a login process has them, as one with this environment
    would.  Where TLS ends somewhere before us (IMAP_TLS) they are not in clear."""
    own, in_clear = programs.find(program), environ.get("IMAP_TLS", "0") in ("", "0")
    if way.count and own is not None and "tls" not in options.switches and in_clear:
        way.greeting = own.dialogue(environ).greeting(Settings(environ))


def look_at_certificates(settings: Settings) -> None:
    """Would a login process find them in order?  Raises TlsError.  They are not loaded here."""
    from courierpy.system import tls

    def look() -> bytes:
        try:
            tls.load(settings)
        except tls.TlsError as error:
            return str(error).encode("utf-8", "surrogateescape")
        return b""

    found = proc.elsewhere(look)()
    if found:
        raise tls.TlsError(found.decode("utf-8", "surrogateescape"))


def take(way: Doorway, entrance: Entrance, listening: socket.socket, options: Options,
         rules: Mapping[str, str], settings: Settings) -> None:
    """A client that connects, to a login process, which sees no file of the administrator's."""
    taken = entrance.take(listening)
    if taken is None:
        return
    fd, remote = taken
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)      # of IPv6, too: nobody asks it
    local = entrance.end(listening)
    try:
        local = local or client.getsockname()[:2]
    except OSError:                    # it is gone
        client.close()
        return
    behind = options.haproxy is not None and admission.speaks_proxy(options.haproxy[1], local)
    if behind:
        variables: dict[str, str] | None = ends(remote, local)
    else:
        variables = admit(client, options, rules, entrance.connections.counts.of, remote, local)
    if variables is None:
        return
    variables.update(notices.to_all(settings))
    connection = Connection("" if behind else variables["TCPREMOTEIP"], remote)
    if behind:
        variables[PROXY_SECONDS] = str(options.haproxy[0] if options.haproxy is not None else 0)
        give(way, entrance, client, connection, variables, behind=True)
        return
    _look_up_and_give(way, entrance, client, connection, variables, options)


def give_back(way: Doorway, entrance: Entrance, back: Returned, options: Options,
              rules: Mapping[str, str], settings: Settings) -> None:
    """A client whose session is over, to a login process: as one that connects."""
    client = socket.socket(fileno=back.fd)
    variables = admit(client, options, rules, entrance.connections.counts.of, back.remote, back.local)
    if variables is not None:
        variables.update({**notices.to_all(settings), **back.variables()})
        connection = Connection(shown(back.remote[0]), back.peer)
        _look_up_and_give(way, entrance, client, connection, variables, options, back.said)


def _look_up_and_give(way: Doorway, entrance: Entrance, client: socket.socket, connection: Connection,
                      variables: dict[str, str], options: Options, said: bytes | None = None) -> None:
    """``said``: as of Doorway.client()."""
    way.holds(client.fileno())
    if way.lookups is None and not options.drop:       # nothing is looked up, nor dropped for what was found
        give(way, entrance, client, connection, variables, False, said)
        return
    later = way.lookups is not None
    if later:
        entrance.connections.counts.add(connection.address, 1)     # while it is looked up

    def looked(welcome: bool) -> None:
        if later:
            entrance.connections.left(connection.address)
        if welcome:
            give(way, entrance, client, connection, variables, False, said)
        else:
            turn_away(client, admission.denial(options))

    look_up(way.lookups, options, variables, looked)


def give(way: Doorway, entrance: Entrance, client: socket.socket, connection: Connection,
         variables: Mapping[str, str], behind: bool, said: bytes | None = None) -> None:
    """``client`` to a login process; closed here.  ``said``: as of Doorway.client()."""
    greeted = False
    if way.greeting and said is None and not behind and variables.keys() <= CLIENTS_OWN:
        try:                           # it is on its way while a login process is woken
            octets = client.send(way.greeting, passing.SENDING)
            greeted = True
        except OSError:
            octets = 0
        if 0 < octets < len(way.greeting):     # no socket is so small
            turn_away(client, b"")
            return
    if way.client(client.fileno(), connection, variables, behind, said, greeted):
        client.close()
    else:
        turn_away(client, entrance.busy)
        metrics.count(measures.REFUSED, "busy")


def look_up(asked: lookups.Lookups | None, options: Options, variables: dict[str, str],
            then: Callable[[bool], object]) -> None:
    """Add to ``variables`` what the DNS says of a client, where somebody is asked; ``then`` is told whether
    it may come in."""
    def found(more: Mapping[str, str]) -> None:
        variables.update(more)
        try:
            admission.drop(options, variables["TCPREMOTEIP"], variables)
        except admission.Refused:
            then(False)
        else:
            then(True)

    if asked is None:
        found({})
    else:
        asked.ask(variables, found)


def admit(client: socket.socket, options: Options, rules: Mapping[str, str], counts: Mapping[str, int],
          remote: admission.Address, local: admission.Address) -> dict[str, str] | None:
    """The variables of a client that may come in; None: it was turned away.

    Nothing of what it says is read.  ``counts``: connections by address and network, without this one.
    """
    variables = ends(remote, local)
    try:
        admission.admit(options, rules, counts, variables["TCPREMOTEIP"], variables)
    except admission.Refused as refused:
        turn_away(client, admission.denial(options) if refused.spoken else b"")
        return None
    return variables


def ends(remote: admission.Address, local: admission.Address) -> dict[str, str]:
    """The variables of both ends of a connection."""
    return {"TCPREMOTEIP": shown(remote[0]), "TCPREMOTEPORT": str(remote[1]),
            "TCPLOCALIP": shown(local[0]), "TCPLOCALPORT": str(local[1])}


def proxied(data: bytes, before: Mapping[str, str], options: Options, rules: Mapping[str, str],
            counts: Mapping[str, int]) -> dict[str, str] | None:
    """The variables of a client of whom a login process says what its proxy said; None: it may not come in.

    ``before``: those of the proxy's own connection.
    """
    try:
        variables = ends(*channels.ends_of(data))
        if any(before[name] != value for name, value in variables.items()):
            variables["TCPREMOTEINFO"] = f"proxy via {before['TCPLOCALIP']}, port {before['TCPLOCALPORT']}"
        admission.admit(options, rules, counts, variables["TCPREMOTEIP"], variables)
    except (admission.Refused, OSError, ValueError):
        return None
    return variables


# -- in a login process

def log_in(link: socket.socket, program: str, environ: Mapping[str, str], table: int, by_tls: bool,
           with_tls: bool, folder: str) -> int:
    """The exit status."""
    try:
        from courierpy.login import process
        log.be(program.rpartition("/")[2])
        title.be(program.rpartition("/")[2])
        own = programs.find(program)
        assert own is not None
        return process.run(link, own.dialogue(environ), environ, table, by_tls, with_tls, folder)
    except BaseException as error:     # the child must never return into the loop
        log.crit(f"a login process: {type(error).__name__}: {error}")
        return proc.CRASHED


# -- in the helper

def views(protocol: str, arguments: list[str], environ: Mapping[str, str],
          rules: Mapping[str, str]) -> tuple[start.Look, Told, frozenset[str]]:
    """What sees whether a session of an account could begin, what a login process is told of its
    options: where its mail is, if that is not always here; and the services that it may ask for.
    ``arguments``: of the program that logs in."""
    settings = Settings(environ)
    leads_on = forwarding.leads_on(protocol, settings)
    named = {value for name, value in environ.items() if name.startswith(AUTHSERVICE)}
    services = {protocol.lower()} | named | access.values(rules, AUTHSERVICE)
    seen = start.Seen()

    def look(account: Account) -> None:
        if not (leads_on and start.elsewhere(account, settings)):
            seen.look(account, start.maildir_of(account, arguments[1:], environ),
                      settings.text("AUTH_MKHOMEDIR_SKEL"), settings.checks_owner)

    def told(account: Account) -> str:
        hosts = start.mailhosts(account) if leads_on else []
        return f"mailhost={SEPARATE.join(hosts)}" if hosts else ""
    return look, told, frozenset(services - {""})
