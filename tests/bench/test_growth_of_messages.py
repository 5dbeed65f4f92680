"""The growth of messages: shapes have the size that they are asked for, and what is steep is found."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import growth_of_messages as growth
from bench.shapes import SHAPES
from courierpy.imap.attributes import KINDS
from courierpy.message import Message


@pytest.mark.parametrize("octets", [2000, 30_000])
def test_shapes_are_as_large_as_asked(octets: int) -> None:
    for title, shape in SHAPES.items():
        assert octets / 2.2 < len(shape(octets)) < octets * 1.6 + 300, title


def test_all_that_is_kept_of_a_message_is_measured() -> None:
    assert set(KINDS) < set(growth.MEASURES)
    for measure in growth.MEASURES.values():
        measure(Message(SHAPES["parts"](500)))


@pytest.mark.parametrize(("power", "steep"), [(1.0, False), (1.15, False), (1.5, True), (2.0, True)])
def test_exponents(power: float, steep: bool) -> None:
    found = growth.Growth()
    for size in (1000, 4000, 16_000):
        found.add(size, size ** power / 1000, b"x")
    assert found.exponent() == pytest.approx(power)
    assert found.steep() == steep
    longer, shorter = growth.Growth(), growth.Growth()
    for size in (1000, 4000, 16_000):
        longer.add(size, 0.0, b"x" * int(2 * size ** power))
        shorter.add(size, 0.0, b"x" * int(size ** power / 16_000))
    assert longer.steep() == steep
    assert not shorter.steep()         # than the message: that is no growth


@pytest.mark.parametrize(("cost", "bad"), [(lambda size: size * 1e-6, 0),
                                           (lambda size: size * size * 1e-12, 1)])
def test_what_is_steep_is_told(cost: Callable[[int], float], bad: int, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]

    def measure(message: Message) -> bytes:
        clock[0] += cost(len(message.data))
        return b""

    monkeypatch.setattr(growth.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(growth, "MEASURES", {name: (lambda message: b"") for name in growth.FIRST})
    monkeypatch.setitem(growth.MEASURES, "planted", measure)
    assert growth.main(["--shapes", "base64 of =", "--largest", "200000"]) == bad
    said = capsys.readouterr().out
    assert ("planted: exponent 2.0" in said) == bool(bad)
    assert (f"no exponent above {growth.LIMIT}" in said) == (not bad)
