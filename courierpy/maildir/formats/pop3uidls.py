"""``courierpy-pop3uidls``: the POP3 UIDLs that Dovecot gave, of messages that came here with it.

A line for each: ``<uidl> <base name>``.  It lies in INBOX, is written when a Maildir is taken over, and
counts before ``courierpop3dsizelist``, whose lines can say none but Courier's UIDLs.  Lines of messages that
are gone do no harm.
"""
from __future__ import annotations

import os
import re

from courierpy.maildir.files import content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from courierpy.maildir.formats.dovecot import Uidlist

    Format = Callable[[int, int, bytes], bytes]        # of UID, UIDVALIDITY and base name

NAME = "courierpy-pop3uidls"
DOVECOT = "%08Xu%08Xv"             # its pop3_uidl_format where the settings say none
_LINES = re.compile(rb"^([\x21-\x7e]{1,70}) ([^\n]+)$", re.M)      # RFC 1939 7
_VARIABLE = re.compile(r"%(0?)(\d?\d?)(X?)(.?)", re.S)


def read(folder: str) -> dict[bytes, bytes]:
    """Base name -> UIDL; empty without a file.  Raises a store error where it cannot be read."""
    return {name: uidl for uidl, name in _LINES.findall(content(os.path.join(folder, NAME)) or b"")}


def text(uidls: Mapping[bytes, bytes]) -> bytes:
    """The whole file."""
    return b"".join([b"%s %s\n" % (uidl, name) for name, uidl in uidls.items()])


def uidl_format(form: str) -> Format:
    """What makes a UIDL of a message, as Dovecot's pop3_uidl_format says it: ``%u``,
    ``%v``, ``%f``, numbers with a width and ``X`` for hexadecimal.  Raises ValueError for a format with
    others, and for one that does not tell messages apart."""
    kinds = {match[4] for match in _VARIABLE.finditer(form)}
    if not kinds <= {"u", "v", "f", "%"} or not kinds & {"u", "f"} or not form.isascii() or " " in form:
        raise ValueError(form)

    def made(uid: int, uidvalidity: int, name: bytes) -> bytes:
        def value(match: re.Match[str]) -> str:
            zeros, width, hexadecimal, kind = match.groups()
            if kind == "f":
                return name.decode("latin-1")
            if kind == "%":
                return "%"
            return format(uid if kind == "u" else uidvalidity, f"{zeros}{width}{hexadecimal.lower()}")

        return _VARIABLE.sub(value, form).encode("latin-1")

    return made


def of(uidlist: Uidlist, made: Format) -> dict[bytes, bytes]:
    """Base name -> UIDL of all that Dovecot numbered: what it has written down (P), or made by its format."""
    return {name: uidlist.field(name, b"P") or made(uid, uidlist.uidvalidity, name)
            for name, uid in uidlist.names.items()}


def of_dovecot(folder: str, present: Iterable[bytes]) -> dict[bytes, bytes]:
    """The same, of what Dovecot left in a Maildir; empty where it left nothing.  ``present``: base names of
    the messages that are there.  Raises a store error."""
    from courierpy.maildir.formats import dovecot  # only where POP3 was not served yet
    uidlist = dovecot.read_uidlist(os.path.join(folder, dovecot.UIDLIST))
    if uidlist is None:
        return {}
    uidlist.match(present)
    return of(uidlist, uidl_format(DOVECOT))
