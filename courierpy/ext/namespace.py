"""NAMESPACE.  RFC 2342.  Courier's namespaces: personal ``INBOX.``, the rest shared."""
from __future__ import annotations

from courierpy.commands import ANY, command
from courierpy.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args


@command(b"NAMESPACE", when=ANY)
def namespace(session: Session, args: Args) -> str:
    args.end()
    session.write(b'* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))\r\n')
    return "NAMESPACE completed."


EXTENSION = Extension(b"NAMESPACE", commands=(b"NAMESPACE",))
