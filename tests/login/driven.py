"""A dialogue before the login, driven by hand: no client, no process, no clock."""
from __future__ import annotations

from typing import Any

from courierpy.auth import Account
from courierpy.login.stage import Stage
from courierpy.model.steps import Read


class Said:
    """What a client would read."""

    def __init__(self) -> None:
        self.octets = b""

    def write(self, data: bytes) -> None:
        self.octets += data

    say_last = write

    def put_on(self, layer: object) -> None:
        raise AssertionError("nothing is put on before the login")


class Driven:
    """``spoken``: the module of the protocol's dialogue.  ``greeted``: what was said first.  ``found``: whose
    the session is, or the exit status; None while it goes on."""

    def __init__(self, spoken: Any, **settings: str) -> None:
        self.said = Said()
        self.stage = Stage(spoken.PROTOCOL, spoken.PORT,
                           {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", **settings}, self.said, -1)
        self.login = spoken.dialogue(self.stage)
        self.steps = self.login.steps()
        self.found: Account | int | None = None
        self.wants: object = next(self.steps)
        self.greeted = self.heard()

    def heard(self) -> bytes:
        """What was said since the last time."""
        octets, self.said.octets = self.said.octets, b""
        return octets

    def answer(self, answer: object = None) -> object:
        """The next step."""
        try:
            failed = isinstance(answer, Exception)
            self.wants = self.steps.throw(answer) if failed else self.steps.send(answer)
        except StopIteration as over:
            self.found, self.wants = over.value, None
        return self.wants

    def say(self, data: bytes) -> bytes:
        assert isinstance(self.wants, Read)
        self.answer(bytes(bytearray(data)))            # it is wiped: no constant of ours may be
        return self.heard()
