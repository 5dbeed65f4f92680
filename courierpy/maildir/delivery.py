"""A message comes from outside, without a number: into new/, as every delivery agent brings it.

The order is that of a promise: written in tmp/, on the disk, named in new/ by one rename, the directory on
the disk; only then may anybody say that it is there.  No lock is taken and nothing is numbered: whoever
looks at the mailbox next does that.  What fails on the way leaves nothing behind, and whoever brought the
message keeps it.
"""
from __future__ import annotations

import os

import courierpy.maildir.quota  # noqa: F401  # who has become the user may not be able to read the library
from courierpy.maildir.draft import Draft
from courierpy.maildir.errors import FolderMissing, NameInvalid, StoreError, trouble
from courierpy.maildir.files import Directory, remove
from courierpy.maildir.formats.maildirsize import Amount
from courierpy.maildir.names import unique_name
from courierpy.model.namespaces import INBOX
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.maildir.store import Store


def deliver(store: Store, name: str, pieces: Iterable[bytes], ignores_quota: bool = False) -> str:
    """Bring the message of these octets into the mailbox ``name``; its base name there.  ``ignores_quota``:
    it comes even if there is no room by the quota, and counts.

    Raises QuotaExceeded, FolderMissing or another store error: then it is not there.  (But for one that
    another program has taken from new/ before a failing disk said so: that one may come a second time.)"""
    try:
        path = store.path_of(name)
    except NameInvalid as error:
        raise FolderMissing(str(error)) from None
    store.places.repair(path)
    sync = store.options.sync
    quota = store.quota()
    if quota is not None and not quota.counts(path):
        quota = None                   # whatever is in the trash is free
    new = os.path.join(path, "new")
    with Directory(new, sync) as entries:
        draft = Draft(path, store.options.host)
        try:
            for piece in pieces:
                draft.write(piece)
            draft.finish(sync)
            counts = Amount(draft.size, 1)
            if quota is not None and not ignores_quota:
                quota.admit(counts)
            there = _name(draft, new)
        except BaseException:
            draft.abort()
            raise
        try:
            entries.sync()
        except StoreError:
            _take_back(there)
            raise
    if quota is not None:
        quota.changed(counts)
    return os.path.basename(there)


def examine(store: Store, name: str, octets: int) -> None:
    """Would a message of so many octets, as it is announced, come into the mailbox ``name``?  0: nobody knows
    how many.  Raises QuotaExceeded, FolderMissing or another store error if not."""
    try:
        path = store.path_of(name)
    except NameInvalid as error:
        raise FolderMissing(str(error)) from None
    quota = store.quota()
    if quota is not None and quota.counts(path):
        quota.admit_octets(max(octets, 1), 1)


def _name(draft: Draft, new: str) -> str:
    """Where it is now."""
    try:
        found = os.stat(draft.path)
        name = unique_name(os.path.basename(draft.path), found.st_dev, found.st_ino)
        there = os.path.join(new, f"{name},S={draft.size}")
        os.rename(draft.path, there)
    except OSError as error:
        raise trouble(draft.path, error) from None
    return there


def _take_back(there: str) -> None:
    remove(there)
    if os.path.lexists(there):
        log.err(f"{there}: it came without having been acknowledged, and may come again")


def names_inbox(store: Store, detail: str) -> bool:
    """Is it INBOX that ``user+detail`` asks for?"""
    return detail.removeprefix(store.namespaces.personal.prefix).upper() in ("", INBOX)


def mailbox_for(store: Store, detail: str, poster: str = "") -> str:
    """The mailbox that mail for ``user+detail`` goes to: the user's own of that name, where it is there and
    takes mail, else INBOX.  ``poster``: the user who brings it, "" for nobody in particular.  Raises a store
    error where the disk does not say."""
    if names_inbox(store, detail):
        return INBOX
    path = detail.removeprefix(store.namespaces.personal.prefix)
    name = store.namespaces.name(path)
    return name if store.exists(name) and _takes_mail(store, path, poster) else INBOX


def _takes_mail(store: Store, path: str, poster: str) -> bool:
    """May it be posted to: where a list says who may do what, the right ``p`` of RFC 4314 2.1 for anyone, or
    for the poster; where there is none, yes."""
    found = store.access.nearest(path) if store.access.identities else None
    if found is None:
        return True
    who = {"anyone", "anonymous", *([f"user={poster}"] if poster else [])}
    return "p" in store.access.read(found[0]).rights(frozenset(who))
