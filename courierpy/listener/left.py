"""What one image of couriertcpd leaves to the next one of its doorway: processes, clients and tickets."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Left:
    """What it leaves of its doorway.

    ``logins``: descriptor of the link by pid.  ``helpers``: descriptors of the grants.  ``guests``,
    ``grants``, ``orphans``, ``sessions`` and ``asked`` (listener/outward.py): as JSON has them, orphans with
    their descriptors first."""

    __slots__ = ("asked", "grants", "guests", "helpers", "logins", "orphans", "sessions")

    def __init__(self, values: Sequence[Any] = ((), [], [], [])) -> None:
        """``values``: an image of before may have fewer."""
        self.logins: dict[int, int] = dict(values[0])
        self.helpers: list[int] = values[1]
        self.guests: list[list[Any]] = values[2]
        self.grants: list[list[Any]] = values[3]
        self.orphans, self.sessions, self.asked = (
            list(values[at]) if len(values) > at else [] for at in (4, 5, 6))

    def values(self) -> list[Any]:
        return [list(self.logins.items()), self.helpers, self.guests, self.grants, self.orphans,
                self.sessions, self.asked]

    def descriptors(self) -> list[int]:
        return [*self.logins.values(), *self.helpers, *(each[0] for each in self.orphans)]
