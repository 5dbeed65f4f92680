"""The quota root of a session, and how it is told.

There is one for each Maildir where a resource has a limit: ``ROOT``, as Courier names it, for all mailboxes
of the user's own, the trash too; for what others share the name of their INBOX, told to who may read the
mailbox that is named (RFC 9208 6: the right ``r``).  STORAGE is told in units of 1024 octets, both numbers
rounded up.  RFC 9208 5.1, 5.2.
"""
from __future__ import annotations

from courierpy.imap.grammar import lines, out
from courierpy.maildir.errors import NameInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.maildir.formats.maildirsize import MaildirSize
    from courierpy.maildir.store import Store

ROOT = "ROOT"
STORAGE_OCTETS = 1024              # of the unit of STORAGE


def store_of(session: Session, name: str) -> Store | None:
    """The Maildir that the mailbox of that name is in, or would be; None where the client may not know.
    Raises NameInvalid."""
    folders = session.folders
    own = folders.resolve(name)[0].root == folders.root
    try:
        folders.path_of(name)          # which it might have
        store = folders.located(name)[0]
    except NameInvalid:
        if own:
            raise
        return None                    # as of another account that is not there
    return store if store is folders or "r" in store.rights(name) else None


def usage(store: Store) -> MaildirSize | None:
    """What may be stored, and what is; None where there is no limit.  Raises a store error."""
    quota = store.quota()
    return quota.usage() if quota is not None else None


def root_of(session: Session, store: Store) -> bytes:
    """The name of the quota root of a Maildir, as it is told."""
    return out.quoted(ROOT.encode()) if store is session.folders \
        else session.mailbox(store.namespaces.name(""))


def line(root: bytes, found: MaildirSize) -> bytes:
    """The QUOTA line.  ``root``: as root_of() gives it.  RFC 9208 4.2.1."""
    there, limits = found.there, found.limits
    resources = []
    if limits.octets:
        resources.append(b"STORAGE %d %d" % (-(-there.octets // STORAGE_OCTETS),
                                             -(-limits.octets // STORAGE_OCTETS)))
    if limits.messages:
        resources.append(b"MESSAGE %d %d" % (there.messages, limits.messages))
    return lines.data(b"QUOTA", root, b"(%s)" % b" ".join(resources))
