"""The clock of a login process."""
from __future__ import annotations

import heapq
import time
from typing import Any

import pytest

from courierpy.login.process import House
from courierpy.system import passing


class Relay:
    """``due``: as login/relayed.py has it."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.over = False

    def clock(self) -> None:
        self.over = True


# float("inf"): later than now, and a name of the test that is the same in each worker
@pytest.mark.parametrize(("due", "over"), [(0.0, False), (1.0, True), (float("inf"), False)])
def test_the_deadline_of_a_login_ends_no_session(monkeypatch: pytest.MonkeyPatch, due: float,
                                                 over: bool) -> None:
    """Both have the same number, and the moment of the login is in the heap still."""
    link, _ = passing.pair()
    program: Any = None
    house = House(link, program, {}, True, -1)
    relay: Any = Relay(due)
    house.relays[7] = relay
    monkeypatch.setattr(house, "_carry", lambda relay: None)
    heapq.heappush(house._due, (time.monotonic() - 1, 7))
    house._clock()
    assert relay.over is over
    link.close()
