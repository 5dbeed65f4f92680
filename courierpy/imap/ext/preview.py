"""PREVIEW.  RFC 8970: the beginning of the text of a message, computed once."""
from __future__ import annotations

import re

from courierpy.imap.ext import Extension
from courierpy.imap.fetch import Column, Item, kept, texts
from courierpy.imap.grammar import out
from courierpy.imap.grammar.fetchitems import FetchItem
from courierpy.maildir.index.segments import END
from courierpy.message.preview import preview

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.fetch import Chunk
    from courierpy.imap.grammar.args import Args
    from courierpy.message import Message

PLAIN, UTF8 = "preview", "preview-utf8"        # kinds of what is kept
LAZY = b"PREVIEW LAZY"             # no name that a client can say
# what else stands in parentheses there is the modifiers of the command
_LAZY = re.compile(rb"[ \t]+\([ \t]*LAZY(?:[ \t]+LAZY)*[ \t]*\)", re.I)


def _grammar(args: Args, name: bytes) -> FetchItem:
    if _LAZY.match(args.rest_text()) is None:
        return FetchItem(name)
    args.take(_LAZY)
    return FetchItem(LAZY, label=name)


def _string(utf8: bool) -> Callable[[Message], bytes]:
    """As it stands in the reply, also for clients that take UTF-8 in quotes."""
    return lambda message: out.string(preview(message.root).encode(), utf8) + END


def _lazy_strings(chunk: Chunk, known: list[bytes | None]) -> list[bytes]:
    """Of those that are known already; NIL of the others.  RFC 8970 4.1."""
    session = chunk.session
    values = session.need_selected().folder.cache.values(UTF8 if session.utf8 else PLAIN, chunk.uids)
    return [value[:-len(END)] if value else b"NIL" for value in values]


EXTENSION = Extension(
    b"PREVIEW", attributes={name.encode(): (False, _string(name == UTF8)) for name in (PLAIN, UTF8)},
    fetch_items={b"PREVIEW": Item(column=Column(texts, kept(PLAIN, UTF8), ended=True), parse=_grammar),
                 LAZY: Item(column=Column(_lazy_strings))})
