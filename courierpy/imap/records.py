"""Records by their names, for the parser of a command and for who does it: those of the base, and behind
them what extensions plug into a table of the same kind."""
from __future__ import annotations

from courierpy.imap import ext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    T = TypeVar("T")
else:
    T = object


class Records(dict[bytes, T]):
    """The records of the base.  ``plugged``: the table in which those of extensions are (ext.TABLES)."""

    __slots__ = ("plugged",)

    def __init__(self, plugged: str, base: Mapping[bytes, T] | None = None) -> None:
        super().__init__(base or {})
        self.plugged = plugged

    def find(self, name: bytes) -> T | None:
        """The record of that name, for the grammar; None where there is none."""
        found: T | None = self.get(name) or ext.find(self.plugged, name)
        return found

    def need(self, name: bytes) -> T:
        """The record of a name that the grammar knows.  Raises LookupError."""
        found = self.get(name)
        if found is None:
            found = self.find(name)
            if found is None:
                raise LookupError(name)
        return found
