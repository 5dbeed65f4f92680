"""NAMESPACE.  RFC 2342.  Courier's namespaces: personal ``INBOX.``, the rest shared; where mailboxes lie
in each other (IMAP_LAYOUT) the personal one has no prefix, and there is no other."""
from __future__ import annotations

from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.model.namespaces import OTHERS, PERSONAL, SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


@command(b"NAMESPACE", when=ANY)
def namespace(session: Session, args: Args) -> str:
    args.end()
    session.write(lines.data(b"NAMESPACE", *[_list(session, kind) for kind in (PERSONAL, OTHERS, SHARED)]))
    return "NAMESPACE completed."


def _list(session: Session, kind: int) -> bytes:
    """The namespaces of a kind, or NIL."""
    found = b"".join([b"(%s %s)" % (out.mailbox(one.prefix, session.utf8), out.quoted(one.separator.encode()))
                      for one in session.folders.namespaces.of_kind(kind)])
    return b"(%s)" % found if found else b"NIL"


EXTENSION = Extension(b"NAMESPACE")
