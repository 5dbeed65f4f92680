"""LANGUAGE.  RFC 5255 3."""
from __future__ import annotations

from courierpy.imap import languages
from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"LANGUAGE", when=ANY)
def language(session: Session, args: Args) -> str:
    line, text = languages.answer(args)
    session.write(line)
    return text


EXTENSION = Extension(b"LANGUAGE")
