"""ID.  RFC 2971.  The client's words go to the log, ours to the client."""
from __future__ import annotations

from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.model.replies import Bad
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

MAX_PAIRS = 30


@command(b"ID", when=ANY)
def ident(session: Session, args: Args) -> str:
    args.sp()
    pairs: list[tuple[bytes, bytes | None]] = []
    if args.at(b"("):
        args.open()
        args.maybe_sp()
        while not args.at(b")"):
            if len(pairs) == MAX_PAIRS:
                raise Bad("Too many ID fields.")
            field = args.string()
            args.sp()
            pairs.append((field, args.nstring()))
            args.maybe_sp()
        args.close()
    elif args.word() != b"NIL":
        raise Bad("ID needs a list or NIL.")
    args.end()
    if pairs:
        told = ", ".join(f"{field.decode('utf-8', 'replace')}="
                         + ("(nil)" if value is None else value.decode("utf-8", "replace"))
                         for field, value in pairs)
        log.info(f"ID, user={session.user}, ip=[{session.peer}], port=[{session.port}], {told}")
    session.write(lines.data(b"ID", b"(%s)" % b" ".join(map(out.quoted, own_fields(session)))))
    return "ID completed"


def own_fields(session: Session) -> list[bytes]:
    """Name and value by turns.  IMAP_ID_FIELDS: bit 1 version, 2 os, 4 os-version."""
    import os

    from courierpy import __version__
    fields = [b"name", b"courierpy"]
    bits = session.settings.number("IMAP_ID_FIELDS")
    system = os.uname()
    if bits & 1:
        fields += [b"version", __version__.encode()]
    if bits & 2:
        fields += [b"os", system.sysname.encode()]
    if bits & 4:
        fields += [b"os-version", system.release.encode()]
    return fields


EXTENSION = Extension(b"ID")
