"""The helper's side of the login processes: their questions, and the tickets that are its answers.

See system/channels.py.  A login process may be in the hands of somebody else, so it gets no account and
no password back, and sets no variable for the modules but the client's address.  What a mechanism
computes with an account's clear password (SCRAM) is computed here.
"""
from __future__ import annotations

import socket
import struct
import time
from functools import partial

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, mechanisms, standing, tickets
from courierpy.auth.helper import ASKS, ASKS_AND_LOOKS, FAIL, LOOKS, Helper, Job
from courierpy.auth.protocol import (
    CLIENT,
    parse_reply,
    render_account,
    render_environ,
    render_request,
)
from courierpy.auth.sasl import Context
from courierpy.system import channelbinding, channels, log, passing
from courierpy.system.seldom import due
from courierpy.system.settings import Settings
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from courierpy.auth.helper import Look, Worker
    from courierpy.auth.sasl import Exchange
    from courierpy.auth.tickets import Told

NEEDED = frozenset((*CLIENT, "TCPLOCALIP", "TCPLOCALPORT", "IMAP_TLS", *channelbinding.VARIABLES.values()))
EXCHANGES = 1024               # of one login process at a time
EXCHANGE_SECONDS = 60.0        # that one may last
LEFT_SECONDS = 0.9             # for which a question may lie that nobody has come to


def serve(listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str], look: Look,
          told: Told, grants: socket.socket, services: Collection[str] = tickets.SERVICES) -> None:
    """As helper.serve(), for login processes too, of which couriertcpd tells over ``grants``.  ``services``:
    that they may ask for."""
    helper = Helper(listener, modules, environ, look)
    Questions(helper, grants, told, services)
    helper.run()


class _Exchange:
    """One that goes on.  ``challenged``: the client is to say something; else the modules are asked."""

    __slots__ = ("challenged", "context", "number", "steps", "until")

    def __init__(self, number: int, steps: Exchange, context: Context) -> None:
        self.number = number
        self.steps = steps
        self.context = context
        self.challenged = False
        self.until = time.monotonic() + EXCHANGE_SECONDS


class _Asker(tickets.Asker):
    """A login process, as the helper has it.

    ``at``: its number, not another's before it."""

    __slots__ = ("at", "exchanges")

    def __init__(self, pid: int, end: socket.socket, at: int) -> None:
        super().__init__(pid, end)
        self.at = at
        self.exchanges: dict[int, _Exchange] = {}


class Questions:
    """What login processes ask the helper, and the tickets that it gives for it.

    ``grants``: couriertcpd, which makes login processes and hears of tickets.  ``told``: what a login
    process is told of the options of an account; ``services``: that it may ask for.  ``standing``: the worker
    that stands at the doorway, if one does."""

    def __init__(self, helper: Helper, grants: socket.socket, told: Told = lambda account: "",
                 services: Collection[str] = tickets.SERVICES) -> None:
        self.helper = helper
        self.told = told
        self.grants = grants
        self.services = services
        self.standing: Worker | None = None
        self._way: socket.socket | None = None     # to couriertcpd, for clients
        self._askers: dict[int, _Asker] = {}
        self._last = 0
        self._looked = 0.0
        helper.questions = self
        grants.setblocking(False)
        helper.hear(grants, self._made)

    def _made(self) -> None:
        """Hear of a login process that couriertcpd has made."""
        try:
            found = passing.receive(self.grants)
        except passing.Refused as error:
            log.err(f"couriertcpd: {error}")
            return
        if found is None:
            return
        data, fds = found
        if data == channels.WAY and len(fds) == 1 and self._way is None:
            self._way = socket.socket(fileno=fds[0])
            return
        if len(data) != channels.LOGIN.size or len(fds) != 1:
            passing.close(fds)
            if not data:
                self.helper.close(self.grants)     # couriertcpd is gone, and kills us
            return
        self._last += 1
        asker = _Asker(channels.LOGIN.unpack(data)[0], socket.socket(fileno=fds[0]), self._last)
        asker.end.setblocking(False)
        self._askers[asker.at] = asker
        self._hear(asker)
        if self.standing is not None:
            self._introduce(self.standing, asker)

    def _hear(self, asker: _Asker) -> None:
        self.helper.hear(asker.end, partial(self._asked, asker), standing.EVENTS)

    # -- the worker at the doorway

    def stand(self, module: str, end: socket.socket) -> standing.Stand | None:
        """What a worker is that is about to be started, if it is to stand there."""
        helper = self.helper
        if self.standing is not None or module not in standing.STANDS or module != helper.modules[0]:
            return None
        return standing.Stand(end, self.grants, self._way, module, len(helper.modules) > 1, helper.environ,
                              helper.look, self.told, self.services)

    def stands(self, worker: Worker) -> None:
        """``worker`` stands at the doorway from now on."""
        self.standing = worker
        for asker in self._askers.values():
            self._introduce(worker, asker)

    def _introduce(self, worker: Worker, asker: _Asker) -> None:
        try:
            passing.send(worker.end, [standing.MEETING.pack(standing.MEETS, asker.at, asker.pid)],
                         (asker.end.fileno(),))
        except OSError as error:       # then we hear what it asks
            log.debug(f"a worker meets no login process: {error.strerror}")

    def is_said(self, worker: Worker, data: bytes) -> bool:
        """By such a worker, and nothing that it was asked."""
        if worker.page is None or data[:1] not in (standing.STOOD, standing.PASSED):
            return False
        asker = self._askers.get(standing.STANDING.unpack_from(data)[1])
        if asker is None:
            return True
        if data[:1] == standing.STOOD:
            self.helper.unhear(asker.end)
            self._hear(asker)          # behind the worker, which is woken first then
        else:
            known = standing.PASSING.unpack_from(data)[2]
            self._heard(asker, data[standing.PASSING.size:], known)
        return True

    def lost(self, worker: Worker, why: str) -> bool:
        """This one, which stood there, is no more.  Was it at something by itself?  That fails for now."""
        self.standing = None
        page = worker.page
        is_at = page is not None and page.since > 0.0
        if page is not None and is_at:
            at, number, whose = page.what()
            log.err(f"authentication error: {worker.module}: {why}" + f", {whose}" * bool(whose))
            if at in self._askers:
                tickets.answer(self._askers[at], number, channels.TEMPORARY)
            page.end()
        return is_at

    def see_to_time(self) -> None:
        """Of the worker at the doorway, and of what it may have been woken for and does not come to."""
        worker, now = self.standing, time.monotonic()
        since = worker.own_since if worker is not None else 0.0
        if worker is not None and since and now - since > self.helper.seconds[worker.module]:
            self.helper.give_up(worker)
        if now - self._looked > LEFT_SECONDS:
            self._looked = now
            for asker in list(self._askers.values()):
                self._asked(asker)

    # -- what login processes ask

    def _asked(self, asker: _Asker) -> None:
        try:
            found = passing.receive(asker.end)
        except passing.Refused:
            return
        if found is None:
            return
        data, fds = found
        passing.close(fds)
        if len(data) < channels.QUESTION.size:
            for exchange in list(asker.exchanges.values()):
                self._end(asker, exchange)
            self.helper.close(asker.end)
            del self._askers[asker.at]
            return
        self._heard(asker, data, 0)

    def _heard(self, asker: _Asker, data: bytes, known: int) -> None:
        """``known``: so many modules do not know whose it is."""
        number, kind = channels.QUESTION.unpack_from(data)
        rest = b""
        try:
            if kind == channels.ASK_FOR:        # it gets a ticket, and gives the client itself
                kind, rest = channels.ASK, channels.asked_for(data)[2]
            else:
                rest = data[channels.QUESTION.size:]
            self._do(asker, number, kind, rest, known)
        except (Rejected, ValueError, KeyError, struct.error):     # UnicodeDecodeError is a ValueError
            tickets.answer(asker, number, channels.REFUSED)
        finally:
            wipe(data, rest)

    def _do(self, asker: _Asker, number: int, kind: bytes, data: bytes, known: int) -> None:
        if kind == channels.ASK:
            self._ask(asker, number, data, known)
        elif kind == channels.BEGIN:
            self._begin(asker, number, data)
        elif number in asker.exchanges:
            exchange = asker.exchanges[number]
            if kind == channels.GO_ON:
                if exchange.challenged:        # else it would take this for what the modules say
                    self._go(asker, exchange, bytes(data))
            else:
                self._end(asker, exchange)

    # -- a request

    def _ask(self, asker: _Asker, number: int, data: bytes, known: int) -> None:
        request = tickets.asked(data, self.services)
        request = tickets.of_client(request, request.environ, self.helper.environ)

        def done(reply: bytes | None) -> None:
            if reply is None or reply == FAIL:
                tickets.answer(asker, number, channels.TEMPORARY if reply is None else channels.REFUSED)
            else:
                self._grant(asker, number, reply, None)

        # copied: ours is wiped, and the job's is sent later
        job = Job(done, ASKS_AND_LOOKS, _asking(request), request)
        job.at = known
        self.helper.begin(job)

    # -- an exchange

    def _begin(self, asker: _Asker, number: int, data: bytes) -> None:
        head = channels.BEGINS.size
        size, names, initial = channels.BEGINS.unpack_from(data)
        said = channels.unpack(data[head:head + size])
        told = data[head + size:head + size + names].split()
        mechanism = mechanisms.find(said[channels.MECHANISM].encode())
        if mechanism is None or said[channels.SERVICE] not in self.services:
            raise Rejected
        self._see_to_time(asker)
        if len(asker.exchanges) >= EXCHANGES:
            if due("exchanges"):
                log.warn(f"login process {asker.pid} has {EXCHANGES} exchanges, and may begin no other")
            tickets.answer(asker, number, channels.TEMPORARY)
            return
        # whose certificate it was, a login process is believed only where that is a way to log in
        external = Settings(self.helper.environ).text("TLS_EXTERNAL") and said.get(channels.EXTERNAL, "")
        # each is a line of what the modules are asked
        known = {name: value for name, value in said.items() if name in NEEDED and value.isprintable()}
        context = Context(said[channels.SERVICE], {**self.helper.environ, **known}, external)
        context.told = told
        first = bytes(data[head + size + names:]) if initial else None
        exchange = _Exchange(number, mechanism(context, first), context)
        asker.exchanges[number] = exchange
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
        exchange.challenged = False
        try:
            steps = exchange.steps
            step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as over:
            self._end(asker, exchange)
            self._look(asker, number, over.value, exchange.context)
            return
        except Rejected:
            self._end(asker, exchange)
            tickets.answer(asker, number, channels.REFUSED, exchange.context.user)
            return
        except TemporaryFailure as error:
            self._end(asker, exchange)
            if error is not answer:    # else the log was told when the module could not tell
                told = exchange.context.environ.get
                whose = log.who(told("TCPREMOTEIP", ""), told("TCPREMOTEPORT", ""), exchange.context.user)
                log.err(f"authentication error: {error}, {whose}")
            tickets.answer(asker, number, channels.TEMPORARY, exchange.context.user)
            return
        user = exchange.context.user
        if isinstance(step, Request):
            request = tickets.of_client(step, exchange.context.environ, self.helper.environ)
            self.helper.begin(Job(partial(self._found, asker, exchange), ASKS, _asking(request), request))
        else:
            exchange.challenged = True
            tickets.answer(asker, number, channels.CHALLENGE, user, step)

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
                tickets.answer(asker, number, channels.TEMPORARY if reply is None else channels.REFUSED,
                             context.user)
            else:
                self._grant(asker, number, reply, context.user)

        self.helper.begin(Job(done, LOOKS, rendered, request))

    # -- a ticket

    def _grant(self, asker: _Asker, number: int, reply: bytes, user: str | None) -> None:
        kept = bytes(bytearray(reply))         # what is parsed is wiped
        tickets.grant(self.grants, asker, number, kept, parse_reply(reply), self.told, user)


def _asking(request: Request) -> bytes:
    """The octets of a request, as a worker reads them."""
    return b"".join((render_environ(request.environ), render_request(request)))
