"""CATENATE and URL-PARTIAL.  RFC 4469, RFC 5550 3.8: a message is put together of literals and of parts of
messages that are there, which need not travel.

The octets are those that FETCH BODY[...] gives.  They go to the new message's file piece by piece, in the
order of the command, and before the next literal is asked for: who names what is not there need not send it.
"""
from __future__ import annotations

import re

from courierpy.imap.appending import Assembly, Mail, Piece
from courierpy.imap.ext import Extension
from courierpy.imap.fetch import span_of
from courierpy.imap.grammar import out
from courierpy.imap.grammar.args import ERROR
from courierpy.imap.reading import Reading
from courierpy.imap.urls import MessageUrl
from courierpy.maildir.errors import MessageDenied, Vanished
from courierpy.message.message import AT_ONCE_OCTETS
from courierpy.model import namespaces, utf7
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.message import Message
    from courierpy.message.message import Content

_NOT_TOLD = re.compile(rb'[^\x20-\x7e]|[\]\\"]')
TOLD_OCTETS = 1000                 # of a URL that come back


def _data(args: Args, mail: Mail) -> None:
    """``CATENATE (URL "..." TEXT {n} ...)``."""
    args.open()
    args.maybe_sp()
    while True:
        word = args.word()
        args.maybe_sp()
        if word == b"TEXT":
            if not mail.take(args):
                return
        elif word == b"UTF8":                      # RFC 6855 4
            args.open()
            if not mail.take(args, utf8=True):
                return
            args.close()
        elif word == b"URL":
            if args.at_end():                      # it comes as a literal
                mail.in_memory = True
                return
            mail.pieces.append(Piece(pour=_Source(args.astring()).pour))
        else:
            raise Bad(ERROR)
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()


class _Opened:
    """A mailbox that parts are taken from, while one message is made."""

    __slots__ = ("_folder", "messages", "reading", "uidvalidity")

    def __init__(self, session: Session, name: str) -> None:
        """Raises a store error."""
        self._folder: Mailbox | None = None
        selected = session.selected
        if selected is not None and name in ("", selected.folder.name):
            self.reading = selected.attributes(session.limits).reading
            self.uidvalidity, self.messages = selected.snapshot.uidvalidity, selected.view.messages
            return
        if "r" not in session.folders.rights(name):
            raise MessageDenied(name)
        folder = self._folder = session.folders.open(name)
        snapshot = folder.scan(readonly=True)
        self.reading = Reading(folder, session.limits)
        self.uidvalidity, self.messages = snapshot.uidvalidity, snapshot.messages

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()


class _Source:
    """A URL of the command."""

    __slots__ = ("url",)

    def __init__(self, url: bytes) -> None:
        self.url = url

    def pour(self, session: Session, assembly: Assembly) -> None:
        """Its octets become part of the message.  Raises No."""
        try:
            url = MessageUrl(self.url)
            there = self._opened(session, assembly, url.mailbox)
            if url.uidvalidity not in (None, there.uidvalidity) or there.messages.find(url.uid) < 0:
                raise self._bad()
            with there.reading.open(url.uid) as opened:
                def content(message: Message) -> Content | None:
                    return message.content(url.section, AT_ONCE_OCTETS)
                data = opened.told(content)
                if data is None:
                    raise self._bad()
                if url.partial is not None:
                    data = span_of(data, *url.partial)
                assembly.expect(len(data))
                for octets in (data,) if isinstance(data, bytes) else data:
                    assembly.write(octets)
        except (ValueError, Vanished, MessageDenied):
            raise self._bad() from None

    def _opened(self, session: Session, assembly: Assembly, name: str) -> _Opened:
        """Raises No, or a store error of the disk."""
        name = namespaces.folded(name, session.separator)
        found: _Opened | None = assembly.shared.get(name)
        if found is None:
            if not name and session.selected is None:
                raise self._bad()
            if name and not session.folders.exists(name) and "&" in name:
                name = utf7.decode(name.encode("ascii", "replace"))       # as names are told to older clients
            if name and not session.folders.exists(name):
                raise self._bad()
            found = assembly.shared[name] = _Opened(session, name)
        return found

    def _bad(self) -> No:
        """RFC 4469 4.1.  What must not stand in a response code is told as URLs spell it."""
        shown = _NOT_TOLD.sub(lambda match: b"%%%02X" % match[0][0], self.url[:TOLD_OCTETS])
        return No("This URL names nothing that is here: nothing was appended.",
                  b"BADURL " + out.quoted(shown))


EXTENSION = Extension(b"CATENATE", b"URL-PARTIAL", append_data={b"CATENATE": _data})
