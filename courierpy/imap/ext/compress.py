"""COMPRESS=DEFLATE.  RFC 4978: from here on both sides send compressed octets."""
from __future__ import annotations

from courierpy.imap.commands import ANY, Done, command
from courierpy.imap.ext import Extension
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


CAPABILITY = b"COMPRESS=DEFLATE"


@command(b"COMPRESS", when=ANY)
def compress(session: Session, args: Args) -> Done:
    args.sp()
    mechanism = args.word()
    args.end()
    if mechanism != b"DEFLATE":
        raise Bad("DEFLATE is the only compression there is.")
    if "deflate" in session.conn.stream.layers:
        raise No("DEFLATE is active already, by COMPRESS.", b"COMPRESSIONACTIVE")
    # only who compresses pays for zlib
    from courierpy.system.deflate import Deflate
    session.untold.add(CAPABILITY)
    return Done("DEFLATE active", layer=Deflate)


EXTENSION = Extension(CAPABILITY)
