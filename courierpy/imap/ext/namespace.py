"""NAMESPACE.  RFC 2342.  Courier's namespaces: personal ``INBOX.``, the rest shared."""
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
    session.write(lines.data(b"NAMESPACE", b'(("INBOX." "."))', b"NIL", b'(("#shared." ".")("shared." "."))'))
    return "NAMESPACE completed."


EXTENSION = Extension(b"NAMESPACE")
