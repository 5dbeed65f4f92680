"""FETCH: attributes of messages, and what stands in them.

The octets are those of the file, whose lines end in LF.  They come in pieces, each with its length before it,
so that one which cannot be read any more ends a message and not the client. """
from __future__ import annotations

import re
import time

from courierpy.imap.fetch import Subject
from courierpy.maildir.errors import MessageDenied, Vanished
from courierpy.message.headers import header_end
from courierpy.message.transfer import Base64Decoder, QuotedPrintableDecoder
from courierpy.model.flags import SEEN, FlagChange
from courierpy.model.replies import No, anew
from courierpy.model.rights import flags_of
from courierpy.smap import grammar
from courierpy.smap.messages import change, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from courierpy.imap.view import View
    from courierpy.maildir.errors import StoreError
    from courierpy.message import Message
    from courierpy.message.mime import Part
    from courierpy.message.source import Octets
    from courierpy.smap.client import Client
    from courierpy.smap.grammar import Contents

PIECE_OCTETS = 64 * 1024
_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")
_FOLD = re.compile(rb"\r?\n[ \t]+")
WHOLE = b"1"                           # the ID of the message, with which those of its parts begin
NO_PART = No("Cannot retrieve message: Invalid argument")


def fetch(client: Client, words: Sequence[bytes]) -> str:
    """Contents first, then a line of attributes for each message.  What nobody knows is passed over, and so
    are messages that are not there.  That one may not be read is told behind all others."""
    uids, items = named(client, words)
    view = client.account.need_selected().view
    asked = [found for found in map(grammar.contents, items) if found is not None]
    denied: MessageDenied | None = None
    for uid in uids if asked else ():
        try:
            _fetch(client, view.seq(uid), asked)
        except Vanished:
            continue
        except MessageDenied as why:
            denied = denied or why
            continue
        if not all(found.peeks for found in asked):
            _see(client, view, uid)
    names = {item.upper() for item in items}
    wanted = [name for name in ATTRIBUTES if name in names]
    if b"KEYWORDS" in wanted and not client.account.rules.keywords_on:
        wanted.remove(b"KEYWORDS")
    for uid in uids if wanted else ():
        try:
            values = [ATTRIBUTES[name](client, view, uid) for name in wanted]
        except Vanished:
            continue
        except MessageDenied as why:
            denied = denied or why
            continue
        client.account.write(grammar.line(b"* FETCH %d" % view.seq(uid), *values))
    if denied is not None:
        raise denied
    return "Message retrieved."


def _see(client: Client, view: View, uid: int) -> None:
    selected = client.account.need_selected()
    if view.bits(view.seq(uid)) & SEEN or selected.readonly or not flags_of(selected.rights)[0] & SEEN:
        return
    refused: list[StoreError] = []
    change(client, [uid], FlagChange("+", SEEN), refused)


# -- attributes

def _flags(client: Client, view: View, uid: int) -> bytes:
    return grammar.flags(view.bits(view.seq(uid)))


def _keywords(client: Client, view: View, uid: int) -> bytes:
    return grammar.keywords(view.words(uid))


def _uid(client: Client, view: View, uid: int) -> bytes:
    return grammar.quoted(b"UID=" + client.account.need_selected().folder.finder.name_of(uid))


def _size(client: Client, view: View, uid: int) -> bytes:
    return b"SIZE=%d" % client.account.need_selected().folder.finder.stat(uid)[0]


def _date(client: Client, view: View, uid: int) -> bytes:
    when = time.localtime(client.account.need_selected().folder.finder.stat(uid)[1])
    return grammar.quoted("INTERNALDATE=" + time.strftime("%a, %d %b %Y %H:%M:%S %z", when))


# in the order in which Courier tells them
ATTRIBUTES = {b"FLAGS": _flags, b"KEYWORDS": _keywords, b"UID": _uid, b"SIZE": _size, b"INTERNALDATE": _date}


# -- contents

def _fetch(client: Client, seq: int, asked: Iterable[Contents]) -> None:
    account = client.account
    selected = account.need_selected()
    reading = selected.attributes(account.limits).reading
    with Subject(account, reading, seq, selected.view.uids[seq - 1]) as subject:
        message = subject.told(lambda message: message)
        parts = _parts(message)
        for contents in asked:
            _tell(client, seq, message, contents, parts)


def _parts(message: Message) -> dict[bytes, tuple[Part, bytes | None]]:
    """By their ID: the part, and the ID of the part in which it is, None for the message as a whole.  A
    message in a part has the number 0 there."""
    found: dict[bytes, tuple[Part, bytes | None]] = {b"": (message.root, None)}
    left = [(b"", message.root)]
    while left:
        above, part = left.pop()
        for number, child in enumerate(part.children, 0 if part.kind == b"message" else 1):
            name = b"%s.%d" % (above or WHOLE, number)
            found[name] = child, above
            left.append((name, child))
    return found


def _tell(client: Client, seq: int, message: Message, contents: Contents,
          parts: Mapping[bytes, tuple[Part, bytes | None]]) -> None:
    if contents.kind == b"MIME":
        _mime(client, seq, message, contents, parts)
        return
    asked = b"" if contents.part == WHOLE else contents.part
    if asked not in parts:
        raise anew(NO_PART)
    part, _ = parts[asked]
    data, whole = message.data, not asked
    start, body, stop = part.start, part.body, part.stop
    if whole:                          # also what no limit lets into the tree of parts
        start, body, stop = 0, header_end(data, 0, len(data)), len(data)
    label = b"FETCH %d CONTENTS" % seq
    if contents.kind in (b"HEADERS", b"RAWHEADERS"):
        head = b"{.%d} FETCH %d %s" % (0 if not contents.part else body - start, seq, contents.kind)
        _lines(client, head, _header(data, start, body, contents, message.limits.header))
        return
    if contents.kind == b"ALL":
        body = start
    pieces = _pieces(data, body, stop)
    if contents.kind == b"BODY.DECODED" and not part.children:
        if part.encoding == b"base64":
            pieces = _decoded(pieces, Base64Decoder())
        elif part.encoding == b"quoted-printable":
            pieces = _decoded(pieces, QuotedPrintableDecoder())
    _binary(client, label, stop - body, pieces)


def _mime(client: Client, seq: int, message: Message, contents: Contents,
          parts: Mapping[bytes, tuple[Part, bytes | None]]) -> None:
    """The header of each part, those above it before it."""
    data = message.data
    for name in sorted(parts, key=_order):
        part, above = parts[name]
        words = [b"{.%d} FETCH %d LINES=%d SIZE=%d" % (
            part.body - part.start, seq, data.count(b"\n", part.body, part.stop), part.stop - part.body),
            grammar.quoted(b"MIME.ID=" + name)]
        if above is not None:
            words.append(grammar.quoted(b"MIME.PARENT=" + above))
        header = _header(data, part.start, part.body, contents, message.limits.header)
        _lines(client, b" ".join(words), header)


def _order(name: bytes) -> list[int]:
    return list(map(int, name.split(b"."))) if name else []


def _header(data: Octets, start: int, body: int, contents: Contents, most: int) -> bytes:
    """The fields that are asked for, a line each but for RAWHEADERS."""
    header = data[start:min(body, start + most)].replace(b"\r\n", b"\n")
    found = []
    for field in _FIELD.findall(header if header.endswith(b"\n") else header + b"\n"):
        name, colon, _ = field.partition(b":")
        if field != b"\n" and contents.wants(name.strip().lower()) and (colon or not contents.names):
            found.append(field if contents.kind == b"RAWHEADERS" else _FOLD.sub(b" ", field[:-1]) + b"\n")
    return b"".join(found)


def _pieces(data: Octets, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, PIECE_OCTETS):
        yield data[at:min(stop, at + PIECE_OCTETS)]


def _decoded(pieces: Iterable[bytes], decoder: Base64Decoder | QuotedPrintableDecoder) -> Iterator[bytes]:
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _lines(client: Client, head: bytes, text: bytes) -> None:
    """In the form for lines: a dot more before each that begins with one, and a dot at the end."""
    client.account.headers += len(text)
    stuffed = (b"\n" + text).replace(b"\n.", b"\n..")[1:]
    client.account.write(head + b"\n" + stuffed + b".\n")


def _binary(client: Client, label: bytes, estimate: int, pieces: Iterable[bytes]) -> None:
    """In the form for octets.  Pieces are read before their length is told."""
    account, begun = client.account, False
    held = b""
    try:
        for piece in pieces:
            held += piece
            if len(held) < PIECE_OCTETS:
                continue
            _piece(client, label, estimate, held, begun)
            held, begun = b"", True
        if held or not begun:
            _piece(client, label, estimate, held, begun)
            begun = True
    finally:
        if begun:
            account.write(b"\n")


def _piece(client: Client, label: bytes, estimate: int, piece: bytes, begun: bool) -> None:
    head = b"%d\n" % len(piece) if begun else b"{%d/%d} %s\n" % (len(piece), estimate, label)
    client.account.write(head + piece)
    client.account.body += len(piece)
