"""SORT=DISPLAY.  RFC 5957: SORT by the name that is shown of the first sender or recipient."""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.message.collation import key, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from courierpy.imap.commands.ordered import Sorting
    from courierpy.message import Message


def _shown(field: bytes) -> Callable[[Message], bytes]:
    return lambda message: key(message.first_shown(field)).encode("utf-8", "surrogatepass")


def _by(name: str) -> Callable[[Sorting, array[int]], Sequence[bytes]]:
    return lambda sorting, uids: [value or b"" for value in sorting.attributes.values(kind(name), uids)]


EXTENSION = Extension(
    b"SORT=DISPLAY", off="IMAP_DISABLETHREADSORT",
    attributes={b"display-from": (True, _shown(b"from")), b"display-to": (True, _shown(b"to"))},
    sort_keys={b"DISPLAYFROM": _by("display-from"), b"DISPLAYTO": _by("display-to")})
