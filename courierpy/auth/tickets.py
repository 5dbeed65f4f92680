"""The answers that a login process gets: what the helper says, and its workers that stand at the doorway.

See system/channels.py for the octets.  Whoever answers has the channel of the login process, and one to
couriertcpd, which hears of each ticket before the login process does.
"""
from __future__ import annotations

import os
import select

from courierpy.auth import Request
from courierpy.auth.protocol import CLIENT, parse_request
from courierpy.system import channels, log, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping

    from courierpy.auth import Account

    Told = Callable[[Account], str]

# that may be asked plainly
KINDS = frozenset(("login", "token", "cram-md5", "cram-sha1", "cram-sha256"))
# that a login process may ask for: a module may have other rules for another one, as PAM has
SERVICES = frozenset(("imap", "pop3"))
ROOM_SECONDS = 5.0             # that couriertcpd has to make room for a client, while it begins sessions


class Asker:
    """A login process.  ``end``: our end of its channel."""

    __slots__ = ("end", "pid")

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.end = end


def asked(data: bytes, services: Collection[str]) -> Request:
    """What a login process asks plainly.  Raises ValueError for what it may not."""
    request = parse_request(data, {})
    if request is None or request.kind not in KINDS or request.service not in services:
        raise ValueError("not a request that a login process may make")
    return request


def of_client(request: Request, told: Mapping[str, str], environ: Mapping[str, str]) -> Request:
    """What the modules are asked: of what a login process has ``told`` they hear the client's address."""
    environ = {**environ, **{name: told[name] for name in CLIENT if told.get(name)}}
    return Request(request.kind, request.service, environ, user=request.user, password=request.password,
                   challenge=request.challenge, response=request.response)


def answer(asker: Asker, number: int, kind: bytes, user: str | None = None, data: bytes = b"") -> None:
    """``number``: of the question.  ``user``: whom the client has named, where an exchange finds that."""
    name = (user or "").encode("utf-8", "surrogateescape").replace(b"\0", b"")
    try:
        passing.send(asker.end, [channels.QUESTION.pack(number, kind), name + b"\0" + data])
    except OSError as error:
        log.err(f"a login process hears nothing: {error.strerror}")


def grant(grants: socket.socket, asker: Asker, number: int, reply: bytes, account: Account, told: Told,
          user: str | None = None) -> None:
    """A ticket.  ``grants``: to couriertcpd.  ``reply``: the account as couriertcpd hears of it.  ``told``:
    what a login process is told of the options of an account."""
    ticket = os.urandom(channels.TICKET_OCTETS)
    try:
        passing.send(grants, [channels.GRANT.pack(ticket, asker.pid), reply])
    except OSError as error:
        log.err(f"couriertcpd hears nothing: {error.strerror}")
        answer(asker, number, channels.TEMPORARY, user)
        return
    words = "\0".join((account.address.replace("\0", ""), told(account)))
    answer(asker, number, channels.GRANTED, user, ticket + words.encode("utf-8", "surrogateescape"))


def give(way: socket.socket, asker: Asker, number: int, reply: bytes, account: Account, client: int,
         variables: bytes, fd: int) -> None:
    """In place of a ticket the client itself.  ``way``: to couriertcpd.
    ``client``, ``variables``, ``fd``: as of the question.  Waits for room, as those who ask next do then."""
    given = [channels.GIVEN.pack(asker.pid, client, len(reply)), reply, variables]
    try:
        try:
            passing.send(way, given, (fd,))
        except BlockingIOError:
            room = select.poll()
            room.register(way, select.POLLOUT)
            room.poll(ROOM_SECONDS * 1000)
            passing.send(way, given, (fd,))
    except OSError as error:
        log.err(f"couriertcpd hears nothing: {error.strerror}")
        answer(asker, number, channels.TEMPORARY)
        return
    answer(asker, number, channels.BEGUN, data=account.address.encode("utf-8", "surrogateescape"))
