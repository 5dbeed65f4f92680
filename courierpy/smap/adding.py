"""ADD and RSET: a message for a folder, for recipients, or for both.

Several ADD say what the message is, and the last one announces its octets, which are asked for only where
they can be kept.  What is to be sent goes first: a message that could not be sent is not kept, as nobody
would look for it there. """
from __future__ import annotations

import re
from functools import partial

from courierpy.imap import appending, permitted
from courierpy.message.dateheader import moment
from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import decimal
from courierpy.model.replies import Bad, No
from courierpy.smap import grammar, paths, sending
from courierpy.smap.messages import names
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from courierpy.maildir.draft import Draft
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.smap.client import Client
    from courierpy.smap.grammar import Literal
    from courierpy.smap.upload import Upload

ALL_THERE_IS = 1 << 62             # octets
MAX_RECIPIENTS = 1000
_ADDRESS = re.compile(r"[^\x00-\x20\x7f-][^\x00-\x20\x7f]{0,319}")
_NOTIFY = re.compile(rb"[A-Za-z]{1,20}(?:,[A-Za-z]{1,20}){0,3}")
_END = b" \t\r"


def rset(client: Client, words: Sequence[bytes]) -> str:
    """What ADD has said is forgotten, as before any command but ADD."""
    return "Reset"


def add(client: Client, words: Sequence[bytes]) -> str:
    """Words that nobody knows are passed over."""
    text, left = "So far, so good...", list(words)
    while left:
        word = left.pop(0)
        announced = grammar.literal(word)
        if announced is not None:
            return _take(client, announced)
        if word.upper() == b"FOLDER":
            path, left = paths.split(left)
            folder = paths.name(client.account.folders, path)
            permitted.named(client.account, b"APPEND", folder)
            client.upload.folder = folder
            text = "Will add to this folder"
            continue
        name, equals, value = word.partition(b"=")
        setter = _SETTERS.get(name.upper()) if equals else None
        if setter is not None:
            text = setter(client.upload, value) or text
    return text


# -- what is said of it

def _flags(upload: Upload, value: bytes) -> str:
    upload.bits = grammar.bits(value)
    return "FLAGS set"


def _keywords(upload: Upload, value: bytes) -> str:
    upload.keywords = grammar.keywords_of(value)
    return "KEYWORDS set"


def _date(upload: Upload, value: bytes) -> str:
    found = moment(value)
    if found is None:
        return ""
    upload.date = found
    return "INTERNALDATE set"


def _sender(upload: Upload, value: bytes) -> str:
    upload.sender = _address(value) if value else ""
    return "MAIL FROM set"


def _recipient(upload: Upload, value: bytes) -> str:
    if len(upload.recipients) >= MAX_RECIPIENTS:
        raise No("Too many recipients.")
    upload.recipients.append(_address(value))
    return "RCPT TO set"


def _notify(upload: Upload, value: bytes) -> str:
    if not _NOTIFY.fullmatch(value):
        raise Bad(grammar.SYNTAX)
    upload.notify = value.decode().upper()
    return "NOTIFY set"


def _address(value: bytes) -> str:
    text = grammar.text_of(value)
    if not _ADDRESS.fullmatch(text):
        raise No("This is no address.")
    return text


_SETTERS: Mapping[bytes, Callable[[Upload, bytes], str]] = {
    b"FLAGS": _flags, b"KEYWORDS": _keywords, b"INTERNALDATE": _date, b"MAILFROM": _sender,
    b"RCPTTO": _recipient, b"NOTIFY": _notify}


# -- its octets

class _Incoming:
    """Octets on their way to a draft.  ``most``: that it may have.  ``size``: that came."""

    __slots__ = ("_draft", "_most", "size")

    def __init__(self, draft: Draft, most: int) -> None:
        self._draft = draft
        self._most = most
        self.size = 0

    @property
    def too_large(self) -> bool:
        return self.size > self._most

    def write(self, data: bytes) -> None:
        """What is too much is dropped: the client sends it all the same."""
        self.size += len(data)
        if not self.too_large:
            self._draft.write(data)


def _take(client: Client, announced: Literal) -> str:
    upload, account = client.upload, client.account
    if upload.folder is None and not upload.recipients:
        raise No("Name a FOLDER or RCPTTO first.")
    name = upload.folder or INBOX
    limit = appending.append_limit(account, name) or appending.LARGEST_OCTETS
    if upload.folder is not None:
        folder = permitted.target(account, b"APPEND", name, "Cannot save message: No such file or directory")
        folder.admit(announced.octets or 0, 1)
    else:
        folder = account.folders.open(name)
    upload.draft = folder.draft()
    incoming = _Incoming(upload.draft, limit)
    try:
        account.write(b"> Go ahead\n")
        if announced.octets is None:
            _lines(client, incoming)
        else:
            _chunks(client, announced.octets, incoming)
        if incoming.too_large:
            raise No(f"A message may have {limit} octets here.")
        return _done(client, folder)
    finally:
        upload.abort()


def _done(client: Client, folder: Mailbox) -> str:
    upload, account = client.upload, client.account
    draft = upload.draft
    assert draft is not None
    draft.flags, draft.date = upload.bits, upload.date
    draft.keywords = upload.keywords if account.rules.keywords_on else draft.keywords
    draft.finish(account.folders.options.sync)
    if upload.recipients:
        with appending.opened(account, draft) as file:
            sending.send(account, upload, file)
        log.info(f"SENT, {account.who}, recipients={len(upload.recipients)}, size={draft.size}")
    if upload.folder is None:
        return "Message sent"
    def store() -> tuple[int, list[int]]:
        upload.draft = None            # the store's from here on
        return folder.append([draft])
    if upload.recipients:              # what goes to the outbox is not sent to others as well
        _, uids = store()
    else:
        _, uids = appending.brought(account, folder, [partial(appending.opened, account, draft)], 1, store)
    for name in names(folder, uids):
        if name is not None:
            account.write(grammar.line(b"* ADD", grammar.quoted(b"UID=" + name)))
    return "Message saved"


def _lines(client: Client, incoming: _Incoming) -> None:
    """Lines up to one that is a dot, without the dot that was put before others.  Long ones come in
    pieces."""
    data, begins = b"", True           # a line
    while True:
        data += client.octets(ALL_THERE_IS)
        while data:
            end = data.find(b"\n") + 1
            if begins and data.startswith(b"."):
                if not data[:end or None].strip(b"\n")[1:].strip(_END):
                    if end:
                        client.account.framer.feed(data[end:])
                        return
                    if len(data) < grammar.MAX_LINE:
                        break          # is it the last one?
                data, end = data[1:], max(0, end - 1)
            piece = data[:end or None]
            incoming.write(piece)
            data, begins = data[len(piece):], end > 0


def _chunks(client: Client, octets: int, incoming: _Incoming) -> None:
    """Pieces, each with its length before it, up to an empty line."""
    while True:
        while octets:
            data = client.octets(octets)
            octets -= len(data)
            incoming.write(data)
        word = client.line().strip(b" \t")
        if not word:
            return
        found = decimal(word, ALL_THERE_IS)
        if found is None:
            raise Bad(grammar.SYNTAX)
        octets = found
