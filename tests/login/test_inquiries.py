"""What is asked of a password helper, and what becomes of it when the helper ends."""
from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from courierpy.auth import Request, TemporaryFailure
from courierpy.login import remote
from courierpy.login.inquiries import Inquiries
from courierpy.system import channels, passing


class Entrant:
    """``answer``: of the helper.  ``failure``: what it gets where there is none in ``seconds``."""

    def __init__(self) -> None:
        self.question = self.exchange = 0
        self.answer: object = None
        self.failure: Exception | None = None
        self.seconds = -1.0

    def answered(self, answer: object) -> None:
        self.answer = answer

    def waits(self) -> None:
        self.failure, self.seconds = None, -1.0

    def fails(self, why: Exception, seconds: float = 0.0) -> None:
        self.failure, self.seconds = why, seconds


class House:
    def __init__(self) -> None:
        self.heard: dict[socket.socket, Callable[[], None]] = {}
        self.inquiries = Inquiries(self)

    def hear(self, end: socket.socket, heard: Callable[[], None]) -> None:
        self.heard[end] = heard

    def forget(self, end: socket.socket) -> None:
        del self.heard[end]

    def let(self, entrant: Entrant, act: Callable[[], None]) -> None:
        act()

    def settle(self, entrant: Entrant) -> None:
        pass

    def turn(self) -> None:
        for heard in list(self.heard.values()):
            heard()


class Helper:
    """The other end."""

    def __init__(self, house: House) -> None:
        self.end, theirs = passing.pair()
        house.inquiries.meet(theirs)

    def asked(self) -> tuple[int, bytes, bytes]:
        found = passing.receive(self.end)
        assert found is not None
        return (*channels.QUESTION.unpack_from(found[0]), bytes(found[0][channels.QUESTION.size:]))

    def says(self, number: int, kind: bytes, rest: bytes = b"") -> None:
        passing.send(self.end, [channels.QUESTION.pack(number, kind), b"demo\0" + rest])


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(passing, "_BUFFER", 16384)     # there is no room for many
    return House()


def login() -> Request:
    return Request("login", "imap", {}, user="demo", password="not told to others")


def test_a_question_of_a_helper_that_ended_is_asked_once_more(house: House) -> None:
    first, entrant = Helper(house), Entrant()
    house.inquiries.ask(entrant, login())
    asked = first.asked()
    first.end.close()
    house.turn()
    assert entrant.answer is None and entrant.seconds > 0          # it waits for another
    second = Helper(house)
    assert second.asked() == asked
    assert entrant.failure is None
    second.says(asked[0], channels.GRANTED, bytes(channels.TICKET_OCTETS) + b"demo@example.org")
    house.turn()
    assert isinstance(entrant.answer, remote.Granted)
    assert entrant.answer.address == "demo@example.org" and not house.inquiries.open


def test_one_that_ends_two_helpers_fails(house: House) -> None:
    entrant = Entrant()
    for _ in range(2):
        helper = Helper(house)
        if not house.inquiries.open:
            house.inquiries.ask(entrant, login())
        helper.asked()
        helper.end.close()
        house.turn()
    assert isinstance(entrant.failure, TemporaryFailure) and entrant.seconds == 0.0
    assert not house.inquiries.open


def test_what_is_asked_while_there_is_none_waits(house: House) -> None:
    gone, stays, later = Entrant(), Entrant(), Entrant()
    for entrant in (gone, stays):
        house.inquiries.ask(entrant, login())
        assert isinstance(entrant.failure, TemporaryFailure) and entrant.seconds > 0
    house.inquiries.give_up(gone)
    helper = Helper(house)
    number, *_ = helper.asked()
    assert number == stays.question and stays.failure is None
    assert passing.receive(helper.end) is None
    helper.end.close()
    house.inquiries.ask(later, login())        # nobody has heard of the end yet
    house.turn()
    second = Helper(house)
    assert {second.asked()[0], second.asked()[0]} == {stays.question, later.question}


def test_an_exchange_goes_on_with_its_helper_alone(house: House) -> None:
    first, entrant, fresh = Helper(house), Entrant(), Entrant()
    begin = remote.Question(channels.BEGIN, b"x" * 20)
    house.inquiries.ask(entrant, begin)
    first.says(first.asked()[0], channels.CHALLENGE, b"what?")
    house.turn()
    assert isinstance(entrant.answer, remote.Answer) and entrant.answer.challenge == b"what?"
    second = Helper(house)             # the first one finishes what it is at
    house.inquiries.ask(entrant, remote.Question(channels.GO_ON, b"that"))
    assert first.asked() == (entrant.exchange, channels.GO_ON, b"that")
    house.inquiries.ask(fresh, remote.Question(channels.BEGIN, b"y" * 20))
    first.end.close()
    house.turn()
    assert isinstance(entrant.failure, TemporaryFailure)
    number, kind, _ = second.asked()
    assert (number, kind) == (fresh.exchange, channels.BEGIN)
    second.end.close()
    house.turn()
    third = Helper(house)              # it had come to no challenge
    assert third.asked() == (number, channels.BEGIN, b"y" * 20)


def test_an_answer_of_one_that_was_not_asked_counts_nothing(house: House) -> None:
    first, entrant = Helper(house), Entrant()
    house.inquiries.ask(entrant, login())
    number, *_ = first.asked()
    Helper(house).says(number, channels.GRANTED, bytes(channels.TICKET_OCTETS))
    first.says(number + 1, channels.GRANTED, bytes(channels.TICKET_OCTETS))
    house.turn()
    assert entrant.answer is None
    house.inquiries.give_up(entrant)
    first.says(number, channels.REFUSED)
    house.turn()
    assert entrant.answer is None


def test_an_exchange_that_was_cancelled_is_given_up_before_the_next_question(house: House) -> None:
    """Else the helper would keep it, and all that its client begins and cancels."""
    helper, entrant = Helper(house), Entrant()
    for question in (remote.Question(channels.BEGIN, b"x" * 20), login()):
        house.inquiries.ask(entrant, remote.Question(channels.BEGIN, b"x" * 20))
        number, kind, _ = helper.asked()
        assert kind == channels.BEGIN
        helper.says(number, channels.CHALLENGE, b"what?")
        house.turn()
        house.inquiries.ask(entrant, question)
        assert helper.asked() == (number, channels.GIVE_UP, b"")
        helper.says(helper.asked()[0], channels.REFUSED)
        house.turn()
    assert not house.inquiries.open


def test_what_there_is_no_room_for_waits_for_an_answer(house: House) -> None:
    helper, entrants = Helper(house), [Entrant()]
    house.inquiries.ask(entrants[0], login())
    while entrants[-1].failure is None:
        entrants.append(Entrant())
        house.inquiries.ask(entrants[-1], login())
    *sent, held = entrants
    gone, after = Entrant(), Entrant()
    house.inquiries.ask(gone, login())
    house.inquiries.give_up(gone)
    house.inquiries.ask(after, login())
    assert held.seconds > 0 and after.seconds > 0
    for entrant in sent:
        number, *_ = helper.asked()
        assert number == entrant.question
        helper.says(number, channels.REFUSED)
        house.turn()
    assert held.failure is None and after.failure is None
    for entrant in (held, after):
        number, *_ = helper.asked()
        assert number == entrant.question
        helper.says(number, channels.REFUSED)
        house.turn()
    assert passing.receive(helper.end) is None and not house.inquiries.open


def test_it_waits_for_the_next_helper_where_that_one_ends(house: House) -> None:
    first, entrants = Helper(house), [Entrant()]
    house.inquiries.ask(entrants[0], login())
    while entrants[-1].failure is None:
        entrants.append(Entrant())
        house.inquiries.ask(entrants[-1], login())
    first.end.close()
    house.turn()
    second = Helper(house)
    for entrant in entrants[:-1]:
        number, *_ = second.asked()
        assert number == entrant.question
        second.says(number, channels.REFUSED)
        house.turn()
    assert second.asked()[0] == entrants[-1].question
    assert passing.receive(second.end) is None
