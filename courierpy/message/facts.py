"""What an index keeps of a message, from one look at its bytes."""
from __future__ import annotations

from courierpy.message import rendered
from courierpy.message.message import Message
from courierpy.message.mime import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.message.mime import Limits


class Facts:
    """``size``: octets of the wire form.  ``envelope``, ``structure``: ENVELOPE and
    BODYSTRUCTURE as they stand in a reply to a client without UTF-8; ``plain``:
    one with UTF-8 is told the same.  ``sent``: the Date header in seconds since
    1970 UTC, None without one."""

    __slots__ = ("envelope", "plain", "sent", "size", "structure")

    def __init__(self, size: int, envelope: bytes, structure: bytes, plain: bool, sent: float | None) -> None:
        self.size = size
        self.envelope = envelope
        self.structure = structure
        self.plain = plain
        self.sent = sent


def facts(data: bytes, limits: Limits = DEFAULT) -> Facts:
    """Of the whole file of a message."""
    message = Message(data, limits)
    root = message.root
    envelope = message.envelope_bytes()
    structure, size = rendered.measured(root, True, False)
    plain = _ascii(message) or (envelope == message.envelope_bytes(True)
                                and structure == message.structure_bytes(True, True))
    return Facts(size, envelope, structure, plain, message.sent_time())


def _ascii(message: Message) -> bool:
    """Is nothing told that is not ASCII?  A "no" may be wrong."""
    for known in [message.known, *[part.known for part in message.parts()]]:
        text = b"".join(known.values())
        if not text.isascii() or b"*" in text:         # of RFC 2231: may become what is not
            return False
    return True
