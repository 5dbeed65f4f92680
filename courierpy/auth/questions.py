"""The helper's side of the login processes: their questions, and the tickets that are its answers.

See system/doorway.py.  A login process may be in the hands of somebody else, so it gets no account and
no password back, and sets no variable for the modules but the client's address.  What a mechanism
computes with an account's clear password (SCRAM) is computed here.
"""
from __future__ import annotations

import os
import socket
import time
from functools import partial

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, mechanisms
from courierpy.auth.helper import ASKS, ASKS_AND_LOOKS, FAIL, LOOKS, Helper, Job
from courierpy.auth.protocol import (
    CLIENT,
    parse_reply,
    parse_request,
    render_account,
    render_environ,
    render_request,
)
from courierpy.auth.sasl import Context
from courierpy.system import channelbinding, doorway, log, passing
from courierpy.system.settings import Settings
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from courierpy.auth.helper import Look
    from courierpy.auth.sasl import Exchange

    Told = Callable[[Account], str]

NEEDED = frozenset((*CLIENT, "TCPLOCALIP", "TCPLOCALPORT", "IMAP_TLS", *channelbinding.VARIABLES.values()))
EXCHANGES = 1024               # of one login process at a time
EXCHANGE_SECONDS = 60.0        # that one may last
# that may be asked plainly
KINDS = frozenset(("login", "token", "cram-md5", "cram-sha1", "cram-sha256"))


def serve(listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str], look: Look,
          told: Told, grants: socket.socket) -> None:
    """As helper.serve(), for login processes too, of which couriertcpd tells over ``grants``."""
    helper = Helper(listener, modules, environ, look)
    Questions(helper, grants, told)
    helper.run()


class _Exchange:
    """One that goes on.  ``account``: that it has found."""

    __slots__ = ("context", "number", "steps", "until")

    def __init__(self, number: int, steps: Exchange, context: Context) -> None:
        self.number = number
        self.steps = steps
        self.context = context
        self.until = time.monotonic() + EXCHANGE_SECONDS


class _Asker:
    """A login process."""

    __slots__ = ("end", "exchanges", "pid")

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.end = end
        self.exchanges: dict[int, _Exchange] = {}


class Questions:
    """``grants``: couriertcpd, which makes login processes and hears of tickets.  ``told``: what a login
    process is told of the options of an account."""

    def __init__(self, helper: Helper, grants: socket.socket, told: Told = lambda account: "") -> None:
        self.helper = helper
        self.told = told
        self.grants = grants
        grants.setblocking(False)
        helper.hear(grants, self._made)

    def _made(self) -> None:
        """A login process was."""
        try:
            found = passing.receive(self.grants)
        except passing.Refused as error:
            log.err(f"couriertcpd: {error}")
            return
        if found is None:
            return
        data, fds = found
        if len(data) != doorway.LOGIN.size or len(fds) != 1:
            passing.close(fds)
            if not data:
                self.helper.close(self.grants)     # couriertcpd is gone, and kills us
            return
        asker = _Asker(doorway.LOGIN.unpack(data)[0], socket.socket(fileno=fds[0]))
        asker.end.setblocking(False)
        self.helper.hear(asker.end, partial(self._asked, asker))

    def _asked(self, asker: _Asker) -> None:
        try:
            found = passing.receive(asker.end)
        except passing.Refused:
            return
        if found is None:
            return
        data, fds = found
        passing.close(fds)
        if len(data) < doorway.QUESTION.size:
            for exchange in asker.exchanges.values():
                exchange.steps.close()
            self.helper.close(asker.end)
            return
        number, kind = doorway.QUESTION.unpack_from(data)
        rest = data[doorway.QUESTION.size:]
        try:
            self._do(asker, number, kind, rest)
        except (Rejected, ValueError, KeyError):   # UnicodeDecodeError, struct.error
            self._answer(asker, number, doorway.REFUSED)
        finally:
            wipe(data, rest)

    def _do(self, asker: _Asker, number: int, kind: bytes, data: bytes) -> None:
        if kind == doorway.ASK:
            self._ask(asker, number, data)
        elif kind == doorway.BEGIN:
            self._begin(asker, number, data)
        elif number in asker.exchanges:
            exchange = asker.exchanges[number]
            if kind == doorway.GO_ON:
                self._go(asker, exchange, bytes(data))
            else:
                self._end(asker, exchange)

    def _answer(self, asker: _Asker, number: int, kind: bytes, user: str | None = None,
                data: bytes = b"") -> None:
        name = (user or "").encode("utf-8", "surrogateescape").replace(b"\0", b"")
        try:
            passing.send(asker.end, [doorway.QUESTION.pack(number, kind), name + b"\0" + data])
        except OSError as error:
            log.err(f"a login process hears nothing: {error.strerror}")

    # -- a request

    def _ask(self, asker: _Asker, number: int, data: bytes) -> None:
        request = parse_request(data, {})
        if request is None or request.kind not in KINDS:
            raise ValueError("not a request that a login process may make")
        request = self._of(request, request.environ)

        def done(reply: bytes | None) -> None:
            if reply is None or reply == FAIL:
                self._answer(asker, number, doorway.TEMPORARY if reply is None else doorway.REFUSED)
            else:
                self._grant(asker, number, reply, None)

        # copied: ours is wiped, and the job's is sent later
        self.helper.begin(Job(done, ASKS_AND_LOOKS, _asking(request), request))

    def _of(self, request: Request, told: Mapping[str, str]) -> Request:
        environ = {**self.helper.environ, **{name: told[name] for name in CLIENT if told.get(name)}}
        return Request(request.kind, request.service, environ, user=request.user, password=request.password,
                       challenge=request.challenge, response=request.response)

    # -- an exchange

    def _begin(self, asker: _Asker, number: int, data: bytes) -> None:
        head = doorway.BEGINS.size
        size, names, initial = doorway.BEGINS.unpack_from(data)
        said = doorway.unpack(data[head:head + size])
        told = data[head + size:head + size + names].split()
        mechanism = mechanisms.find(said[doorway.MECHANISM].encode())
        if mechanism is None or len(asker.exchanges) >= EXCHANGES:
            raise Rejected
        # whose certificate it was, a login process is believed only where that is a way to log in
        external = Settings(self.helper.environ).text("TLS_EXTERNAL") and said.get(doorway.EXTERNAL, "")
        context = Context(said[doorway.SERVICE], {**self.helper.environ, **{
            name: value for name, value in said.items() if name in NEEDED}}, external)
        context.told = told
        first = bytes(data[head + size + names:]) if initial else None
        exchange = _Exchange(number, mechanism(context, first), context)
        asker.exchanges[number] = exchange
        self._see_to_time(asker)
        self._go(asker, exchange, None)

    def _see_to_time(self, asker: _Asker) -> None:
        now = time.monotonic()
        for exchange in [each for each in asker.exchanges.values() if each.until < now]:
            self._end(asker, exchange)

    def _end(self, asker: _Asker, exchange: _Exchange) -> None:
        if asker.exchanges.get(exchange.number) is exchange:
            del asker.exchanges[exchange.number]
        exchange.steps.close()

    def _go(self, asker: _Asker, exchange: _Exchange, answer: object) -> None:
        """Answer its step; the next one may take a while."""
        number, user = exchange.number, exchange.context.user
        try:
            steps = exchange.steps
            step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as over:
            self._end(asker, exchange)
            self._look(asker, number, over.value, exchange.context)
            return
        except Rejected:
            self._end(asker, exchange)
            self._answer(asker, number, doorway.REFUSED, exchange.context.user)
            return
        except TemporaryFailure as error:
            self._end(asker, exchange)
            log.err(f"authentication error: {error}")
            self._answer(asker, number, doorway.TEMPORARY, exchange.context.user)
            return
        user = exchange.context.user
        if isinstance(step, Request):
            request = self._of(step, exchange.context.environ)
            self.helper.begin(Job(partial(self._found, asker, exchange), ASKS, _asking(request), request))
        else:
            self._answer(asker, number, doorway.CHALLENGE, user, step)

    def _found(self, asker: _Asker, exchange: _Exchange, reply: bytes | None) -> None:
        if asker.exchanges.get(exchange.number) is not exchange:
            return                     # it was given up
        answer: object
        try:
            if reply is None:
                raise TemporaryFailure("no answer")
            answer = parse_reply(reply)
        except (Rejected, TemporaryFailure) as error:
            answer = error
        self._go(asker, exchange, answer)

    def _look(self, asker: _Asker, number: int, account: Account, context: Context) -> None:
        """The client is who it says; can its session begin?"""
        request = Request("pre", context.service, context.environ, user=account.address)
        rendered = render_account(account, False)
        wipe(account.passwd, account.passwd2)

        def done(reply: bytes | None) -> None:
            if reply is None or reply == FAIL:
                self._answer(asker, number, doorway.TEMPORARY if reply is None else doorway.REFUSED,
                             context.user)
            else:
                self._grant(asker, number, reply, context.user)

        self.helper.begin(Job(done, LOOKS, rendered, request))

    # -- a ticket

    def _grant(self, asker: _Asker, number: int, reply: bytes, user: str | None) -> None:
        ticket = os.urandom(doorway.TICKET_OCTETS)
        try:
            passing.send(self.grants, [doorway.GRANT.pack(ticket, asker.pid), reply])
        except OSError as error:
            log.err(f"couriertcpd hears nothing: {error.strerror}")
            self._answer(asker, number, doorway.TEMPORARY, user)
            return
        account = parse_reply(reply)
        words = "\0".join((account.address.replace("\0", ""), self.told(account)))
        self._answer(asker, number, doorway.GRANTED, user,
                     ticket + words.encode("utf-8", "surrogateescape"))


def _asking(request: Request) -> bytes:
    """What a worker reads."""
    return b"".join((render_environ(request.environ), render_request(request)))
