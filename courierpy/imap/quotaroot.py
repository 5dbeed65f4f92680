"""The quota root of a session, and how it is told.

There is one, ``ROOT`` as Courier names it, for all mailboxes of the user's own Maildir, the trash too, where
a resource has a limit.  STORAGE is told in units of 1024 octets, both numbers rounded up.  RFC 9208 5.1, 5.2.
"""
from __future__ import annotations

from courierpy.imap.grammar import lines, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.maildir.formats.maildirsize import MaildirSize

ROOT = b"ROOT"
STORAGE_OCTETS = 1024              # of the unit of STORAGE


def usage(session: Session) -> MaildirSize | None:
    """What may be stored, and what is; None where there is no limit.  Raises a store error."""
    quota = session.folders.quota()
    return quota.usage() if quota is not None else None


def line(found: MaildirSize) -> bytes:
    """The QUOTA line.  RFC 9208 4.2.1."""
    there, limits = found.there, found.limits
    resources = []
    if limits.octets:
        resources.append(b"STORAGE %d %d" % (-(-there.octets // STORAGE_OCTETS),
                                             -(-limits.octets // STORAGE_OCTETS)))
    if limits.messages:
        resources.append(b"MESSAGE %d %d" % (there.messages, limits.messages))
    return lines.data(b"QUOTA", out.quoted(ROOT), b"(%s)" % b" ".join(resources))
