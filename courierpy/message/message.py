"""A message by its file's octets; everything is computed when it is asked for.

The wire form has CRLF line ends: every LF without a CR before it gets one, so
that files with LF and files with CRLF are both served right.
"""
from __future__ import annotations

from courierpy.message import (
    address,
    decode,
    headers,
    mime,
    rendered,
    sections,
    straight,
    subject,
    threads,
)
from courierpy.message import (
    dateheader as sent,
)
from courierpy.message import (
    searchtext as folded,
)
from courierpy.message.charsets import charset_text
from courierpy.message.collation import key
from courierpy.message.headers import wire_form
from courierpy.message.sections import Fields
from courierpy.message.wire import Extent, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from courierpy.message.binary import Cut, Decoded
    from courierpy.message.mime import Limits, Part
    from courierpy.message.source import Octets
    from courierpy.model.section import Section

    Content: TypeAlias = bytes | Extent | Fields | Cut

__all__ = ["Message", "wire_form"]

AT_ONCE_OCTETS = 64 * 1024         # of a section that is made ready as one piece
ANCESTORS = 1000                   # message IDs of a message's References that count
HEADER_OCTETS = 1024 * 1024        # of a header that is chosen from at once


class Message:
    """What can be asked of a message, a method or property each; others do the work.

    ``data``: the file as it is, in memory or read by offset."""

    def __init__(self, data: Octets, limits: Limits = mime.DEFAULT) -> None:
        self.data = data
        self.limits = limits
        self._root: Part | None = None
        self._wire: Wire | None = None
        self._block: bytes | None = None
        self._known: dict[bytes, bytes] | None = None
        self._decoded: dict[tuple[int, ...], Decoded | None] = {}

    def as_text(self) -> Message:
        """The same octets as a plain text without a header that says anything."""
        return Message(self.data, mime.Limits(parts=1, depth=1, header=0))

    # -- octets

    @property
    def wire(self) -> Wire:
        """Where each octet stands in the wire form."""
        if self._wire is None:
            self._wire = Wire(self.data)
        return self._wire

    @property
    def size(self) -> int:
        """Octets of the wire form, RFC822.SIZE."""
        data = self.data
        if not isinstance(data, bytes):
            return self.wire.size
        return len(data) + data.count(b"\n") - (data.count(b"\r\n") if headers.CR in data else 0)

    @property
    def root(self) -> Part:
        """The tree of parts; its offsets are those of ``data``."""
        if self._root is None:
            self._root = mime.parse(self.data, self.limits)
        return self._root

    def content(self, section: Section, most: int = AT_ONCE_OCTETS) -> Content | None:
        """BODY[section]; None when there is no such part.  What has more than ``most`` octets on
        disk is not made ready here: it has a len(), and gives its octets piece by piece."""
        data = self.data
        if not section.kind and not section.part and len(data) <= most:
            return wire_form(data[:])  # most often: all of a small one
        place = self._place(section)
        if place is None:
            return None
        start, stop = place
        if section.kind.startswith(b"HEADER.FIELDS"):
            if stop - start > (HEADER_OCTETS if most == AT_ONCE_OCTETS else most):
                return Fields(self.data, start, stop, section)
            return sections.chosen_fields(self.data, start, stop, section)
        if stop - start > most:
            return Extent(self.wire, start, stop)
        return wire_form(self.data[start:stop])

    def decoded(self, numbers: tuple[int, ...]) -> Decoded | None:
        """BINARY[numbers]; None when there is no such part.  Raises UnknownEncoding.  RFC 3516 4.2."""
        from courierpy.message.binary import Decoded
        if numbers not in self._decoded:
            found: Decoded | None = None
            part = sections.part_of(self.root, numbers)
            if not numbers:
                found = Decoded(self.data, 0, len(self.data), b"8bit")
            elif part is not None:     # one that holds parts is what it holds, whatever it says of itself
                encoding = b"8bit" if part.children else part.encoding
                found = Decoded(self.data, part.body, part.stop, encoding)
            self._decoded = {numbers: found}       # clients fetch a large one in many pieces
        return self._decoded[numbers]

    def section(self, section: Section) -> bytes | None:
        """The same, all octets at once."""
        found = self.content(section)
        return found if found is None or isinstance(found, bytes) else b"".join(found)

    def _place(self, section: Section) -> tuple[int, int] | None:
        """From where to where it stands."""
        if section.part:
            return sections.place_in(self.root, section)
        size = len(self.data)
        if not section.kind:
            return 0, size
        end = headers.header_end(self.data, 0, size)
        return (end, size) if section.kind == b"TEXT" else (0, end)

    # -- headers

    @property
    def block(self) -> bytes:
        """The header as far as the limits let it be looked into, as ``headers`` takes it."""
        if self._block is None:
            end = min(headers.header_end(self.data, 0, len(self.data)), self.limits.header)
            self._block = headers.block(self.data, 0, end)
        return self._block

    @property
    def known(self) -> dict[bytes, bytes]:
        """The fields that ENVELOPE tells, see ``headers.told``."""
        if self._known is None:
            if self._root is not None and self._root.body <= self.limits.header // 2:
                self._known = self._root.known     # no limit cut it: the same header, the same fields
            else:
                self._known = headers.told(self.block)
        return self._known

    def header(self, name: bytes) -> list[bytes]:
        """Values of a field, unfolded, in order."""
        return headers.values(self.block, name)

    def first_mailbox(self, name: bytes) -> str:
        """The part before the ``@`` of the first address in a field; "" without one."""
        for value in self.header(name):
            found = address.parse(value)
            if found:
                return charset_text(found[0][2] or b"", "")
        return ""

    def first_shown(self, name: bytes) -> str:
        """What is shown of the first address in a field: its name, decoded, or else the address; "" without
        one.  RFC 5957 3."""
        for value in self.header(name):
            found = address.parse(value)
            if found:
                shown, _, mailbox, host = found[0]
                spelled = (mailbox or b"") + (b"@" + host if mailbox and host else b"")
                return decode.words(shown or b"") or charset_text(spelled, "")
        return ""

    def base_subject(self) -> tuple[str, bool]:
        """(collation key of the base subject, is it one of a reply or forward).  RFC 5256 2.1."""
        for value in filter(None, self.header(b"subject")):
            text, reply = subject.base(decode.words(value))
            return key(text), reply
        return "", False

    def thread_ids(self) -> tuple[bytes | None, list[bytes]]:
        """(own message ID, those of its ancestors, the oldest first).  RFC 5256 BASE.6.4.THREAD (1).

        Of more than ``ANCESTORS`` these are the first one, where the thread begins, and the last ones: each
        is a message that may have to be thought of, and a header has room for a hundred thousand."""
        own = threads.message_ids(b" ".join(self.header(b"message-id")[:1]))
        refs = threads.message_ids(b" ".join(self.header(b"references")))
        if not refs:
            refs = threads.message_ids(b" ".join(self.header(b"in-reply-to")))[:1]
        if len(refs) > ANCESTORS:
            del refs[1:1 - ANCESTORS]
        return (own[0] if own else None), refs

    def sent_day(self) -> int | None:
        """The Date header's own day as an ordinal; None when it has none."""
        value = self._date()
        return None if value is None else sent.day(value)

    def sent_time(self) -> float | None:
        """The Date header as seconds since 1970 UTC."""
        value = self._date()
        return None if value is None else sent.moment(value)

    def _date(self) -> bytes | None:
        if self._known is not None:
            return self._known.get(b"date")
        return next(filter(None, self.header(b"date")), None)

    # -- what is told

    def envelope_bytes(self, utf8: bool = False) -> bytes:
        """ENVELOPE as it stands in a reply, RFC 9051 7.5.2.  ``utf8``: 8-bit text stays, else it becomes
        encoded words."""
        return rendered.envelope(self.known, utf8)

    def structure_bytes(self, extended: bool, utf8: bool = False) -> bytes:
        """BODYSTRUCTURE, or BODY when not ``extended``, as it stands in a reply."""
        if self._root is None and isinstance(self.data, bytes):
            usual = straight.structure(self.data, self.limits, extended, utf8)
            if usual is not None:
                return usual
        return rendered.structure(self.root, extended, utf8)

    # -- searching

    # The folded texts are what a needle, folded with ``collation.fold``, is looked for
    # in.  Separate texts are joined by a line end, which no needle holds.

    def folded_header(self, name: bytes) -> str | None:
        """All values of a field; None when there is none."""
        return folded.field(self.block, name)

    def folded_body(self) -> str:
        """What BODY searches."""
        return folded.body(self.root)
