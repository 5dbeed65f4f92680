"""UTF8=ACCEPT.  RFC 9755, RFC 6855.  What follows from it is where strings are read and written."""
from __future__ import annotations

from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.appending import Mail
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.manners import Manners
    from courierpy.imap.session import Session

TOKEN = b"UTF8=ACCEPT"


def _enable(session: Session) -> None:
    """Nothing to prepare: the manners tell it from now on."""


def _manners(manners: Manners) -> None:
    manners.utf8 = manners.utf8_messages = manners.eight_bits = True
    manners.charsets = False


def _data(args: Args, mail: Mail) -> None:
    """``UTF8 (~{n} ... )``.  RFC 6855 4."""
    args.open()
    if mail.take(args, utf8=True):
        args.close()


EXTENSION = Extension(TOKEN, append_data={b"UTF8": _data}, enable={TOKEN: _enable}, manners={TOKEN: _manners})
