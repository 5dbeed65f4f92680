"""A worker that stands at the doorway: it answers login processes itself, without the helper in between.

Where the userdb is asked first (STANDS) one of its workers has a copy of each channel that login processes
ask by.  A question is read by who waits for one at that moment, the worker or the helper: the kernel wakes
the one of them that came to the channel first (EPOLLEXCLUSIVE), which is the worker, and the helper where
that is at something.  So a login in a quiet moment takes one process less, and a worker that takes
long, or hangs, holds up nobody: the helper has the others.

A question that is a user and a password the worker answers: it asks its module, looks at the account, gives
the ticket, or the client that came with the question.  All else it passes on to the helper: exchanges,
tokens, and whom its module does not know where other modules follow.

What it is at stands in a page of memory that the helper sees (Page), who finds there what to answer where the
worker dies, or has no answer in time.
"""
from __future__ import annotations

import mmap
import select
import socket
import struct
import time
from functools import partial

from courierpy.auth import Account
from courierpy.auth.helper import FAIL, TEMPORARY, answer_to, begin_work
from courierpy.auth.helper import answer as ask_module
from courierpy.auth.tickets import Asker, answer, asked, give, grant, of_client
from courierpy.system import channels, log, passing
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from courierpy.auth import Request
    from courierpy.auth.helper import Look
    from courierpy.auth.tickets import Told

STANDS = frozenset(("authuserdb",))    # modules of our own code alone, whose worker is as the helper itself
# letters of messages: the helper's, with a channel; the worker's, which waits there now; a question passed on
MEETS, STOOD, PASSED = b"&", b"\x01", b"\x02"
MEETING = struct.Struct("!cII")        # letter, number of the asker, its pid
STANDING = struct.Struct("!cI")        # letter, number of the asker
PASSING = struct.Struct("!cIB")        # ..., how many modules do not know whose it is; the question
EVENTS = select.EPOLLIN | select.EPOLLEXCLUSIVE
ASKED = frozenset((channels.ASK, channels.ASK_FOR))
PEEKING = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_WHAT = struct.Struct("=IQH")          # number of the asker, of the question, octets of what the log says
_SINCE = struct.Struct("=d")
_PAGE_OCTETS = 4096


class Page:
    """What a worker is at that it was not given by the helper.  Written by the worker alone."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PAGE_OCTETS)

    def begin(self, asker: int, number: int, request: Request | None = None) -> None:
        """As of what(); ``request``: None while the question is not read."""
        text = b""
        if request is not None:
            known = request.environ.get
            text = f"{known('TCPREMOTEIP', '')}\0{known('TCPREMOTEPORT', '')}\0{request.user}".encode(
                "utf-8", "surrogateescape")[:_PAGE_OCTETS - _SINCE.size - _WHAT.size]
        self._memory[_SINCE.size:_SINCE.size + _WHAT.size + len(text)] = \
            _WHAT.pack(asker, number, len(text)) + text
        self._memory[:_SINCE.size] = _SINCE.pack(time.monotonic())

    def end(self) -> None:
        self._memory[:_SINCE.size] = bytes(_SINCE.size)

    @property
    def since(self) -> float:
        """On the monotonic clock; 0.0: it is at nothing."""
        return float(_SINCE.unpack_from(self._memory)[0])

    def what(self) -> tuple[int, int, str]:
        """Number of the asker, of its question, and whose that is, for the log; "" where it is not known."""
        asker, number, size = _WHAT.unpack_from(self._memory, _SINCE.size)
        at = _SINCE.size + _WHAT.size
        words = self._memory[at:at + size].decode("utf-8", "surrogateescape").split("\0")
        return asker, number, log.who(words[0], words[1], words[2] or None) if len(words) == 3 else ""


class Stand:
    """The worker, as its own process runs it.  ``end``: to the helper; ``grants``: to couriertcpd; ``way``:
    there too, for clients, None where there is none.  ``others``: are there modules behind its own?
    ``services``: that may be asked for.  ``page``: what it is at."""

    def __init__(self, end: socket.socket, grants: socket.socket, way: socket.socket | None, module: str,
                 others: bool, environ: Mapping[str, str], look: Look | None, told: Told,
                 services: Collection[str]) -> None:
        self.page = Page()
        self._end = end
        self._grants = grants
        self._way = way
        self._module = module
        self._others = others
        self._environ = environ
        self._look = look
        self._told = told
        self._services = services
        self._account: Account | None = None       # that was found
        self._heard: dict[int, Callable[[], None]] = {}

    def run(self) -> int:
        """Until the helper has no use for it."""
        begin_work((self._end, self._grants, *([self._way] if self._way is not None else [])), self._module)
        self._poll = select.epoll()
        self._poll.register(self._end.fileno(), select.EPOLLIN)
        while True:
            for fd, _ in self._poll.poll(None, 1):
                heard = self._heard.get(fd)
                if heard is not None:
                    heard()
                elif not self._work():
                    return 0

    def _work(self) -> bool:
        """What the helper says.  False: it is gone."""
        found = passing.receive(self._end)
        if found is None:
            return True
        data, fds = found
        if data[:1] == MEETS and len(fds) == 1:
            _, number, pid = MEETING.unpack(data)
            asker = Asker(pid, socket.socket(fileno=fds[0]))
            self._heard[fds[0]] = partial(self._asked, number, asker)
            self._poll.register(fds[0], EVENTS)
            self._end.send(STANDING.pack(STOOD, number))
            return True
        passing.close(fds)
        reply = answer_to(data, self._module, self._environ, self._look) if data else None
        if reply is None:
            return False
        self._end.send(reply)
        return True

    def _asked(self, at: int, asker: Asker) -> None:
        """Answer what a login process asks, if it can be answered here.  ``at``: the number of ``asker``."""
        try:
            head = asker.end.recv(channels.QUESTION.size, PEEKING)
        except BlockingIOError:
            return                     # the helper was quicker
        except OSError:
            head = b""
        # the page says which question it is before that is taken: where this process dies then, none is lost
        if len(head) == channels.QUESTION.size:
            self.page.begin(at, channels.QUESTION.unpack(head)[0])
        try:
            found = passing.receive(asker.end)
        except passing.Refused:
            found = None
        if found is not None:          # else the helper was quicker
            self._take(at, asker, *found)
            passing.close(found[1])
        self.page.end()

    def _take(self, at: int, asker: Asker, data: bytes, fds: list[int]) -> None:
        if len(data) < channels.QUESTION.size:
            del self._heard[asker.end.fileno()]
            asker.end.close()
            return
        number, kind = channels.QUESTION.unpack_from(data)
        client, variables, rest = 0, b"", b""
        try:
            if kind == channels.ASK_FOR:
                client, variables, rest = channels.asked_for(data)
            else:
                rest = data[channels.QUESTION.size:]
            request = asked(rest, self._services) if kind in ASKED else None
        except (ValueError, struct.error):     # UnicodeDecodeError is one
            answer(asker, number, channels.REFUSED)
        else:
            if request is None or request.kind == "token":
                self._pass_on(at, 0, data)
            else:
                gives = partial(give, self._way, client=client, variables=variables, fd=fds[0]) \
                    if kind == channels.ASK_FOR and len(fds) == 1 and self._way is not None else None
                self._do(at, asker, number, of_client(request, request.environ, self._environ), data, gives)
            if request is not None:
                wipe(request.password)
        wipe(data, rest)

    def _do(self, at: int, asker: Asker, number: int, request: Request, data: bytes,
            gives: Callable[[Asker, int, bytes, Account], None] | None) -> None:
        """``gives``: in place of a ticket, where the client came with the question."""
        self.page.begin(at, number, request)
        reply = ask_module(self._module, request, self._see)
        account, self._account = self._account, None
        if reply == FAIL and self._others:
            self._pass_on(at, 1, data)
        elif account is None or reply in (FAIL, TEMPORARY):
            answer(asker, number, channels.TEMPORARY if reply == TEMPORARY else channels.REFUSED)
        elif gives is not None:
            gives(asker, number, reply, account)
        else:
            grant(self._grants, asker, number, reply, account, self._told)

    def _see(self, account: Account) -> None:
        """Raises Unservable or TemporaryFailure."""
        if self._look is not None:
            self._look(account)
        self._account = account

    def _pass_on(self, at: int, known: int, data: bytes) -> None:
        """``known``: how many modules do not know whose it is."""
        self._end.sendmsg([PASSING.pack(PASSED, at, known), data])
