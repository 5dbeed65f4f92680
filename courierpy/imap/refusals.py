"""The store's errors as answers: the only place that turns them into response codes."""
from __future__ import annotations

from courierpy.maildir import errors as store
from courierpy.model.replies import No
from courierpy.system import log

# The store's errors in the words of RFC 5530.
CODES: dict[type[store.StoreError], tuple[bytes | None, str]] = {
    store.FolderMissing: (b"NONEXISTENT", "Mailbox does not exist, or must be subscribed to."),
    store.FolderExists: (b"ALREADYEXISTS", "Mailbox already exists."),
    store.OtherAccount: (b"CANNOT", "Cannot move a folder to a different account."),
    store.NameInvalid: (b"CANNOT", "Invalid mailbox name."),
    store.MailboxFull: (b"LIMIT", "The mailbox may not have more messages here."),
    store.TooManyKeywords: (b"LIMIT", "These are too many keywords for the message or the mailbox."),
    store.DiskFull: (b"OVERQUOTA", "There is no room left in the mail store."),
    store.QuotaExceeded: (b"OVERQUOTA", "You exceeded your mail quota."),
    store.Denied: (b"NOPERM", "Access denied."),
    store.Vanished: (b"EXPUNGEISSUED", "Some of the messages no longer exist."),
    store.Busy: (b"INUSE", "The mailbox is locked by another session, please try again."),
    store.DiskTrouble: (b"UNAVAILABLE", "The mail store does not work at the moment."),
}


def describe(error: store.StoreError) -> No:
    """The NO of a store error; its detail stays in the log."""
    for kind in type(error).__mro__:
        if kind in CODES:
            code, text = CODES[kind]
            return No(text, code)
    return No("The mail store refused this.", b"CANNOT")


def refused(error: store.StoreError) -> No:
    """The same, and its detail is in the log."""
    log.err(str(error))
    return describe(error)
