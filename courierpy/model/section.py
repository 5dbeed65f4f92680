"""What a client asks of a message."""
from __future__ import annotations


class Section:
    """What stands between the brackets of BODY[...].  RFC 9051 6.4.5.

    ``part``: part numbers, () for the whole message.  ``kind``: b"" (all of
    it), b"HEADER", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT", b"TEXT", b"MIME".
    ``fields``: header names in the client's spelling.
    """

    __slots__ = ("fields", "kind", "part")

    def __init__(self, part: tuple[int, ...] = (), kind: bytes = b"",
                 fields: tuple[bytes, ...] = ()) -> None:
        self.part = part
        self.kind = kind
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Section)
                and (self.part, self.kind, self.fields) == (other.part, other.kind, other.fields))

    def __hash__(self) -> int:
        return hash((self.part, self.kind, self.fields))

    def __repr__(self) -> str:
        return f"Section({self.part!r}, {self.kind!r}, {self.fields!r})"
