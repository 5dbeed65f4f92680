"""QUOTA.  RFC 2087, RFC 9208: what may be stored, and what is.

The quota roots and how they are told: quotaroot.py.
"""
from __future__ import annotations

from courierpy.imap import counted
from courierpy.imap.commands import ANY, READS, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.imap.quotaroot import ROOT, line, root_of, store_of, usage
from courierpy.maildir.errors import NameInvalid
from courierpy.model.messages import Messages
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status
    from courierpy.maildir.store import Store


@command(b"GETQUOTA", when=ANY, flags=READS)
def getquota(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.end()

    store = session.folders if name == ROOT else _shared(session, name)
    found = usage(store) if store is not None else None
    if store is None or found is None:
        raise No("There is no such quota root.", b"NONEXISTENT")
    session.write(line(root_of(session, store), found))
    return "GETQUOTA Ok."


def _shared(session: Session, name: str) -> Store | None:
    """The Maildir whose root has this name, which is no own one; None where the client may not know."""
    try:
        store = store_of(session, name)
    except NameInvalid:
        return None
    return store if store is not None and store is not session.folders \
        and name == store.namespaces.name("") else None


@command(b"GETQUOTAROOT", when=ANY, flags=READS)
def getquotaroot(session: Session, args: Args) -> str:
    """The mailbox need not be there.  RFC 9208 4.1.2.  Without a limit there is no root (4.2.2)."""
    args.sp()
    name = args.mailbox()
    args.end()

    store = store_of(session, name)
    found = usage(store) if store is not None else None
    if store is None or found is None:
        session.write(lines.data(b"QUOTAROOT", session.mailbox(name)))
    else:
        root = root_of(session, store)
        session.write(lines.data(b"QUOTAROOT", session.mailbox(name), root))
        session.write(line(root, found))
    return "GETQUOTAROOT Ok."


def _deleted_storage(session: Session, name: str, count: Status) -> bytes:
    """Octets of the messages that are \\Deleted, which an EXPUNGE gives back.  RFC 9208 4.1.4."""
    return b"%d" % counted.octets(session, name, Messages.deleted)


EXTENSION = Extension(b"QUOTA", b"QUOTA=RES-STORAGE", b"QUOTA=RES-MESSAGE",
                      status_items={b"DELETED-STORAGE": _deleted_storage})
