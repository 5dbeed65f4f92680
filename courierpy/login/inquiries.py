"""What a login process has asked the password helper, until it is answered.

A helper may end, and couriertcpd starts another: what it had not answered the next one is asked, once, and
what is asked meanwhile waits for that, so a helper that is started anew costs no login.  Only an exchange
that has come to a challenge was known to the old helper alone, and fails for now.  What there is no room for
on the way to a helper waits for its next answer.
"""
from __future__ import annotations

import socket
from functools import partial

from courierpy.auth import Request, TemporaryFailure
from courierpy.login import remote
from courierpy.system import channels, log, passing
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from courierpy.login.wire import Wire

    class Entrant(Protocol):
        """As login/entrant.py has it."""

        question: int
        exchange: int
        wire: Wire

        def answered(self, answer: object) -> None: ...

        def waits(self) -> None: ...

        def fails(self, why: Exception, seconds: float = 0.0) -> None: ...

    class House(Protocol):
        """As login/process.py has it."""

        def hear(self, end: socket.socket, heard: Callable[[], None]) -> None: ...

        def forget(self, end: socket.socket) -> None: ...

        def let(self, entrant: Any, act: Callable[[], None]) -> None: ...

        def settle(self, entrant: Any) -> None: ...

PATIENCE_SECONDS = 30.0        # that a client waits for a helper when there is none


class Inquiry:
    """A question that is not answered yet.  ``helper``: who was asked, None while there is nobody.
    ``again``: another one was, before.  ``fds``: the client's, where it comes with the question."""

    __slots__ = ("again", "data", "entrant", "fds", "helper", "kind", "number")

    def __init__(self, number: int, entrant: Entrant, asked: remote.Question,
                 helper: socket.socket | None) -> None:
        self.number = number
        self.entrant = entrant
        self.kind, self.data = asked.kind, asked.data
        self.helper = helper
        self.again = False
        self.fds = (entrant.wire.socket.fileno(),) if asked.kind == channels.ASK_FOR else ()


class Inquiries:
    """What one login process has asked the helper, and not heard yet.

    ``open``: by number."""

    def __init__(self, house: House) -> None:
        self.open: dict[int, Inquiry] = {}
        self._house = house
        self._helper: socket.socket | None = None
        self._exchanges: dict[int, socket.socket] = {}     # number -> the helper that does it
        self._last = 0
        self._held: dict[int, Inquiry] = {}        # those that there was no room for, in the order they came

    # -- the helper

    def meet(self, helper: socket.socket) -> None:
        """There is another helper.  One before it finishes what it is at."""
        self._helper = helper
        self._house.hear(helper, partial(self._answers, helper))
        for inquiry in [each for each in self.open.values() if each.helper is None]:
            inquiry.helper = helper
            self._send(inquiry)
            self._house.settle(inquiry.entrant)

    def _gone(self, helper: socket.socket) -> None:
        """It has ended; whoever waits for it waits for the next one."""
        self._house.forget(helper)
        helper.close()
        if self._helper is helper:
            self._helper = None
        for number in [number for number, other in self._exchanges.items() if other is helper]:
            del self._exchanges[number]
        for inquiry in [each for each in self.open.values() if each.helper is helper]:
            if inquiry.again or inquiry.kind == channels.GO_ON:
                self._fail(inquiry, "the password helper ended")
            else:
                inquiry.again, inquiry.helper = True, self._helper
                self._send(inquiry)
            self._house.settle(inquiry.entrant)

    # -- what is asked

    def ask(self, entrant: Entrant, question: remote.Question | Request, going: bytes = b"") -> None:
        """``going``: as of remote.of_request().  Answered by Entrant.answered(), or fails; neither at once.
        Who asks is settled by its turn."""
        try:
            asked = remote.of_request(question, going) if isinstance(question, Request) else question
        except Exception as error:     # Rejected: nothing that can be asked
            entrant.fails(error)
            return
        if asked.kind == channels.GO_ON:
            number, helper = entrant.exchange, self._exchanges.get(entrant.exchange)
        else:
            self._give_up_exchange(entrant)        # the client has cancelled that
            self._last += 1
            number, helper = self._last, self._helper
            entrant.exchange = number if asked.kind == channels.BEGIN else 0
        entrant.question = number
        inquiry = self.open[number] = Inquiry(number, entrant, asked, helper)
        if asked.kind == channels.GO_ON and helper is None:
            self._fail(inquiry, "the password helper ended")
        else:
            self._send(inquiry)

    def _send(self, inquiry: Inquiry) -> None:
        helper = inquiry.helper
        if helper is None:
            self._held.pop(inquiry.number, None)
            inquiry.entrant.fails(TemporaryFailure("there is no password helper"), PATIENCE_SECONDS)
            return
        try:
            passing.send(helper, [channels.QUESTION.pack(inquiry.number, inquiry.kind), inquiry.data],
                         inquiry.fds)
        except BlockingIOError:
            self._held[inquiry.number] = inquiry
            inquiry.entrant.fails(TemporaryFailure("the password helper has too much to do"),
                                  PATIENCE_SECONDS)
            return
        except OSError:                # it has ended; that is heard soon, and all that waits is seen to
            pass
        self._held.pop(inquiry.number, None)
        if inquiry.kind == channels.BEGIN:
            self._exchanges[inquiry.number] = helper
        inquiry.entrant.waits()

    def _send_held(self) -> None:
        """As many as there is room for now."""
        while self._held:
            inquiry = next(iter(self._held.values()))
            self._send(inquiry)
            if inquiry.number in self._held:
                return
            self._house.settle(inquiry.entrant)

    def _fail(self, inquiry: Inquiry, why: str) -> None:
        """An inquiry that the helper cannot answer now."""
        self._close(inquiry)
        inquiry.entrant.fails(TemporaryFailure(why))

    def give_up(self, entrant: Entrant) -> None:
        """It is gone, or waits no more."""
        inquiry = self.open.get(entrant.question)
        if inquiry is not None and inquiry.entrant is entrant:
            self._close(inquiry)
        self._give_up_exchange(entrant)

    def _give_up_exchange(self, entrant: Entrant) -> None:
        """The one of before, if it goes on."""
        helper = self._exchanges.pop(entrant.exchange, None)
        if helper is not None:
            try:
                passing.send(helper, [channels.QUESTION.pack(entrant.exchange, channels.GIVE_UP)])
            except OSError as error:
                log.debug(f"an exchange is not given up: {error.strerror}")
        entrant.exchange = 0

    def _close(self, inquiry: Inquiry) -> None:
        self.open.pop(inquiry.number, None)
        self._held.pop(inquiry.number, None)
        wipe(inquiry.data)
        inquiry.data = b""

    # -- what is answered

    def _answers(self, helper: socket.socket) -> None:
        found = passing.heard(helper, "the password helper")
        if found is None:
            return
        data, fds = found
        if fds:
            passing.close(fds)
        if len(data) < channels.QUESTION.size:
            self._gone(helper)
            return
        number, kind = channels.QUESTION.unpack_from(data)
        inquiry = self.open.get(number)
        if inquiry is not None and inquiry.helper is helper:
            self._close(inquiry)
            self._answered(inquiry.entrant, kind, data[channels.QUESTION.size:])
        if self._held:
            self._send_held()

    def _answered(self, entrant: Entrant, kind: bytes, data: bytes) -> None:
        answer = remote.answer(kind, data)
        decided: object = answer.error or answer.account
        if entrant.exchange:
            if kind != channels.CHALLENGE:
                self._exchanges.pop(entrant.exchange, None)
                entrant.exchange = 0
            decided = answer
        self._house.let(entrant, partial(entrant.answered, decided))
