"""QUOTA.  RFC 2087, RFC 9208: what may be stored, and what is.

The quota root and its line: quotaroot.py.
"""
from __future__ import annotations

from courierpy.imap import counted
from courierpy.imap.commands import ANY, READS, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.imap.quotaroot import ROOT, line, usage
from courierpy.model.flags import DELETED
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status


@command(b"GETQUOTA", when=ANY, flags=READS)
def getquota(session: Session, args: Args) -> str:
    args.sp()
    root = args.astring()
    args.end()

    found = usage(session) if root == ROOT else None
    if found is None:
        raise No("There is no such quota root.", b"NONEXISTENT")
    session.write(line(found))
    return "GETQUOTA Ok."


@command(b"GETQUOTAROOT", when=ANY, flags=READS)
def getquotaroot(session: Session, args: Args) -> str:
    """The mailbox need not be there.  RFC 9208 4.1.2.  Without a limit there is no root (4.2.2)."""
    args.sp()
    name = args.mailbox()
    args.end()

    folders = session.folders
    own = folders.resolve(name)[0].root == folders.root
    if own:
        folders.path_of(name)          # which it might have
    found = usage(session) if own else None
    session.write(lines.data(b"QUOTAROOT", session.mailbox(name), *[out.quoted(ROOT)] if found else ()))
    if found is not None:
        session.write(line(found))
    return "GETQUOTAROOT Ok."


def _deleted_storage(session: Session, name: str, count: Status) -> bytes:
    """Octets of the messages that are \\Deleted, which an EXPUNGE gives back.  RFC 9208 4.1.4."""
    messages = counted.messages(session, name)
    uids = [uid for uid, bits in zip(messages.uids, messages.flags, strict=True) if bits & DELETED]
    return b"%d" % (counted.octets(session, name, uids) if uids else 0)


EXTENSION = Extension(b"QUOTA", b"QUOTA=RES-STORAGE", b"QUOTA=RES-MESSAGE",
                      status_items={b"DELETED-STORAGE": _deleted_storage})
