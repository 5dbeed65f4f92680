"""Which protocol a program speaks: its first octet tells."""
from __future__ import annotations

from courierpy.lmtp.grammar import Reply
from courierpy.mta import policy, socketmap
from courierpy.mta.question import Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Tongue:
    """A protocol in which an MTA asks.

    ``name``: for counts; ``cut`` and ``answer``: as socketmap.py has them."""

    __slots__ = ("answer", "cut", "name")

    def __init__(self, name: str, cut: Callable[[bytes], tuple[Question | None, int]],
                 answer: Callable[[Question, Reply | None], bytes]) -> None:
        self.name = name
        self.cut = cut
        self.answer = answer


DIGITS = frozenset(b"%d" % digit for digit in range(10))
SOCKETMAP = Tongue(socketmap.NAME, socketmap.cut, socketmap.answer)
POLICY = Tongue(policy.NAME, policy.cut, policy.answer)


def of(data: bytes) -> Tongue:
    """A netstring begins with a digit, the name of an attribute with none."""
    return SOCKETMAP if data[:1] in DIGITS else POLICY


def result(reply: Reply | None) -> str:
    """As it is counted."""
    if reply is None:
        return "none"
    if reply.done:
        return "yes"
    if reply.status == "5.1.1":
        return "unknown"
    if reply.status in ("4.2.2", "5.2.2"):
        return "full"
    return "later" if reply.code < 500 else "no"
