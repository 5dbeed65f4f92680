"""NAMESPACE.  RFC 2342.  Courier's namespaces: personal ``INBOX.``, the rest shared; where mailboxes lie
in each other (IMAP_LAYOUT) the personal one has no prefix, and there is no other."""
from __future__ import annotations

from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"NAMESPACE", when=ANY)
def namespace(session: Session, args: Args) -> str:
    args.end()
    layout = session.folders.layout
    personal = f'(("{layout.prefix}" "{layout.separator}"))'.encode()
    shared = b'(("#shared." ".")("shared." "."))' if layout.prefix else b"NIL"
    session.write(lines.data(b"NAMESPACE", personal, b"NIL", shared))
    return "NAMESPACE completed."


EXTENSION = Extension(b"NAMESPACE")
